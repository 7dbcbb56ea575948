//! When a store is looked at, and what makes it bloated. Plain numbers in, yes or no out.

use std::time::Duration;

use quorate_storage::Index;
use quorate_storage::state::StateSize;
use quorate_telemetry::Rng;

use super::LookedAt;
use crate::actor::periodic::Periodic;
use crate::actor::spec::BloatConfig;

/// After a rebuild the store must have grown by this factor before the next: one of tiny records takes many times their
/// bytes also when it is new.
const REGROWN_FACTOR: u64 = 2;

/// A replica's looks at its store.
#[derive(Debug)]
pub(crate) struct Bloat {
    config: BloatConfig,
    periodic: Periodic,
    /// What was applied at the last look: a store that nothing was written to since is as it was.
    looked_at: Option<Index>,
    /// Bytes of the files that the last rebuild left; 0 before the first.
    left_bytes: u64,
}

/// What a store may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    config: BloatConfig,
    left_bytes: u64,
}

impl Bloat {
    pub(crate) fn new(config: BloatConfig, now: Duration, rng: &dyn Rng) -> Self {
        let periodic = Periodic::new(config.interval, now, rng);
        Self { config, periodic, looked_at: None, left_bytes: 0 }
    }

    pub(super) fn is_due(&self, now: Duration, applied: Index) -> bool {
        self.looked_at != Some(applied) && self.periodic.is_due(now)
    }

    /// Whether a look, or a rebuild, is under way.
    pub(crate) fn is_running(&self) -> bool {
        self.periodic.is_running()
    }

    pub(super) fn begin(&mut self, applied: Index) {
        self.looked_at = Some(applied);
        self.periodic.begin();
    }

    pub(super) fn limit(&self) -> Limit {
        Limit { config: self.config, left_bytes: self.left_bytes }
    }

    pub(super) fn done(&mut self, now: Duration, rng: &dyn Rng, looked_at: &LookedAt) {
        self.periodic.done(now, rng);
        match looked_at {
            LookedAt::Lean => {}
            LookedAt::Rebuilt { after, .. } => self.left_bytes = after.disk_bytes,
            // It is tried again, whatever is applied until then.
            _ => self.looked_at = None,
        }
    }
}

impl Limit {
    /// DESIGN section 5: files over four times the live bytes and 64 MiB.
    pub(super) fn is_exceeded(self, size: StateSize) -> bool {
        let live_bytes = size.live_bytes.saturating_mul(self.config.factor);
        let has_grown = size.disk_bytes > self.left_bytes.saturating_mul(REGROWN_FACTOR);
        has_grown && size.disk_bytes > live_bytes.saturating_add(self.config.slack_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use quorate_telemetry::SeededRng;

    const MIB: u64 = 1 << 20;
    const HOUR: Duration = Duration::from_secs(3_600);

    fn size(disk_bytes: u64, live_bytes: u64) -> StateSize {
        StateSize { disk_bytes, live_bytes }
    }

    #[test]
    fn a_store_is_bloated_beyond_four_times_its_live_bytes_and_64_mib() {
        let limit = Bloat::new(BloatConfig::default(), HOUR, &SeededRng::new(1)).limit();
        assert!(!limit.is_exceeded(size(64 * MIB, 0)) && limit.is_exceeded(size(64 * MIB + 1, 0)));
        assert!(
            !limit.is_exceeded(size(464 * MIB, 100 * MIB)) && limit.is_exceeded(size(465 * MIB, 100 * MIB))
        );
        assert!(!limit.is_exceeded(size(u64::MAX, u64::MAX)));
    }

    #[test]
    fn a_store_that_a_rebuild_leaves_large_is_not_built_again_until_it_has_grown() {
        let mut bloat = Bloat::new(BloatConfig::default(), HOUR, &SeededRng::new(1));
        bloat.begin(Index(5));
        let (before, after) = (size(900 * MIB, MIB), size(400 * MIB, MIB));
        bloat.done(HOUR, &SeededRng::new(1), &LookedAt::Rebuilt { before, after });
        assert!(!bloat.limit().is_exceeded(size(800 * MIB, MIB)));
        assert!(bloat.limit().is_exceeded(size(801 * MIB, MIB)));
    }

    #[test]
    fn a_store_is_looked_at_again_only_after_an_apply_or_a_rebuild_that_came_to_nothing() {
        let rng = SeededRng::new(1);
        let mut bloat = Bloat::new(BloatConfig::default(), HOUR, &rng);
        assert!(bloat.is_due(HOUR * 2, Index(5)));
        bloat.begin(Index(5));
        assert!(!bloat.is_due(HOUR * 2, Index(6)), "one at a time");
        bloat.done(HOUR * 2, &rng, &LookedAt::Lean);
        assert!(!bloat.is_due(HOUR * 9, Index(5)) && bloat.is_due(HOUR * 9, Index(6)));
        bloat.begin(Index(6));
        bloat.done(HOUR * 9, &rng, &LookedAt::Overtaken);
        assert!(bloat.is_due(HOUR * 10, Index(6)));
    }
}
