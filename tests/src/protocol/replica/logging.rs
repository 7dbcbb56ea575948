//! The log writer: what is queued when its turn comes becomes one write and one sync.

use quorate_shard::core::{Input, LogPersist};
use quorate_storage::Index;
use quorate_storage::log::{LogBatch, LogStore};
use quorate_storage::snapshot::SnapshotToken;

use super::super::ctx::Ctx;
use super::super::event::Job;
use super::{Failure, Replica};

/// One thing to do to the log, in order.
#[derive(Debug)]
pub(super) enum LogWork {
    Persist(LogPersist),
    /// For the publishing under way.
    Record(SnapshotToken),
    Compact(Index),
    /// For a replica that waits.
    RecordWaited(SnapshotToken),
}

impl Replica {
    /// Hands records to the log writer.
    pub(super) fn persist(&mut self, ctx: &mut Ctx, persist: Vec<LogPersist>) {
        for record in persist {
            self.note_handed(ctx, &record);
            self.push_log(ctx, LogWork::Persist(record));
        }
    }

    fn note_handed(&mut self, ctx: &mut Ctx, record: &LogPersist) {
        if let Some(token) = record.batch.install {
            self.handed.reset(token.id);
        }
        let entries = &record.batch.entries;
        let Some(first) = entries.first() else { return };
        if let Some(term_before) = self.handed.term(first.index.prev()) {
            let checked = ctx.laws.logs.appended(self.place.group, term_before, entries);
            ctx.uphold(checked);
        }
        for entry in entries {
            self.handed.push(entry.id(), entry.kind == quorate_storage::EntryKind::ConfChange);
        }
    }

    pub(super) fn push_log(&mut self, ctx: &mut Ctx, work: LogWork) {
        self.log_queue.push(work);
        if !self.is_logging {
            self.is_logging = true;
            ctx.submit(self.place, Job::Log);
        }
    }

    /// One job of the log writer.
    pub(super) fn write_log(&mut self, ctx: &mut Ctx) -> Result<(), Failure> {
        let mut work = std::mem::take(&mut self.log_queue).into_iter().peekable();
        let mut ready = None;
        while let Some(next) = work.next() {
            match next {
                LogWork::Persist(first) => {
                    let (mut batches, mut sync) = (vec![first.batch], first.sync);
                    ready = Some(first.ready);
                    while let Some(LogWork::Persist(more)) =
                        work.next_if(|next| matches!(next, LogWork::Persist(_)))
                    {
                        batches.push(more.batch);
                        sync |= more.sync;
                        ready = Some(more.ready);
                    }
                    self.log.append(&batches, sync).map_err(Failure::Log)?;
                    self.note_written(&batches);
                    ctx.counts.log_batches += u64::from(sync);
                }
                LogWork::Record(token) => {
                    self.log.record_snapshot(token).map_err(Failure::Log)?;
                    self.recorded(ctx, token);
                }
                LogWork::Compact(through) => {
                    self.log.compact(through).map_err(Failure::Log)?;
                    self.compacted(ctx, through);
                }
                LogWork::RecordWaited(token) => {
                    self.log.record_snapshot(token).map_err(Failure::Log)?;
                    self.recorded_waited(ctx, token);
                }
            }
        }
        self.log_jobs += 1;
        self.is_logging = false;
        if let Some(ready) = ready {
            self.feed(ctx, Input::Persisted { ready })?;
            if !self.is_logging && self.log_queue.is_empty() {
                ctx.submit(self.place, Job::Prove { after: self.log_jobs });
            }
        }
        Ok(())
    }

    fn note_written(&mut self, batches: &[LogBatch]) {
        for batch in batches {
            let installed = batch.install.map(|token| token.id.index);
            let appended = batch.entries.last().map(|last| last.index);
            self.durable_last = appended.or(installed).unwrap_or(self.durable_last);
        }
    }

    /// The idle tail of the log is proven.
    pub(super) fn prove_log(&mut self, after: u64) -> Result<(), Failure> {
        if self.log_jobs == after && !self.is_logging {
            self.log.prove().map_err(Failure::Log)?;
        }
        Ok(())
    }

    /// Writes what is queued and proves the tail, before the replica is stopped. Whether the disk took it.
    pub(crate) fn prove_now(&mut self) -> bool {
        self.log.prove().is_ok()
    }

    /// The log, for whoever asks what it is.
    pub(crate) fn log(&self) -> &dyn LogStore {
        self.log.as_ref()
    }
}
