//! The way to a group: cheap to clone, without type parameters, usable from any task.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::payload::{Payload, ProposalId, Tag};
use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::state::StateReader;
use quorate_storage::{
    ConfChange, GroupDescriptor, GroupId, Index, NodeId, RangeEpoch, ReplicaId, Timestamp,
};
use quorate_telemetry::GroupStats;
use quorate_telemetry::stats::Outcome;
use quorate_transport::{RaftMessage, RaftMessageKind, RequestKind};
use tokio::sync::{mpsc, oneshot, watch};

use crate::actor::budget::Budget;
use crate::actor::consistency::{ConsistencyReport, DigestServer};
use crate::actor::mailbox::{Applied, Event, Queued, Request, StopMode};
use crate::actor::outbound::{
    DIVERGENCE_NOTICE, LOG_ENTRIES, QUARANTINE_NOTICE, SNAPSHOT_CHUNK, SNAPSHOT_WANTED, STATE_DIGEST,
};
use crate::actor::quarantine::{Failure, Quarantine, Remedy};
use crate::actor::read::{ReadCall, ReadGuard, ReadLevel, ReadWaiter};
use crate::actor::shared::{RETRY_AFTER, Shared, count};
use crate::actor::snapshot_receive::SnapshotReceiver;
use crate::actor::spec::{GroupDeps, StartSpec, StateMachineFactory};
use crate::actor::start::StartError;
use crate::actor::status::{ActorCounters, GroupStatus, Lifecycle};
use crate::actor::time::TimeCall;
use crate::actor::waiting::SnapshotWanted;
use crate::actor::waiting_wire::SnapshotQuestion;
use crate::catalog::CATALOG_GROUP;
use crate::core::Role;
use crate::disk_space::{DiskSpace, Room};
use crate::error::{Error, Result};
use crate::repair::{Damage, EntriesQuestion, LogServer, QuarantineNotice};

/// A handle of one group on this node.
///
/// Dropping a future never cancels what it asked for. Dropping the last handle stops the group as by
/// [`StopMode::Now`].
#[derive(Clone)]
pub struct GroupHandle {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) requests: mpsc::UnboundedSender<Queued>,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) machines: Arc<dyn StateMachineFactory>,
    pub(crate) space: Arc<DiskSpace>,
    /// Missing if the group could not be started.
    pub(crate) receiver: Option<Arc<SnapshotReceiver>>,
    /// The log, for other replicas that have lost entries.
    pub(crate) log: Arc<LogServer>,
    /// The state's digests, for other replicas; empty if the group does not run.
    pub(crate) digests: OnceLock<Arc<DigestServer>>,
    pub(crate) command_bytes_max: u64,
    pub(crate) backlog_bytes_max: u64,
    /// Names this start of the actor in every proposal id.
    pub(crate) stream: u64,
    pub(crate) sequence: AtomicU64,
}

impl fmt::Debug for GroupHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupHandle").field("group", &self.inner.shared.group).finish_non_exhaustive()
    }
}

impl GroupHandle {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Stands in for a group that could not be started: everything asked of it ends as
    /// [`Error::Quarantined`] with the reason.
    pub fn quarantined(deps: &GroupDeps, spec: &StartSpec, failure: &StartError) -> Self {
        let status = GroupStatus::unknown(spec.group, deps.node);
        let (handle, _) = Self::standing_in(deps, spec, status);
        handle.inner.shared.quarantine(Quarantine::from(failure));
        handle
    }

    /// Stands in for a group whose log is being repaired: it helps other replicas, and everything else that is asked of
    /// it ends as [`Error::Quarantined`]. What happens to it goes to whoever repairs.
    pub(crate) fn repairing(
        deps: &GroupDeps,
        spec: &StartSpec,
        damage: &Damage,
    ) -> (Self, mpsc::UnboundedReceiver<Event>) {
        let status = GroupStatus {
            replica: damage.replica,
            incarnation: damage.incarnation,
            applied: damage.floor,
            descriptor: Arc::new(damage.descriptor.clone()),
            ..GroupStatus::unknown(spec.group, deps.node)
        };
        let (handle, events) = Self::standing_in(deps, spec, status);
        handle.inner.shared.set_lifecycle(Lifecycle::Repairing(Arc::from(damage.to_string())));
        (handle, events)
    }

