//! What goes into a group core and what comes out.

use quorate_storage::log::LogBatch;
use quorate_storage::snapshot::{SnapshotLabel, SnapshotToken};
use quorate_storage::{ConfChange, ConfState, Entry, GroupDescriptor, Index, ReplicaId, Term};
use quorate_transport::RaftMessage;

use crate::error::Error;

/// Names one proposal, read or command of a caller; chosen by the shell, never reused within a core's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One thing that happens to a group.
#[derive(Debug)]
pub enum Input {
    /// One tick of the group's logical clock.
    Tick,
    /// A message of another replica. It passes the validation gate before raft sees it. Not for
    /// [`quorate_transport::RaftMessageKind::Snapshot`]: see [`Input::Snapshot`].
    Message(RaftMessage),
    /// A message of kind [`quorate_transport::RaftMessageKind::Snapshot`], after its body was received and
    /// verified against its label.
    Snapshot {
        /// The message; its label is that of the received file.
        message: RaftMessage,
        /// The received file.
        token: SnapshotToken,
    },
    /// An encoded payload to replicate.
    Propose {
        /// Answered by [`Output::replies`] if it fails, else through [`Committed::ticket`].
        ticket: Ticket,
        /// An encoded [`quorate_storage::payload::Payload`].
        payload: bytes::Bytes,
    },
    /// A membership change.
    ProposeConfChange {
        /// As for a proposal.
        ticket: Ticket,
        /// The change.
        change: ConfChange,
    },
    /// A linearizable read barrier; answered by [`Output::reads`] or [`Output::replies`].
    Read {
        /// Names the barrier; the shell lets many callers share one.
        ticket: Ticket,
    },
    /// Hand leadership to `to`. Answered by [`Output::replies`] when done or given up.
    Transfer {
        /// Names the command.
        ticket: Ticket,
        /// The replica that shall lead; must be a voter that is close behind.
        to: ReplicaId,
    },
    /// Campaign at once: the first voter of a new group.
    Campaign,
    /// From now on (`true`) this replica does not campaign, or (`false`) it does again: its node's wall clock is not fit to
    /// lead. The only voter of a group campaigns all the same, because nobody else can.
    Abstain(bool),
    /// The shell of the leader of `term` says that it is quarantined: it will not lead in this term again. Followers
    /// campaign within a few ticks.
    LeaderQuarantined {
        /// The leader.
        replica: ReplicaId,
        /// The term it led in.
        term: Term,
    },
    /// Everything up to and including this ready is durable.
    Persisted {
        /// [`LogPersist::ready`].
        ready: u64,
    },
    /// The state machine holds everything up to here. Only advances.
    Applied {
        /// Index of the last entry applied.
        through: Index,
    },
    /// The entries a [`Fetch`] asked for, or nothing if they could not be read.
    Fetched {
        /// The request.
        fetch: Fetch,
        /// The entries, from `fetch.low` on.
        entries: Option<Vec<Entry>>,
    },
    /// Messages to this replica were dropped.
    Unreachable {
        /// The addressee.
        replica: ReplicaId,
    },
    /// A published snapshot that followers can be seeded with.
    SnapshotPublished {
        /// The file.
        token: SnapshotToken,
        /// What it holds.
        label: Box<SnapshotLabel>,
    },
    /// A snapshot transfer ended.
    SnapshotSent {
        /// To whom.
        to: ReplicaId,
        /// Whether the other side has taken it.
        delivered: bool,
    },
    /// The state machine could not take the snapshot that was installed: see [`crate::core::Group::is_waiting`].
    StateLost,
    /// The log was compacted up to and including `through`.
    Compacted {
        /// Last index that is gone.
        through: Index,
    },
}

