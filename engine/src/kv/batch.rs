//! A write that is put together, and how it ended.

use bytes::Bytes;
use quorate_storage::EntryId;
use quorate_storage::kv::{Condition, KvCommand, KvOutcome, Op, OpResult, When};

/// A write to one group, as one entry of its log.
///
/// If a condition ([`WriteBatch::only_if`]) does not hold, nothing changes. Otherwise the operations run in
/// order, each sees what the ones before it did, and nobody sees them half done. Each is decided on its own: one
/// that cannot be done says so in its [`OpResult`] and changes nothing, the others happen.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let dir = tempfile::tempdir().unwrap();
/// # let node = quorate::Builder::new(dir.path()).open().await?;
/// use quorate::{OpResult, WriteBatch};
///
/// let batch = WriteBatch::new().add("visits", 1).append("log", "seen ").put_if_absent("first", "today");
/// let written = node.write(batch).await?;
/// let done = OpResult::done(false);
/// assert_eq!(written.results(), [OpResult::Number(1), OpResult::Number(5), done]);
/// # node.shutdown().await?;
/// # Ok::<(), quorate::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    pub(super) command: KvCommand,
}

impl WriteBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key`.
    #[must_use]
    pub fn put(self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.op(Op::Put(key.into(), value.into()))
    }

    /// Sets `key` if it is absent, else the result is [`OpResult::Unmet`].
    #[must_use]
    pub fn put_if_absent(self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.set(key.into(), value.into(), When::Absent)
    }

    /// Sets `key` if it is present, else the result is [`OpResult::Unmet`].
    #[must_use]
    pub fn put_if_present(self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.set(key.into(), value.into(), When::Present)
    }

    /// Removes `key`.
    #[must_use]
    pub fn delete(self, key: impl Into<Bytes>) -> Self {
        self.op(Op::Delete(key.into()))
    }

    /// Removes `key` and gives back the value it had, in [`OpResult::Done`]. Only one operation of a batch may
    /// give a value back.
    #[must_use]
    pub fn take(self, key: impl Into<Bytes>) -> Self {
        self.op(Op::Take(key.into()))
    }

    /// Appends `suffix` to the value of `key`; an absent one counts as empty. The result is the new length.
    #[must_use]
    pub fn append(self, key: impl Into<Bytes>, suffix: impl Into<Bytes>) -> Self {
        self.op(Op::Append(key.into(), suffix.into()))
    }

    /// Adds `delta` to the value of `key`, a decimal integer ([`Op::Add`] says exactly which); an absent one
    /// counts as 0. The result is the sum.
    #[must_use]
    pub fn add(self, key: impl Into<Bytes>, delta: i64) -> Self {
        self.op(Op::Add(key.into(), delta))
    }

    /// Any operation, such as an [`Op::Set`] that gives back the value before.
    #[must_use]
    pub fn op(mut self, op: Op) -> Self {
        self.command.ops.push(op);
        self
    }

    /// Takes effect only if `key` has `value` (`None`: is absent) before the first operation.
    #[must_use]
    pub fn only_if(mut self, key: impl Into<Bytes>, value: Option<Bytes>) -> Self {
        self.command.conditions.push(match value {
            Some(value) => Condition::Equals(key.into(), value),
            None => Condition::Absent(key.into()),
        });
        self
    }

    fn set(self, key: Bytes, value: Bytes, when: When) -> Self {
        self.op(Op::Set { key, value, when, returns_previous: false })
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        let conditions = self.command.conditions.iter().map(Condition::key);
        conditions.chain(self.command.ops.iter().map(Op::key))
    }
}

/// How a write that was applied ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where it stands in the group's log.
    pub id: EntryId,
    /// What it did.
    pub outcome: KvOutcome,
}

impl Written {
    /// Whether its conditions held, so that its operations were run. [`Written::results`] has what each of them
    /// did.
    pub fn is_applied(&self) -> bool {
        matches!(self.outcome, KvOutcome::Applied { .. })
    }

    /// What each operation did, in the order of the batch; empty if a condition did not hold.
    pub fn results(&self) -> &[OpResult] {
        match &self.outcome {
            KvOutcome::Applied { results } => results,
            KvOutcome::Refused { .. } => &[],
        }
    }
}
