//! What a group says of itself.

use std::sync::Arc;

use quorate_storage::{
    ConfEpoch, EntryId, GroupDescriptor, GroupId, GroupUid, Incarnation, Index, KeyRange, NodeId, RangeEpoch,
    ReplicaId, Term, Timestamp,
};

use crate::actor::consistency::ConsistencyReport;
use crate::actor::scrub::Scrubbed;
use crate::core::{PeerStatus, Role};

/// Whether a group serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lifecycle {
    /// It takes part.
    Running,
    /// It finishes what it has and takes nothing new.
    Stopping,
    /// It was stopped.
    Stopped,
    /// Entries of its log are unreadable and are being fetched from other replicas; the text says which and what it
    /// waits for. It takes no part meanwhile.
    Repairing(Arc<str>),
    /// It has no intact snapshot that its log reaches, says the text: it votes and appends, never leads, applies and serves
    /// nothing, and asks the leader for a snapshot. By itself it runs again once it has one.
    Waiting(Arc<str>),
    /// A failure of its own stopped it; the reason says which. Its files are left as they were.
    Quarantined(Arc<str>),
}

/// A group's state as of the last tick of its actor (`applied`, `hlc_ceiling` and `lifecycle`: as of now).
#[derive(Clone, Debug)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// This replica.
    pub replica: ReplicaId,
    /// This replica's directory.
    pub incarnation: Incarnation,
    /// The node it lives on.
    pub node: NodeId,
    /// Whether it serves.
    pub lifecycle: Lifecycle,
    /// Who leads, and in which term.
    pub role: Role,
    /// First index of the log. Invariant: `first <= applied + 1`, except while a snapshot that was received is restored.
    pub first: Index,
    /// Last index the state machine holds. Invariant: `applied <= commit <= last`.
    pub applied: Index,
    /// Last index known to be committed.
    pub commit: Index,
    /// What was known to be committed at the start: until it is applied, the replica replays its log.
    pub replay_through: Index,
    /// Last index of the log.
    pub last: Index,
    /// What a leader knows of each replica, by id; empty elsewhere.
    pub peers: Vec<PeerStatus>,
    /// The newest snapshot.
    pub snapshot: Option<EntryId>,
    /// The ceiling of the group's clock as of `applied`: no leader has given a timestamp at or above it. 0 before the
    /// first lease.
    pub hlc_ceiling: Timestamp,
    /// The group's descriptor as of `applied`.
    pub descriptor: Arc<GroupDescriptor>,
    /// A log write has not returned for two election timeouts: the disk hangs.
    pub is_log_stalled: bool,
    /// An apply batch has not ended for two election timeouts: the disk, or the state machine, hangs.
    pub is_apply_stalled: bool,
    /// The latest scan of this replica that found its state whole, since its start.
    pub last_scrub: Option<Scrubbed>,
    /// The latest comparison of the replicas that this one began as their leader, since its start.
    pub last_check: Option<Arc<ConsistencyReport>>,
}

impl GroupStatus {
    /// Whether `replica` is one of the group's, in that directory, on the node `from`. A directory that the descriptor
    /// does not know yet may be any.
    pub(crate) fn is_member(&self, from: NodeId, replica: ReplicaId, incarnation: Incarnation) -> bool {
        self.descriptor.replica(replica).is_some_and(|known| {
            known.node == from && (known.incarnation.is_zero() || known.incarnation == incarnation)
        })
    }

    /// Whether the replica still applies what its log had when it was started.
    pub fn is_replaying(&self) -> bool {
        self.applied < self.replay_through
    }

    /// Of a group that was never opened.
    pub(crate) fn unknown(group: GroupId, node: NodeId) -> Self {
        let descriptor = GroupDescriptor {
            group,
            uid: GroupUid::ZERO,
            range: KeyRange::all(),
            range_epoch: RangeEpoch(0),
            conf_epoch: ConfEpoch(0),
            replicas: Vec::new(),
        };
        Self {
            group,
            replica: ReplicaId(0),
            incarnation: Incarnation::ZERO,
            node,
            lifecycle: Lifecycle::Running,
            role: Role { is_leader: false, is_serving: false, leader: None, term: Term(0) },
            first: Index(0),
            applied: Index(0),
            commit: Index(0),
            replay_through: Index(0),
            last: Index(0),
            peers: Vec::new(),
            snapshot: None,
            hlc_ceiling: Timestamp(0),
            descriptor: Arc::new(descriptor),
            is_log_stalled: false,
            is_apply_stalled: false,
            last_scrub: None,
            last_check: None,
        }
    }
}

/// Counters of a group's actor since its start, beside its [`quorate_telemetry::GroupStats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActorCounters {
    /// Requests refused because the mailbox was full.
    pub requests_refused: u64,
    /// Messages of other replicas dropped because the mailbox was full, or from the wrong node.
    pub messages_dropped: u64,
    /// Linearizable barriers put through raft. Many reads share one.
    pub read_barriers: u64,
}
