//! A bound on the bytes that are moved in a second, whoever moves them. Who waits is served in order.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock as GovernorClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use quorate_telemetry::Clock;

/// What the rate is counted in: a cell of the limiter, which counts in 32 bits.
const CELL_BYTES: u64 = 1 << 10;
/// Above it a cell would take less than the limiter's nanoseconds can tell.
const CELLS_MAX: u32 = 1 << 24;
/// Parts of a second whose bytes may be taken at once.
const BURSTS_PER_SECOND: u32 = 64;

/// The rate.
pub(crate) struct ByteRate {
    limiter: RateLimiter<NotKeyed, InMemoryState, SeamClock, NoOpMiddleware<Monotonic>>,
    clock: SeamClock,
    /// Cells that may be taken at once.
    burst: NonZeroU32,
}

impl fmt::Debug for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteRate").finish_non_exhaustive()
    }
}

impl ByteRate {
    /// Counts time on `clock`.
    ///
    /// # Panics
    /// If `bytes_per_second` is not 1 KiB to 16 GiB.
    pub(crate) fn new(bytes_per_second: u64, clock: Arc<dyn Clock>) -> Self {
        let cells = u32::try_from(bytes_per_second / CELL_BYTES).ok().and_then(NonZeroU32::new);
        let cells =
            cells.filter(|cells| cells.get() <= CELLS_MAX).expect("a rate is 1 KiB to 16 GiB per second");
        let burst = NonZeroU32::MIN.max(NonZeroU32::new(cells.get() / BURSTS_PER_SECOND).unwrap_or(cells));
        let clock = SeamClock(clock);
        let quota = Quota::per_second(cells).allow_burst(burst);
        Self { limiter: RateLimiter::direct_with_clock(quota, clock.clone()), clock, burst }
    }

    /// Waits until `bytes` may be moved. Time passes on tokio's clock, which the seam's never disagrees with.
    pub(crate) async fn take(&self, bytes: u64) {
        let mut cells = bytes.div_ceil(CELL_BYTES);
        while cells > 0 {
            let taken = u32::try_from(cells).map_or(self.burst, |cells| {
                NonZeroU32::new(cells).map_or(self.burst, |cells| cells.min(self.burst))
            });
            match self.limiter.check_n(taken) {
                Ok(Ok(())) => cells -= u64::from(taken.get()),
                Ok(Err(not_until)) => {
                    let wait = not_until.wait_time_from(self.clock.now());
                    // Timers are as fine as a millisecond.
                    tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
                }
                Err(_) => unreachable!("no more than a burst is asked for"),
            }
        }
    }
}

/// Our clock, as the limiter wants it.
#[derive(Clone, Debug)]
struct SeamClock(Arc<dyn Clock>);

/// A reading of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Monotonic(Duration);

impl GovernorClock for SeamClock {
    type Instant = Monotonic;

    fn now(&self) -> Monotonic {
        Monotonic(self.0.monotonic())
    }
}

impl std::ops::Add<Nanos> for Monotonic {
    type Output = Self;

    fn add(self, nanos: Nanos) -> Self {
        Self(self.0.saturating_add(nanos.into()))
    }
}

impl Reference for Monotonic {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, nanos: Nanos) -> Self {
        Self(self.0.checked_sub(nanos.into()).unwrap_or(self.0))
    }
}
