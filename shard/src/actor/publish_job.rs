//! One publishing, on tasks and workers of its own: a place in the node's budget, a view of the state, and then the steps of
//! [`PublishStep`], in their order.

use std::sync::Arc;

use quorate_storage::log::LogReader;
use quorate_storage::planted::{self, Planted};
use quorate_storage::snapshot::{Retention, SnapshotDir, SnapshotLabel, SnapshotToken};
use quorate_storage::state::{AppliedRecord, StateView};
use quorate_storage::{Error, Index, Result};
use quorate_telemetry::Rng;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::actor::compaction::Trailing;
use crate::actor::mailbox::{Event, Published, Settled};
use crate::actor::on_worker::{OnWorker, STEP_BYTES};
use crate::actor::publish::Events;
use crate::actor::publish_steps::PublishStep;
use crate::actor::shared::Shared;
use crate::actor::spec::{GroupDeps, SnapshotConfig};
use crate::applier::{Applier, ApplyWork};
use crate::log_writer::LogWriter;

/// All snapshots of a group, the one being written among them, take at most so many times the bytes of the state.
const STATE_BYTES_FACTOR: u64 = 3;

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
    #[cfg(feature = "planted-bugs")]
    pub(crate) relabel: Option<crate::actor::planted::Relabel>,
}

/// A publishing under way.
struct Publishing {
    /// Until it is announced.
    place: Option<OwnedSemaphorePermit>,
    /// Until it is written.
    view: Option<Box<dyn StateView>>,
    label: Box<SnapshotLabel>,
    /// Once the file is there.
    token: SnapshotToken,
    /// The log has recorded it.
    is_recorded: bool,
    /// Up to where the state is durable.
    durable: Index,
    is_announced: bool,
    compacted: Option<Index>,
    /// The snapshots that are left, once older ones are gone.
    kept: Vec<SnapshotToken>,
}

/// What a snapshot of a view says of itself: what the view holds, whatever was applied since (DESIGN, section 9).
pub fn label_of(view: &AppliedRecord) -> SnapshotLabel {
    let mut record = view.clone();
    if planted::is(Planted::LabelTooHigh) {
        record.applied.index = record.applied.index.next();
    }
    SnapshotLabel { record }
}

/// The last index that may be dropped behind the newest of `recorded`, if there is one: everything behind the second newest
/// stays, because should the newest rot, the older one and the log still hold everything; of the rest, what is trailing.
/// Nothing goes that the store has not made durable.
pub fn compact_through(
    recorded: &[SnapshotToken],
    trailing: &Trailing,
    bytes_above: &dyn Fn(Index) -> u64,
    durable: Index,
) -> Option<Index> {
    if planted::is(Planted::CompactedBehindNothing) {
        return Some(durable);
    }
    let [.., fallback, newest] = recorded else { return None };
    let wanted = trailing.compact_through(newest.id.index, bytes_above);
    Some(wanted.min(fallback.id.index).min(durable)).filter(|through| *through > Index(0))
}

impl PublishJob {
    /// Tells `events` once the snapshot stands, and once more when what it makes superfluous is gone.
    pub(crate) async fn run(mut self, events: Events) {
        let mut publishing = match self.begin().await {
            Ok(publishing) => publishing,
            Err(error) => return drop(events.send(Event::SnapshotPublished(Err(error)))),
        };
        for step in PublishStep::order() {
            if let Err(error) = self.carry_out(step, &mut publishing, &events).await {
                let token = publishing.token;
                return drop(events.send(match publishing.is_announced {
                    false => Event::SnapshotPublished(Err(error)),
                    true if step == PublishStep::ReadBack && is_damage(&error) => {
                        self.put_aside(token).await;
                        Event::SnapshotSettled(Settled::Corrupt { token, error })
                    }
                    true => Event::SnapshotSettled(Settled::Failed(error)),
                }));
            }
        }
        let Publishing { kept, compacted, .. } = publishing;
        drop(events.send(Event::SnapshotSettled(Settled::Kept { kept, compacted })));
    }

