//! Publishing snapshots: the real steps, in the real order, one after the other, with time for a crash between any two.

use std::time::Duration;

use quorate_shard::actor::GroupConfig;
use quorate_shard::core::Input;
use quorate_shard::shell::{PublishStep, Trailing, compact_through, label_of};
use quorate_storage::snapshot::{Retention, SnapshotLabel, SnapshotToken};
use quorate_storage::state::StateView;
use quorate_storage::{Error, Index, Result};

use super::super::ctx::Ctx;
use super::super::event::Job;
use super::super::invariants::Laws;
use super::applying::ApplyWork;
use super::logging::LogWork;
use super::{Failure, Replica};

/// Before another attempt after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// All snapshots of a group take at most so many times the bytes of the state.
const STATE_BYTES_FACTOR: u64 = 3;
/// Read back at a time.
const READ_BACK_BYTES: u64 = 1 << 20;

/// A replica's snapshots, and when the next is due.
#[derive(Debug)]
pub(super) struct Publisher {
    /// Usable ones, oldest first.
    tokens: Vec<SnapshotToken>,
    entries: u64,
    is_forced: bool,
    retry_at: Duration,
}

/// One that is under way.
#[derive(Debug)]
pub(super) struct Publishing {
    /// What is left to be done, the next last.
    steps: Vec<PublishStep>,
    view: Option<Box<dyn StateView>>,
    label: Option<Box<SnapshotLabel>>,
    token: SnapshotToken,
    recorded: Vec<SnapshotToken>,
    is_recorded: bool,
    is_announced: bool,
    durable: Index,
    compacted: Option<Index>,
    kept: Vec<SnapshotToken>,
}

impl Publisher {
    pub(super) fn new(config: &GroupConfig, tokens: Vec<SnapshotToken>, is_forced: bool) -> Self {
        let entries = config.snapshots.entries.unwrap_or(u64::MAX);
        Self { tokens, entries, is_forced, retry_at: Duration::ZERO }
    }

    pub(super) fn newest(&self) -> Option<SnapshotToken> {
        self.tokens.last().copied()
    }

    pub(super) fn note_installed(&mut self, token: SnapshotToken) {
        self.tokens.push(token);
    }

    pub(super) fn forget(&mut self, token: SnapshotToken) {
        self.tokens.retain(|known| *known != token);
    }

    pub(super) fn force(&mut self) {
        self.is_forced = true;
    }

    /// The usable snapshot of this position.
    pub(super) fn token(&self, label: &SnapshotLabel) -> Option<SnapshotToken> {
        self.tokens.iter().rev().copied().find(|token| token.id == label.record.applied)
    }

    fn is_due(&self, now: Duration, applied: Index) -> bool {
        let newest = self.newest().map_or(Index(0), |token| token.id.index);
        let entries = applied.get().saturating_sub(newest.get());
        now >= self.retry_at && (self.is_forced || entries >= self.entries)
    }

    /// Takes over what a publishing kept. One that was installed meanwhile is newer and stays the last.
    fn keep(&mut self, kept: Vec<SnapshotToken>) {
        let newest = kept.last().map_or(Index(0), |token| token.id.index);
        self.tokens.retain(|known| known.id.index > newest);
        self.tokens.splice(0..0, kept);
    }
}

impl Replica {
    /// Has a snapshot published, whether or not one is due.
    pub(crate) fn publish(&mut self, ctx: &mut Ctx) {
        if self.publishing.is_some() || self.waiting.is_some() {
            return;
        }
        let mut steps = PublishStep::order().to_vec();
        steps.reverse();
        self.publishing = Some(Publishing {
            steps,
            view: None,
            label: None,
            token: SnapshotToken::default(),
            recorded: self.publisher.tokens.clone(),
            is_recorded: false,
            is_announced: false,
            durable: Index(0),
            compacted: None,
            kept: Vec::new(),
        });
        self.push_apply(ctx, ApplyWork::View);
    }

    pub(super) fn publish_if_due(&mut self, ctx: &mut Ctx) {
        if self.publisher.is_due(ctx.now, self.record.applied.index) {
            self.publish(ctx);
        }
    }

    /// A follower can only be helped by a snapshot at `wanted` or above.
    pub(super) fn publish_if_wanted(&mut self, ctx: &mut Ctx, wanted: Index) {
        let has_it = self.publisher.newest().is_some_and(|token| token.id.index >= wanted);
        if !has_it && ctx.now >= self.publisher.retry_at && self.record.applied.index >= wanted {
            self.publish(ctx);
        }
    }

