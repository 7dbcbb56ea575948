//! The bytes of a [`KvCommand`]: version (1), then the archived command. The keys and values of a decoded
//! command share the memory of the entry it came in.

use bytes::Bytes;
use rkyv::rancor;
use rkyv::{Archive, Serialize};

use super::{Condition, KEY_BYTES_MAX, KvCommand, OPS_MAX, Op, VALUE_BYTES_MAX};
use crate::error::{Error, Result};

/// The version this release writes, and the only one it reads.
const VERSION: u8 = 1;

/// Room for what the archive adds to the keys and values of one condition or operation.
const ARCHIVED_OP_BYTES: usize = 24;

#[derive(Archive, Serialize)]
struct KvCommandV1<'a> {
    conditions: Vec<ConditionV1<'a>>,
    ops: Vec<OpV1<'a>>,
}

#[derive(Archive, Serialize)]
enum ConditionV1<'a> {
    Equals(
        #[rkyv(with = rkyv::with::InlineAsBox)] &'a [u8],
        #[rkyv(with = rkyv::with::InlineAsBox)] &'a [u8],
    ),
    Absent(#[rkyv(with = rkyv::with::InlineAsBox)] &'a [u8]),
    Present(#[rkyv(with = rkyv::with::InlineAsBox)] &'a [u8]),
}

#[derive(Archive, Serialize)]
enum OpV1<'a> {
    Put(#[rkyv(with = rkyv::with::InlineAsBox)] &'a [u8], #[rkyv(with = rkyv::with::InlineAsBox)] &'a [u8]),
    Delete(#[rkyv(with = rkyv::with::InlineAsBox)] &'a [u8]),
}

const _: () = assert!(size_of::<ArchivedKvCommandV1<'_>>() == 16, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedConditionV1<'_>>() == 17, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedOpV1<'_>>() == 17, "as docs/FORMAT.md has it");

impl KvCommand {
    /// The command's bytes: the body of an entry. One copy of keys and values.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a key, a value or a number of conditions or operations over its limit.
    pub fn encode(&self) -> Result<Bytes> {
        self.check()?;
        let mut bytes = Vec::with_capacity(1 + self.archived_bytes());
        bytes.push(VERSION);
        let form = KvCommandV1 {
            conditions: self.conditions.iter().map(ConditionV1::from).collect(),
            ops: self.ops.iter().map(OpV1::from).collect(),
        };
        let bytes = rkyv::api::high::to_bytes_in::<_, rancor::Error>(&form, bytes)
            .unwrap_or_else(|cause| unreachable!("a checked command always archives: {cause}"));
        Ok(bytes.into())
    }

    /// Reads a command's bytes. No copy.
    ///
    /// # Errors
    /// [`Error::Malformed`] for bytes that are no command; [`Error::TooLarge`] for one over the limits.
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        let malformed = || Error::Malformed { what: "key-value command" };
        let (&version, archive) = bytes.split_first().ok_or_else(malformed)?;
        if version != VERSION {
            return Err(malformed());
        }
        let form =
            rkyv::access::<ArchivedKvCommandV1<'_>, rancor::Failure>(archive).map_err(|_| malformed())?;
        let share = |part: &[u8]| bytes.slice_ref(part);
        let command = Self {
            conditions: form
                .conditions
                .iter()
                .map(|condition| match condition {
                    ArchivedConditionV1::Equals(key, value) => Condition::Equals(share(key), share(value)),
                    ArchivedConditionV1::Absent(key) => Condition::Absent(share(key)),
                    ArchivedConditionV1::Present(key) => Condition::Present(share(key)),
                })
                .collect(),
            ops: form
                .ops
                .iter()
                .map(|op| match op {
                    ArchivedOpV1::Put(key, value) => Op::Put(share(key), share(value)),
                    ArchivedOpV1::Delete(key) => Op::Delete(share(key)),
                })
                .collect(),
        };
        command.check()?;
        Ok(command)
    }

    /// Checks every limit.
    ///
    /// # Errors
    /// [`Error::TooLarge`], naming the first limit that is exceeded.
    pub fn check(&self) -> Result<()> {
        limit("conditions of a command", self.conditions.len(), OPS_MAX)?;
        limit("operations of a command", self.ops.len(), OPS_MAX)?;
        for condition in &self.conditions {
            let (Condition::Equals(key, _) | Condition::Absent(key) | Condition::Present(key)) = condition;
            limit("key", key.len(), KEY_BYTES_MAX)?;
            if let Condition::Equals(_, value) = condition {
                limit("value", value.len(), VALUE_BYTES_MAX)?;
            }
        }
        for op in &self.ops {
            let (Op::Put(key, _) | Op::Delete(key)) = op;
            limit("key", key.len(), KEY_BYTES_MAX)?;
            if let Op::Put(_, value) = op {
                limit("value", value.len(), VALUE_BYTES_MAX)?;
            }
        }
        Ok(())
    }

    /// About how many bytes the archive takes.
    fn archived_bytes(&self) -> usize {
        let conditions = self.conditions.iter().map(|condition| match condition {
            Condition::Equals(key, value) => key.len() + value.len(),
            Condition::Absent(key) | Condition::Present(key) => key.len(),
        });
        let ops = self.ops.iter().map(|op| match op {
            Op::Put(key, value) => key.len() + value.len(),
            Op::Delete(key) => key.len(),
        });
        (self.conditions.len() + self.ops.len() + 1) * ARCHIVED_OP_BYTES
            + conditions.sum::<usize>()
            + ops.sum::<usize>()
    }
}

fn limit(what: &'static str, bytes: usize, bytes_max: usize) -> Result<()> {
    if bytes > bytes_max {
        return Err(Error::TooLarge { what, bytes: bytes as u64, bytes_max: bytes_max as u64 });
    }
    Ok(())
}

impl<'a> From<&'a Condition> for ConditionV1<'a> {
    fn from(condition: &'a Condition) -> Self {
        match condition {
            Condition::Equals(key, value) => Self::Equals(key, value),
            Condition::Absent(key) => Self::Absent(key),
            Condition::Present(key) => Self::Present(key),
        }
    }
}

impl<'a> From<&'a Op> for OpV1<'a> {
    fn from(op: &'a Op) -> Self {
        match op {
            Op::Put(key, value) => Self::Put(key, value),
            Op::Delete(key) => Self::Delete(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn command() -> KvCommand {
        KvCommand {
            conditions: vec![
                Condition::Equals(Bytes::from_static(b"a"), Bytes::from_static(b"1")),
                Condition::Absent(Bytes::new()),
                Condition::Present(Bytes::from_static(b"c")),
            ],
            ops: vec![
                Op::Put(Bytes::from_static(b"k"), Bytes::from_static(b"value")),
                Op::Put(Bytes::from_static(b"empty"), Bytes::new()),
                Op::Delete(Bytes::from_static(b"gone")),
            ],
        }
    }

    #[test]
    fn a_command_reads_back_as_written() {
        assert_eq!(KvCommand::decode(&command().encode().unwrap()).unwrap(), command());
        let nothing = KvCommand::default();
        assert_eq!(KvCommand::decode(&nothing.encode().unwrap()).unwrap(), nothing);
    }

    #[test]
    fn the_first_version_is_pinned() {
        let bytes = command().encode().unwrap();
        assert_eq!(crc32fast::hash(&bytes), PINNED_CRC, "the archived form changed: {bytes:02x?}");
    }

    /// Checksum of the bytes of `command()` as version 1 has them.
    const PINNED_CRC: u32 = 384_909_226;

    #[test]
    fn what_is_over_a_limit_is_refused_in_both_directions() {
        let key = Bytes::from(vec![0; KEY_BYTES_MAX + 1]);
        let value = Bytes::from(vec![0; VALUE_BYTES_MAX + 1]);
        let ops = |ops| KvCommand { conditions: Vec::new(), ops };
        let limits = [
            (ops(vec![Op::Delete(key.clone())]), "key"),
            (ops(vec![Op::Put(Bytes::new(), value)]), "value"),
            (ops(vec![Op::Delete(Bytes::new()); OPS_MAX + 1]), "operations of a command"),
            (KvCommand { conditions: vec![Condition::Absent(key)], ops: Vec::new() }, "key"),
        ];
        for (command, limit) in limits {
            assert!(
                matches!(command.encode(), Err(Error::TooLarge { what, .. }) if what == limit),
                "{limit} is not enforced"
            );
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 1..256)) {
            bytes[0] = VERSION;
            let _ = KvCommand::decode(&bytes.into());
        }

        #[test]
        fn damaged_commands_never_panic(at in 0_usize..200, value in any::<u8>()) {
            let mut bytes = command().encode().unwrap().to_vec();
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = KvCommand::decode(&bytes.into());
        }
    }
}
