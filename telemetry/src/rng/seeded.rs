//! Randomness that a seed decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Rng;

/// The increment of SplitMix64: 2^64 divided by the golden ratio, made odd.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The [`Rng`] of simulations and tests: `SplitMix64` over an atomic counter, so it is lock-free.
///
/// A stream depends on the seed and on the labels that led to it, and on nothing else: not on how much was drawn from
/// its parent, nor on the order in which streams were made. Not for anything an adversary could gain from.
///
/// ```
/// use quorate_telemetry::rng::{Rng, SeededRng};
///
/// let (one, other) = (SeededRng::new(7), SeededRng::new(7));
/// let _ = one.next_u64();
/// assert_eq!(one.stream(1).next_u64(), other.stream(1).next_u64());
/// ```
#[derive(Debug)]
pub struct SeededRng {
    seed: u64,
    state: AtomicU64,
}

impl SeededRng {
    /// A generator that `seed` decides. A test prints the seed it uses.
    pub fn new(seed: u64) -> Self {
        Self { seed, state: AtomicU64::new(mix(seed)) }
    }

    /// The seed of this stream.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

impl Rng for SeededRng {
    fn next_u64(&self) -> u64 {
        // Relaxed: draws order nothing but themselves.
        mix(self.state.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA))
    }

    fn stream(&self, label: u64) -> Arc<dyn Rng> {
        // Both halves are mixed on their own: (seed, label) and (label, seed) are different streams.
        Arc::new(Self::new(mix(mix(self.seed).wrapping_add(GAMMA) ^ mix(label).rotate_left(32))))
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): a bijection in which every input bit moves every other.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn draw(rng: &dyn Rng, count: usize) -> Vec<u64> {
        (0..count).map(|_| rng.next_u64()).collect()
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        assert_eq!(draw(&SeededRng::new(42), 100), draw(&SeededRng::new(42), 100));
        assert_ne!(draw(&SeededRng::new(42), 100), draw(&SeededRng::new(43), 100));
    }

    #[test]
    fn a_sequence_is_pinned_so_that_old_seeds_keep_their_meaning() {
        let pinned = [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F];
        assert_eq!(draw(&SeededRng::new(0), 3), pinned, "the published sequence of SplitMix64 for seed 0");
    }

    #[test]
    fn streams_of_neighbouring_labels_and_seeds_share_nothing() {
        let mut seen = BTreeSet::new();
        for seed in 0..20 {
            for label in 0..20 {
                let stream = SeededRng::new(seed).stream(label);
                assert!(draw(&*stream, 20).into_iter().all(|bits| seen.insert(bits)), "{seed} {label}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_stream_depends_only_on_the_seed_and_its_labels(seed: u64, path: [u64; 3], drawn in 0_usize..50) {
            let (fresh, used) = (SeededRng::new(seed), SeededRng::new(seed));
            draw(&used, drawn);
            draw(&*used.stream(path[0].wrapping_add(1)), drawn);
            let along = |root: &SeededRng| draw(&*root.stream(path[0]).stream(path[1]).stream(path[2]), 10);
            prop_assert_eq!(along(&fresh), along(&used));
        }

        #[test]
        fn below_stays_below(seed: u64, bound in 1_u64..) {
            let rng = SeededRng::new(seed);
            prop_assert!((0..20).all(|_| rng.below(bound) < bound));
        }
    }
}
