//! Something that is worked on in steps on a worker, and whose end touches the disk, too.

use std::sync::Arc;

use quorate_telemetry::Workers;

/// What one step of a background worker reads or writes, in bytes. A log writer that wakes up on its core waits for it;
/// steps of 1 MiB ran for 2.7 ms.
pub(crate) const STEP_BYTES: u64 = 256 << 10;

/// Holds a value between two steps, and has it dropped on a worker if there is no further step: a task may be aborted at
/// any time, and what it holds must not do its I/O on a thread of the runtime.
pub(crate) struct OnWorker<T: Send + 'static> {
    value: Option<T>,
    workers: Arc<dyn Workers>,
    key: u64,
}

impl<T: Send + 'static> OnWorker<T> {
    /// `key` orders the drop behind everything submitted under it before.
    pub(crate) fn new(value: T, (workers, key): (Arc<dyn Workers>, u64)) -> Self {
        Self { value: Some(value), workers, key }
    }

    /// For the next step.
    ///
    /// # Panics
    /// If the last step has not given it back.
    pub(crate) fn take(&mut self) -> T {
        self.value.take().expect("a step gives back what it took")
    }

    /// After a step.
    pub(crate) fn put(&mut self, value: T) {
        self.value = Some(value);
    }
}

impl<T: Send + 'static> Drop for OnWorker<T> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            // A pool that has stopped drops the job, and the value, here: nothing runs any more.
            let _ = self.workers.submit(self.key, Box::new(move || drop(value)));
        }
    }
}
