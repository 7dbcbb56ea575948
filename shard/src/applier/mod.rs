//! The applier of a group: a queue of committed work, and at most one job that works it off.
//!
//! It owns the state machine. Each job applies one batch of whole entries with one call of
//! [`StateMachine::apply`], answers the proposals in it straight from the worker, and reports the applied index. An
//! error or a panic of the state machine halts it for good; after a panic the state machine is leaked, because
//! nothing is known of it any more.

pub(crate) mod batch;
pub(crate) mod duplicates;
mod lent;
mod queue;
mod restore;

pub(crate) use lent::Lent;
pub(crate) use restore::Restoration;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quorate_storage::cold_start::Opening;
use quorate_storage::payload::Unsealer;
use quorate_storage::snapshot::{SnapshotLabel, SnapshotSource, SnapshotToken};
use quorate_storage::state::{AppliedRecord, StateDigest, StateMachine, StateView};
use quorate_storage::{Entry, EntryId, GroupDescriptor, Index};
use quorate_telemetry::{Clock, NodeStats, Workers};
use tokio::sync::{mpsc, oneshot};

use crate::actor::AppliedListener;
use crate::actor::mailbox::{Applied, Event, ProposalReply};
use crate::actor::quarantine::{Failure, Quarantine};
use crate::actor::shared::{Shared, add};
use crate::applier::batch::Batch;
use crate::applier::duplicates::take_duplicates;
use crate::applier::queue::{Queue, Taken};
use crate::core::AppliedConf;
use crate::error::{Error, Result};

/// Opens the file of an installed snapshot.
pub(crate) type OpenSnapshot =
    Arc<dyn Fn(&SnapshotToken) -> quorate_storage::Result<Box<dyn SnapshotSource + Send>> + Send + Sync>;

/// What an applier is made of.
pub(crate) struct ApplierParts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) workers: Arc<dyn Workers>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) node_stats: Arc<NodeStats>,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) open_snapshot: OpenSnapshot,
    pub(crate) listener: Option<Arc<dyn AppliedListener>>,
    pub(crate) unsealer: Arc<dyn Unsealer>,
    pub(crate) bytes_max: u64,
    pub(crate) entries_max: usize,
}

/// A group's applier. Clones share it.
#[derive(Clone)]
pub(crate) struct Applier {
    inner: Arc<Inner>,
}

struct Inner {
    parts: ApplierParts,
    queue: Mutex<Queue>,
    /// Only ever locked by the one job; gone once closed or halted.
    state: Mutex<Option<State>>,
}

/// The state machine and what it holds. Invariant: `record` is what the last apply was given.
struct State {
    machine: Box<dyn StateMachine>,
    record: AppliedRecord,
}

/// A look at the state machine, from the worker that applies.
pub(crate) type Look = Box<dyn FnOnce(&mut dyn StateMachine) + Send>;

/// One thing to do to the state machine, in order.
pub(crate) enum ApplyWork {
    Entry(ApplyEntry),
    Restore {
        token: SnapshotToken,
        label: Box<SnapshotLabel>,
    },
    /// Tells the listener what the state was opened with.
    Announce,
    /// A consistent view of the state, and the durable record of its index once it stands.
    View {
        reply: oneshot::Sender<quorate_storage::Result<Box<dyn StateView>>>,
    },
    /// Has a look at the state machine. A short one: the applies of other groups wait for it, too.
    Visit(Look),
    /// Lends the state machine: nothing is applied until it is back.
    Lend {
        reply: oneshot::Sender<Lent>,
    },
    /// Looks after those who wait for an index that was passed before they came.
    Digests,
    /// Answers the index up to which the state is durable then.
    PersistApplied {
        index: Index,
        reply: oneshot::Sender<quorate_storage::Result<Index>>,
    },
    Close {
        checkpoints: bool,
        done: oneshot::Sender<()>,
    },
}

/// What a state machine holds at an index that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DigestAt {
    Digest(StateDigest),
    /// It is further already.
    Passed {
        applied: Index,
    },
    /// It keeps no digest.
    None,
}

