//! Chance for the simulation itself: cheap, and a function of its seed alone.

use std::time::Duration;

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// A stream of its own for each `label` of a seed.
    pub(crate) fn new(seed: u64, label: u64) -> Self {
        let mut dice = Self(seed ^ label.wrapping_mul(0xa076_1d64_78bd_642f));
        let first = dice.next();
        Self(first ^ seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// An index of `count` things, of which there is at least one.
    pub(crate) fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap_or_default()
    }

    /// True so many times in a thousand.
    pub(crate) fn permille(&mut self, permille: u64) -> bool {
        permille > 0 && self.below(1_000) < permille
    }

    /// From `low` up to `high`, in steps of a microsecond.
    pub(crate) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = high.saturating_sub(low).as_micros().max(1);
        low + Duration::from_micros(self.below(u64::try_from(span).unwrap_or(u64::MAX)))
    }
}
