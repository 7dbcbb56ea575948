//! What a simulated disk has been told to do wrong.

use std::io;
use std::path::Path;

/// Linux's error numbers, because callers are shown what a real disk would show them.
pub(super) const EIO: i32 = 5;
pub(super) const ENOSPC: i32 = 28;

/// What goes wrong with calls on some files. See [`SimDisk::fail`](super::SimDisk::fail).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// Writes, and whatever makes a file longer or a new one, fail with ENOSPC and change nothing.
    NoSpace,
    /// Writes fail with EIO and change nothing.
    FailedWrites,
    /// Writes write their first half and fail with EIO.
    ShortWrites,
    /// Syncs fail with EIO. As on Linux, what they should have written counts as clean afterwards and is never
    /// written.
    FailedSyncs,
    /// Reads fail with EIO.
    FailedReads,
    /// Writes do not return; their threads are blocked until the disk is healed or crashes.
    StalledWrites,
}

/// Armed faults. Counts are of calls still to come; `None` is never.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) sync: Countdown,
    pub(super) write: Countdown,
    pub(super) short_write: Countdown,
    pub(super) power_cut: Countdown,
    pub(super) capacity_bytes: Option<u64>,
    pub(super) ignore_syncs: bool,
    pub(super) stall_syncs: bool,
    pub(super) aimed: Aimed,
}

/// Faults of some files only.
#[derive(Debug, Default)]
pub(super) struct Aimed(Vec<Shot>);

#[derive(Debug)]
struct Shot {
    part: String,
    fault: DiskFault,
    is_single: bool,
    has_struck: bool,
}

impl Aimed {
    pub(super) fn add(&mut self, part: &str, fault: DiskFault, is_single: bool) {
        self.0.push(Shot { part: part.to_owned(), fault, is_single, has_struck: false });
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// A single shot that has struck is gone.
    pub(super) fn have_all_struck(&self) -> bool {
        self.0.iter().all(|shot| shot.has_struck)
    }

    /// Whether a call on `path` goes wrong by `fault`. A single shot is spent by it.
    pub(super) fn hits(&mut self, path: &Path, fault: DiskFault) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let path = path.to_string_lossy();
        let hit = |shot: &Shot| shot.fault == fault && path.contains(&shot.part);
        let Some(at) = self.0.iter().position(hit) else { return false };
        self.0[at].has_struck = true;
        if self.0[at].is_single {
            self.0.remove(at);
        }
        true
    }
}

/// Fires once, at the nth event from when it was armed (1 is the next).
#[derive(Debug, Default)]
pub(super) struct Countdown(Option<u64>);

impl Countdown {
    pub(super) fn arm(&mut self, nth: u64) {
        assert!(nth > 0, "events are counted from 1");
        self.0 = Some(nth);
    }

    pub(super) fn disarm(&mut self) {
        self.0 = None;
    }

    pub(super) fn fires(&mut self) -> bool {
        let Some(left) = &mut self.0 else { return false };
        *left -= 1;
        if *left > 0 {
            return false;
        }
        self.0 = None;
        true
    }
}

pub(super) fn input_output_error() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

pub(super) fn no_space() -> io::Error {
    io::Error::from_raw_os_error(ENOSPC)
}
