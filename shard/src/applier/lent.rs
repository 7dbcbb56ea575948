//! The state machine, lent for something that takes longer than a batch may: while it is lent nothing is applied, and
//! the apply workers serve other groups.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use quorate_storage::state::StateMachine;

use super::{Inner, State};
use crate::actor::quarantine::Failure;

/// Goes back when it is dropped.
pub(crate) struct Lent {
    inner: Arc<Inner>,
    /// `None` once it is gone.
    state: Option<State>,
}

impl Lent {
    pub(super) fn new(inner: Arc<Inner>, state: State) -> Self {
        Self { inner, state: Some(state) }
    }

    /// Does `work` with it, on a worker, and gives it back. An error or a panic takes the group out of service, as one of
    /// an apply does: then there is no answer.
    pub(crate) fn with<T>(
        mut self,
        work: impl FnOnce(&mut dyn StateMachine) -> quorate_storage::Result<T>,
    ) -> Option<T> {
        self.inner.touch();
        let mut state = self.state.take()?;
        let failure = match catch_unwind(AssertUnwindSafe(|| work(state.machine.as_mut()))) {
            Ok(Ok(done)) => {
                let shared = &self.inner.parts.shared;
                shared.set_reader(state.machine.reader());
                shared.stats.apply.durable.set(state.machine.durable_applied().get());
                self.state = Some(state);
                return Some(done);
            }
            Ok(Err(cause)) => {
                let through = state.record.applied.index;
                // Before anybody hears of it: a restart must find the store's files closed.
                drop(state);
                Failure::Apply { through, cause }
            }
            Err(panic) => {
                std::mem::forget(state);
                Failure::panic("applier", panic.as_ref())
            }
        };
        self.inner.halt(failure, Vec::new());
        self.inner.go_on();
        None
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            *self.inner.state.lock() = Some(state);
            self.inner.go_on();
        }
    }
}

impl std::fmt::Debug for Lent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lent").field("group", &self.inner.parts.shared.group).finish_non_exhaustive()
    }
}