    fn standing_in(
        deps: &GroupDeps,
        spec: &StartSpec,
        status: GroupStatus,
    ) -> (Self, mpsc::UnboundedReceiver<Event>) {
        let budgets = (Budget::new(1, 0), Budget::new(1, 0));
        let (events, happens) = mpsc::unbounded_channel();
        let handle = Self::new(Inner {
            shared: Shared::new(status, budgets, Arc::clone(&spec.stats)),
            requests: mpsc::unbounded_channel().0,
            events,
            machines: Arc::clone(&deps.machines),
            space: Arc::clone(&deps.space),
            receiver: None,
            log: Arc::new(LogServer::new(Arc::clone(&deps.workers.read))),
            digests: OnceLock::new(),
            command_bytes_max: spec.config.command_bytes_max,
            backlog_bytes_max: 0,
            stream: 0,
            sequence: AtomicU64::new(0),
        });
        (handle, happens)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.inner.shared.group
    }

    /// Replicates a command. On `Ok` it is durable on a quorum and applied here. `range_epoch` is the epoch the
    /// request was routed by. Costs one copy of `body`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a command the state machine would refuse; [`Error::StaleRange`] if the range has
    /// changed; [`Error::Busy`] if the mailbox is full; [`Error::DiskFull`] on a leader whose disk has no room; [`Error::DeadlineExceeded`] and
    /// [`Error::Indeterminate`] if it may still commit; see [`Error::is_retryable`].
    pub async fn propose(&self, body: Bytes, range_epoch: RangeEpoch, deadline: Duration) -> Result<Applied> {
        self.check_command(&body)?;
        self.check_space(&body)?;
        let sequence = self.inner.sequence.fetch_add(1, Ordering::Relaxed);
        let proposal = ProposalId { stream: self.inner.stream, sequence };
        let payload = Payload { tag: Tag::Command, range_epoch, proposal, body }.encode();
        let bytes = payload.len() as u64;
        let (reply, answer) = oneshot::channel();
        self.request(Request::Propose { payload, range_epoch, reply }, bytes)?;
        let outcome = self.answered(answer, deadline, true).await;
        self.inner.shared.stats.requests.proposals.of(outcome_of(&outcome)).increment();
        outcome
    }

    /// Applied state that is as fresh as `level` says.
    ///
    /// # Errors
    /// As [`GroupHandle::propose`]; a read never has an effect, so it may always be tried again.
    pub async fn read(&self, level: ReadLevel, deadline: Duration) -> Result<ReadGuard> {
        if level == ReadLevel::Local {
            return self.read_local();
        }
        let (reply, answer) = oneshot::channel();
        self.request(Request::Read { level, waiter: ReadWaiter::Guard(reply) }, 0)?;
        let outcome = self.answered(answer, deadline, false).await;
        self.inner.shared.stats.requests.reads.of(outcome_of(&outcome)).increment();
        outcome
    }