/// What the shell has to do after one input, in the order of the fields.
#[derive(Debug, Default)]
pub struct Output {
    /// Records to make durable, in order. Handed to the log writer before anything else.
    pub persist: Vec<LogPersist>,
    /// Messages to send now. (Those that must wait for durability are kept by the core until
    /// [`Input::Persisted`].)
    pub messages: Vec<RaftMessage>,
    /// Committed work for the applier, in order.
    pub apply: Vec<Applying>,
    /// Answers to callers.
    pub replies: Vec<(Ticket, Reply)>,
    /// Read barriers that hold: the read may be served once the state machine is at this index.
    pub reads: Vec<(Ticket, Index)>,
    /// Entries to read from the log for a lagging follower.
    pub fetches: Vec<Fetch>,
    /// The group's role, leader or term changed to this.
    pub role: Option<Role>,
    /// A follower can only be helped by a snapshot that is newer than the published one (it was added later,
    /// or the log no longer reaches back): publish one at this index or above. Repeated while it is needed.
    pub snapshot_wanted: Option<Index>,
    /// Proof that this replica's log cannot be right. The group is to be quarantined.
    pub evidence: Option<Evidence>,
}

/// What a message of a rightful leader proves against this replica's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Evidence {
    /// The leader has another entry where this replica has a committed one.
    #[error("diverged at {index}: term {ours} is committed here, replica {from} has term {theirs}")]
    Diverged {
        /// Where.
        index: Index,
        /// Term of the entry here.
        ours: Term,
        /// Term of the leader's entry.
        theirs: Term,
        /// The leader.
        from: ReplicaId,
    },
    /// This replica has acknowledged entries that it no longer has. It must rejoin as a new one.
    #[error("log lost: replica {from} commits {commit}, the log ends at {last}")]
    LogLost {
        /// What the leader knows this replica to have.
        commit: Index,
        /// Where the log ends.
        last: Index,
        /// The leader.
        from: ReplicaId,
    },
}

/// Records to be made durable for one ready.
#[derive(Debug)]
pub struct LogPersist {
    /// Number to give back in [`Input::Persisted`]; ascending. Several may be answered by their last.
    pub ready: u64,
    /// The records.
    pub batch: LogBatch,
    /// Whether they must be synced before they count (false: only the commit index moved).
    pub sync: bool,
}

/// Work for the applier.
#[derive(Debug)]
pub enum Applying {
    /// Committed entries, contiguous, above everything given before.
    Entries(Vec<Committed>),
    /// An installed snapshot: the state is to be replaced by the received file with this token.
    /// Its log record is durable.
    Restore {
        /// The file.
        token: SnapshotToken,
        /// What it holds.
        label: Box<SnapshotLabel>,
    },
}

/// One committed entry.
#[derive(Debug)]
pub struct Committed {
    /// The entry.
    pub entry: Entry,
    /// Who waits for its result here.
    pub ticket: Option<Ticket>,
    /// For a conf change: what raft made of it. It ends its apply batch and is stored with the marker.
    pub conf: Option<Box<AppliedConf>>,
}

/// Membership after a conf change entry (also after one that was refused: then as before).
#[derive(Clone, Debug)]
pub struct AppliedConf {
    /// As raft counts it.
    pub conf_state: ConfState,
    /// With the new replicas and conf epoch.
    pub descriptor: GroupDescriptor,
    /// Why it had no effect, if it had none.
    pub refused: Option<Error>,
}

/// A wish for entries that are on disk only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Names the request.
    pub id: u64,
    /// First index.
    pub low: Index,
    /// Behind the last index.
    pub high: Index,
    /// Most bytes of payload (at least one entry).
    pub bytes_max: u64,
}

/// The end of a proposal, read or command that does not go through the applier.
#[derive(Debug)]
pub enum Reply {
    /// It is done (transfer).
    Done,
    /// It failed.
    Failed(Error),
}

/// Who leads, as this replica sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Role {
    /// Whether this replica leads.
    pub is_leader: bool,
    /// Whether this replica leads and has applied the empty entry of its own term: only then it takes user
    /// proposals.
    pub is_serving: bool,
    /// The leader, if one is known.
    pub leader: Option<ReplicaId>,
    /// The term.
    pub term: Term,
}