    /// The applier has come to the view that was asked for.
    pub(super) fn viewed(&mut self, ctx: &mut Ctx, view: Result<Box<dyn StateView>>) {
        let Some(publishing) = &mut self.publishing else { return };
        match view {
            Ok(view) => {
                let label = Box::new(label_of(view.record()));
                // Nothing was applied since: the one that is there is as good.
                let newest = publishing.recorded.last().copied().unwrap_or_default();
                publishing.is_recorded = newest.id == label.record.applied;
                publishing.token = if publishing.is_recorded { newest } else { SnapshotToken::default() };
                publishing.view = Some(view);
                publishing.label = Some(label);
                ctx.submit(self.place, Job::Publish);
            }
            Err(_) => self.give_up(ctx),
        }
    }

    /// The store's record is durable up to there.
    pub(super) fn marker_raised(&mut self, ctx: &mut Ctx, persisted: &Result<Index>) {
        let Some(publishing) = &mut self.publishing else { return };
        match persisted {
            Ok(durable) => {
                publishing.durable = *durable;
                ctx.submit(self.place, Job::Publish);
            }
            Err(_) => self.give_up(ctx),
        }
    }

    /// The log has recorded it.
    pub(super) fn recorded(&mut self, ctx: &mut Ctx, token: SnapshotToken) {
        let checked = ctx.laws.applied.recorded(self.who(), token.id.index);
        ctx.uphold(checked);
        if let Some(publishing) = &mut self.publishing {
            publishing.is_recorded = true;
            publishing.recorded.push(token);
            ctx.submit(self.place, Job::Publish);
        }
    }

    /// The log is shorter.
    pub(super) fn compacted(&mut self, ctx: &mut Ctx, through: Index) {
        if let Some(publishing) = &mut self.publishing {
            publishing.compacted = Some(through);
            ctx.counts.compactions += 1;
            ctx.submit(self.place, Job::Publish);
        }
    }

    /// The next step of the publishing under way.
    pub(super) fn publish_step(&mut self, ctx: &mut Ctx) -> Result<(), Failure> {
        let Some(mut publishing) = self.publishing.take() else { return Ok(()) };
        let Some(step) = publishing.steps.pop() else { return self.settle(ctx, publishing) };
        let token = publishing.token;
        let outcome = self.carry_out(ctx, step, &mut publishing);
        self.publishing = Some(publishing);
        match outcome {
            Ok(Next::Now) => ctx.submit(self.place, Job::Publish),
            Ok(Next::Told) => {}
            Ok(Next::Announced(label)) => {
                ctx.submit(self.place, Job::Publish);
                self.feed(ctx, Input::SnapshotPublished { token, label })?;
            }
            Err(error) if step == PublishStep::ReadBack && is_damage(&error) => self.distrust(ctx, token),
            Err(_) => self.give_up(ctx),
        }
        Ok(())
    }

    fn carry_out(&mut self, ctx: &mut Ctx, step: PublishStep, publishing: &mut Publishing) -> Result<Next> {
        let label = publishing.label.clone();
        match step {
            PublishStep::WriteFile => {
                let view = publishing.view.take().filter(|_| !publishing.is_recorded);
                if let (Some(view), Some(label)) = (view, label) {
                    publishing.token = self.write_file(view, &label, &publishing.recorded)?;
                    let checked = ctx.laws.snapshot(self.who(), &self.snapshots, publishing.token, &label);
                    ctx.uphold(checked);
                }
            }
            PublishStep::RaiseMarker => {
                let index = label.map_or(Index(0), |label| label.record.applied.index);
                self.push_apply(ctx, ApplyWork::PersistApplied(index));
                return Ok(Next::Told);
            }
            PublishStep::RecordSnapshot if publishing.is_recorded => {}
            PublishStep::RecordSnapshot => {
                self.push_log(ctx, LogWork::Record(publishing.token));
                return Ok(Next::Told);
            }
            PublishStep::Announce => {
                publishing.is_announced = true;
                self.publisher.keep(publishing.recorded.clone());
                self.publisher.is_forced = false;
                ctx.counts.snapshots_published += 1;
                if let Some(label) = label {
                    return Ok(Next::Announced(label));
                }
            }
            PublishStep::ReadBack => {
                let mut back = self.snapshots.read_back(publishing.token)?;
                while !back.step(READ_BACK_BYTES)? {}
            }
            PublishStep::Compact => {
                if let Some(through) = self.compact_through(ctx, publishing) {
                    let checked = Laws::compacts(self.who(), through, &publishing.recorded);
                    ctx.uphold(checked);
                    self.push_log(ctx, LogWork::Compact(through));
                    return Ok(Next::Told);
                }
            }
            PublishStep::Prune => {
                let bytes_max = publishing.token.bytes.saturating_mul(STATE_BYTES_FACTOR);
                let retention = Retention { files_max: self.config.snapshots.kept, bytes_max };
                publishing.kept = self.snapshots.prune(&publishing.recorded, retention)?;
            }
        }
        Ok(Next::Now)
    }

