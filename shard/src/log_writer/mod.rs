//! The log writer of a group: a queue, and at most one job that works it off.
//!
//! The job takes everything that is queued, makes it durable with one write and one sync, and reports the highest
//! ready number. So a batch is what arrived during the last sync, and there is no linger setting. The first
//! failure latches: nothing is written or reported after it.

mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use quorate_storage::Index;
use quorate_storage::log::LogStore;
use quorate_storage::snapshot::SnapshotToken;
use quorate_telemetry::{Clock, NodeStats, Workers};
use tokio::sync::{mpsc, oneshot};

use crate::actor::GroupDeps;
use crate::actor::mailbox::Event;
use crate::actor::quarantine::Failure;
use crate::actor::shared::{Shared, add};
use crate::core::LogPersist;
use crate::log_writer::queue::{LogWork, Queue, Step};

/// A group's log writer. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct LogWriter {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    workers: Arc<dyn Workers>,
    clock: Arc<dyn Clock>,
    node_stats: Arc<NodeStats>,
    events: mpsc::UnboundedSender<Event>,
    queue: Mutex<Queue>,
    /// Only ever locked by the one job; gone once closed.
    store: Mutex<Option<Box<dyn LogStore>>>,
    /// Bytes the store has written, as far as they are counted.
    written_bytes: AtomicU64,
}

/// Answers a command to the log writer.
pub(crate) type LogReply = oneshot::Sender<quorate_storage::Result<()>>;

impl LogWriter {
    pub(crate) fn new(
        store: Box<dyn LogStore>,
        shared: Arc<Shared>,
        deps: &GroupDeps,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let queue = Mutex::new(Queue::default());
        let inner = Inner {
            shared,
            workers: Arc::clone(&deps.workers.log),
            clock: Arc::clone(&deps.clock),
            node_stats: Arc::clone(&deps.stats),
            events,
            queue,
            store: Mutex::default(),
            written_bytes: AtomicU64::new(0),
        };
        inner.note_usage(Some(store.as_ref()));
        *inner.store.lock() = Some(store);
        Self { inner: Arc::new(inner) }
    }

    /// Queues records; [`Event::Persisted`] follows once they are durable. Never blocks.
    pub(crate) fn persist(&self, records: Vec<LogPersist>) {
        let bytes = records.iter().map(persist_bytes).sum();
        add(&self.inner.shared.backlog, bytes);
        self.push(records.into_iter().map(LogWork::Persist));
    }

    /// Queues the proof of the last batch.
    pub(crate) fn prove(&self) {
        self.push([LogWork::Prove]);
    }

    /// Queues the record of a published snapshot.
    pub(crate) fn record_snapshot(&self, token: SnapshotToken, reply: LogReply) {
        self.push([LogWork::RecordSnapshot { token, reply }]);
    }

    /// Queues a compaction.
    pub(crate) fn compact(&self, through: Index, reply: LogReply) {
        self.push([LogWork::Compact { through, reply }]);
    }

    /// Waits for the write in flight and drops the store: `clean` writes what is queued, proves the tail and marks
    /// the clean stop first; otherwise what is queued is forgotten, as by a crash.
    pub(crate) async fn close(&self, clean: bool) {
        let (done, closed) = oneshot::channel();
        if !clean {
            self.inner.queue.lock().clear();
        }
        self.push([LogWork::Close { clean, done }]);
        // Unanswered: the writer was closed before, or its pool is gone. Closed as well.
        drop(closed.await);
    }

    /// How long the write in flight has been going on.
    pub(crate) fn in_flight_for(&self) -> Duration {
        let since = self.inner.queue.lock().in_flight_since();
        since.map_or(Duration::ZERO, |since| self.inner.clock.monotonic().saturating_sub(since))
    }

    fn push(&self, work: impl IntoIterator<Item = LogWork>) {
        let starts = self.inner.queue.lock().push(work, || self.inner.clock.monotonic());
        if starts {
            self.inner.submit();
        }
    }
}

