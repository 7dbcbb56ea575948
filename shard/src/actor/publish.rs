//! Publishing snapshots: when one is due, and the order in which it becomes durable.
//!
//! Order: file, synced and renamed → durable applied record → snapshot record in the log → compact → prune.
//! So at every crash point "snapshot pointer ≤ applied record". Nothing of it runs on the actor.

use std::sync::Arc;

use quorate_storage::Index;
use quorate_storage::snapshot::{SnapshotDir, SnapshotLabel, SnapshotToken};
use quorate_telemetry::{Rng, Workers};
use tokio::sync::oneshot;

use crate::actor::mailbox::{Event, Published};
use crate::actor::run::Actor;
use crate::actor::spec::SnapshotConfig;
use crate::applier::{Applier, ApplyWork};
use crate::core::Input;
use crate::error::{Error, Result};
use crate::log_writer::LogWriter;

/// A snapshot is due up to this part of its threshold later, so that groups do not write theirs together.
const JITTER_DIVISOR: u64 = 4;

/// What a group's snapshots are, and how far the log is from the newest.
#[derive(Debug)]
pub(crate) struct Publisher {
    config: SnapshotConfig,
    pub(crate) dir: SnapshotDir,
    /// Usable ones, oldest first.
    tokens: Vec<SnapshotToken>,
    log_bytes: u64,
    entries: u64,
    jitter_bytes: u64,
    is_publishing: bool,
    /// Who gets the one being published, and who the next.
    replies: Vec<oneshot::Sender<Result<SnapshotToken>>>,
    waiting: Vec<oneshot::Sender<Result<SnapshotToken>>>,
}

