//! The `Clock` seam: monotonic time, wall time and the identity of this boot.
//!
//! Waiting is not here: actors wait on tokio timers, which a simulation drives by virtual time. Both clocks take
//! their monotonic time from tokio too, so a timer and a reading never disagree about what time it is.

mod sim;
mod system;

use std::fmt;
use std::time::Duration;

pub use self::sim::SimClock;
pub use self::system::{BootIdError, SystemClock};

/// The identity of one boot of the machine; a power cut is told from a process crash by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub [u8; 16]);

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootId({:032x})", u128::from_be_bytes(self.0))
    }
}

/// Where time comes from. Nothing else in the workspace reads a clock.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Time since an arbitrary origin; never goes backwards.
    fn monotonic(&self) -> Duration;

    /// Time since the Unix epoch; may jump in either direction.
    fn wall(&self) -> Duration;

    /// The boot this process runs under.
    fn boot_id(&self) -> BootId;
}