impl Inner {
    fn submit(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        if self.workers.submit(self.shared.group.get(), Box::new(move || inner.run())).is_err() {
            self.queue.lock().latch();
            drop(self.events.send(Event::Failed(Failure::WorkersStopped)));
        }
    }

    /// One job: one drain of the queue.
    fn run(self: &Arc<Self>) {
        let work = self.queue.lock().take();
        let mut store = self.store.lock();
        let outcome = catch_unwind(AssertUnwindSafe(|| self.carry_out(&mut store, work)));
        if !matches!(outcome, Ok(Ok(_))) {
            *store = None;
        }
        self.note_usage(store.as_deref());
        drop(store);
        let outcome = outcome.unwrap_or_else(|panic| Err(Failure::panic("log writer", panic.as_ref())));
        match outcome {
            Ok(ready) => self.go_on(ready),
            Err(failure) => {
                self.queue.lock().latch();
                drop(self.events.send(Event::Failed(failure)));
            }
        }
    }

    fn note_usage(&self, store: Option<&dyn LogStore>) {
        let Some(usage) = store.map(LogStore::usage) else { return };
        let stats = &self.shared.stats.log;
        stats.bytes.set(usage.disk_bytes);
        // Only this job adds to it: what was added since is what was written since.
        let before = self.written_bytes.swap(usage.written_bytes, Ordering::Relaxed);
        stats.written_bytes.add(usage.written_bytes.saturating_sub(before));
    }

    fn go_on(self: &Arc<Self>, ready: Option<u64>) {
        let has_more = self.queue.lock().next_round(|| self.clock.monotonic());
        drop(self.events.send(Event::Persisted { ready, is_idle: !has_more }));
        if has_more {
            self.submit();
        }
    }

    /// Gives the highest ready number that is durable now.
    fn carry_out(
        &self,
        slot: &mut Option<Box<dyn LogStore>>,
        work: Vec<LogWork>,
    ) -> Result<Option<u64>, Failure> {
        let mut ready = None;
        for step in queue::steps(work) {
            let Some(store) = slot.as_deref_mut() else { return Ok(ready) };
            match step {
                Step::Append(append) => {
                    let began = self.clock.monotonic();
                    let result = store.append(&append.batches, append.sync);
                    self.shared.backlog.fetch_sub(append.bytes, Ordering::Relaxed);
                    result.map_err(Failure::Log)?;
                    if append.sync {
                        let took = self.clock.monotonic().saturating_sub(began);
                        self.node_stats.log_append_seconds.record(took);
                        self.node_stats.log_batch_bytes.record(append.bytes as f64);
                    }
                    let stats = &self.shared.stats.log;
                    stats.batches.add(u64::from(append.sync));
                    stats.appended_entries.add(append.entries);
                    ready = Some(append.ready);
                }
                Step::Other(LogWork::Prove) => store.prove().map_err(Failure::Log)?,
                Step::Other(LogWork::RecordSnapshot { token, reply }) => {
                    answer(store.record_snapshot(token), reply)?;
                }
                Step::Other(LogWork::Compact { through, reply }) => answer(store.compact(through), reply)?,
                Step::Other(LogWork::Close { clean, done }) => {
                    let closed = if clean { store.close() } else { Ok(()) };
                    *slot = None;
                    self.queue.lock().latch();
                    let _ = done.send(());
                    closed.map_err(Failure::Log)?;
                }
                Step::Other(LogWork::Persist(_)) => unreachable!("records are appended in batches"),
            }
        }
        Ok(ready)
    }
}

/// Tells whoever asked, and fails the writer as well: a log that cannot be written stays closed.
fn answer(result: quorate_storage::Result<()>, reply: LogReply) -> Result<(), Failure> {
    drop(reply.send(result.clone()));
    result.map_err(Failure::Log)
}

fn persist_bytes(persist: &LogPersist) -> u64 {
    persist.batch.entries.iter().map(|entry| entry.payload.len() as u64).sum()
}
