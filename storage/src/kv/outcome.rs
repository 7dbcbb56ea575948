//! The bytes of a [`KvOutcome`]: version (1), then the archived outcome. At most one value is in it, so it always
//! fits into a frame.

use bytes::Bytes;
use rkyv::{Archive, Serialize, rancor};

use super::command::archive;
use super::{KvOutcome, OpFailure, OpResult};
use crate::error::{Error, Result};

/// Operations of which nothing is said but whether their keys were there. Still written for them: older releases
/// read it too.
const VERSION_1: u8 = 1;

/// Every result.
const VERSION_2: u8 = 2;

/// Room for one result without its value, and for what surrounds the results.
const ARCHIVED_RESULT_BYTES: usize = 16;

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

/// Version 2 of an outcome that is applied; one that is refused has version 1.
#[derive(Archive, Serialize)]
struct KvResultsV2<'a> {
    results: Vec<OpResultV2<'a>>,
}

#[derive(Archive, Serialize)]
enum OpResultV2<'a> {
    Done {
        existed: bool,
        #[rkyv(with = rkyv::with::Map<rkyv::with::InlineAsBox>)]
        previous: Option<&'a [u8]>,
    },
    Unmet {
        #[rkyv(with = rkyv::with::Map<rkyv::with::InlineAsBox>)]
        previous: Option<&'a [u8]>,
    },
    Number(i64),
    NotAnInteger,
    Overflow,
    ValueTooLarge {
        bytes: u64,
    },
}

const _: () = assert!(size_of::<ArchivedKvOutcomeV1<'_>>() == 14, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedKvResultsV2<'_>>() == 8, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedOpResultV2<'_>>() == 11, "as docs/FORMAT.md has it");

impl KvOutcome {
    /// The outcome's bytes: the output of `apply`.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Applied { results } => encode_results(results),
            Self::Refused { condition, actual } => {
                let room = 2 * ARCHIVED_RESULT_BYTES + actual.as_ref().map_or(0, Bytes::len);
                let form = KvOutcomeV1::Refused { condition: *condition, actual: actual.as_deref() };
                archive(VERSION_1, &form, room)
            }
        }
    }

    /// Reads an outcome's bytes. A value in it shares their memory.
    ///
    /// # Errors
    /// [`Error::Malformed`] for bytes that are no outcome.
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        let malformed = || Error::Malformed { what: "key-value outcome" };
        let (&version, archive) = bytes.split_first().ok_or_else(malformed)?;
        let outcome = match version {
            VERSION_1 => rkyv::access::<ArchivedKvOutcomeV1<'_>, rancor::Failure>(archive)
                .map(|form| form.to_outcome(bytes)),
            VERSION_2 => rkyv::access::<ArchivedKvResultsV2<'_>, rancor::Failure>(archive).map(|form| {
                Self::Applied { results: form.results.iter().map(|result| result.to_result(bytes)).collect() }
            }),
            _ => return Err(malformed()),
        };
        outcome.map_err(|_| malformed())
    }
}

fn encode_results(results: &[OpResult]) -> Bytes {
    if let Some(existed) = results.iter().map(existed).collect() {
        let room = 2 * ARCHIVED_RESULT_BYTES + results.len();
        return archive(VERSION_1, &KvOutcomeV1::Applied { existed }, room);
    }
    let values: usize = results.iter().map(value_bytes).sum();
    let form = KvResultsV2 { results: results.iter().map(OpResultV2::from).collect() };
    archive(VERSION_2, &form, ARCHIVED_RESULT_BYTES * (1 + results.len()) + values)
}

/// What version 1 says of a result; `None` if it cannot.
fn existed(result: &OpResult) -> Option<bool> {
    match result {
        OpResult::Done { existed, previous: None } => Some(*existed),
        _ => None,
    }
}

fn value_bytes(result: &OpResult) -> usize {
    match result {
        OpResult::Done { previous: Some(value), .. } | OpResult::Unmet { previous: Some(value) } => {
            value.len()
        }
        _ => 0,
    }
}

impl ArchivedKvOutcomeV1<'_> {
    fn to_outcome(&self, bytes: &Bytes) -> KvOutcome {
        match self {
            Self::Applied { existed } => KvOutcome::Applied {
                results: existed.iter().map(|&existed| OpResult::done(existed)).collect(),
            },
            Self::Refused { condition, actual } => KvOutcome::Refused {
                condition: condition.to_native(),
                actual: actual.as_ref().map(|value| bytes.slice_ref(value)),
            },
        }
    }
}

