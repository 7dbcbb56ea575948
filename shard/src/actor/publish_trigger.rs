//! When a group's next snapshot is due. Plain numbers in, yes or no out.

use std::time::Duration;

use quorate_storage::Index;
use quorate_telemetry::Rng;

use crate::actor::spec::SnapshotConfig;

/// A snapshot is due up to this part of its threshold later, so that groups do not write theirs together.
const JITTER_DIVISOR: u64 = 4;
/// What the jitter is a multiple of.
const JITTER_STEPS: u64 = 1_024;
/// Before the first new attempt after a failure; doubled with each further one.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(5);
/// The longest time between two attempts.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// What a group's newest snapshot is and what has come since.
#[derive(Debug)]
pub(crate) struct Trigger {
    config: SnapshotConfig,
    /// Invariant: `newest <= last`, and `last_data <= last`.
    newest: Index,
    /// Size of the newest snapshot: what the state is taken to have.
    state_bytes: u64,
    last: Index,
    /// The last entry that changed data or membership: only such make a snapshot worth its bytes.
    last_data: Index,
    log_bytes: u64,
    /// Monotonic time as of the last look.
    now: Duration,
    /// When the newest snapshot was begun, or this replica was started.
    since: Duration,
    /// Of [`JITTER_STEPS`].
    jitter: u64,
    failures: u32,
    retry_at: Option<Duration>,
    /// The newest file turned out corrupt: another one is needed whatever has come since.
    is_forced: bool,
}

impl Trigger {
    pub(crate) fn new(config: SnapshotConfig, now: Duration, rng: &dyn Rng) -> Self {
        Self {
            config,
            newest: Index(0),
            state_bytes: 0,
            last: Index(0),
            last_data: Index(0),
            log_bytes: 0,
            now,
            since: now,
            jitter: rng.below(JITTER_STEPS),
            failures: 0,
            retry_at: None,
            is_forced: false,
        }
    }

    /// An entry was committed; `is_data` unless it is a lease or empty.
    pub(crate) fn note_entry(&mut self, index: Index, is_data: bool) {
        self.last = self.last.max(index);
        if is_data {
            self.last_data = self.last_data.max(index);
        }
    }

    /// The newest snapshot is this one now.
    pub(crate) fn note_newest(&mut self, index: Index, bytes: u64) {
        (self.newest, self.state_bytes) = (index, bytes);
        self.last = self.last.max(index);
    }

    /// The time, and the bytes of the log behind the newest snapshot.
    pub(crate) fn look(&mut self, now: Duration, log_bytes: u64) {
        (self.now, self.log_bytes) = (now, log_bytes);
    }

    /// One was begun at `began` and stands.
    pub(crate) fn succeeded(&mut self, began: Duration, rng: &dyn Rng) {
        (self.failures, self.retry_at, self.is_forced) = (0, None, false);
        (self.since, self.log_bytes) = (began, 0);
        self.jitter = rng.below(JITTER_STEPS);
    }

