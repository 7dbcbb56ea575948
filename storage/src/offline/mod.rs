//! What can be told about a data directory that nobody runs: what is in it ([`inspect()`]), and whether it is still what
//! was written ([`verify()`]). And what can be done to it: [`repair()`].
//!
//! The first two work under the directory's lock, open nothing in it for writing, and repair nothing. What a third-party
//! store would write when it is opened, it writes into a scratch directory elsewhere: an LSM tree is opened in a
//! directory of links to its files, a sled database as a copy (by [`verify()`] only). Both go on after damage.

mod finding;
pub mod inspect;
pub mod repair;
mod stopped;
pub mod verify;

pub use finding::{FINDINGS_MAX, Finding, FindingClass};
pub use inspect::{InspectReport, inspect};
pub use repair::{plan_repair, repair};
pub use stopped::StoppedDir;
pub use verify::{VerifyProgress, VerifyReport, verify};

use std::path::PathBuf;
use std::sync::Arc;

use quorate_telemetry::Clock;

use crate::ids::GroupId;

/// What to look at, and with what.
#[derive(Clone, Debug)]
pub struct LookOptions {
    /// One group, or all.
    pub group: Option<GroupId>,
    /// Says which boot this is: a store that does not survive a power cut is trusted by that.
    pub clock: Arc<dyn Clock>,
    /// An existing directory outside the data directory, in which directories are made and removed. For [`verify()`]
    /// of a sled store it needs room for a copy of the largest one.
    pub scratch: PathBuf,
}

#[cfg(test)]
mod tests;