    async fn begin(&mut self) -> Result<Publishing> {
        let place = Some(self.deps.snapshots.publish().await);
        let (reply, answer) = oneshot::channel();
        self.applier.push([ApplyWork::View { reply }]);
        let view = answered(answer).await?;
        #[cfg_attr(
            not(feature = "planted-bugs"),
            expect(unused_mut, reason = "changed by a planted mistake")
        )]
        let mut label = Box::new(label_of(view.record()));
        #[cfg(feature = "planted-bugs")]
        self.relabel.iter().for_each(|relabel| relabel.apply(&mut label.record));
        let newest = self.recorded.last().copied().unwrap_or_default();
        // Nothing was applied since: the one that is there is as good.
        let is_recorded = newest.id == label.record.applied;
        let token = if is_recorded { newest } else { SnapshotToken::default() };
        Ok(Publishing {
            place,
            view: Some(view),
            label,
            token,
            is_recorded,
            durable: Index(0),
            is_announced: false,
            compacted: None,
            kept: Vec::new(),
        })
    }

    async fn carry_out(
        &mut self,
        step: PublishStep,
        publishing: &mut Publishing,
        events: &Events,
    ) -> Result<()> {
        match step {
            PublishStep::WriteFile => {
                if let Some(view) = publishing.view.take().filter(|_| !publishing.is_recorded) {
                    publishing.token = self.write_file(view, publishing.label.clone()).await?;
                }
            }
            PublishStep::RaiseMarker => {
                publishing.durable = self.raise_marker(publishing.label.record.applied.index).await?;
            }
            PublishStep::RecordSnapshot if publishing.is_recorded => {}
            PublishStep::RecordSnapshot => {
                let (reply, answer) = oneshot::channel();
                self.log.record_snapshot(publishing.token, reply);
                answered(answer).await?;
                publishing.is_recorded = true;
                self.recorded.push(publishing.token);
            }
            PublishStep::Announce => {
                let (token, label, recorded) =
                    (publishing.token, publishing.label.clone(), self.recorded.clone());
                drop(events.send(Event::SnapshotPublished(Ok(Published { token, label, recorded }))));
                publishing.place = None;
                publishing.is_announced = true;
            }
            PublishStep::ReadBack => self.read_back(publishing.token).await?,
            PublishStep::Compact => publishing.compacted = self.compact(publishing.durable).await?,
            PublishStep::Prune => publishing.kept = self.prune(publishing.token).await?,
        }
        Ok(())
    }

    /// Gives the index up to which the state is durable.
    async fn raise_marker(&self, index: Index) -> Result<Index> {
        let (reply, answer) = oneshot::channel();
        self.applier.push([ApplyWork::PersistApplied { index, reply }]);
        answered(answer).await
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
                let is_done = view.write_some(&mut writer, STEP_BYTES)?;
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

    async fn prune(&self, newest: SnapshotToken) -> Result<Vec<SnapshotToken>> {
        let (dir, recorded) = (self.dir.clone(), self.recorded.clone());
        let bytes_max = newest.bytes.saturating_mul(STATE_BYTES_FACTOR);
        let retention = Retention { files_max: self.config.kept, bytes_max };
        self.on_worker(move || dir.prune(&recorded, retention)).await
    }

    async fn put_aside(&self, token: SnapshotToken) {
        let dir = self.dir.clone();
        let aside = self.on_worker(move || dir.quarantine(token.id)).await;
        tracing::warn!(group = %self.shared.group, ?aside, "a corrupt snapshot was put aside");
    }

    /// What the device has, not the page cache, decides whether the log may be shortened.
    async fn read_back(&self, token: SnapshotToken) -> Result<()> {
        let dir = self.dir.clone();
        let mut back = self.on_worker(move || dir.read_back(token)).await?;
        loop {
            self.deps.snapshots.take_bytes(back.left().min(STEP_BYTES)).await;
            let (stepped, is_done) = self
                .on_worker(move || {
                    let is_done = back.step(STEP_BYTES)?;
                    Ok((back, is_done))
                })
                .await?;
            if is_done {
                return Ok(());
            }
            back = stepped;
        }
    }

    async fn compact(&self, durable: Index) -> Result<Option<Index>> {
        let trailing = Trailing {
            entries: self.config.trailing_entries,
            bytes: self.config.trailing_bytes,
            hold: self.shared.log_hold(),
        };
        let bytes_above = |index| self.log_reader.bytes_above(index);
        let Some(through) = compact_through(&self.recorded, &trailing, &bytes_above, durable) else {
            return Ok(None);
        };
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

/// Whether the file is not what was written, or gone.
fn is_damage(error: &Error) -> bool {
    error.is_corruption() || matches!(error, Error::Missing { .. })
}

async fn answered<T>(answer: oneshot::Receiver<Result<T>>) -> Result<T> {
    answer.await.map_err(|dropped| interrupted(Arc::new(dropped)))?
}

/// The group is ending: whoever should have answered is gone.
fn interrupted(source: Arc<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Store { action: "publish a snapshot", source }
}