/// A committed entry and who waits for it.
pub(crate) struct ApplyEntry {
    pub(crate) entry: Entry,
    pub(crate) conf: Option<Box<AppliedConf>>,
    pub(crate) reply: Option<EntryReply>,
    /// When it was proposed here, on the monotonic clock.
    pub(crate) since: Option<Duration>,
}

/// Who waits for an entry.
#[derive(Debug)]
pub(crate) enum EntryReply {
    Proposal(ProposalReply),
    ConfChange(oneshot::Sender<Result<GroupDescriptor>>),
}

impl fmt::Debug for Applier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Applier").field("group", &self.inner.parts.shared.group).finish_non_exhaustive()
    }
}

impl fmt::Debug for ApplyWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry(entry) => write!(f, "Entry({})", entry.entry.index),
            Self::Restore { token, .. } => write!(f, "Restore({})", token.id.index),
            Self::Announce => f.write_str("Announce"),
            Self::View { .. } => f.write_str("View"),
            Self::Visit(_) => f.write_str("Visit"),
            Self::Lend { .. } => f.write_str("Lend"),
            Self::Digests => f.write_str("Digests"),
            Self::PersistApplied { index, .. } => write!(f, "PersistApplied({index})"),
            Self::Close { .. } => f.write_str("Close"),
        }
    }
}

impl EntryReply {
    pub(crate) fn fail(self, error: Error) {
        match self {
            Self::Proposal(reply) => drop(reply.send(Err(error))),
            Self::ConfChange(reply) => drop(reply.send(Err(error))),
        }
    }
}

impl Applier {
    pub(crate) fn new(machine: Box<dyn StateMachine>, record: AppliedRecord, parts: ApplierParts) -> Self {
        parts.shared.set_reader(machine.reader());
        let applier = Self::over(machine, record, parts);
        applier.push([ApplyWork::Announce]);
        applier
    }

    /// Of a replica that waits for a snapshot: whatever `machine` holds is of no use. Takes nothing but a restore.
    pub(crate) fn waiting(machine: Box<dyn StateMachine>, base: AppliedRecord, parts: ApplierParts) -> Self {
        // A snapshot at the very base of the log is new to it.
        let applier = Self::over(machine, AppliedRecord { applied: EntryId::default(), ..base }, parts);
        drop(applier.inner.queue.lock().hold());
        applier
    }

    fn over(machine: Box<dyn StateMachine>, record: AppliedRecord, parts: ApplierParts) -> Self {
        let state = Mutex::new(Some(State { machine, record }));
        Self { inner: Arc::new(Inner { parts, queue: Mutex::default(), state }) }
    }

    /// Queues committed work; [`Event::Applied`] follows each batch. Never blocks.
    pub(crate) fn push(&self, work: impl IntoIterator<Item = ApplyWork>) {
        let starts = {
            let mut queue = self.inner.queue.lock();
            let (starts, bytes) = queue.push(work, || self.inner.parts.clock.monotonic());
            // Under the lock: a job that takes them subtracts them.
            add(&self.inner.parts.shared.backlog, bytes);
            starts
        };
        if starts {
            self.inner.submit();
        }
    }

    /// The digest of the state at `index`: a batch ends there, if it is still to come. Dropped if too many ask at one
    /// time, or the applier halts or is closed. Never blocks.
    pub(crate) fn digest_at(&self, index: Index) -> oneshot::Receiver<DigestAt> {
        let (waiting, digest) = oneshot::channel();
        self.inner.queue.lock().stop_at(index, waiting);
        self.push([ApplyWork::Digests]);
        digest
    }

    /// How long the batch in flight has been going on.
    pub(crate) fn in_flight_for(&self) -> Duration {
        let since = self.inner.queue.lock().in_flight_since();
        since.map_or(Duration::ZERO, |since| self.inner.parts.clock.monotonic().saturating_sub(since))
    }

