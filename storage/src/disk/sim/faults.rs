//! What a simulated disk has been told to do wrong.

use std::io;

/// Linux's error numbers, because callers are shown what a real disk would show them.
pub(super) const EIO: i32 = 5;
pub(super) const ENOSPC: i32 = 28;

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