    fn write_file(
        &self,
        mut view: Box<dyn StateView>,
        label: &SnapshotLabel,
        recorded: &[SnapshotToken],
    ) -> Result<SnapshotToken> {
        let config = &self.config.snapshots;
        let newest = recorded.last().copied().unwrap_or_default();
        let expected_bytes = newest.bytes.saturating_add(self.log_reader.bytes_above(newest.id.index));
        let bytes_max = expected_bytes.saturating_mul(STATE_BYTES_FACTOR - 1);
        self.snapshots.prune(recorded, Retention { files_max: config.kept, bytes_max })?;
        self.snapshots.check_room(label.record.applied, expected_bytes, config.reserve_bytes)?;
        let mut writer = self.snapshots.writer(label, self.rng.as_ref())?;
        while !view.write_some(&mut writer, u64::MAX)? {}
        writer.finish()
    }

    fn compact_through(&mut self, ctx: &Ctx, publishing: &Publishing) -> Option<Index> {
        let config = &self.config.snapshots;
        let hold =
            self.transfers.slowest_follower(self.id, &self.core.status(), ctx.now, config.follower_grace);
        let trailing = Trailing { entries: config.trailing_entries, bytes: config.trailing_bytes, hold };
        let bytes_above = |index| self.log_reader.bytes_above(index);
        compact_through(&publishing.recorded, &trailing, &bytes_above, publishing.durable)
    }

    /// Everything is done.
    fn settle(&mut self, ctx: &mut Ctx, publishing: Publishing) -> Result<(), Failure> {
        self.publisher.keep(publishing.kept);
        match publishing.compacted {
            Some(through) => self.feed(ctx, Input::Compacted { through }),
            None => Ok(()),
        }
    }

    /// It is not tried again at once; log and state stand as before.
    fn give_up(&mut self, ctx: &mut Ctx) {
        ctx.counts.publishes_failed += 1;
        let was_announced = self.publishing.take().is_some_and(|publishing| publishing.is_announced);
        if !was_announced {
            self.publisher.retry_at = ctx.now + RETRY_AFTER;
        }
    }

    /// A file is not what was written: it is put aside, and another one is due.
    pub(super) fn distrust(&mut self, ctx: &mut Ctx, token: SnapshotToken) {
        self.publishing = None;
        self.publisher.forget(token);
        self.publisher.force();
        self.publisher.retry_at = ctx.now + RETRY_AFTER;
        ctx.counts.snapshots_put_aside += 1;
        // If it cannot be put aside, the next start finds it again.
        let _ = self.snapshots.quarantine(token.id);
    }

    /// Followers are offered the newest snapshot whose label can be read. What is damaged is put aside.
    pub(super) fn read_label(&mut self, ctx: &mut Ctx) -> Result<(), Failure> {
        for token in self.publisher.tokens.clone().into_iter().rev() {
            match self.snapshots.label(&token) {
                Ok(label) => {
                    return self.feed(ctx, Input::SnapshotPublished { token, label: Box::new(label) });
                }
                Err(error) if error.is_corruption() => self.distrust(ctx, token),
                Err(_) => {}
            }
        }
        Ok(())
    }
}

/// How a step ends.
enum Next {
    /// The next one may begin.
    Now,
    /// Somebody else says when it may.
    Told,
    /// As `Now`, and the core is to hear of the snapshot.
    Announced(Box<SnapshotLabel>),
}

/// Whether the file is not what was written, or gone.
fn is_damage(error: &Error) -> bool {
    error.is_corruption() || matches!(error, Error::Missing { .. })
}