    /// One could not be written, or is not what was written.
    pub(crate) fn failed(&mut self, now: Duration) {
        let wait = RETRY_AFTER_MIN.saturating_mul(1 << self.failures.min(10)).min(RETRY_AFTER_MAX);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now + wait);
    }

    /// Another one is needed, as soon as one may be tried.
    pub(crate) fn force(&mut self) {
        self.is_forced = true;
    }

    /// One that says at once that another snapshot is needed.
    pub(crate) fn forced(self) -> Self {
        Self { is_forced: true, ..self }
    }

    /// Whether the last attempt failed so recently that none is to be made.
    pub(crate) fn is_pausing(&self) -> bool {
        self.retry_at.is_some_and(|at| self.now < at)
    }

    pub(crate) fn is_due(&self) -> bool {
        !self.is_pausing() && (self.is_forced || (self.last_data > self.newest && self.is_worth_it()))
    }

    fn is_worth_it(&self) -> bool {
        let entries = self.last.get() - self.newest.get();
        let bytes = self.config.log_bytes_min.max(self.state_bytes / 2);
        self.log_bytes > self.with_jitter(bytes)
            || self.now.saturating_sub(self.since).as_secs()
                >= self.with_jitter(self.config.age_max.as_secs().max(1))
            || self.config.entries.is_some_and(|max| entries >= max)
    }

    fn with_jitter(&self, threshold: u64) -> u64 {
        let extra =
            u128::from(threshold / JITTER_DIVISOR) * u128::from(self.jitter) / u128::from(JITTER_STEPS);
        threshold.saturating_add(u64::try_from(extra).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use quorate_telemetry::SeededRng;

    const MIB: u64 = 1 << 20;
    const DAY: Duration = Duration::from_secs(24 * 3_600);

    fn trigger() -> Trigger {
        let mut trigger = Trigger::new(SnapshotConfig::default(), DAY, &SeededRng::new(1));
        trigger.note_newest(Index(10), 100);
        trigger
    }

    #[test]
    fn bytes_count_from_16_mib_or_half_the_state_on() {
        let mut trigger = trigger();
        trigger.note_entry(Index(11), true);
        trigger.look(DAY, 16 * MIB);
        assert!(!trigger.is_due());
        trigger.look(DAY, 20 * MIB + 1);
        assert!(trigger.is_due(), "with the whole jitter");
        trigger.note_newest(Index(10), 200 * MIB);
        assert!(!trigger.is_due());
        trigger.look(DAY, 100 * MIB);
        assert!(!trigger.is_due());
        trigger.look(DAY, 125 * MIB + 1);
        assert!(trigger.is_due());
    }

    #[test]
    fn leases_alone_never_make_one_due() {
        let mut trigger = trigger();
        trigger.note_entry(Index(900_000), false);
        trigger.look(DAY * 9, 900 * MIB);
        assert!(!trigger.is_due());
        trigger.note_entry(Index(900_001), true);
        assert!(trigger.is_due());
    }

    #[test]
    fn changed_data_is_written_after_a_day_at_the_latest() {
        let mut trigger = trigger();
        trigger.note_entry(Index(11), true);
        trigger.look(DAY + DAY, 4_096);
        assert!(!trigger.is_due() || trigger.jitter == 0);
        trigger.look(DAY + DAY + DAY / 4, 4_096);
        assert!(trigger.is_due());
        trigger.note_newest(Index(11), 100);
        trigger.succeeded(DAY * 2, &SeededRng::new(2));
        trigger.look(DAY * 9, 4_096);
        assert!(!trigger.is_due(), "nothing has changed since");
    }

    #[test]
    fn a_failed_one_is_tried_again_after_a_pause_that_grows() {
        let mut trigger = trigger();
        trigger.force();
        assert!(trigger.is_due());
        trigger.failed(DAY);
        assert!(!trigger.is_due());
        trigger.look(DAY + RETRY_AFTER_MIN, 0);
        assert!(trigger.is_due());
        for _ in 0..20 {
            trigger.failed(DAY);
        }
        trigger.look(DAY + RETRY_AFTER_MAX / 2, 0);
        assert!(trigger.is_pausing());
        trigger.look(DAY + RETRY_AFTER_MAX, 0);
        assert!(trigger.is_due());
    }

    #[test]
    fn groups_loaded_alike_are_not_due_together() {
        let due = |seed| {
            let mut trigger = Trigger::new(SnapshotConfig::default(), DAY, &SeededRng::new(seed));
            trigger.note_entry(Index(1), true);
            (0..2_000).map(|step| 16 * MIB + step * 4_096).find(|&bytes| {
                trigger.look(DAY, bytes);
                trigger.is_due()
            })
        };
        let mut moments: Vec<_> = (0..64).map(due).collect();
        moments.sort_unstable();
        moments.dedup();
        assert!(moments.len() > 48, "{} moments for 64 groups", moments.len());
    }
}
