//! One publishing, in the order in which it becomes durable, on tasks and workers of its own.
//!
//! Order: a place in the node's budget → room → file, synced and renamed → durable applied record → snapshot record in
//! the log → read back → compact → prune. So at every crash point "snapshot pointer ≤ applied record", and the log is
//! shortened only behind a snapshot that the device has.

use std::sync::Arc;

use quorate_storage::log::LogReader;
use quorate_storage::snapshot::{Retention, SnapshotDir, SnapshotLabel, SnapshotToken};
use quorate_storage::state::StateView;
use quorate_storage::{Error, Index, Result};
use quorate_telemetry::Rng;
use tokio::sync::oneshot;

use crate::actor::compaction::Trailing;
use crate::actor::mailbox::{Event, Published, Settled};
use crate::actor::on_worker::OnWorker;
use crate::actor::publish::Events;
use crate::actor::shared::Shared;
use crate::actor::spec::{GroupDeps, SnapshotConfig};
use crate::applier::{Applier, ApplyWork};
use crate::log_writer::LogWriter;

/// All snapshots of a group, the one being written among them, take at most so many times the bytes of the state.
const STATE_BYTES_FACTOR: u64 = 3;
/// What is written between two looks at the node's budget.
const WRITE_BYTES: u64 = 1 << 20;
/// What is read back between two looks at the node's budget.
const READ_BACK_BYTES: u64 = 1 << 20;

/// What a publishing works with.
pub(crate) struct PublishJob {
    pub(crate) shared: Arc<Shared>,
    pub(crate) applier: Applier,
    pub(crate) log: LogWriter,
    pub(crate) log_reader: Arc<dyn LogReader>,
    pub(crate) deps: Arc<GroupDeps>,
    pub(crate) config: SnapshotConfig,
    pub(crate) dir: SnapshotDir,
    pub(crate) rng: Arc<dyn Rng>,
    /// The usable snapshots when it began, oldest first.
    pub(crate) recorded: Vec<SnapshotToken>,
}

impl PublishJob {
    /// Tells `events` once the snapshot stands, and once more when what it makes superfluous is gone.
    pub(crate) async fn run(mut self, events: Events) {
        let (token, durable) = match self.publish().await {
            Ok((token, label, durable)) => {
                let published = Published { token, label, recorded: self.recorded.clone() };
                drop(events.send(Event::SnapshotPublished(Ok(published))));
                (token, durable)
            }
            Err(error) => return drop(events.send(Event::SnapshotPublished(Err(error)))),
        };
        drop(events.send(Event::SnapshotSettled(self.settle(token, durable).await)));
    }

    /// Gives the snapshot, and the index up to which the state is durable. Leaves `recorded` as the log has it now.
    async fn publish(&mut self) -> Result<(SnapshotToken, Box<SnapshotLabel>, Index)> {
        let _place = self.deps.snapshots.publish().await;
        let (reply, answer) = oneshot::channel();
        self.applier.push([ApplyWork::View { reply }]);
        let view = answered(answer).await?;
        let label = Box::new(SnapshotLabel { record: view.record().clone() });
        let newest = self.recorded.last().copied();
        let token = match newest.filter(|newest| newest.id == label.record.applied) {
            Some(newest) => newest, // Nothing was applied since.
            None => self.write_file(view, label.clone()).await?,
        };
        let (reply, answer) = oneshot::channel();
        self.applier.push([ApplyWork::PersistApplied { index: token.id.index, reply }]);
        let durable = answered(answer).await?;
        if newest != Some(token) {
            let (reply, answer) = oneshot::channel();
            self.log.record_snapshot(token, reply);
            answered(answer).await?;
            self.recorded.push(token);
        }
        Ok((token, label, durable))
    }