impl Publisher {
    pub(crate) fn new(config: SnapshotConfig, dir: SnapshotDir, tokens: Vec<SnapshotToken>) -> Self {
        Self {
            config,
            dir,
            tokens,
            log_bytes: 0,
            entries: 0,
            jitter_bytes: 0,
            is_publishing: false,
            replies: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Counts a committed entry.
    pub(crate) fn note_entry(&mut self, payload_bytes: u64) {
        self.log_bytes += payload_bytes;
        self.entries += 1;
    }

    /// Counts what a restart found behind the newest snapshot. (Its bytes are not known: they were counted by the actor
    /// that ended.)
    pub(crate) fn note_floor(&mut self, floor: Index) {
        let newest = self.newest().map_or(0, |token| token.id.index.get());
        self.entries += floor.get().saturating_sub(newest);
    }

    /// A snapshot was received and installed.
    pub(crate) fn note_installed(&mut self, token: SnapshotToken) {
        self.tokens.push(token);
        (self.log_bytes, self.entries) = (0, 0);
    }

    pub(crate) fn newest(&self) -> Option<SnapshotToken> {
        self.tokens.last().copied()
    }

    /// The usable snapshot of this position.
    pub(crate) fn token(&self, label: &SnapshotLabel) -> Option<SnapshotToken> {
        self.tokens.iter().rev().copied().find(|token| token.id == label.record.applied)
    }

    fn is_due(&self) -> bool {
        let state_bytes = self.newest().map_or(0, |token| token.bytes);
        let threshold = self.config.log_bytes_min.max(state_bytes / 2) + self.jitter_bytes;
        self.log_bytes > threshold || self.config.entries.is_some_and(|entries| self.entries >= entries)
    }

    fn begin(&mut self, rng: &dyn Rng) {
        self.is_publishing = true;
        self.replies = std::mem::take(&mut self.waiting);
        (self.log_bytes, self.entries) = (0, 0);
        self.jitter_bytes = rng.below((self.config.log_bytes_min / JITTER_DIVISOR).max(1));
    }
}

impl Actor {
    /// Publishes now, for `reply` or because it is due. One at a time: who asks meanwhile shares the next.
    pub(crate) fn publish(&mut self, reply: Option<oneshot::Sender<Result<SnapshotToken>>>) {
        self.publisher.waiting.extend(reply);
        if self.publisher.is_publishing {
            return;
        }
        self.publisher.begin(self.rng.as_ref());
        let job = PublishJob {
            key: self.shared.group.get(),
            applier: self.applier.clone(),
            log: self.log.clone(),
            workers: Arc::clone(&self.deps.workers.background),
            dir: self.publisher.dir.clone(),
            rng: Arc::clone(&self.rng),
            recorded: self.publisher.tokens.clone(),
            trailing_entries: self.config.snapshots.trailing_entries,
            kept: self.config.snapshots.kept,
        };
        let events = self.events.clone();
        self.tasks.spawn(async move {
            drop(events.send(Event::SnapshotPublished(job.run().await)));
        });
    }

    pub(crate) fn publish_if_due(&mut self) {
        let is_wanted = self.publisher.is_due() || !self.publisher.waiting.is_empty();
        if self.stopping.is_none() && !self.publisher.is_publishing && is_wanted {
            self.publish(None);
        }
    }

    /// A follower can only be helped by a snapshot at `wanted` or above.
    pub(crate) fn publish_if_wanted(&mut self, wanted: Index) {
        let has_it = self.publisher.newest().is_some_and(|token| token.id.index >= wanted);
        if !has_it && !self.publisher.is_publishing && *self.shared.applied.borrow() >= wanted {
            self.publish(None);
        }
    }

    /// A failed one is not a failure of the group: log and state stand as before, and the next one is tried when it
    /// is due.
    pub(crate) fn on_published(&mut self, outcome: quorate_storage::Result<Published>) {
        self.publisher.is_publishing = false;
        let replies = std::mem::take(&mut self.publisher.replies);
        match outcome {
            Ok(Published { token, label, compacted, kept }) => {
                self.shared.stats.snapshots.published.increment();
                self.shared.stats.snapshots.index.set(token.id.index.get());
                // One that was installed meanwhile is newer and stays the last.
                self.publisher.tokens.retain(|known| known.id.index > token.id.index);
                self.publisher.tokens.splice(0..0, kept);
                self.inputs.push(Input::SnapshotPublished { token, label });
                self.inputs.extend(compacted.map(|through| Input::Compacted { through }));
                for reply in replies {
                    drop(reply.send(Ok(token)));
                }
            }
            Err(error) => {
                self.shared.stats.snapshots.failed.increment();
                tracing::warn!(group = %self.shared.group, %error, "snapshot not published");
                for reply in replies {
                    drop(reply.send(Err(Error::Read(error.clone()))));
                }
            }
        }
    }
}

/// One publishing, on tasks and workers of its own.
struct PublishJob {
    key: u64,
    applier: Applier,
    log: LogWriter,
    workers: Arc<dyn Workers>,
    dir: SnapshotDir,
    rng: Arc<dyn Rng>,
    recorded: Vec<SnapshotToken>,
    trailing_entries: u64,
    kept: usize,
}

impl PublishJob {
    async fn run(self) -> quorate_storage::Result<Published> {
        let (token, label) = self.write_file().await?;
        let index = token.id.index;
        let (reply, answer) = oneshot::channel();
        self.applier.push([ApplyWork::PersistApplied { index, reply }]);
        answered(answer).await?;

        let is_new = self.recorded.last() != Some(&token);
        let mut recorded = self.recorded.clone();
        if is_new {
            let (reply, answer) = oneshot::channel();
            self.log.record_snapshot(token, reply);
            answered(answer).await?;
            recorded.push(token);
        }
        let compacted = self.compact(&recorded).await?;
        let (dir, kept) = (self.dir.clone(), self.kept);
        let kept = self.on_worker(move || dir.prune(&recorded, kept)).await?;
        Ok(Published { token, label, compacted, kept })
    }

    async fn write_file(&self) -> quorate_storage::Result<(SnapshotToken, Box<SnapshotLabel>)> {
        let (reply, answer) = oneshot::channel();
        self.applier.push([ApplyWork::View { reply }]);
        let mut view = answered(answer).await?;
        let label = Box::new(SnapshotLabel { record: view.record().clone() });
        if let Some(newest) = self.recorded.last().filter(|newest| newest.id == label.record.applied) {
            return Ok((*newest, label)); // Nothing was applied since.
        }
        let (dir, rng) = (self.dir.clone(), Arc::clone(&self.rng));
        self.on_worker(move || {
            let mut writer = dir.writer(&label, rng.as_ref())?;
            view.write_to(&mut writer)?;
            Ok((writer.finish()?, label))
        })
        .await
    }

    /// Keeps `trailing_entries` behind the newest snapshot, and everything behind the second newest: should the newest
    /// turn out corrupt, the older one and the log still hold everything.
    async fn compact(&self, recorded: &[SnapshotToken]) -> quorate_storage::Result<Option<Index>> {
        let [.., fallback, newest] = recorded else { return Ok(None) };
        let trailing = newest.id.index.get().saturating_sub(self.trailing_entries);
        let through = Index(trailing.min(fallback.id.index.get()));
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
        job: impl FnOnce() -> quorate_storage::Result<T> + Send + 'static,
    ) -> quorate_storage::Result<T> {
        let (reply, answer) = oneshot::channel();
        let submitted = self.workers.submit(self.key, Box::new(move || drop(reply.send(job()))));
        submitted.map_err(|stopped| interrupted(Arc::new(stopped)))?;
        answered(answer).await
    }
}

async fn answered<T>(answer: oneshot::Receiver<quorate_storage::Result<T>>) -> quorate_storage::Result<T> {
    answer.await.map_err(|dropped| interrupted(Arc::new(dropped)))?
}

/// The group is ending: whoever should have answered is gone.
fn interrupted(source: Arc<dyn std::error::Error + Send + Sync>) -> quorate_storage::Error {
    quorate_storage::Error::Store { action: "publish a snapshot", source }
}
