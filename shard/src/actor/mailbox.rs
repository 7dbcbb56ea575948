//! The actor's mailbox: two queues, so that messages and completions never wait behind client requests.

use std::time::Duration;

use bytes::Bytes;
use quorate_storage::snapshot::{SnapshotLabel, SnapshotToken};
use quorate_storage::{
    ConfChange, Entry, EntryId, GroupDescriptor, Index, NodeId, RangeEpoch, ReplicaId, Term,
};
use quorate_transport::RaftMessage;
use tokio::sync::{mpsc, oneshot};

use crate::actor::budget::Permit;
use crate::actor::consistency::ConsistencyReport;
use crate::actor::label::LabelRead;
use crate::actor::quarantine::Failure;
use crate::actor::read::{ReadLevel, ReadWaiter};
use crate::actor::rebuild::LookedAt;
use crate::actor::scrub::ScrubOutcome;
use crate::actor::time::TimeCall;
use crate::actor::waiting::SnapshotWanted;
use crate::applier::Restoration;
use crate::core::Fetch;
use crate::error::{Error, Result};

/// The result of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Where it stands in the log.
    pub id: EntryId,
    /// What the state machine answered.
    pub output: Bytes,
}

/// Answers a proposal, straight from the worker that applied it.
pub(crate) type ProposalReply = oneshot::Sender<Result<Applied>>;

/// What a client asks for. Bounded by the mailbox's budget.
#[derive(Debug)]
pub(crate) enum Request {
    Propose { payload: Bytes, range_epoch: RangeEpoch, reply: ProposalReply },
    Read { level: ReadLevel, waiter: ReadWaiter },
    ChangeConf { change: ConfChange, reply: oneshot::Sender<Result<GroupDescriptor>> },
    Transfer { to: ReplicaId, reply: oneshot::Sender<Result<()>> },
    PublishSnapshot { at_least: Option<Index>, reply: oneshot::Sender<Result<SnapshotToken>> },
    Time(TimeCall),
    CheckConsistency { reply: oneshot::Sender<Result<ConsistencyReport>> },
}

impl Request {
    /// Ends it without an effect.
    pub(crate) fn fail(self, error: Error) {
        match self {
            Self::Propose { reply, .. } => drop(reply.send(Err(error))),
            Self::Read { waiter, .. } => waiter.fail(error),
            Self::ChangeConf { reply, .. } => drop(reply.send(Err(error))),
            Self::Transfer { reply, .. } => drop(reply.send(Err(error))),
            Self::PublishSnapshot { reply, .. } => drop(reply.send(Err(error))),
            Self::Time(call) => call.fail(error),
            Self::CheckConsistency { reply } => drop(reply.send(Err(error))),
        }
    }
}

/// A request and the room it takes.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) request: Request,
    pub(crate) permit: Permit,
}

/// What happens to a group apart from requests. Only messages are budgeted: completions are bounded by the jobs
/// that are in flight.
#[derive(Debug)]
pub(crate) enum Event {
    Message {
        from: NodeId,
        message: Box<RaftMessage>,
        permit: Permit,
    },
    Unreachable(ReplicaId),
    Campaign,
    /// The leader of `term` has been quarantined, says its node.
    LeaderQuarantined {
        replica: ReplicaId,
        term: Term,
    },
    /// Everything up to `ready` is durable; `is_idle` if nothing else is queued.
    Persisted {
        ready: Option<u64>,
        is_idle: bool,
    },
    Applied {
        through: Index,
    },
    /// The applier has come to an installed snapshot: whoever takes this carries the restore out.
    Restoring(Box<Restoration>),
    Fetched {
        fetch: Fetch,
        entries: Option<Vec<Entry>>,
    },
    /// What the newest snapshot of before the start holds.
    LabelRead(LabelRead),
    SnapshotPublished(quorate_storage::Result<Published>),
    /// Follows a snapshot that was published.
    SnapshotSettled(Settled),
    /// A transfer ended.
    SnapshotSent {
        to: ReplicaId,
        /// Which of those to it.
        number: u64,
        /// Whether raft waits for it.
        is_rafts: bool,
        delivered: bool,
    },
    /// A follower found a snapshot corrupt; `rot` if it is so here, too, and was put aside.
    SnapshotSuspect {
        token: SnapshotToken,
        rot: Option<quorate_storage::Error>,
    },
    /// A snapshot that was installed could not be restored; the state is as it was before.
    RestoreFailed {
        token: SnapshotToken,
        error: quorate_storage::Error,
    },
    /// What the leader sends a replica that waits for a snapshot, if anything.
    SnapshotOffered(Option<SnapshotToken>),
    /// Whether the log has recorded the snapshot that was waited for.
    WaitedRecorded {
        is_recorded: bool,
    },
    /// A member waits for a snapshot.
    SnapshotWanted(SnapshotWanted),
    /// The background scan is wanted now.
    ScrubWanted,
    /// The background scan asks which snapshots there are now.
    ListSnapshots {
        reply: oneshot::Sender<Vec<SnapshotToken>>,
    },
    /// The background scan found a snapshot corrupt, and put it aside.
    RottenSnapshot {
        token: SnapshotToken,
        error: quorate_storage::Error,
    },
    Scrubbed(Box<ScrubOutcome>),
    ConsistencyChecked(ConsistencyReport),
    StoreLookedAt(LookedAt),
    /// The log writer or the applier failed: the group is quarantined.
    Failed(Failure),
    Stop {
        mode: StopMode,
        done: oneshot::Sender<()>,
    },
}

/// A snapshot that stands.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) token: SnapshotToken,
    pub(crate) label: Box<SnapshotLabel>,
    /// The usable snapshots the log has recorded, oldest first; it is the last.
    pub(crate) recorded: Vec<SnapshotToken>,
}

/// What became of a published snapshot when it was read back.
#[derive(Debug)]
pub(crate) enum Settled {
    /// It is what was written.
    Kept {
        /// The snapshots that are kept, oldest first.
        kept: Vec<SnapshotToken>,
        /// Last index the log was compacted through, if it was.
        compacted: Option<Index>,
    },
    /// It is not, and was put aside.
    Corrupt { token: SnapshotToken, error: quorate_storage::Error },
    /// It could not be read back, or nothing could be let go: the log is as long as it was.
    Failed(quorate_storage::Error),
}

/// How a group is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// Hands leadership over, finishes what was proposed, checkpoints the state and marks the log clean; what is
    /// not done by the deadline is left as by [`StopMode::Now`].
    Graceful {
        /// For everything together.
        deadline: Duration,
    },
    /// Like [`StopMode::Graceful`], but keeps its leadership: for when the other replicas are stopped as well, and
    /// nobody could take it.
    Drain {
        /// For everything together.
        deadline: Duration,
    },
    /// Finishes the disk writes in flight and nothing else, as after a crash.
    Now,
}

/// The actor's end of the two queues.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    pub(crate) requests: mpsc::UnboundedReceiver<Queued>,
}