    /// In steps, each paid for out of the node's budget: so nobody's log waits behind a gigabyte, and no worker either.
    async fn write_file(&self, view: Box<dyn StateView>, label: Box<SnapshotLabel>) -> Result<SnapshotToken> {
        let (dir, rng) = (self.dir.clone(), Arc::clone(&self.rng));
        let (recorded, expected_bytes) = (self.recorded.clone(), self.expected_bytes());
        let (kept, reserve_bytes) = (self.config.kept, self.config.reserve_bytes);
        let begin = move || {
            // Room for the one to come, before it is there.
            let others_bytes = expected_bytes.saturating_mul(STATE_BYTES_FACTOR - 1);
            dir.prune(&recorded, Retention { files_max: kept, bytes_max: others_bytes })?;
            dir.check_room(label.record.applied, expected_bytes, reserve_bytes)?;
            let writer = dir.writer(&label, rng.as_ref())?;
            Ok((view, writer))
        };
        let background = Arc::clone(&self.deps.workers.background);
        let group = self.shared.group.get();
        let mut writing = OnWorker::new(self.on_worker(begin).await?, (background, group));
        loop {
            let (mut view, mut writer) = writing.take();
            let step = move || {
                let before = writer.bytes();
                let is_done = view.write_some(&mut writer, WRITE_BYTES)?;
                let bytes = writer.bytes() - before;
                Ok((view, writer, bytes, is_done))
            };
            let (view, writer, bytes, is_done) = self.on_worker(step).await?;
            writing.put((view, writer));
            self.deps.snapshots.take_bytes(bytes).await;
            if is_done {
                break;
            }
        }
        let (_, writer) = writing.take();
        self.on_worker(move || writer.finish()).await
    }

    /// The state has hardly grown by more than what the log has.
    fn expected_bytes(&self) -> u64 {
        let newest = self.recorded.last().copied().unwrap_or_default();
        newest.bytes.saturating_add(self.log_reader.bytes_above(newest.id.index))
    }

    async fn settle(&self, token: SnapshotToken, durable: Index) -> Settled {
        match self.read_back(token).await {
            Ok(()) => {}
            Err(error) if error.is_corruption() || matches!(error, Error::Missing { .. }) => {
                let dir = self.dir.clone();
                let aside = self.on_worker(move || dir.quarantine(token.id)).await;
                tracing::warn!(group = %self.shared.group, ?aside, "a corrupt snapshot was put aside");
                return Settled::Corrupt { token, error };
            }
            Err(error) => return Settled::Failed(error),
        }
        let compacted = match self.compact(durable).await {
            Ok(compacted) => compacted,
            Err(error) => return Settled::Failed(error),
        };
        let (dir, recorded) = (self.dir.clone(), self.recorded.clone());
        let bytes_max = token.bytes.saturating_mul(STATE_BYTES_FACTOR);
        let retention = Retention { files_max: self.config.kept, bytes_max };
        match self.on_worker(move || dir.prune(&recorded, retention)).await {
            Ok(kept) => Settled::Kept { kept, compacted },
            Err(error) => Settled::Failed(error),
        }
    }

    /// What the device has, not the page cache, decides whether the log may be shortened.
    async fn read_back(&self, token: SnapshotToken) -> Result<()> {
        let dir = self.dir.clone();
        let mut back = self.on_worker(move || dir.read_back(token)).await?;
        loop {
            self.deps.snapshots.take_bytes(back.left().min(READ_BACK_BYTES)).await;
            let (stepped, is_done) = self
                .on_worker(move || {
                    let is_done = back.step(READ_BACK_BYTES)?;
                    Ok((back, is_done))
                })
                .await?;
            if is_done {
                return Ok(());
            }
            back = stepped;
        }
    }

    /// Everything behind the second newest snapshot stays: should the newest rot, the older one and the log still hold
    /// everything. Of the rest the trailing entries stay.
    async fn compact(&self, durable: Index) -> Result<Option<Index>> {
        let [.., fallback, newest] = self.recorded.as_slice() else { return Ok(None) };
        let newest = newest.id.index;
        let trailing = Trailing {
            entries: self.config.trailing_entries,
            bytes: self.config.trailing_bytes,
            hold: self.shared.log_hold(),
        };
        let bytes_above = |index| self.log_reader.bytes_above(index);
        let through = trailing.compact_through(newest, &bytes_above).min(fallback.id.index).min(durable);
        if through == Index(0) {
            return Ok(None);
        }
        let (reply, answer) = oneshot::channel();
        self.log.compact(through, reply);
        answered(answer).await?;
        Ok(Some(through))
    }

    async fn on_worker<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move || drop(reply.send(job())));
        let submitted = self.deps.workers.background.submit(self.shared.group.get(), job);
        submitted.map_err(|stopped| interrupted(Arc::new(stopped)))?;
        answered(answer).await
    }
}

async fn answered<T>(answer: oneshot::Receiver<Result<T>>) -> Result<T> {
    answer.await.map_err(|dropped| interrupted(Arc::new(dropped)))?
}

/// The group is ending: whoever should have answered is gone.
fn interrupted(source: Arc<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Store { action: "publish a snapshot", source }
}
