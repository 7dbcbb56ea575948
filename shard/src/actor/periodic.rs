//! Background work that a group does now and then: when it is due. Plain numbers in, yes or no out.

use std::time::Duration;

use quorate_telemetry::Rng;

/// It is due up to this part of its interval later, so that groups do not work together.
const JITTER_DIVISOR: u64 = 4;
/// After an attempt that came to nothing.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// When it is due next.
#[derive(Debug)]
pub(crate) struct Periodic {
    /// Zero for never.
    interval: Duration,
    next_at: Duration,
    is_running: bool,
    /// Somebody has asked for it, whatever the interval.
    is_asked_for: bool,
}

impl Periodic {
    /// The first time at any moment of the first interval: also groups that are started more often than that have their
    /// turn, and those that are started together do not work together.
    pub(crate) fn new(interval: Duration, now: Duration, rng: &dyn Rng) -> Self {
        Self { interval, next_at: now + drawn(interval, rng), is_running: false, is_asked_for: false }
    }

    /// Whether it is to begin now.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        let is_time = !self.interval.is_zero() && now >= self.next_at;
        !self.is_running && (is_time || self.is_asked_for)
    }

    /// It is due now, or once more when the one that runs has ended.
    pub(crate) fn ask(&mut self) {
        self.is_asked_for = true;
    }

    pub(crate) fn is_running(&self) -> bool {
        self.is_running
    }

    pub(crate) fn begin(&mut self) {
        self.is_running = true;
        self.is_asked_for = false;
    }

    /// It was done, or is somebody else's turn.
    pub(crate) fn done(&mut self, now: Duration, rng: &dyn Rng) {
        self.is_running = false;
        let jitter = drawn(self.interval / u32::try_from(JITTER_DIVISOR).unwrap_or(1), rng);
        self.next_at = now.saturating_add(self.interval).saturating_add(jitter);
    }

    /// It came to nothing, and is tried again before long.
    pub(crate) fn failed(&mut self, now: Duration) {
        self.is_running = false;
        self.next_at = now.saturating_add(self.interval.min(RETRY_AFTER));
    }
}

/// A time below `bound`.
fn drawn(bound: Duration, rng: &dyn Rng) -> Duration {
    Duration::from_millis(rng.below(u64::try_from(bound.as_millis()).unwrap_or(u64::MAX).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    use quorate_telemetry::SeededRng;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn the_first_comes_within_an_interval_and_the_next_within_one_and_a_quarter() {
        for seed in 0..100 {
            let rng = SeededRng::new(seed);
            let mut periodic = Periodic::new(HOUR, HOUR, &rng);
            assert!(periodic.is_due(HOUR * 2), "seed {seed}");
            periodic.begin();
            assert!(!periodic.is_due(HOUR * 2), "one at a time");
            periodic.done(HOUR * 2, &rng);
            assert!(
                !periodic.is_due(HOUR * 2 + Duration::from_secs(3_599))
                    && periodic.is_due(HOUR * 3 + HOUR / 4)
            );
        }
    }

    #[test]
    fn groups_that_start_together_are_not_due_together() {
        let first = |seed| Periodic::new(HOUR, HOUR, &SeededRng::new(seed)).next_at;
        let mut moments: Vec<_> = (0..64).map(first).collect();
        moments.sort_unstable();
        moments.dedup();
        assert!(moments.len() > 60, "{} moments for 64 groups", moments.len());
    }

    #[test]
    fn what_came_to_nothing_is_tried_again_soon_and_an_interval_of_zero_is_never() {
        let rng = SeededRng::new(1);
        let mut periodic = Periodic::new(HOUR, HOUR, &rng);
        periodic.begin();
        periodic.failed(HOUR);
        assert!(!periodic.is_due(HOUR) && periodic.is_due(HOUR + RETRY_AFTER));
        let never = Periodic::new(Duration::ZERO, HOUR, &rng);
        assert!(!never.is_due(HOUR * 1_000_000));
    }

    #[test]
    fn what_is_asked_for_is_due_once_also_while_it_runs_and_without_an_interval() {
        let mut periodic = Periodic::new(Duration::ZERO, HOUR, &SeededRng::new(1));
        periodic.ask();
        assert!(periodic.is_due(HOUR));
        periodic.begin();
        periodic.ask();
        assert!(!periodic.is_due(HOUR), "one at a time");
        periodic.done(HOUR, &SeededRng::new(1));
        assert!(periodic.is_due(HOUR));
        periodic.begin();
        periodic.done(HOUR, &SeededRng::new(1));
        assert!(!periodic.is_due(HOUR * 2));
    }
}
