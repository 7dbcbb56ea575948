//! Aborts the process when a store hangs. All sled databases of a process share one lock, and nothing inside
//! the process can free it; log and snapshots lose nothing by the abort.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quorate_telemetry::Clock;

/// A store operation that does not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("store_hung: {operation} has taken {elapsed:?}")]
pub struct StoreHung {
    /// "apply", "read", …
    pub operation: &'static str,
    /// For how long.
    pub elapsed: Duration,
}

/// What is done about a [`StoreHung`]. In production it does not return.
pub type OnHung = dyn Fn(StoreHung) + Send + Sync;

/// Knows which operations are under way.
pub(crate) struct Watchdog {
    clock: Arc<dyn Clock>,
    hung_after: Duration,
    on_hung: Box<OnHung>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    next: u64,
    operations: BTreeMap<u64, (&'static str, Duration)>,
}

/// An operation under way; over when dropped.
#[derive(Debug)]
pub(crate) struct Watched<'a> {
    watchdog: &'a Watchdog,
    number: u64,
}

impl Watchdog {
    pub(crate) fn new(clock: Arc<dyn Clock>, hung_after: Duration, on_hung: Box<OnHung>) -> Self {
        Self { clock, hung_after, on_hung, running: Mutex::default() }
    }

    /// Watches one bounded operation.
    pub(crate) fn watch(&self, operation: &'static str) -> Watched<'_> {
        let started_at = self.clock.monotonic();
        let mut running = self.running.lock();
        let number = running.next;
        running.next += 1;
        running.operations.insert(number, (operation, started_at));
        Watched { watchdog: self, number }
    }

    /// Looks at every operation under way. Touches no lock an operation may hang on.
    pub(crate) fn check(&self) {
        let now = self.clock.monotonic();
        let hung = self.running.lock().operations.values().find_map(|&(operation, started_at)| {
            let elapsed = now.saturating_sub(started_at);
            (elapsed >= self.hung_after).then_some(StoreHung { operation, elapsed })
        });
        if let Some(hung) = hung {
            (self.on_hung)(hung);
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.watchdog.running.lock().operations.remove(&self.number);
    }
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog").field("hung_after", &self.hung_after).finish_non_exhaustive()
    }
}

/// Ends the process.
pub(crate) fn abort(hung: StoreHung) {
    tracing::error!(reason = "store_hung", operation = hung.operation, elapsed = ?hung.elapsed, "aborting");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use quorate_telemetry::BootId;

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct HandClock(Arc<Mutex<Duration>>);

    impl Clock for HandClock {
        fn monotonic(&self) -> Duration {
            *self.0.lock()
        }

        fn wall(&self) -> Duration {
            self.monotonic()
        }

        fn boot_id(&self) -> BootId {
            BootId([1; 16])
        }
    }

    #[test]
    fn only_an_operation_that_takes_too_long_is_reported() {
        let clock = HandClock::default();
        let reports = Arc::new(Mutex::new(Vec::new()));
        let sink = reports.clone();
        let on_hung = Box::new(move |hung| sink.lock().push(hung));
        let watchdog = Watchdog::new(Arc::new(clock.clone()), Duration::from_secs(30), on_hung);
        drop(watchdog.watch("read"));
        let apply = watchdog.watch("apply");
        *clock.0.lock() += Duration::from_secs(29);
        watchdog.check();
        assert_eq!(*reports.lock(), []);
        *clock.0.lock() += Duration::from_secs(2);
        watchdog.check();
        assert_eq!(*reports.lock(), [StoreHung { operation: "apply", elapsed: Duration::from_secs(31) }]);
        drop(apply);
        watchdog.check();
        assert_eq!(reports.lock().len(), 1);
    }
}
