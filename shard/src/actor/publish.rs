//! Publishing snapshots: which there are, when the next is due, and who waits for it. The work itself is done by a
//! [`PublishJob`], never on the actor.

use std::sync::Arc;
use std::time::Duration;

use quorate_storage::Index;
use quorate_storage::snapshot::{SnapshotDir, SnapshotLabel, SnapshotToken};
use tokio::sync::oneshot;

use crate::actor::mailbox::{Event, Published, Settled};
use crate::actor::publish_job::PublishJob;
use crate::actor::publish_trigger::Trigger;
use crate::actor::run::Actor;
use crate::actor::shared::RETRY_AFTER;
use crate::core::Input;
use crate::error::{Error, Result};

/// A group's snapshots.
#[derive(Debug)]
pub(crate) struct Publisher {
    pub(crate) dir: SnapshotDir,
    /// Usable ones, oldest first.
    tokens: Vec<SnapshotToken>,
    pub(crate) trigger: Trigger,
    /// When the one under way was begun.
    began: Option<Duration>,
    /// Who asked before the one being published was begun, and who after.
    replies: Vec<Asker>,
    waiting: Vec<Asker>,
    #[cfg(feature = "planted-bugs")]
    pub(crate) relabel: Option<crate::actor::planted::Relabel>,
}

/// Who waits for a snapshot.
#[derive(Debug)]
struct Asker {
    /// It has to hold this entry.
    at_least: Index,
    reply: oneshot::Sender<Result<SnapshotToken>>,
}

impl Publisher {
    pub(crate) fn new(dir: SnapshotDir, tokens: Vec<SnapshotToken>, trigger: Trigger) -> Self {
        let (replies, waiting) = (Vec::new(), Vec::new());
        let mut publisher = Self {
            dir,
            tokens,
            trigger,
            began: None,
            replies,
            waiting,
            #[cfg(feature = "planted-bugs")]
            relabel: None,
        };
        publisher.note_newest();
        publisher
    }

    /// A snapshot was received and is being installed.
    pub(crate) fn note_installed(&mut self, token: SnapshotToken) {
        self.tokens.push(token);
        self.note_newest();
    }

    /// Usable ones, oldest first.
    pub(crate) fn tokens(&self) -> &[SnapshotToken] {
        &self.tokens
    }

    /// Nothing relies on it any more.
    pub(crate) fn forget(&mut self, token: SnapshotToken) {
        self.tokens.retain(|known| *known != token);
        self.note_newest();
    }

    pub(crate) fn newest(&self) -> Option<SnapshotToken> {
        self.tokens.last().copied()
    }

    /// The usable snapshot of this position.
    pub(crate) fn token(&self, label: &SnapshotLabel) -> Option<SnapshotToken> {
        self.tokens.iter().rev().copied().find(|token| token.id == label.record.applied)
    }

    fn note_newest(&mut self) {
        let newest = self.newest().unwrap_or_default();
        self.trigger.note_newest(newest.id.index, newest.bytes);
    }

    /// Takes over what the job kept. One that was installed meanwhile is newer and stays the last.
    fn keep(&mut self, kept: Vec<SnapshotToken>) {
        let newest = kept.last().map_or(Index(0), |token| token.id.index);
        self.tokens.retain(|known| known.id.index > newest);
        self.tokens.splice(0..0, kept);
        self.note_newest();
    }
}

impl Actor {
    /// Has `reply` told of a snapshot that holds `at_least`, or else everything that is applied now: of one that stands, of
    /// the one being published, if it comes to hold that, or of the next.
    pub(crate) fn publish_for(
        &mut self,
        at_least: Option<Index>,
        reply: oneshot::Sender<Result<SnapshotToken>>,
    ) {
        let applied = *self.shared.applied.borrow();
        let holds = |token: &SnapshotToken| at_least.is_some_and(|index| index <= token.id.index);
        // One that is being installed does not stand yet.
        let newest = self.publisher.newest().filter(|token| holds(token) && token.id.index <= applied);
        match (newest, at_least.unwrap_or(applied)) {
            (Some(token), _) => drop(reply.send(Ok(token))),
            (None, at_least) if at_least > applied => {
                drop(reply.send(Err(Error::Busy { group: self.shared.group, retry_after: RETRY_AFTER })));
            }
            (None, at_least) => {
                self.publisher.waiting.push(Asker { at_least, reply });
                self.publish();
            }
        }
    }

