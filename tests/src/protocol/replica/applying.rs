//! The applier: batches of whole entries, and what else is done to the state machine, in order.

use bytes::Bytes;
use quorate_shard::core::{Committed, Input, InstallStep, Ticket};
use quorate_shard::shell::judge;
use quorate_storage::kv::{KvOutcome, OpResult};
use quorate_storage::payload::{InClear, Payload};
use quorate_storage::snapshot::{SnapshotLabel, SnapshotToken};
use quorate_storage::state::AppliedRecord;
use quorate_storage::{EntryId, EntryKind, Index};

use super::super::client::{Answer, Asked};
use super::super::ctx::Ctx;
use super::super::event::Job;
use super::super::history::Told;
use super::super::invariants::States;
use super::{Caller, ConfOutcome, Failure, Replica};

/// One thing to do to the state machine, in order.
#[derive(Debug)]
pub(super) enum ApplyWork {
    Entry(Committed),
    Restore {
        token: SnapshotToken,
        label: Box<SnapshotLabel>,
    },
    /// For the publishing under way.
    View,
    /// For the publishing under way.
    PersistApplied(Index),
}

/// What is to be checked and told when a batch is applied.
struct Expected {
    id: EntryId,
    output: Option<Bytes>,
    ticket: Option<Ticket>,
    is_conf_refused: bool,
}

impl Replica {
    pub(super) fn push_apply(&mut self, ctx: &mut Ctx, work: ApplyWork) {
        // Without a state nothing is applied to it: it takes a restore only.
        if self.core.is_waiting() && !matches!(work, ApplyWork::Restore { .. }) {
            return;
        }
        self.apply_queue.push_back(work);
        if !self.is_applying {
            self.is_applying = true;
            ctx.submit(self.place, Job::Apply);
        }
    }

    /// One job of the applier.
    pub(super) fn apply_some(&mut self, ctx: &mut Ctx) -> Result<(), Failure> {
        self.is_applying = false;
        match self.apply_queue.pop_front() {
            None => {}
            Some(ApplyWork::Entry(first)) => {
                let batch = self.take_batch(first);
                self.apply(ctx, batch)?;
            }
            Some(ApplyWork::Restore { token, label }) => self.install(ctx, token, &label)?,
            Some(ApplyWork::View) => {
                let view = self.machine.view();
                self.viewed(ctx, view);
            }
            Some(ApplyWork::PersistApplied(index)) => {
                let persisted = match self.machine.as_applied_index_writer() {
                    Some(writer) => writer.persist_applied(index).map(|()| self.machine.durable_applied()),
                    None => Ok(index),
                };
                self.marker_raised(ctx, &persisted);
                let durable = persisted.map_err(Failure::State)?;
                ctx.laws.applied.persisted(self.who(), durable);
            }
        }
        if !self.apply_queue.is_empty() && !self.is_applying {
            self.is_applying = true;
            ctx.submit(self.place, Job::Apply);
        }
        Ok(())
    }

    /// Whole entries up to the bound; a conf change ends its batch.
    fn take_batch(&mut self, first: Committed) -> Vec<Committed> {
        let mut ends = first.conf.is_some();
        let mut batch = vec![first];
        while !ends && batch.len() < self.config.apply_entries_max {
            match self.apply_queue.pop_front() {
                Some(ApplyWork::Entry(next)) => {
                    ends = next.conf.is_some();
                    batch.push(next);
                }
                Some(other) => {
                    self.apply_queue.push_front(other);
                    break;
                }
                None => break,
            }
        }
        batch
    }

    fn apply(&mut self, ctx: &mut Ctx, batch: Vec<Committed>) -> Result<(), Failure> {
        let mut expected = Vec::with_capacity(batch.len());
        for committed in &batch {
            expected.push(self.expect(ctx, committed));
        }
        let judged = judge(batch, &mut self.record, &InClear)?;
        if judged.entries == 0 {
            return Ok(());
        }
        let outputs = self.machine.apply(&judged.commands, &self.record).map_err(Failure::State)?;
        let through = self.record.applied.index;
        let who = self.who();
        for (command, output) in judged.commands.iter().zip(&outputs) {
            let known = expected.iter().find(|expected| expected.id == command.id);
            let known = known.and_then(|expected| expected.output.as_ref());
            let checked = States::answered(who, command.id, known, output);
            ctx.uphold(checked);
        }
        self.check_applied(ctx);
        for ended in expected {
            if let Some(caller) = ended.ticket.and_then(|ticket| self.callers.remove(&ticket)) {
                self.tell(ctx, caller, &ended);
            }
        }
        ctx.trace
            .note(through.get().rotate_left(13) ^ self.id.get().rotate_left(50) ^ self.place.group.get());
        self.lease_applied(through);
        self.feed(ctx, Input::Applied { through })?;
        self.serve_reads(ctx);
        self.publish_if_due(ctx);
        Ok(())
    }

