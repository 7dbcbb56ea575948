//! The archived forms of a command, frozen: a change is a new form under a new version. And the way from and to
//! them.

use bytes::Bytes;
use rkyv::{Archive, Serialize};

use crate::kv::{Condition, KvCommand, Op, When};

/// Version 1: puts and deletes.
#[derive(Archive, Serialize)]
pub(super) struct KvCommandV1<'a> {
    conditions: Vec<ConditionV1<'a>>,
    ops: Vec<OpV1<'a>>,
}

/// Version 2: every operation.
#[derive(Archive, Serialize)]
pub(super) struct KvCommandV2<'a> {
    conditions: Vec<ConditionV1<'a>>,
    ops: Vec<OpV2<'a>>,
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

#[derive(Archive, Serialize)]
enum OpV2<'a> {
    Put(#[rkyv(with = rkyv::with::InlineAsBox)] &'a [u8], #[rkyv(with = rkyv::with::InlineAsBox)] &'a [u8]),
    Delete(#[rkyv(with = rkyv::with::InlineAsBox)] &'a [u8]),
    Set {
        #[rkyv(with = rkyv::with::InlineAsBox)]
        key: &'a [u8],
        #[rkyv(with = rkyv::with::InlineAsBox)]
        value: &'a [u8],
        when: WhenV2,
        returns_previous: bool,
    },
    Take(#[rkyv(with = rkyv::with::InlineAsBox)] &'a [u8]),
    Append(
        #[rkyv(with = rkyv::with::InlineAsBox)] &'a [u8],
        #[rkyv(with = rkyv::with::InlineAsBox)] &'a [u8],
    ),
    Add(#[rkyv(with = rkyv::with::InlineAsBox)] &'a [u8], i64),
}

#[derive(Archive, Serialize)]
enum WhenV2 {
    Always,
    Absent,
    Present,
}

const _: () = assert!(size_of::<ArchivedKvCommandV1<'_>>() == 16, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedKvCommandV2<'_>>() == 16, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedConditionV1<'_>>() == 17, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedOpV1<'_>>() == 17, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedOpV2<'_>>() == 19, "as docs/FORMAT.md has it");

impl<'a> KvCommandV1<'a> {
    /// The form of `command`; `None` if it has an operation that version 1 does not know.
    pub(super) fn of(command: &'a KvCommand) -> Option<Self> {
        let ops = command.ops.iter().map(|op| match op {
            Op::Put(key, value) => Some(OpV1::Put(key, value)),
            Op::Delete(key) => Some(OpV1::Delete(key)),
            _ => None,
        });
        Some(Self { ops: ops.collect::<Option<_>>()?, conditions: conditions(command) })
    }
}

impl<'a> KvCommandV2<'a> {
    /// The form of `command`.
    pub(super) fn of(command: &'a KvCommand) -> Self {
        Self { conditions: conditions(command), ops: command.ops.iter().map(OpV2::from).collect() }
    }
}

fn conditions(command: &KvCommand) -> Vec<ConditionV1<'_>> {
    command.conditions.iter().map(ConditionV1::from).collect()
}

impl ArchivedKvCommandV1<'_> {
    /// The command; its keys and values share the memory of `bytes`, in which this stands.
    pub(super) fn to_command(&self, bytes: &Bytes) -> KvCommand {
        let conditions = self.conditions.iter().map(|condition| condition.to_condition(bytes));
        let ops = self.ops.iter().map(|op| match op {
            ArchivedOpV1::Put(key, value) => Op::Put(bytes.slice_ref(key), bytes.slice_ref(value)),
            ArchivedOpV1::Delete(key) => Op::Delete(bytes.slice_ref(key)),
        });
        KvCommand { conditions: conditions.collect(), ops: ops.collect() }
    }
}

impl ArchivedKvCommandV2<'_> {
    /// As [`ArchivedKvCommandV1::to_command`].
    pub(super) fn to_command(&self, bytes: &Bytes) -> KvCommand {
        let conditions = self.conditions.iter().map(|condition| condition.to_condition(bytes));
        let ops = self.ops.iter().map(|op| op.to_op(bytes));
        KvCommand { conditions: conditions.collect(), ops: ops.collect() }
    }
}

impl ArchivedConditionV1<'_> {
    fn to_condition(&self, bytes: &Bytes) -> Condition {
        match self {
            Self::Equals(key, value) => Condition::Equals(bytes.slice_ref(key), bytes.slice_ref(value)),
            Self::Absent(key) => Condition::Absent(bytes.slice_ref(key)),
            Self::Present(key) => Condition::Present(bytes.slice_ref(key)),
        }
    }
}

impl ArchivedOpV2<'_> {
    fn to_op(&self, bytes: &Bytes) -> Op {
        match self {
            Self::Put(key, value) => Op::Put(bytes.slice_ref(key), bytes.slice_ref(value)),
            Self::Delete(key) => Op::Delete(bytes.slice_ref(key)),
            Self::Set { key, value, when, returns_previous } => Op::Set {
                key: bytes.slice_ref(key),
                value: bytes.slice_ref(value),
                when: match when {
                    ArchivedWhenV2::Always => When::Always,
                    ArchivedWhenV2::Absent => When::Absent,
                    ArchivedWhenV2::Present => When::Present,
                },
                returns_previous: *returns_previous,
            },
            Self::Take(key) => Op::Take(bytes.slice_ref(key)),
            Self::Append(key, suffix) => Op::Append(bytes.slice_ref(key), bytes.slice_ref(suffix)),
            Self::Add(key, delta) => Op::Add(bytes.slice_ref(key), delta.to_native()),
        }
    }
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

impl<'a> From<&'a Op> for OpV2<'a> {
    fn from(op: &'a Op) -> Self {
        match op {
            Op::Put(key, value) => Self::Put(key, value),
            Op::Delete(key) => Self::Delete(key),
            Op::Set { key, value, when, returns_previous } => {
                let when = match when {
                    When::Always => WhenV2::Always,
                    When::Absent => WhenV2::Absent,
                    When::Present => WhenV2::Present,
                };
                Self::Set { key, value, when, returns_previous: *returns_previous }
            }
            Op::Take(key) => Self::Take(key),
            Op::Append(key, suffix) => Self::Append(key, suffix),
            Op::Add(key, delta) => Self::Add(key, *delta),
        }
    }
}