    /// Waits for the job in flight and drops the state machine; with `checkpoints` everything queued is applied, and
    /// the state made durable and marked clean, first.
    pub(crate) async fn close(&self, checkpoints: bool) {
        let (done, closed) = oneshot::channel();
        if !checkpoints {
            let forgotten = self.inner.queue.lock().clear();
            self.inner.fail_all(forgotten);
        }
        self.push([ApplyWork::Close { checkpoints, done }]);
        // Unanswered: the applier has halted before, or its pool is gone. Closed as well.
        drop(closed.await);
    }
}

impl Inner {
    fn submit(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        let key = self.parts.shared.group.get();
        if self.parts.workers.submit(key, Box::new(move || inner.run())).is_err() {
            self.halt(Failure::WorkersStopped, Vec::new());
        }
    }

    /// One job: one batch.
    fn run(self: &Arc<Self>) {
        let taken = self.queue.lock().take(self.parts.bytes_max, self.parts.entries_max);
        match self.carry_out(taken) {
            None => self.go_on(),
            // Comes back when it is done. Whoever asked for it is gone: then at once.
            Some(Away::Restored(lent)) => drop(self.parts.events.send(Event::Restoring(lent))),
            Some(Away::Lent(lent, reply)) => drop(reply.send(*lent)),
        }
    }

    /// After a job.
    fn go_on(self: &Arc<Self>) {
        if self.queue.lock().next_round(|| self.parts.clock.monotonic()) {
            self.submit();
        }
    }

    /// The work in flight makes progress.
    fn touch(&self) {
        self.queue.lock().touch(|| self.parts.clock.monotonic());
    }

    /// Gives the state if somebody else works with it now: then no job may follow before it is back.
    fn carry_out(self: &Arc<Self>, taken: Taken) -> Option<Away> {
        let mut slot = self.state.lock();
        let Some(mut state) = slot.take() else {
            drop(slot);
            self.fail_all(taken.work);
            return None;
        };
        self.parts.shared.backlog.fetch_sub(taken.bytes, std::sync::atomic::Ordering::Relaxed);
        // Replies stay outside of what may unwind: their callers are told what happened.
        let mut replies = Vec::new();
        let stage = AssertUnwindSafe(|| self.advance(&mut state, taken.work, &mut replies));
        match catch_unwind(stage) {
            Ok(Ok(Next::Goes)) => *slot = Some(state),
            Ok(Ok(Next::Restores(token, label))) => {
                let restoration = Restoration::new(Arc::clone(self), state, token, *label);
                return Some(Away::Restored(Box::new(restoration)));
            }
            Ok(Ok(Next::Lent(reply))) => {
                return Some(Away::Lent(Box::new(Lent::new(Arc::clone(self), state)), reply));
            }
            Ok(Ok(Next::Closed(done))) => {
                self.queue.lock().latch();
                drop(state);
                let _ = done.send(());
            }
            Ok(Err(failure)) => {
                // Before anybody hears of it: a restart must find the store's files closed.
                drop(state);
                drop(slot);
                self.halt(failure, replies);
            }
            Err(panic) => {
                std::mem::forget(state);
                drop(slot);
                self.halt(Failure::panic("applier", panic.as_ref()), replies);
            }
        }
        None
    }

    fn advance(
        &self,
        state: &mut State,
        work: Vec<ApplyWork>,
        replies: &mut Vec<EntryReply>,
    ) -> Result<Next, Failure> {
        let mut entries = Vec::with_capacity(work.len());
        for item in work {
            match item {
                ApplyWork::Entry(entry) => entries.push(entry),
                other => {
                    debug_assert!(entries.is_empty(), "a batch holds entries or one other work");
                    return self.do_other(state, other);
                }
            }
        }
        self.apply(state, entries, replies)?;
        Ok(Next::Goes)
    }