    fn expect(&self, ctx: &mut Ctx, Committed { entry, ticket, conf }: &Committed) -> Expected {
        let output = match ctx.laws.states.applying(self.who(), entry) {
            Ok(output) => output,
            Err(violation) => {
                ctx.uphold(Err(violation));
                None
            }
        };
        if entry.kind == EntryKind::Normal
            && let Ok(payload) = Payload::decode(&entry.payload)
        {
            let checked = ctx.laws.outcomes.applied((self.place.group, payload.proposal));
            ctx.uphold(checked);
        }
        let is_conf_refused = conf.as_ref().is_some_and(|conf| conf.refused.is_some());
        Expected { id: entry.id(), output, ticket: *ticket, is_conf_refused }
    }

    /// What the state machine holds is looked at after each change of it.
    pub(super) fn check_applied(&mut self, ctx: &mut Ctx) {
        let (who, through) = (self.who(), self.record.applied.index);
        let checked = ctx.laws.applied.moved(who, through, self.machine.durable_applied());
        ctx.uphold(checked);
        let checked = ctx.laws.marker(who, self.machine.as_ref(), &self.record);
        ctx.uphold(checked);
        ctx.laws.ceiling.applied(self.place.group, self.record.hlc_ceiling);
    }

    fn tell(&mut self, ctx: &mut Ctx, caller: Caller, ended: &Expected) {
        let Expected { id, output, is_conf_refused, .. } = ended;
        match caller {
            Caller::ConfChange if *is_conf_refused => self.conf_outcome = Some(ConfOutcome::Refused),
            Caller::ConfChange => {
                ctx.counts.conf_changes += 1;
                self.conf_outcome = Some(ConfOutcome::Done);
            }
            Caller::Write(asked) => {
                ctx.laws.acknowledged.write(self.place.group, *id, asked.proposal());
                let told = output.as_ref().and_then(|output| KvOutcome::decode(output).ok()).map(told);
                let answer = told.map_or(Answer::Maybe, Answer::Told);
                ctx.answer(asked.client, asked.attempt, answer);
            }
            Caller::Read(_) | Caller::Transfer => {}
        }
    }

    /// Replaces the state by an installed snapshot's.
    fn install(&mut self, ctx: &mut Ctx, token: SnapshotToken, label: &SnapshotLabel) -> Result<(), Failure> {
        if token.id.index <= self.record.applied.index {
            return self.feed(ctx, Input::Applied { through: self.record.applied.index });
        }
        let record = AppliedRecord { incarnation: self.incarnation, ..label.record.clone() };
        for step in InstallStep::of_applier() {
            match step {
                InstallStep::Record => {}
                InstallStep::Restore => {
                    let restored = self
                        .snapshots
                        .reader(token)
                        .and_then(|mut source| self.machine.restore(&mut source, &record));
                    if let Err(cause) = restored {
                        return self.restore_failed(ctx, token, cause);
                    }
                }
                InstallStep::Show => {
                    let checked = ctx.laws.marker(self.who(), self.machine.as_ref(), &record);
                    ctx.uphold(checked);
                    self.record = record.clone();
                    self.reader = self.machine.reader();
                    self.serve_reads(ctx);
                }
            }
        }
        ctx.counts.snapshots_installed += 1;
        self.check_applied(ctx);
        let checked = ctx.laws.snapshot(self.who(), &self.snapshots, token, label);
        ctx.uphold(checked);
        if self.is_waited_restored(token) {
            return Err(Failure::Restart);
        }
        self.feed(ctx, Input::Applied { through: token.id.index })?;
        self.end_waiting();
        self.serve_reads(ctx);
        Ok(())
    }

    /// Where the disk is full or has failed, a start does it again once that is over. For anything else the snapshot is to
    /// blame, and another one may do.
    fn restore_failed(
        &mut self,
        ctx: &mut Ctx,
        token: SnapshotToken,
        cause: quorate_storage::Error,
    ) -> Result<(), Failure> {
        if cause.is_disk_full() || (cause.is_store_failure() && !cause.is_corruption()) {
            return Err(Failure::State(cause));
        }
        self.wait_for_snapshot(ctx, token)
    }

    /// Serves the reads whose index the state has reached.
    pub(super) fn serve_reads(&mut self, ctx: &mut Ctx) {
        let applied = self.record.applied.index;
        if self.reads.iter().all(|(index, _)| *index > applied) {
            return;
        }
        let (ready, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.reads).into_iter().partition(|(index, _)| *index <= applied);
        self.reads = later;
        for (_, asked) in ready {
            self.serve_read(ctx, &asked, applied);
        }
    }

    fn serve_read(&self, ctx: &mut Ctx, asked: &Asked, applied: Index) {
        let value = self.reader.as_kv().map(|kv| kv.get(&asked.key));
        let Some(Ok(value)) = value else { return };
        let checked = ctx.laws.read(self.who(), &asked.key, (asked.told_before, applied), value.as_ref());
        ctx.uphold(checked);
        ctx.answer(asked.client, asked.attempt, Answer::Told(Told::Value(value)));
    }
}

fn told(outcome: KvOutcome) -> Told {
    match outcome {
        KvOutcome::Refused { actual, .. } => Told::Other(actual),
        KvOutcome::Applied { results } => {
            debug_assert!(results.iter().all(|result| matches!(result, OpResult::Done { .. })));
            Told::Done
        }
    }
}
