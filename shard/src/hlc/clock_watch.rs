//! Whether this node's wall clock can be trusted to lead: compared with those of the other nodes.
//!
//! The clocks that are known, this node's among them, have a median; this node's offset is its distance from it. An even
//! number of clocks has two middle ones, and everything between them is right: so one or two clocks accuse nobody, and of
//! three it takes two that agree. A node whose clock has jumped knows at once, without hearing of anyone: between two
//! measurements its offset moves with its wall clock against the monotonic one.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use quorate_telemetry::Clock;

/// How far a node's clock may be from the median of all before the node neither campaigns nor proposes a lease.
pub const CLOCK_OFFSET_MAX: Duration = Duration::from_millis(500);

/// [`CLOCK_OFFSET_MAX`] in milliseconds.
const OFFSET_MAX_MS: u64 = 500;

const _: () = assert!(CLOCK_OFFSET_MAX.as_millis() == OFFSET_MAX_MS as u128, "the same bound twice");

/// Stands for "nothing measured".
const UNKNOWN: i64 = i64::MIN;

/// The offset of this node's wall clock. One for each node, shared by its groups; reading it costs two clock readings.
#[derive(Debug)]
pub struct ClockWatch {
    clock: Arc<dyn Clock>,
    /// The median minus this node's monotonic clock, in milliseconds: what does not move when the wall clock jumps.
    median: AtomicI64,
}

impl ClockWatch {
    /// Nothing is measured yet: the clock counts as right.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, median: AtomicI64::new(UNKNOWN) }
    }

    /// Takes how far the clocks of the other nodes that are heard of are ahead of this one's, in milliseconds. Too few
    /// to accuse anyone leave nothing known.
    pub fn measure(&self, ahead_ms: &[i64]) {
        let median = if ahead_ms.len() < 2 {
            UNKNOWN
        } else {
            nearest_median(ahead_ms).saturating_add(self.wall_ahead_ms()).max(UNKNOWN + 1)
        };
        self.median.store(median, Ordering::Relaxed);
    }

    /// How far this node's clock is ahead of the median (behind it: negative), in milliseconds; 0 while that is unknown.
    pub fn offset_ms(&self) -> i64 {
        match self.median.load(Ordering::Relaxed) {
            UNKNOWN => 0,
            median => self.wall_ahead_ms().saturating_sub(median),
        }
    }

    /// Whether the clock is fit to lead.
    ///
    /// # Errors
    /// The offset in milliseconds, if it is more than [`CLOCK_OFFSET_MAX`].
    pub fn check(&self) -> Result<(), i64> {
        let offset_ms = self.offset_ms();
        if offset_ms.unsigned_abs() > OFFSET_MAX_MS { Err(offset_ms) } else { Ok(()) }
    }

    /// The wall clock minus the monotonic one.
    fn wall_ahead_ms(&self) -> i64 {
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        millis(self.clock.wall()).saturating_sub(millis(self.clock.monotonic()))
    }
}

/// The median of these offsets and of 0, the own clock's; of two middle ones what lies nearest to 0.
fn nearest_median(ahead_ms: &[i64]) -> i64 {
    let mut all: Vec<i64> = ahead_ms.iter().copied().chain([0]).collect();
    all.sort_unstable();
    let (low, high) = (all[(all.len() - 1) / 2], all[all.len() / 2]);
    0.clamp(low, high)
}
