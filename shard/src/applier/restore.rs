//! The restore of an installed snapshot: queued behind the applies in flight, and then carried out in steps, away from
//! the apply workers, which other groups wait for.
//!
//! The applier lends its state for it. While it is lent nothing is applied, so a step finds what the one before has
//! left; readers go on with the old state until the new one is switched in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use quorate_storage::snapshot::{SnapshotLabel, SnapshotSource, SnapshotToken};
use quorate_storage::state::AppliedRecord;

use super::{Inner, State};
use crate::actor::mailbox::Event;
use crate::actor::on_worker::STEP_BYTES;
use crate::actor::quarantine::Failure;
use crate::core::InstallStep;

/// A restore under way. Dropped before its end it gives the state back as it was, and nothing is applied to it.
pub(crate) struct Restoration {
    inner: Arc<Inner>,
    /// `None` only while it ends.
    state: Option<State>,
    token: SnapshotToken,
    record: AppliedRecord,
    /// Opened by the first piece of the restore.
    source: Option<Box<dyn SnapshotSource + Send>>,
    /// What is still to be done, the next one last.
    steps: Vec<InstallStep>,
}

impl Restoration {
    pub(super) fn new(inner: Arc<Inner>, state: State, token: SnapshotToken, label: SnapshotLabel) -> Self {
        let record = AppliedRecord { incarnation: state.record.incarnation, ..label.record };
        let mut steps: Vec<_> = InstallStep::of_applier().collect();
        steps.reverse();
        Self { inner, state: Some(state), token, record, source: None, steps }
    }

    /// One step, on a worker. Gives itself back unless that was the last, however it ended.
    pub(crate) fn step(mut self) -> Option<Self> {
        self.inner.touch();
        let stepped = catch_unwind(AssertUnwindSafe(|| self.advance()));
        match stepped {
            Ok(Ok(false)) => return Some(self),
            Ok(Ok(true)) => {
                if let Some(state) = self.state.take() {
                    self.inner.restored(state);
                }
            }
            Ok(Err(cause)) => self.fail(cause),
            Err(panic) => {
                std::mem::forget(self.state.take());
                self.inner.halt(Failure::panic("applier", panic.as_ref()), Vec::new());
                self.inner.go_on();
            }
        }
        None
    }

    /// Where the node's disk is full, or the store has failed, a start does it again once that is over. For anything else
    /// the snapshot is to blame: the state is as before, and another one may do.
    fn fail(&mut self, cause: quorate_storage::Error) {
        let inner = &self.inner;
        let (token, stats) = (self.token, &inner.parts.shared.stats.snapshots);
        stats.failed.increment();
        stats.corrupt.add(u64::from(cause.is_corruption()));
        if cause.is_disk_full() || (cause.is_store_failure() && !cause.is_corruption()) {
            // Before anybody hears of it: a restart must find the store's files closed.
            drop(self.state.take());
            inner.halt(Failure::Restore { index: token.id.index, cause }, Vec::new());
            return inner.go_on();
        }
        drop(inner.parts.events.send(Event::RestoreFailed { token, error: cause }));
        if let Some(state) = self.state.take() {
            inner.hold(state);
        }
    }

    /// Whether everything is done.
    fn advance(&mut self) -> quorate_storage::Result<bool> {
        while let Some(step) = self.steps.last().copied() {
            match step {
                // Done by whoever handed it over.
                InstallStep::Record => {}
                InstallStep::Restore if self.restore_some()? => {}
                InstallStep::Restore => return Ok(false),
                InstallStep::Show => self.show(),
            }
            self.steps.pop();
        }
        Ok(true)
    }

    /// A piece of it. Whether the state is the snapshot's.
    fn restore_some(&mut self) -> quorate_storage::Result<bool> {
        let source = match &mut self.source {
            Some(source) => source,
            None => self.source.insert((self.inner.parts.open_snapshot)(&self.token)?),
        };
        let Some(state) = &mut self.state else { return Ok(true) };
        state.machine.restore_some(source.as_mut(), &self.record, STEP_BYTES)
    }

    fn show(&mut self) {
        let Some(state) = &mut self.state else { return };
        state.record = self.record.clone();
        let shared = &self.inner.parts.shared;
        shared.stats.snapshots.installed.increment();
        shared.stats.snapshots.index.set(self.record.applied.index.get());
        shared.set_reader(state.machine.reader());
        self.inner.publish(&state.record);
    }
}

impl Drop for Restoration {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            self.inner.hold(state);
        }
    }
}

impl std::fmt::Debug for Restoration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Restoration").field("index", &self.token.id.index).finish_non_exhaustive()
    }
}

impl Inner {
    /// The state is the snapshot's, and shown.
    fn restored(self: &Arc<Self>, state: State) {
        let index = state.record.applied.index;
        self.tell_digests(&state);
        *self.state.lock() = Some(state);
        self.queue.lock().release();
        self.report(index);
        self.go_on();
    }

    /// What was to be restored is not: what is behind it cannot be applied.
    fn hold(self: &Arc<Self>, state: State) {
        let forgotten = self.queue.lock().hold();
        *self.state.lock() = Some(state);
        self.fail_all(forgotten);
        self.go_on();
    }
}
