//! What nodes say to each other.

use bytes::Bytes;
use quorate_storage::snapshot::SnapshotLabel;
use quorate_storage::{Entry, EntryId, GroupId, GroupUid, Incarnation, Index, ReplicaId, Term};

/// The two lanes of a node pair, one connection each: control never waits behind bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Votes, heartbeats, read index, requests and replies.
    Control,
    /// Appends and snapshot chunks.
    Bulk,
}

/// Raft's message types that travel between replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are raft's own")]
pub enum RaftMessageKind {
    Append,
    AppendResponse,
    RequestVote,
    RequestVoteResponse,
    RequestPreVote,
    RequestPreVoteResponse,
    Snapshot,
    Heartbeat,
    HeartbeatResponse,
    TransferLeader,
    TimeoutNow,
    ReadIndex,
    ReadIndexResponse,
}

impl RaftMessageKind {
    /// The lane this kind travels on.
    pub const fn lane(self) -> Lane {
        match self {
            Self::Append | Self::Snapshot => Lane::Bulk,
            _ => Lane::Control,
        }
    }
}

/// A raft message in our form, addressed from replica to replica. Converted to raft-rs's struct only after
/// it has been validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftMessage {
    /// The group.
    pub group: GroupId,
    /// The group's identity; another uid is another group.
    pub uid: GroupUid,
    /// Sender.
    pub from: ReplicaId,
    /// Sender's directory.
    pub from_incarnation: Incarnation,
    /// Addressee.
    pub to: ReplicaId,
    /// Addressee's directory as far as the sender knows; zero if it does not.
    pub to_incarnation: Incarnation,
    /// What it is.
    pub kind: RaftMessageKind,
    /// Sender's term.
    pub term: Term,
    /// Raft's `index` and `log_term`.
    pub log: EntryId,
    /// Commit index, and the term there.
    pub commit: EntryId,
    /// Entries of an append.
    pub entries: Vec<Entry>,
    /// Label of the snapshot, for [`RaftMessageKind::Snapshot`]; the body travels as a stream.
    pub snapshot: Option<Box<SnapshotLabel>>,
    /// Index of a snapshot the follower asks for; 0 for none.
    pub request_snapshot: Index,
    /// Whether this response is a refusal.
    pub reject: bool,
    /// Where to try next, for a refused append.
    pub reject_hint: Index,
    /// Opaque to the wire: read-index and transfer contexts.
    pub context: Bytes,
    /// Raft's election priority.
    pub priority: i64,
}

/// What a request asks for; the body's form belongs to whoever defines the kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestKind(pub u16);
