//! One scan, on a task of its own.

use std::sync::Arc;

use quorate_storage::snapshot::{SnapshotDir, SnapshotToken};
use quorate_storage::state::{StateReader, StateView};
use tokio::sync::{mpsc, oneshot};

use super::{ScrubOutcome, Scrubbed};
use crate::actor::mailbox::Event;
use crate::actor::on_worker::STEP_BYTES;
use crate::actor::shared::Shared;
use crate::actor::spec::GroupDeps;
use crate::applier::{Applier, ApplyWork};

/// What a scan works with.
pub(super) struct ScrubJob {
    pub(super) shared: Arc<Shared>,
    pub(super) applier: Applier,
    pub(super) deps: Arc<GroupDeps>,
    pub(super) dir: SnapshotDir,
}

/// Why a scan was broken off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Interrupted {
    /// There is nothing that can be scanned (yet), or it was closed meanwhile.
    #[error(transparent)]
    State(quorate_storage::Error),
    /// The state was replaced by a snapshot's: what is wrong with the old one harms nobody any more.
    #[error("the state was replaced meanwhile, and the old one failed: {0}")]
    Replaced(quorate_storage::Error),
    /// The workers have stopped, or the state machine panicked.
    #[error("a worker is gone")]
    WorkerGone,
}

impl ScrubJob {
    /// Tells `events` of every corrupt snapshot, and once how it ended.
    pub(super) async fn run(self, events: mpsc::UnboundedSender<Event>) {
        let outcome = match self.scan(&events).await {
            Ok(scrubbed) => ScrubOutcome::Whole(scrubbed),
            Err(Ended::Rotten(error)) => ScrubOutcome::Rotten(error),
            Err(Ended::Interrupted(why)) => ScrubOutcome::Interrupted(why),
        };
        drop(events.send(Event::Scrubbed(Box::new(outcome))));
    }

    async fn scan(&self, events: &mpsc::UnboundedSender<Event>) -> Result<Scrubbed, Ended> {
        let _turn = self.deps.scrub.scan().await;
        let began = self.deps.clock.monotonic();
        let mut scrubbed = self.scan_state().await?;
        self.scan_snapshots(&mut scrubbed, events).await?;
        scrubbed.at = self.deps.clock.wall();
        scrubbed.took = self.deps.clock.monotonic().saturating_sub(began);
        Ok(scrubbed)
    }

    async fn scan_state(&self) -> Result<Scrubbed, Ended> {
        // Taken before the view: a state that is replaced in between counts as replaced.
        let reader = self.shared.reader();
        let (reply, answer) = oneshot::channel();
        self.applier.push([ApplyWork::View { reply }]);
        let view = answer.await.map_err(|_dropped| Interrupted::WorkerGone)?;
        let mut view = view.map_err(|error| self.judge(error, reader.as_ref()))?;
        let mut scrubbed = Scrubbed { applied: view.record().applied.index, ..Scrubbed::default() };
        loop {
            let (back, step) = self.on_worker(move || step(view)).await?;
            let step = step.map_err(|error| self.judge(error, reader.as_ref()))?;
            scrubbed.records += step.records;
            scrubbed.bytes += step.bytes;
            self.note_bytes(step.bytes).await;
            match back.filter(|_| !step.is_done) {
                Some(back) => view = back,
                None => return Ok(scrubbed),
            }
        }
    }

    /// What an error of the state that was read says of the state there is.
    fn judge(&self, error: quorate_storage::Error, reader: Option<&Arc<dyn StateReader>>) -> Ended {
        let is_current = match (reader, self.shared.reader()) {
            (Some(then), Some(now)) => Arc::ptr_eq(then, &now),
            _ => false,
        };
        match (error.is_store_failure(), is_current) {
            (true, true) => Ended::Rotten(error),
            (true, false) => Interrupted::Replaced(error).into(),
            (false, _) => Interrupted::State(error).into(),
        }
    }

    /// Reads the snapshots there are; not those of the moment in which it began.
    async fn scan_snapshots(
        &self,
        scrubbed: &mut Scrubbed,
        events: &mpsc::UnboundedSender<Event>,
    ) -> Result<(), Ended> {
        let (reply, answer) = oneshot::channel();
        drop(events.send(Event::ListSnapshots { reply }));
        let tokens = answer.await.map_err(|_dropped| Interrupted::WorkerGone)?;
        for token in tokens {
            let Err(error) = self.read_back(token).await? else {
                scrubbed.snapshots += 1;
                continue;
            };
            // One that is missing was pruned meanwhile, and one that cannot be read now may be another time.
            if !error.is_corruption() {
                tracing::info!(group = %self.shared.group, index = %token.id.index, %error, "snapshot not scrubbed");
                continue;
            }
            scrubbed.snapshots += 1;
            scrubbed.corrupt_snapshots += 1;
            let dir = self.dir.clone();
            if let Err(error) = self.on_worker(move || dir.quarantine(token.id)).await? {
                tracing::warn!(group = %self.shared.group, %error, "a corrupt snapshot was not put aside");
            }
            drop(events.send(Event::RottenSnapshot { token, error }));
        }
        Ok(())
    }

    async fn read_back(&self, token: SnapshotToken) -> Result<quorate_storage::Result<()>, Ended> {
        let dir = self.dir.clone();
        let mut back = match self.on_worker(move || dir.read_back(token)).await? {
            Ok(back) => back,
            Err(error) => return Ok(Err(error)),
        };
        loop {
            self.note_bytes(back.left().min(STEP_BYTES)).await;
            let (read, is_done) = self
                .on_worker(move || {
                    let is_done = back.step(STEP_BYTES);
                    (back, is_done)
                })
                .await?;
            match is_done {
                Ok(false) => back = read,
                Ok(true) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    async fn note_bytes(&self, bytes: u64) {
        self.shared.stats.scrub.bytes.add(bytes);
        self.deps.scrub.take(bytes).await;
    }

    async fn on_worker<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Interrupted> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move || drop(reply.send(job())));
        let submitted = self.deps.workers.background.submit(self.shared.group.get(), job);
        submitted.map_err(|_stopped| Interrupted::WorkerGone)?;
        answer.await.map_err(|_dropped| Interrupted::WorkerGone)
    }
}

/// The view is given back only to go on with: it is closed on the worker.
fn step(
    mut view: Box<dyn StateView>,
) -> (Option<Box<dyn StateView>>, quorate_storage::Result<quorate_storage::state::ScanStep>) {
    let step = match view.as_scan() {
        Some(scan) => scan.step(STEP_BYTES),
        // Of a state machine of an embedder's own nothing can be told: only its snapshots are scanned.
        None => Ok(quorate_storage::state::ScanStep { is_done: true, ..Default::default() }),
    };
    match step {
        Ok(step) if !step.is_done => (Some(view), Ok(step)),
        step => (None, step),
    }
}

/// Why a scan has no result.
enum Ended {
    Rotten(quorate_storage::Error),
    Interrupted(Interrupted),
}

impl From<Interrupted> for Ended {
    fn from(why: Interrupted) -> Self {
        Self::Interrupted(why)
    }
}
