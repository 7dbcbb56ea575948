//! When a lane may dial again.

use std::time::Duration;

use quorate_telemetry::Rng;
use tokio::time::Instant;

/// Doubles the pause at each failure, with jitter, up to a cap.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0, not_before: None }
    }

    /// Whether an attempt now would come too early.
    pub(crate) fn is_pausing(&self) -> bool {
        self.not_before.is_some_and(|at| Instant::now() < at)
    }

    /// An attempt failed, or its connection did not last: the next one waits for between half the pause and
    /// all of it.
    pub(crate) fn failed(&mut self, rng: &dyn Rng) {
        let doublings = self.failures.min(16);
        let pause = self.min.saturating_mul(1 << doublings).min(self.max);
        let half_us = u64::try_from(pause.as_micros() / 2).unwrap_or(u64::MAX);
        let jitter_us = rng.below(half_us.saturating_add(1));
        self.failures += 1;
        self.not_before = Some(Instant::now() + Duration::from_micros(half_us + jitter_us));
    }

    /// A connection lasted: the next attempt is made at once.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.not_before = None;
    }
}
