//! Randomness from the operating system.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use super::Rng;

/// The production [`Rng`]: a ChaCha generator seeded by the operating system.
///
/// A draw takes an uncontended lock and a few nanoseconds; every [`stream`](Rng::stream) has a generator and a lock of
/// its own, so a group that draws from its own stream waits for nobody.
pub struct SystemRng(Mutex<StdRng>);

impl SystemRng {
    /// A generator seeded afresh.
    ///
    /// # Panics
    /// When the operating system gives no randomness: identities drawn without it could repeat, so nothing may start.
    pub fn new() -> Self {
        Self(Mutex::new(StdRng::from_os_rng()))
    }
}

impl Default for SystemRng {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SystemRng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemRng").finish_non_exhaustive()
    }
}

impl Rng for SystemRng {
    fn next_u64(&self) -> u64 {
        self.0.lock().next_u64()
    }

    /// Without a seed to keep to, `label` does not matter: every call gives a new stream.
    fn stream(&self, _label: u64) -> Arc<dyn Rng> {
        Arc::new(Self(Mutex::new(StdRng::from_rng(&mut *self.0.lock()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generators_and_streams_differ() {
        let rng = SystemRng::new();
        let ids =
            [rng.next_id(), rng.stream(1).next_id(), rng.stream(1).next_id(), SystemRng::new().next_id()];
        for (i, id) in ids.iter().enumerate() {
            assert!(!ids[..i].contains(id));
        }
    }
}
