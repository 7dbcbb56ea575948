//! The bytes of a [`KvOutcome`]: version (1), then the archived outcome.

use bytes::Bytes;
use rkyv::rancor;
use rkyv::{Archive, Serialize};

use super::KvOutcome;
use crate::error::{Error, Result};

/// The version this release writes, and the only one it reads.
const VERSION: u8 = 1;

#[derive(Archive, Serialize)]
enum KvOutcomeV1<'a> {
    Applied {
        existed: Vec<bool>,
    },
    Refused {
        condition: u32,
        #[rkyv(with = rkyv::with::Map<rkyv::with::InlineAsBox>)]
        actual: Option<&'a [u8]>,
    },
}

const _: () = assert!(size_of::<ArchivedKvOutcomeV1<'_>>() == 14, "as docs/FORMAT.md has it");

impl KvOutcome {
    /// The outcome's bytes: the output of `apply`.
    pub fn encode(&self) -> Bytes {
        let form = match self {
            Self::Applied { existed } => KvOutcomeV1::Applied { existed: existed.clone() },
            Self::Refused { condition, actual } => {
                KvOutcomeV1::Refused { condition: *condition, actual: actual.as_deref() }
            }
        };
        let bytes = rkyv::api::high::to_bytes_in::<_, rancor::Error>(&form, vec![VERSION])
            .unwrap_or_else(|cause| unreachable!("an outcome always archives: {cause}"));
        bytes.into()
    }

    /// Reads an outcome's bytes. A value in it shares their memory.
    ///
    /// # Errors
    /// [`Error::Malformed`] for bytes that are no outcome.
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        let malformed = || Error::Malformed { what: "key-value outcome" };
        let (&version, archive) = bytes.split_first().ok_or_else(malformed)?;
        if version != VERSION {
            return Err(malformed());
        }
        let form =
            rkyv::access::<ArchivedKvOutcomeV1<'_>, rancor::Failure>(archive).map_err(|_| malformed())?;
        Ok(match form {
            ArchivedKvOutcomeV1::Applied { existed } => Self::Applied { existed: existed.to_vec() },
            ArchivedKvOutcomeV1::Refused { condition, actual } => Self::Refused {
                condition: condition.to_native(),
                actual: actual.as_ref().map(|value| bytes.slice_ref(value)),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_reads_back_as_written() {
        let outcomes = [
            KvOutcome::Applied { existed: vec![true, false] },
            KvOutcome::Applied { existed: Vec::new() },
            KvOutcome::Refused { condition: 3, actual: None },
            KvOutcome::Refused { condition: 0, actual: Some(Bytes::new()) },
            KvOutcome::Refused { condition: 0, actual: Some(Bytes::from_static(b"value")) },
        ];
        for outcome in outcomes {
            assert_eq!(KvOutcome::decode(&outcome.encode()).unwrap(), outcome);
        }
    }

    #[test]
    fn bytes_that_are_no_outcome_are_malformed() {
        for bytes in [&b""[..], &[2], &[1, 2, 3], &[1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert!(KvOutcome::decode(&Bytes::copy_from_slice(bytes)).is_err());
        }
    }
}
