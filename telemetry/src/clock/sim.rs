//! The clock of a simulation.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{BootId, Clock};

/// One million: rates are told in parts of it.
const PPM: u128 = 1_000_000;

/// A virtual [`Clock`]: monotonic time is the simulation's tokio time, wall time is derived from it and can be made
/// to jump or drift, and the boot id is whatever the test says.
///
/// Clones share one state: the test keeps one to turn, the simulated node reads another. The origin of monotonic time
/// is the first reading, so the clock may be built outside the simulated host's runtime, but must only be *read*
/// (and turned) inside it: each runtime has a time of its own.
#[derive(Clone, Debug)]
pub struct SimClock(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    origin: Option<Instant>,
    /// Monotonic time at which `wall` was true.
    anchor: Duration,
    /// Wall time at `anchor`.
    wall: Duration,
    /// How fast wall time passes: parts per million of monotonic time.
    rate_ppm: u32,
    boot_id: BootId,
}

impl SimClock {
    /// A clock that shows `wall` (since the Unix epoch) at its first reading, and runs at the true rate.
    pub fn new(wall: Duration, boot_id: BootId) -> Self {
        let state = State { origin: None, anchor: Duration::ZERO, wall, rate_ppm: 1_000_000, boot_id };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Sets the wall clock to `wall`, forwards or backwards. Monotonic time does not notice.
    pub fn set_wall(&self, wall: Duration) {
        let mut state = self.0.lock();
        state.anchor = state.monotonic();
        state.wall = wall;
    }

    /// Sets the wall clock forwards by `by`.
    pub fn jump_forward(&self, by: Duration) {
        let wall = self.wall();
        self.set_wall(wall.saturating_add(by));
    }

    /// Sets the wall clock back by `by`, at most to the epoch.
    pub fn jump_back(&self, by: Duration) {
        let wall = self.wall();
        self.set_wall(wall.saturating_sub(by));
    }

    /// From now on the wall clock passes `rate_ppm` microseconds in a second of monotonic time: 1,000,000 is true,
    /// 1,000,500 gains half a millisecond each second, 0 stands still.
    pub fn set_rate_ppm(&self, rate_ppm: u32) {
        let mut state = self.0.lock();
        let now = state.monotonic();
        state.wall = state.wall_at(now);
        state.anchor = now;
        state.rate_ppm = rate_ppm;
    }

    /// The simulated host is started again, maybe in a new runtime: monotonic time begins at zero with the next
    /// reading, shows `wall` then, and runs at the true rate. The same `boot_id` as before is a crash of the process,
    /// another one a power cut.
    pub fn restart(&self, wall: Duration, boot_id: BootId) {
        let mut state = self.0.lock();
        *state = State { origin: None, anchor: Duration::ZERO, wall, rate_ppm: 1_000_000, boot_id };
    }
}

impl Clock for SimClock {
    fn monotonic(&self) -> Duration {
        self.0.lock().monotonic()
    }

    fn wall(&self) -> Duration {
        let mut state = self.0.lock();
        let now = state.monotonic();
        state.wall_at(now)
    }

    fn boot_id(&self) -> BootId {
        self.0.lock().boot_id
    }
}

impl State {
    fn monotonic(&mut self) -> Duration {
        let now = Instant::now();
        now.saturating_duration_since(*self.origin.get_or_insert(now))
    }

    fn wall_at(&self, monotonic: Duration) -> Duration {
        let passed = monotonic.saturating_sub(self.anchor).as_nanos() * u128::from(self.rate_ppm) / PPM;
        let passed = Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX));
        self.wall.saturating_add(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_700_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn wall_time_follows_virtual_time() {
        let clock = SimClock::new(START, BootId([1; 16]));
        assert_eq!((clock.monotonic(), clock.wall()), (Duration::ZERO, START));
        tokio::time::sleep(SECOND * 5).await;
        assert_eq!((clock.monotonic(), clock.wall()), (SECOND * 5, START + SECOND * 5));
    }

    #[tokio::test(start_paused = true)]
    async fn jumps_move_the_wall_and_not_monotonic_time() {
        let clock = SimClock::new(START, BootId([1; 16]));
        let node = clock.clone();
        assert_eq!(node.monotonic(), Duration::ZERO);
        clock.jump_back(SECOND * 60);
        tokio::time::sleep(SECOND).await;
        assert_eq!((node.monotonic(), node.wall()), (SECOND, START.saturating_sub(SECOND * 59)));
        clock.jump_forward(SECOND * 100);
        assert_eq!((node.monotonic(), node.wall()), (SECOND, START + SECOND * 41));
    }

    #[tokio::test(start_paused = true)]
    async fn a_skewed_clock_drifts_from_the_moment_it_is_skewed() {
        let clock = SimClock::new(START, BootId([1; 16]));
        assert_eq!(clock.wall(), START);
        tokio::time::sleep(SECOND * 10).await;
        clock.set_rate_ppm(1_100_000);
        assert_eq!(clock.wall(), START + SECOND * 10);
        tokio::time::sleep(SECOND * 10).await;
        assert_eq!(clock.wall(), START + SECOND * 21);
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_begins_monotonic_time_anew_under_the_boot_it_is_given() {
        let clock = SimClock::new(START, BootId([1; 16]));
        assert_eq!(clock.monotonic(), Duration::ZERO);
        tokio::time::sleep(SECOND * 10).await;
        clock.set_rate_ppm(0);
        clock.restart(START + SECOND * 30, BootId([2; 16]));
        assert_eq!((clock.monotonic(), clock.wall()), (Duration::ZERO, START + SECOND * 30));
        tokio::time::sleep(SECOND).await;
        assert_eq!(clock.wall(), START + SECOND * 31, "it does not stand still any more");
        assert_eq!(clock.boot_id(), BootId([2; 16]));
    }
}
