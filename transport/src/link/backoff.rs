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
    /// all of it, which is returned.
    pub(crate) fn failed(&mut self, rng: &dyn Rng) -> Duration {
        let doublings = self.failures.min(16);
        let pause = self.min.saturating_mul(1 << doublings).min(self.max);
        let half_us = u64::try_from(pause.as_micros() / 2).unwrap_or(u64::MAX);
        let jitter_us = rng.below(half_us.saturating_add(1));
        let jittered = Duration::from_micros(half_us + jitter_us);
        self.failures += 1;
        self.not_before = Some(Instant::now() + jittered);
        jittered
    }

    /// A connection lasted: the next attempt is made at once.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.not_before = None;
    }
}

#[cfg(test)]
mod tests {
    use quorate_telemetry::SeededRng;

    use super::*;

    #[test]
    fn the_pause_doubles_with_jitter_up_to_the_cap() {
        let rng = SeededRng::new(1);
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
        assert!(!backoff.is_pausing(), "the first attempt is made at once");
        for pause_ms in [20, 40, 80, 160, 320, 640, 1_000, 1_000] {
            let pause = Duration::from_millis(pause_ms);
            let jittered = backoff.failed(&rng);
            assert!(pause / 2 <= jittered && jittered <= pause, "{jittered:?} of {pause:?}");
        }
        assert!(backoff.is_pausing());
        backoff.succeeded();
        assert!(!backoff.is_pausing());
        assert!(backoff.failed(&rng) <= Duration::from_millis(20));
    }
}