impl ArchivedOpResultV2<'_> {
    fn to_result(&self, bytes: &Bytes) -> OpResult {
        match self {
            Self::Done { existed, previous } => OpResult::Done {
                existed: *existed,
                previous: previous.as_ref().map(|value| bytes.slice_ref(value)),
            },
            Self::Unmet { previous } => {
                OpResult::Unmet { previous: previous.as_ref().map(|value| bytes.slice_ref(value)) }
            }
            Self::Number(number) => OpResult::Number(number.to_native()),
            Self::NotAnInteger => OpResult::Failed(OpFailure::NotAnInteger),
            Self::Overflow => OpResult::Failed(OpFailure::Overflow),
            Self::ValueTooLarge { bytes } => {
                OpResult::Failed(OpFailure::ValueTooLarge { bytes: bytes.to_native() })
            }
        }
    }
}

impl<'a> From<&'a OpResult> for OpResultV2<'a> {
    fn from(result: &'a OpResult) -> Self {
        match result {
            OpResult::Done { existed, previous } => {
                Self::Done { existed: *existed, previous: previous.as_deref() }
            }
            OpResult::Unmet { previous } => Self::Unmet { previous: previous.as_deref() },
            OpResult::Number(number) => Self::Number(*number),
            OpResult::Failed(OpFailure::NotAnInteger) => Self::NotAnInteger,
            OpResult::Failed(OpFailure::Overflow) => Self::Overflow,
            OpResult::Failed(OpFailure::ValueTooLarge { bytes }) => Self::ValueTooLarge { bytes: *bytes },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn applied(results: Vec<OpResult>) -> KvOutcome {
        KvOutcome::Applied { results }
    }

    fn every_result() -> KvOutcome {
        let value = Some(Bytes::from_static(b"value"));
        applied(vec![
            OpResult::done(true),
            OpResult::Done { existed: true, previous: value.clone() },
            OpResult::Unmet { previous: None },
            OpResult::Unmet { previous: value },
            OpResult::Number(-7),
            OpResult::Failed(OpFailure::NotAnInteger),
            OpResult::Failed(OpFailure::Overflow),
            OpResult::Failed(OpFailure::ValueTooLarge { bytes: 9_000_000 }),
        ])
    }

    fn plain() -> KvOutcome {
        applied(vec![OpResult::done(true), OpResult::done(false)])
    }

    fn refused() -> KvOutcome {
        KvOutcome::Refused { condition: 3, actual: Some(Bytes::from_static(b"value")) }
    }

    #[test]
    fn an_outcome_reads_back_as_written() {
        let outcomes = [
            plain(),
            every_result(),
            applied(Vec::new()),
            applied(vec![OpResult::Done { existed: true, previous: Some(Bytes::new()) }]),
            KvOutcome::Refused { condition: 3, actual: None },
            KvOutcome::Refused { condition: 0, actual: Some(Bytes::new()) },
            refused(),
        ];
        for outcome in outcomes {
            assert_eq!(KvOutcome::decode(&outcome.encode()).unwrap(), outcome);
        }
    }

    #[test]
    fn every_version_is_pinned() {
        // What version 1 can say keeps it: older releases read it.
        for (outcome, version, pinned) in
            [(plain(), 1, PINNED_1_APPLIED), (refused(), 1, PINNED_1_REFUSED), (every_result(), 2, PINNED_2)]
        {
            let bytes = outcome.encode();
            assert_eq!(bytes[0], version);
            assert_eq!(crc32fast::hash(&bytes), pinned, "the archived form changed: {bytes:02x?}");
        }
    }

    /// Checksums of the bytes of `plain()`, `refused()` and `every_result()`.
    const PINNED_1_APPLIED: u32 = 1_577_095_135;
    const PINNED_1_REFUSED: u32 = 3_191_835_632;
    const PINNED_2: u32 = 3_948_007_717;

    #[test]
    fn bytes_that_are_no_outcome_are_malformed() {
        for bytes in [&b""[..], &[2], &[3], &[1, 2, 3], &[1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]
        {
            assert!(KvOutcome::decode(&Bytes::copy_from_slice(bytes)).is_err());
        }
    }

    proptest! {
        #[test]
        fn damaged_outcomes_never_panic(at in 0_usize..400, value in any::<u8>()) {
            for outcome in [plain(), refused(), every_result()] {
                let mut bytes = outcome.encode().to_vec();
                let at = at % bytes.len();
                bytes[at] = value;
                let _ = KvOutcome::decode(&bytes.into());
            }
        }
    }
}
