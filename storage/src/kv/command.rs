//! The bytes of a [`KvCommand`]: version (1), then the archived command. The keys and values of a decoded
//! command share the memory of the entry it came in.

mod forms;

use bytes::Bytes;
use rkyv::api::high::{HighSerializer, to_bytes_in};
use rkyv::rancor;
use rkyv::ser::allocator::ArenaHandle;

use self::forms::{ArchivedKvCommandV1, ArchivedKvCommandV2, KvCommandV1, KvCommandV2};
use super::{Condition, KEY_BYTES_MAX, KvCommand, OPS_MAX, Op, RETURNING_OPS_MAX, VALUE_BYTES_MAX};
use crate::error::{Error, Result};

/// Puts and deletes only. Still written for them: older releases apply it too.
const VERSION_1: u8 = 1;

/// Every operation.
const VERSION_2: u8 = 2;

/// Room for what the archive adds to the keys and values of one condition or operation.
const ARCHIVED_OP_BYTES: usize = 24;

impl KvCommand {
    /// The command's bytes: the body of an entry. One copy of keys and values.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a key, a value or a number of conditions or operations over its limit.
    pub fn encode(&self) -> Result<Bytes> {
        self.check()?;
        let room = 1 + self.archived_bytes();
        Ok(match KvCommandV1::of(self) {
            Some(form) => archive(VERSION_1, &form, room),
            None => archive(VERSION_2, &KvCommandV2::of(self), room),
        })
    }

    /// Reads a command's bytes. No copy.
    ///
    /// # Errors
    /// [`Error::Malformed`] for bytes that are no command; [`Error::TooLarge`] for one over the limits.
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        let malformed = || Error::Malformed { what: "key-value command" };
        let (&version, archive) = bytes.split_first().ok_or_else(malformed)?;
        let command = match version {
            VERSION_1 => rkyv::access::<ArchivedKvCommandV1<'_>, rancor::Failure>(archive)
                .map(|form| form.to_command(bytes)),
            VERSION_2 => rkyv::access::<ArchivedKvCommandV2<'_>, rancor::Failure>(archive)
                .map(|form| form.to_command(bytes)),
            _ => return Err(malformed()),
        };
        let command = command.map_err(|_| malformed())?;
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
        let returning = self.ops.iter().filter(|op| op.is_returning()).count();
        limit("operations of a command that return a value", returning, RETURNING_OPS_MAX)?;
        for condition in &self.conditions {
            limit("key", condition.key().len(), KEY_BYTES_MAX)?;
            if let Condition::Equals(_, value) = condition {
                limit("value", value.len(), VALUE_BYTES_MAX)?;
            }
        }
        self.ops.iter().try_for_each(Op::check)
    }

    /// About how many bytes the archive takes.
    fn archived_bytes(&self) -> usize {
        let conditions = self.conditions.iter().map(|condition| match condition {
            Condition::Equals(key, value) => key.len() + value.len(),
            Condition::Absent(key) | Condition::Present(key) => key.len(),
        });
        (self.conditions.len() + self.ops.len() + 1) * ARCHIVED_OP_BYTES
            + conditions.sum::<usize>()
            + self.ops.iter().map(Op::bytes).sum::<usize>()
    }
}

/// `version`, then the archive of `form`, in a buffer with `room` for both.
pub(super) fn archive<T>(version: u8, form: &T, room: usize) -> Bytes
where
    T: for<'a> rkyv::Serialize<HighSerializer<Vec<u8>, ArenaHandle<'a>, rancor::Error>>,
{
    let mut bytes = Vec::with_capacity(room);
    bytes.push(version);
    let bytes = to_bytes_in::<_, rancor::Error>(form, bytes)
        .unwrap_or_else(|cause| unreachable!("memory takes what fits its limits: {cause}"));
    bytes.into()
}

pub(super) fn limit(what: &'static str, bytes: usize, bytes_max: usize) -> Result<()> {
    if bytes > bytes_max {
        return Err(Error::TooLarge { what, bytes: bytes as u64, bytes_max: bytes_max as u64 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kv::When;

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

    fn every_op() -> KvCommand {
        let set = |key: &'static str, when, returns_previous| Op::Set {
            key: key.into(),
            value: Bytes::from_static(b"new"),
            when,
            returns_previous,
        };
        let mut command = command();
        command.ops.extend([
            set("s", When::Always, true),
            set("n", When::Absent, false),
            set("x", When::Present, false),
            Op::Append(Bytes::from_static(b"text"), Bytes::from_static(b"suffix")),
            Op::Add(Bytes::from_static(b"count"), -7),
        ]);
        command
    }

    fn take() -> KvCommand {
        KvCommand { conditions: Vec::new(), ops: vec![Op::Take(Bytes::from_static(b"t"))] }
    }

    #[test]
    fn a_command_reads_back_as_written() {
        for command in [every_op(), take()] {
            assert_eq!(KvCommand::decode(&command.encode().unwrap()).unwrap(), command);
        }
        assert_eq!(KvCommand::decode(&command().encode().unwrap()).unwrap(), command());
        let nothing = KvCommand::default();
        assert_eq!(KvCommand::decode(&nothing.encode().unwrap()).unwrap(), nothing);
    }

    #[test]
    fn every_version_is_pinned() {
        // Puts and deletes keep the first version, which older releases apply.
        for (command, version, pinned) in
            [(command(), 1, PINNED_1), (every_op(), 2, PINNED_2), (take(), 2, PINNED_2_TAKE)]
        {
            let bytes = command.encode().unwrap();
            assert_eq!(bytes[0], version);
            assert_eq!(crc32fast::hash(&bytes), pinned, "the archived form changed: {bytes:02x?}");
        }
    }

    /// Checksum of the bytes of `command()` as version 1 has them.
    const PINNED_1: u32 = 384_909_226;
    /// Checksums of the bytes of `every_op()` and `take()` as version 2 has them.
    const PINNED_2: u32 = 2_761_287_411;
    const PINNED_2_TAKE: u32 = 860_578_303;

    #[test]
    fn what_is_over_a_limit_is_refused_in_both_directions() {
        let key = Bytes::from(vec![0; KEY_BYTES_MAX + 1]);
        let value = Bytes::from(vec![0; VALUE_BYTES_MAX + 1]);
        let ops = |ops| KvCommand { conditions: Vec::new(), ops };
        let limits = [
            (ops(vec![Op::Delete(key.clone())]), "key"),
            (ops(vec![Op::Put(Bytes::new(), value.clone())]), "value"),
            (ops(vec![Op::Delete(Bytes::new()); OPS_MAX + 1]), "operations of a command"),
            (ops(vec![Op::Append(Bytes::new(), value.clone())]), "value"),
            (ops(vec![Op::Add(key.clone(), 1)]), "key"),
            (ops(vec![Op::Take(Bytes::new()); 2]), "operations of a command that return a value"),
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
        fn arbitrary_bytes_never_panic(
            version in VERSION_1..=VERSION_2,
            mut bytes in proptest::collection::vec(any::<u8>(), 1..256),
        ) {
            bytes[0] = version;
            let _ = KvCommand::decode(&bytes.into());
        }

        #[test]
        fn damaged_commands_never_panic(at in 0_usize..400, value in any::<u8>()) {
            for command in [command(), every_op()] {
                let mut bytes = command.encode().unwrap().to_vec();
                let at = at % bytes.len();
                bytes[at] = value;
                let _ = KvCommand::decode(&bytes.into());
            }
        }
    }
}