    fn apply(
        &self,
        state: &mut State,
        entries: Vec<ApplyEntry>,
        waiting: &mut Vec<EntryReply>,
    ) -> Result<(), Failure> {
        let stats = &self.parts.shared.stats.apply;
        let oldest = entries.iter().filter_map(|entry| entry.since).min();
        let batch = match Batch::build(entries, &mut state.record, self.parts.unsealer.as_ref()) {
            Ok(batch) => batch,
            Err(halted) => {
                waiting.extend(halted.replies);
                return Err(halted.failure);
            }
        };
        let through = state.record.applied.index;
        let Batch { commands, answers, entries, duplicates } = batch;
        let mut answers = PendingAnswers { answers, waiting };
        self.take_duplicates(state, &duplicates)?;
        if entries == 0 {
            return Ok(());
        }
        let began = self.parts.clock.monotonic();
        let outputs = state
            .machine
            .apply(&commands, &state.record)
            .map_err(|cause| Failure::Apply { through, cause })?;
        assert_eq!(outputs.len(), commands.len(), "a state machine answers every command");
        stats.batches.increment();
        stats.entries.add(entries);
        stats.durable.set(state.machine.durable_applied().get());
        self.note_times(entries, oldest, began);
        self.publish(&state.record);
        answers.send(&outputs);
        self.report(through);
        self.tell_digests(state);
        Ok(())
    }

    /// A batch of `entries` was applied from `began` on, the oldest of which was proposed here at `oldest`.
    fn note_times(&self, entries: u64, oldest: Option<Duration>, began: Duration) {
        let (stats, now) = (&self.parts.node_stats, self.parts.clock.monotonic());
        stats.apply_seconds.record(now.saturating_sub(began));
        stats.apply_batch_entries.record(entries as f64);
        if let Some(oldest) = oldest {
            stats.propose_to_apply_seconds.record(now.saturating_sub(oldest));
        }
    }

    fn take_duplicates(&self, state: &mut State, duplicates: &[Entry]) -> Result<(), Failure> {
        let opening = Opening { cutover: state.record.cutover, unsealer: self.parts.unsealer.as_ref() };
        let taken = take_duplicates(state.machine.as_mut(), duplicates, &opening)
            .map_err(|(index, cause)| Failure::Entry { index, cause })?;
        self.parts.shared.stats.apply.duplicates_dropped.add(taken.dropped);
        self.parts.shared.stats.apply.volatile_replayed.add(taken.replayed);
        Ok(())
    }

    /// Answers those who wait for the index that was just reached, and those who have missed theirs.
    fn tell_digests(&self, state: &State) {
        let applied = state.record.applied.index;
        let reached = self.queue.lock().take_stops(applied);
        for (index, waiting) in reached {
            let digest = if index == applied { digest(state) } else { DigestAt::Passed { applied } };
            for waiting in waiting {
                let _ = waiting.send(digest);
            }
        }
    }

    fn do_other(&self, state: &mut State, work: ApplyWork) -> Result<Next, Failure> {
        match work {
            ApplyWork::Entry(_) => unreachable!("entries are applied in batches"),
            ApplyWork::Restore { token, .. } if token.id.index <= state.record.applied.index => {
                self.parts.shared.stats.apply.duplicates_dropped.increment();
                self.report(state.record.applied.index);
            }
            ApplyWork::Restore { token, label } => return Ok(Next::Restores(token, label)),
            ApplyWork::Announce => self.publish(&state.record),
            ApplyWork::View { reply } => drop(reply.send(state.machine.view())),
            ApplyWork::Visit(look) => look(state.machine.as_mut()),
            ApplyWork::Lend { reply } => return Ok(Next::Lent(reply)),
            ApplyWork::Digests => self.tell_digests(state),
            ApplyWork::PersistApplied { index, reply } => {
                let persisted = persist_applied(state, index);
                let failed = persisted.as_ref().err().cloned();
                drop(reply.send(persisted));
                if let Some(cause) = failed {
                    // A store that could not write is closed: nothing would be read of it any more.
                    return Err(Failure::Apply { through: state.record.applied.index, cause });
                }
            }
            ApplyWork::Close { checkpoints, done } => {
                if checkpoints {
                    let through = state.record.applied.index;
                    state.machine.close().map_err(|cause| Failure::Apply { through, cause })?;
                }
                return Ok(Next::Closed(done));
            }
        }
        Ok(Next::Goes)
    }

