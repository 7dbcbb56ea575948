//! How a proposal or a read ends when it does not end with a result.

use std::sync::Arc;
use std::time::Duration;

use quorate_storage::{ConfEpoch, GroupDescriptor, GroupId, NodeId, ReplicaId, Timestamp};

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Where the leader was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderHint {
    /// Its replica.
    pub replica: ReplicaId,
    /// Its node.
    pub node: NodeId,
}

/// Typed outcomes. [`Error::is_retryable`] and [`Error::is_maybe_committed`] tell a caller what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This replica does not lead the group, and the request had no effect.
    #[error("not the leader of group {group}")]
    NotLeader {
        /// The group.
        group: GroupId,
        /// Who may lead it.
        hint: Option<LeaderHint>,
    },

    /// No room for the request; it had no effect.
    #[error("group {group} is busy")]
    Busy {
        /// The group.
        group: GroupId,
        /// When to try again.
        retry_after: Duration,
    },

    /// The leader's disk is almost full, and the command would not free space on it; it had no effect. Deletes
    /// are still taken.
    #[error(
        "the disk of group {group}'s leader is full: {free_bytes} bytes are free, {needed_bytes} are needed"
    )]
    DiskFull {
        /// The group.
        group: GroupId,
        /// Bytes that are free there.
        free_bytes: u64,
        /// Bytes that must be free for writes to be taken again.
        needed_bytes: u64,
    },

    /// Leadership is being handed over; the request had no effect.
    #[error("group {group} is transferring its leadership")]
    Transferring {
        /// The group.
        group: GroupId,
    },

    /// The group was stopped by a failure of its own on this node. It needs repair.
    #[error("group {group} is quarantined: {reason}")]
    Quarantined {
        /// The group.
        group: GroupId,
        /// Why.
        reason: Arc<str>,
        /// Whether the request may have been appended before.
        maybe_committed: bool,
    },

    /// The group or the node is being stopped; the request had no effect.
    #[error("group {group} is stopped")]
    Stopped {
        /// The group.
        group: GroupId,
    },

    /// This node has no replica of the group, or the group does not exist.
    #[error("no replica of group {group} here")]
    NoSuchGroup {
        /// The group.
        group: GroupId,
    },

    /// The deadline passed. A write may still commit.
    #[error("the deadline passed")]
    DeadlineExceeded,

    /// Leadership was lost after the entry had been appended: it may or may not commit.
    #[error("the outcome is not known: leadership of group {group} was lost after the entry was appended")]
    Indeterminate {
        /// The group.
        group: GroupId,
    },

    /// The request was routed by an older key range. It had no effect; the descriptor is the newer one.
    #[error("group {} does not serve that key under the given range epoch", .newer.group)]
    StaleRange {
        /// The group's descriptor now.
        newer: Box<GroupDescriptor>,
    },

    /// A membership change was proposed while another one was pending, or was replaced by raft. No effect.
    #[error("another membership change of group {group} is pending")]
    ConfChangePending {
        /// The group.
        group: GroupId,
    },

    /// A membership command was fenced: the membership has changed since.
    #[error("the membership has changed: its epoch is {current}, the command expected {expected}")]
    ConfEpochMismatch {
        /// What the command expected.
        expected: ConfEpoch,
        /// What it is.
        current: ConfEpoch,
    },

    /// A membership change that makes no sense: promote a voter, remove a stranger or the last voter, …
    #[error("refused membership change: {0}")]
    ConfChangeRefused(&'static str),

    /// A learner is too far behind to be given a vote.
    #[error("replica {replica} lags by {entries} entries")]
    Lagging {
        /// The learner.
        replica: ReplicaId,
        /// How far it is behind.
        entries: u64,
    },

    /// No lease for timestamps of this leadership was applied within the deadline.
    #[error("group {group} has no lease for timestamps yet")]
    NoCeiling {
        /// The group.
        group: GroupId,
    },

    /// The lease for timestamps ended, and was not renewed within the deadline.
    #[error("the lease of group {group} for timestamps reaches to {} ms and was not renewed", .ceiling.millis())]
    CeilingExpired {
        /// The group.
        group: GroupId,
        /// How far the lease reaches.
        ceiling: Timestamp,
    },

    /// The clock of the leader's node differs too much from those of the other nodes: it proposes no lease for timestamps.
    /// Another leader may.
    #[error("the clock of group {group}'s leader is {offset_ms} ms ahead of the median of the nodes")]
    ClockSkew {
        /// The group.
        group: GroupId,
        /// How far it is ahead; behind: negative.
        offset_ms: i64,
    },

    /// A remote timestamp is further ahead of the leader's clock than clocks may differ: it was not merged.
    #[error("that timestamp is {ahead_ms} ms ahead of the clock of group {group}'s leader")]
    TimestampAhead {
        /// The group.
        group: GroupId,
        /// How far.
        ahead_ms: u64,
    },

    /// Nothing like it can ever be applied: the caller's input is wrong (too large, malformed).
    #[error(transparent)]
    Invalid(quorate_storage::Error),

    /// Reading the state failed on this replica.
    #[error("cannot read the state: {0}")]
    Read(quorate_storage::Error),
}

impl Error {
    /// Whether the same request may simply be sent again (elsewhere, or later), because it had no effect.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NotLeader { .. }
            | Self::Busy { .. }
            | Self::DiskFull { .. }
            | Self::Transferring { .. }
            | Self::Stopped { .. }
            | Self::NoSuchGroup { .. }
            | Self::StaleRange { .. }
            | Self::ConfChangePending { .. }
            | Self::Lagging { .. }
            | Self::NoCeiling { .. }
            | Self::CeilingExpired { .. }
            | Self::ClockSkew { .. }
            | Self::Read(_) => true,
            Self::Quarantined { maybe_committed, .. } => !maybe_committed,
            Self::DeadlineExceeded
            | Self::Indeterminate { .. }
            | Self::ConfEpochMismatch { .. }
            | Self::ConfChangeRefused(_)
            | Self::TimestampAhead { .. }
            | Self::Invalid(_) => false,
        }
    }

    /// Whether a write that ended with this may nevertheless take effect.
    pub fn is_maybe_committed(&self) -> bool {
        match self {
            Self::DeadlineExceeded | Self::Indeterminate { .. } => true,
            Self::Quarantined { maybe_committed, .. } => *maybe_committed,
            _ => false,
        }
    }
}