    /// Runs `call` on a read worker, on state that is as fresh as `level` says. All reads that become ready
    /// together run in one job.
    ///
    /// # Errors
    /// As [`GroupHandle::read`].
    pub async fn read_with<R, F>(&self, level: ReadLevel, deadline: Duration, call: F) -> Result<R>
    where
        F: FnOnce(&dyn StateReader) -> R + Send + 'static,
        R: Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let waiter = ReadWaiter::Work(Box::new(ReadCall { call, reply }));
        self.request(Request::Read { level, waiter }, 0)?;
        let outcome = self.answered(answer, deadline, false).await;
        self.inner.shared.stats.requests.reads.of(outcome_of(&outcome)).increment();
        outcome
    }

    /// A timestamp of the group's clock, at or above what the leader's wall clock shows: larger than all that leaders of
    /// this or an earlier term have given or merged, and given only once ([`crate::hlc`] says why). Costs no disk write while
    /// the clock is in use: one lease for each half window, for all callers together; the first caller waits for it.
    ///
    /// # Errors
    /// [`Error::NotLeader`]; [`Error::ClockSkew`] if the leader's node must not lease; [`Error::NoCeiling`] or
    /// [`Error::CeilingExpired`] if no lease was applied within the deadline; those of [`GroupHandle::read`]. It never has an
    /// effect.
    pub async fn timestamp(&self, deadline: Duration) -> Result<Timestamp> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::Time(TimeCall::Issue { reply }), 0)?;
        self.timed(answer, deadline).await
    }

    /// Merges a timestamp of another clock into the group's: on `Ok` all timestamps that this leader and those after it
    /// give from now on are larger than `remote`.
    ///
    /// # Errors
    /// [`Error::TimestampAhead`] if it is more than [`crate::hlc::CLOCK_OFFSET_MAX`] ahead of the leader's wall clock; those of
    /// [`GroupHandle::timestamp`].
    pub async fn observe(&self, remote: Timestamp, deadline: Duration) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::Time(TimeCall::Observe { remote, reply }), 0)?;
        self.timed(answer, deadline).await
    }

    async fn timed<T>(&self, answer: oneshot::Receiver<Result<T>>, deadline: Duration) -> Result<T> {
        let outcome = match self.answered(answer, deadline, false).await {
            Err(Error::DeadlineExceeded) => Err(self.inner.shared.no_timestamp()),
            outcome => outcome,
        };
        let stats = &self.inner.shared.stats.requests;
        let counted = if outcome.is_ok() { &stats.timestamps } else { &stats.timestamps_refused };
        counted.increment();
        outcome
    }

    /// Changes the membership, fenced by the conf epoch in `change`. On `Ok` the change is applied here, and the
    /// descriptor is the one it led to.
    ///
    /// # Errors
    /// [`Error::ConfChangePending`], [`Error::ConfEpochMismatch`], [`Error::ConfChangeRefused`],
    /// [`Error::Lagging`], and those of [`GroupHandle::propose`].
    pub async fn change_conf(&self, change: ConfChange, deadline: Duration) -> Result<GroupDescriptor> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::ChangeConf { change, reply }, 0)?;
        self.answered(answer, deadline, true).await
    }

    /// Hands leadership to `to`. On `Ok` another replica leads.
    ///
    /// # Errors
    /// [`Error::NotLeader`], [`Error::Lagging`], [`Error::ConfChangeRefused`] if `to` has no vote, or
    /// [`Error::DeadlineExceeded`].
    pub async fn transfer_leader(&self, to: ReplicaId, deadline: Duration) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::Transfer { to, reply }, 0)?;
        self.answered(answer, deadline, false).await
    }

    /// Publishes a snapshot of the applied state now. On `Ok` it is durable and recorded in the log. If nothing was
    /// applied since the newest one, that one is the answer.
    ///
    /// # Errors
    /// [`Error::Read`] if it could not be written.
    pub async fn publish_snapshot(&self, deadline: Duration) -> Result<SnapshotToken> {
        self.ask_for_snapshot(None, deadline).await
    }

    /// Gives a snapshot that holds the entry `at_least`: the newest if it does, else one that is published for it. So who
    /// asks again after a deadline, for the same entry, gets what was begun for him before, whatever is written meanwhile.
    ///
    /// # Errors
    /// [`Error::Busy`] if the entry is not applied here yet; [`Error::Read`] if the snapshot could not be written.
    pub async fn snapshot_of(&self, at_least: Index, deadline: Duration) -> Result<SnapshotToken> {
        self.ask_for_snapshot(Some(at_least), deadline).await
    }

    async fn ask_for_snapshot(&self, at_least: Option<Index>, deadline: Duration) -> Result<SnapshotToken> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::PublishSnapshot { at_least, reply }, 0)?;
        self.answered(answer, deadline, false).await
    }

    /// Has the replicas' states compared, at one index: see [`ConsistencyReport`]. A replica that a majority proves wrong is
    /// quarantined. Costs a small request to each replica, and some time if there are writes.
    ///
    /// # Errors
    /// [`Error::NotLeader`]: only a leader knows whom to ask; those of [`GroupHandle::read`].
    pub async fn check_consistency(&self, deadline: Duration) -> Result<ConsistencyReport> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::CheckConsistency { reply }, 0)?;
        self.answered(answer, deadline, false).await
    }

    /// Gives messages of other replicas to the group. Never blocks; what finds no room is dropped and counted,
    /// as raft allows.
    pub fn step(&self, from: NodeId, messages: Vec<RaftMessage>) {
        let shared = &self.inner.shared;
        for message in messages {
            let is_append = message.kind == RaftMessageKind::Append;
            let is_behind = shared.backlog_bytes() > self.inner.backlog_bytes_max;
            // What comes back when there is room again: the leader sends it anew.
            let has_no_room = self.inner.space.room() == Room::Exhausted && !message.entries.is_empty();
            if is_append && (is_behind || has_no_room) {
                count(&shared.counters.messages_refused);
                continue;
            }
            let Some(permit) = shared.messages.admit(message_bytes(&message)) else { continue };
            drop(self.inner.events.send(Event::Message { from, message: Box::new(message), permit }));
        }
    }

    /// Takes the body of a request of the group's replica on `from` ([`crate::actor::group_of_request`]) and gives the
    /// body of its reply. For a chunk of a snapshot it returns once the chunk is on disk.
    pub async fn serve_group(&self, from: NodeId, kind: RequestKind, body: Bytes) -> Bytes {
        match (kind, &self.inner.receiver) {
            (SNAPSHOT_CHUNK, Some(receiver)) => return receiver.receive(body).await,
            (LOG_ENTRIES, _) => return self.answer_entries(from, body).await,
            (SNAPSHOT_WANTED, _) => return self.offer_snapshot(from, &body).await,
            (STATE_DIGEST, _) => return self.answer_digest(from, &body).await,
            (DIVERGENCE_NOTICE, _) => self.note_divergence(from, &body),
            (QUARANTINE_NOTICE, _) => self.note_quarantined_leader(from, &body),
            _ => {}
        }
        Bytes::new()
    }

    /// Members are helped, from a log that this replica itself stands by.
    async fn answer_entries(&self, from: NodeId, body: Bytes) -> Bytes {
        let Some(question) = EntriesQuestion::decode(body) else { return Bytes::new() };
        let status = self.status();
        let is_member = status.is_member(from, question.replica, question.incarnation);
        let stands_by_it =
            matches!(status.lifecycle, Lifecycle::Running | Lifecycle::Repairing(_) | Lifecycle::Waiting(_));
        if !is_member || !stands_by_it || question.uid != status.descriptor.uid {
            return Bytes::new();
        }
        self.inner.log.answer(status.group, status.replica, question).await
    }

    /// Members that wait for a snapshot are sent one, if this replica leads, or knows of nobody who does.
    async fn offer_snapshot(&self, from: NodeId, body: &[u8]) -> Bytes {
        let Some(question) = SnapshotQuestion::decode(body) else { return Bytes::new() };
        let SnapshotQuestion { uid, replica, incarnation, at_least, .. } = question;
        let status = self.status();
        let is_member = status.descriptor.replica(replica).is_some_and(|asker| {
            asker.node == from && (asker.incarnation.is_zero() || asker.incarnation == incarnation)
        });
        if !is_member || uid != status.descriptor.uid || status.lifecycle != Lifecycle::Running {
            return Bytes::new();
        }
        let (reply, answer) = oneshot::channel();
        drop(self.inner.events.send(Event::SnapshotWanted(SnapshotWanted {
            from,
            replica,
            at_least,
            reply,
        })));
        answer.await.unwrap_or_default()
    }

    /// Whether the group is to be stopped and started again: the snapshot it waited for is there.
    pub fn wants_restart(&self) -> bool {
        self.inner.shared.wants_restart()
    }

    /// Believes a notice only of the node that the quarantined replica lives on; whether that replica leads, the core
    /// knows.
    fn note_quarantined_leader(&self, from: NodeId, body: &[u8]) {
        let Some(notice) = QuarantineNotice::decode(body) else { return };
        let status = self.status();
        let is_of_its_node = status.is_member(from, notice.replica, notice.incarnation);
        if notice.uid == status.descriptor.uid && is_of_its_node {
            let QuarantineNotice { replica, term, .. } = notice;
            drop(self.inner.events.send(Event::LeaderQuarantined { replica, term }));
        }
    }

    /// Tells the group that messages to `replica` were dropped. Never blocks.
    pub fn unreachable(&self, replica: ReplicaId) {
        drop(self.inner.events.send(Event::Unreachable(replica)));
    }

    /// Lets this replica campaign without waiting for its election timeout.
    pub fn campaign(&self) {
        drop(self.inner.events.send(Event::Campaign));
    }

    /// Has the background scan of this replica begin at the next tick, whatever its interval, or once more when the one
    /// that runs has ended. [`GroupStatus::last_scrub`] and the counters tell how it went. Never blocks.
    pub fn begin_scrub(&self) {
        drop(self.inner.events.send(Event::ScrubWanted));
    }

    /// Tells the group that its store gave something else than what was written to it, or nothing
    /// ([`quorate_storage::Error::is_store_failure`]): it is quarantined, so that another replica leads, until its
    /// state has been restored from snapshot and log. For whoever reads through a [`ReadGuard`]; routed
    /// calls tell by themselves. Never blocks.
    pub fn store_failed(&self, cause: quorate_storage::Error) {
        drop(self.inner.events.send(Event::Failed(Failure::Rotten(cause))));
    }

    /// The group's state as of the actor's last batch. Costs a lock and a small copy.
    pub fn status(&self) -> GroupStatus {
        self.inner.shared.status()
    }

    /// What brings the group back, if it is quarantined.
    pub fn remedy(&self) -> Option<Remedy> {
        self.quarantine().map(|quarantine| quarantine.remedy)
    }

    /// Why the group is out of service, if it is quarantined.
    pub fn quarantine(&self) -> Option<Quarantine> {
        self.inner.shared.quarantined()
    }

    /// What the node's collector publishes of this group.
    pub fn stats(&self) -> &Arc<GroupStats> {
        &self.inner.shared.stats
    }

    /// Counters since the start.
    pub fn counters(&self) -> ActorCounters {
        self.inner.shared.counters()
    }

    /// Follows who leads.
    pub fn watch_role(&self) -> watch::Receiver<Role> {
        self.inner.shared.role.subscribe()
    }

    /// Follows the applied index.
    pub fn watch_applied(&self) -> watch::Receiver<Index> {
        self.inner.shared.applied.subscribe()
    }

    /// Stops the group; returns when its last disk write has ended and its files are closed. Further calls wait
    /// for the same end.
    pub async fn stop(&self, mode: StopMode) {
        let (done, stopped) = oneshot::channel();
        if self.inner.events.send(Event::Stop { mode, done }).is_ok() {
            // Dropped unanswered means the actor has ended meanwhile: stopped as well.
            drop(stopped.await);
        }
    }

    fn read_local(&self) -> Result<ReadGuard> {
        let shared = &self.inner.shared;
        shared.check_running()?;
        let applied = *shared.applied.borrow();
        let reader = shared.reader().ok_or(Error::Stopped { group: shared.group })?;
        shared.stats.requests.reads.of(Outcome::Applied).increment();
        Ok(ReadGuard::new(reader, applied))
    }

    fn check_command(&self, body: &Bytes) -> Result<()> {
        let (bytes, bytes_max) = (body.len() as u64, self.inner.command_bytes_max);
        if bytes > bytes_max {
            let what = "command";
            return Err(Error::Invalid(quorate_storage::Error::TooLarge { what, bytes, bytes_max }));
        }
        self.inner.machines.check(body).map_err(Error::Invalid)
    }

    /// Refuses at a leader on a full disk what would not free space. The catalog's group is exempt: what frees a
    /// disk may have to go through it.
    fn check_space(&self, body: &Bytes) -> Result<()> {
        let (space, group) = (&self.inner.space, self.group());
        let is_short = space.room() != Room::Ample && group != CATALOG_GROUP;
        if is_short && self.inner.shared.role.borrow().is_leader && !self.inner.machines.frees_space(body) {
            let (free_bytes, needed_bytes) = (space.free_bytes(), space.needed_bytes());
            return Err(Error::DiskFull { group, free_bytes, needed_bytes });
        }
        Ok(())
    }

    fn request(&self, request: Request, bytes: u64) -> Result<()> {
        let shared = &self.inner.shared;
        shared.check_running()?;
        let group = shared.group;
        let permit = shared.requests.admit(bytes).ok_or(Error::Busy { group, retry_after: RETRY_AFTER })?;
        self.inner.requests.send(Queued { request, permit }).map_err(|_closed| shared.unanswered(false))
    }

    async fn answered<T>(
        &self,
        answer: oneshot::Receiver<Result<T>>,
        deadline: Duration,
        may_have_been_appended: bool,
    ) -> Result<T> {
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_dropped)) => Err(self.inner.shared.unanswered(may_have_been_appended)),
            Err(_elapsed) => Err(Error::DeadlineExceeded),
        }
    }
}

/// How telemetry counts it.
fn outcome_of<T>(outcome: &Result<T>) -> Outcome {
    match outcome {
        Ok(_) => Outcome::Applied,
        Err(Error::NotLeader { .. }) => Outcome::NotLeader,
        Err(Error::Busy { .. }) => Outcome::Busy,
        Err(Error::Indeterminate { .. } | Error::DeadlineExceeded) => Outcome::Indeterminate,
        Err(Error::Quarantined { .. }) => Outcome::Quarantined,
        Err(_) => Outcome::Other,
    }
}

/// What a message takes of the mailbox's bytes.
fn message_bytes(message: &RaftMessage) -> u64 {
    message.entries.iter().map(|entry| entry.payload.len() as u64).sum()
}
