//! The clocks of a node.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quorate_telemetry::{BootId, Clock};

use super::settings::EPOCH;

/// Shows what the simulation has set. Clones are the same clock.
#[derive(Clone, Debug)]
pub(crate) struct NodeClock(Arc<Mutex<Shown>>);

#[derive(Debug)]
struct Shown {
    monotonic: Duration,
    /// How far the wall clock is from the simulation's time, in microseconds.
    wall_offset_us: i64,
    boot: u64,
}

impl NodeClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Shown { monotonic: Duration::ZERO, wall_offset_us: 0, boot: 1 })))
    }

    /// The simulation's time.
    pub(crate) fn set(&self, now: Duration) {
        self.0.lock().monotonic = now;
    }

    /// The wall clock is set forward, or back.
    pub(crate) fn jump(&self, by_ms: i64) {
        let mut shown = self.0.lock();
        shown.wall_offset_us = shown.wall_offset_us.saturating_add(by_ms.saturating_mul(1_000));
    }

    /// The wall clock is right again.
    pub(crate) fn mend(&self) {
        self.0.lock().wall_offset_us = 0;
    }

    /// The machine boots.
    pub(crate) fn boots(&self) {
        self.0.lock().boot += 1;
    }

    /// How far the wall clock is off.
    pub(crate) fn offset_ms(&self) -> i64 {
        self.0.lock().wall_offset_us / 1_000
    }
}

impl Clock for NodeClock {
    fn monotonic(&self) -> Duration {
        self.0.lock().monotonic
    }

    fn wall(&self) -> Duration {
        let shown = self.0.lock();
        let offset = Duration::from_micros(shown.wall_offset_us.unsigned_abs());
        let right = EPOCH + shown.monotonic;
        if shown.wall_offset_us < 0 { right.saturating_sub(offset) } else { right + offset }
    }

    fn boot_id(&self) -> BootId {
        BootId(u128::from(self.0.lock().boot).to_le_bytes())
    }
}
