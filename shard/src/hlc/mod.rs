//! The hybrid logical clock of a group: timestamps that are never given twice and never go back, whatever wall clocks
//! and leaderships do.
//!
//! **Fencing.** A leader of term *T* gives timestamps above *I(T)*, the ceiling its state machine has when it has applied
//! the empty entry of its own term, and below *C(T)*, the highest ceiling of a lease that it proposed in *T* and has
//! applied. What it has applied in *T* is committed, so every later leader has it in its log, in front of its own empty
//! entry; and applying a lease never lowers a ceiling. So *I(T')* ≥ *C(T)* for all *T'* > *T*: the timestamps of two terms
//! never meet, and those of the later one are larger. That holds for a leader that was deposed and does not know:
//! once a quorum has gone on, no lease of its commits, and it stays below a ceiling that its successor starts above. No
//! clock, heartbeat or read of a lease enters into it; clocks only decide how close timestamps are to real time.
//!
//! Not promised: that a deposed leader falls silent at once. Until it hears of its successor, or its ceiling passes, it
//! gives timestamps that are below all of the successor's. Who has seen one of those carries it along with
//! [`Hlc::observe`], which the deposed leader has no room for.

mod clock_watch;
mod tenure;
#[cfg(test)]
mod tests;

use std::time::Duration;

use quorate_storage::Timestamp;

pub use clock_watch::{CLOCK_OFFSET_MAX, ClockWatch};
pub use tenure::{Now, Tenure};

/// The shortest [`HlcConfig::window`]: a lease reaches further than the clock of another node may be ahead.
pub const WINDOW_MIN: Duration = Duration::from_secs(1);

/// The longest [`HlcConfig::window`]: after a change of leader timestamps may be ahead of real time by as much.
pub const WINDOW_MAX: Duration = Duration::from_secs(60);

const _: () = assert!(
    WINDOW_MIN.as_millis() >= 2 * CLOCK_OFFSET_MAX.as_millis(),
    "a lease that is not due for renewal has room for every timestamp that may be observed"
);

/// How a group's clock is leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HlcConfig {
    /// How far a lease reaches. Default 3 s; [`WINDOW_MIN`] to [`WINDOW_MAX`].
    pub window: Duration,
    /// When it is renewed.
    pub renew: Renew,
}

/// When a lease is renewed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Renew {
    /// While timestamps were asked for within the last window; else it lapses, and the next request renews it first.
    #[default]
    OnDemand,
    /// Always: for tests of groups that are idle but for leases.
    Always,
}

impl Default for HlcConfig {
    fn default() -> Self {
        Self { window: Duration::from_secs(3), renew: Renew::OnDemand }
    }
}

/// Why no timestamp is given, or a remote one not merged. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No lease of this leadership is applied yet.
    NoCeiling,
    /// The lease that is applied does not reach that far.
    Expired {
        /// How far it reaches.
        ceiling: Timestamp,
    },
    /// The remote timestamp is further ahead of the local clock than clocks may differ.
    Ahead {
        /// How far.
        by: Duration,
    },
}

/// The clock of one leadership. Pure: whoever asks says what its wall clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hlc {
    /// Nothing at or below it is given. Invariant: at most the inherited ceiling, or below `ceiling`.
    last: Timestamp,
    /// Nothing at or above it is given.
    ceiling: Option<Timestamp>,
}

impl Hlc {
    /// The clock of a leader that inherits this ceiling. It gives nothing before [`Hlc::grant`].
    pub fn above(inherited: Timestamp) -> Self {
        Self { last: inherited, ceiling: None }
    }

    /// A lease of this leadership up to `ceiling` is applied. A lower one than before changes nothing.
    pub fn grant(&mut self, ceiling: Timestamp) {
        self.ceiling = self.ceiling.max(Some(ceiling));
    }

    /// Up to where this leadership has a lease.
    pub fn ceiling(&self) -> Option<Timestamp> {
        self.ceiling
    }

    /// A timestamp above all before, and at or above `wall` (since the Unix epoch).
    ///
    /// # Errors
    /// [`Refused::NoCeiling`] and [`Refused::Expired`]: a lease has to be applied first.
    pub fn issue(&mut self, wall: Duration) -> Result<Timestamp, Refused> {
        let next = self.last.next().ok_or_else(|| self.refusal())?.max(Timestamp::of_wall(wall));
        self.check(next)?;
        self.last = next;
        Ok(next)
    }

    /// Merges a timestamp of another clock: all that are given from now on are larger. As it stays below the ceiling, a
    /// successor keeps this promise without having heard of it.
    ///
    /// # Errors
    /// [`Refused::Ahead`] if it is more than [`CLOCK_OFFSET_MAX`] ahead of `wall`: nobody may drag a group's clock into the
    /// future. Else as [`Hlc::issue`].
    pub fn observe(&mut self, remote: Timestamp, wall: Duration) -> Result<(), Refused> {
        if remote <= self.last {
            return Ok(());
        }
        let by = Duration::from_millis(remote.millis()).saturating_sub(wall);
        if by > CLOCK_OFFSET_MAX {
            return Err(Refused::Ahead { by });
        }
        self.check(remote)?;
        self.last = remote;
        Ok(())
    }

    /// The ceiling a lease asks for now: one window above what the clock shows and everything given or inherited, and
    /// never more.
    pub fn lease(&self, wall: Duration, window: Duration) -> Timestamp {
        let from = Duration::from_millis(self.last.millis()).max(wall);
        Timestamp::of_wall(from.saturating_add(window))
    }

    /// How much of the lease is left, by the clock and by what was given.
    pub fn left(&self, wall: Duration) -> Duration {
        let from = Duration::from_millis(self.last.millis()).max(wall);
        let to = self.ceiling.map_or(0, Timestamp::millis);
        Duration::from_millis(to).saturating_sub(from)
    }

    fn check(&self, candidate: Timestamp) -> Result<(), Refused> {
        if self.ceiling.is_some_and(|ceiling| candidate < ceiling) { Ok(()) } else { Err(self.refusal()) }
    }

    fn refusal(&self) -> Refused {
        self.ceiling.map_or(Refused::NoCeiling, |ceiling| Refused::Expired { ceiling })
    }
}
