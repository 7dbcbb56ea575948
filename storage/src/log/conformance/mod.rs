//! What every log must keep: run [`suite`] on yours.
//!
//! ```
//! use quorate_storage::Result;
//! use quorate_storage::disk::{CrashMode, SimDisk};
//! use quorate_storage::log::conformance::{Harness, suite};
//! use quorate_storage::log::{LogStore, MemoryLog};
//! use quorate_storage::snapshot::SnapshotToken;
//!
//! /// A memory log: nothing can fail, and a crash loses what was held back.
//! #[derive(Default)]
//! struct Memory(Option<MemoryLog>);
//!
//! impl Harness for Memory {
//!     fn create(&mut self, base: SnapshotToken) -> Result<Box<dyn LogStore>> {
//!         self.0 = Some(MemoryLog::create(base));
//!         self.open()
//!     }
//!
//!     fn crash(&mut self, _mode: CrashMode) {}
//!
//!     fn open(&mut self) -> Result<Box<dyn LogStore>> {
//!         Ok(Box::new(self.0.as_ref().expect("created before").reopen()))
//!     }
//!
//!     fn disk(&self) -> Option<&SimDisk> {
//!         None
//!     }
//! }
//!
//! suite(&mut || Box::new(Memory::default()), 0..8);
//! ```

mod claims;
mod model;
mod walk;

use std::ops::Range;

use super::LogStore;
use crate::disk::{CrashMode, SimDisk};
use crate::error::Result;
use crate::snapshot::SnapshotToken;

/// One machine with one log on it.
pub trait Harness {
    /// Creates the log behind `base`. Called once, before anything else.
    ///
    /// # Errors
    /// Whatever the log says.
    fn create(&mut self, base: SnapshotToken) -> Result<Box<dyn LogStore>>;

    /// Crashes the machine as `mode` says. The log given out before is dropped already.
    fn crash(&mut self, mode: CrashMode);

    /// Opens the log as it is after a crash.
    ///
    /// # Errors
    /// Whatever the log says: the suite takes it as a broken promise, except under an armed fault.
    fn open(&mut self) -> Result<Box<dyn LogStore>>;

    /// The machine's disk as it is now, for arming faults. Without one, crashes happen only between calls.
    fn disk(&self) -> Option<&SimDisk>;
}

/// Checks every promise of [`LogStore`] and [`super::LogReader`]: each by itself, then all together on one random
/// walk per seed, with crashes at random disk calls in every mode, failing writes and syncs, and a full disk.
///
/// # Panics
/// If a promise is broken; the message names it, and the seed.
pub fn suite(make: &mut dyn FnMut() -> Box<dyn Harness>, seeds: Range<u64>) {
    for claim in claims::ALL {
        claim(make().as_mut());
    }
    for seed in seeds {
        walk::walk(make().as_mut(), seed);
    }
}
