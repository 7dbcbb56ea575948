//! The `Rng` seam: every random choice of the workspace is drawn here, so one seed decides a simulation.

mod seeded;
mod system;

use std::fmt;
use std::sync::Arc;

pub use self::seeded::SeededRng;
pub use self::system::SystemRng;

/// A source of random numbers. Not for keys: see the key provider for those.
pub trait Rng: fmt::Debug + Send + Sync + 'static {
    /// The next 64 uniformly distributed bits.
    fn next_u64(&self) -> u64;

    /// An independent stream named by `label`: two streams of one parent do not influence each other's
    /// draws, whatever order they are used in. The same parent and label always give the same stream under
    /// a seed.
    fn stream(&self, label: u64) -> Arc<dyn Rng>;

    /// A number in `0..bound`. `bound` must not be zero.
    fn below(&self, bound: u64) -> u64 {
        assert!(bound > 0, "an empty range has no number to draw");
        // Widening multiplication: the bias is below 2^-32 for the bounds used here (all under 2^32).
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// 128 random bits, for identities.
    fn next_id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.next_u64().to_le_bytes());
        id[8..].copy_from_slice(&self.next_u64().to_le_bytes());
        id
    }
}