    /// Shows the state, which holds `record`, to everyone on this node.
    fn publish(&self, record: &AppliedRecord) {
        let through = record.applied.index;
        // First: whoever sees the index must find the ceiling of every lease below it.
        self.parts.shared.set_hlc_ceiling(record.hlc_ceiling);
        if let (Some(listener), Some(reader)) = (&self.parts.listener, self.parts.shared.reader()) {
            listener.applied(through, reader.as_ref());
        }
        self.parts.shared.stats.apply.applied.set(through.get());
        self.parts.shared.applied.send_replace(through);
    }

    fn report(&self, through: Index) {
        drop(self.parts.events.send(Event::Applied { through }));
    }

    /// Takes the group out of service: nothing more is applied here.
    fn halt(&self, failure: Failure, replies: Vec<EntryReply>) {
        let shared = &self.parts.shared;
        shared.quarantine(Quarantine::from(&failure));
        for reply in replies {
            reply.fail(shared.unanswered(true));
        }
        let forgotten = self.queue.lock().latch();
        self.fail_all(forgotten);
        drop(self.parts.events.send(Event::Failed(failure)));
    }

    fn fail_all(&self, work: Vec<ApplyWork>) {
        for item in work {
            if let ApplyWork::Entry(ApplyEntry { reply: Some(reply), .. }) = item {
                reply.fail(self.parts.shared.unanswered(true));
            }
        }
    }
}

/// What the record of the state says. A record of another index than was applied is no answer.
fn digest(state: &State) -> DigestAt {
    let reader = state.machine.as_applied_index_reader();
    let record = reader.and_then(|reader| reader.applied_record().ok()).flatten();
    let record = record.filter(|record| record.applied == state.record.applied);
    record.map_or(DigestAt::None, |record| DigestAt::Digest(record.digest))
}

/// Makes the record of `index` durable. Gives the index up to which the state is.
fn persist_applied(state: &mut State, index: Index) -> quorate_storage::Result<Index> {
    // Whoever has no record is restored from the snapshot at every start.
    let Some(writer) = state.machine.as_applied_index_writer() else { return Ok(index) };
    writer.persist_applied(index)?;
    let durable = state.machine.durable_applied();
    assert!(durable >= index, "the record of {index} was persisted, {durable} is durable");
    Ok(durable)
}

/// How a job leaves the state machine.
enum Next {
    Goes,
    /// The state is to be replaced by an installed snapshot's.
    Restores(SnapshotToken, Box<SnapshotLabel>),
    Lent(oneshot::Sender<Lent>),
    Closed(oneshot::Sender<()>),
}

/// Who has the state.
enum Away {
    Restored(Box<Restoration>),
    Lent(Box<Lent>, oneshot::Sender<Lent>),
}

/// The answers of a batch that is being applied. What is not sent when it is dropped (an error, a panic) goes back to
/// whoever carries the batch out.
struct PendingAnswers<'a> {
    answers: Vec<batch::Answer>,
    waiting: &'a mut Vec<EntryReply>,
}

impl PendingAnswers<'_> {
    fn send(&mut self, outputs: &[bytes::Bytes]) {
        for answer in self.answers.drain(..) {
            match answer {
                batch::Answer::Output { id, command, reply } => {
                    let output = outputs[command].clone();
                    drop(reply.send(Ok(Applied { id, output })));
                }
                batch::Answer::Empty { id, reply } => {
                    drop(reply.send(Ok(Applied { id, output: bytes::Bytes::new() })));
                }
                batch::Answer::Conf { descriptor, reply } => drop(reply.send(Ok(*descriptor))),
                batch::Answer::Refused { error, reply } => reply.fail(*error),
            }
        }
    }
}

impl Drop for PendingAnswers<'_> {
    fn drop(&mut self) {
        self.waiting.extend(self.answers.drain(..).map(batch::Answer::into_reply));
    }
}