    /// Publishes now. One at a time.
    pub(crate) fn publish(&mut self) {
        // A replica that waits has no state to publish.
        if self.publisher.began.is_some() || self.waiting.is_some() {
            return;
        }
        self.publisher.began = Some(self.deps.clock.monotonic());
        self.publisher.replies = std::mem::take(&mut self.publisher.waiting);
        let job = PublishJob {
            shared: Arc::clone(&self.shared),
            applier: self.applier.clone(),
            log: self.log.clone(),
            log_reader: Arc::clone(&self.log_reader),
            deps: Arc::clone(&self.deps),
            config: self.config.snapshots.clone(),
            dir: self.publisher.dir.clone(),
            rng: Arc::clone(&self.rng),
            recorded: self.publisher.tokens.clone(),
            #[cfg(feature = "planted-bugs")]
            relabel: self.publisher.relabel.take(),
        };
        let events = self.events.clone();
        self.tasks.spawn(job.run(events));
    }

    pub(crate) fn publish_if_due(&mut self) {
        let is_wanted = self.publisher.trigger.is_due() || !self.publisher.waiting.is_empty();
        let may_try = self.stopping.is_none() && self.waiting.is_none() && self.publisher.began.is_none();
        if may_try && is_wanted {
            self.publish();
        }
    }

    /// A follower can only be helped by a snapshot at `wanted` or above.
    pub(crate) fn publish_if_wanted(&mut self, wanted: Index) {
        let has_it = self.publisher.newest().is_some_and(|token| token.id.index >= wanted);
        let may_try = self.publisher.began.is_none() && !self.publisher.trigger.is_pausing();
        if !has_it && may_try && *self.shared.applied.borrow() >= wanted {
            self.publish();
        }
    }

    /// Once a tick: what a snapshot would be worth by now.
    pub(crate) fn look_at_log(&mut self) {
        let newest = self.publisher.newest().map_or(Index(0), |token| token.id.index);
        let log_bytes = self.log_reader.bytes_above(newest);
        self.publisher.trigger.look(self.deps.clock.monotonic(), log_bytes);
    }

    /// It stands: whoever asked for it has it, and followers can be helped by it. A failed one is not a failure of the
    /// group: log and state stand as before, and it is tried again after a while.
    pub(crate) fn on_published(&mut self, outcome: quorate_storage::Result<Published>) {
        let replies = std::mem::take(&mut self.publisher.replies);
        let began = self.publisher.began.unwrap_or_default();
        match outcome {
            Ok(Published { token, label, recorded }) => {
                self.shared.stats.snapshots.published.increment();
                self.shared.stats.snapshots.index.set(token.id.index.get());
                self.publisher.keep(recorded);
                self.publisher.trigger.succeeded(began, self.rng.as_ref());
                self.inputs.push(Input::SnapshotPublished { token, label });
                let holds = |asker: &mut Asker| asker.at_least <= token.id.index;
                let waiting = self.publisher.waiting.extract_if(.., holds);
                for asker in replies.into_iter().chain(waiting) {
                    drop(asker.reply.send(Ok(token)));
                }
            }
            Err(error) => {
                self.publisher.began = None;
                self.publisher.trigger.failed(self.deps.clock.monotonic());
                let stats = &self.shared.stats.snapshots;
                stats.failed.increment();
                stats.refused.add(u64::from(matches!(error, quorate_storage::Error::NoRoom { .. })));
                tracing::warn!(group = %self.shared.group, %error, "snapshot not published");
                for asker in replies {
                    drop(asker.reply.send(Err(Error::Read(error.clone()))));
                }
            }
        }
    }

    /// It was read back, and what is older was let go; or it cannot be relied on.
    pub(crate) fn on_settled(&mut self, outcome: Settled) {
        self.publisher.began = None;
        match outcome {
            Settled::Kept { kept, compacted } => {
                self.publisher.keep(kept);
                self.inputs.extend(compacted.map(|through| Input::Compacted { through }));
            }
            Settled::Corrupt { token, error } => {
                self.distrust(token, &error);
                self.publisher.trigger.failed(self.deps.clock.monotonic());
                self.publisher.trigger.force();
            }
            Settled::Failed(error) => {
                self.shared.stats.snapshots.failed.increment();
                tracing::warn!(group = %self.shared.group, %error, "nothing was compacted behind a snapshot");
            }
        }
    }

    /// The file was put aside: nothing relies on it any more.
    pub(crate) fn distrust(&mut self, token: SnapshotToken, error: &quorate_storage::Error) {
        self.shared.stats.snapshots.corrupt.increment();
        tracing::error!(group = %self.shared.group, index = %token.id.index, %error, "a snapshot is corrupt");
        self.publisher.forget(token);
    }
}

/// Tells the actor how publishing went.
pub(crate) type Events = tokio::sync::mpsc::UnboundedSender<Event>;
