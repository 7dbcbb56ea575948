//! Tells how far a repair is.

use super::{Progress, RepairProgress};

/// Bytes between two words.
const STEP_BYTES: u64 = 1 << 20;

/// Counts what is read.
pub(super) struct Telling<'a> {
    progress: &'a mut Progress<'a>,
    now: RepairProgress,
    told_bytes: u64,
}

impl<'a> Telling<'a> {
    /// Of `bytes_total` that will be read.
    pub(super) fn new(bytes_total: u64, progress: &'a mut Progress<'a>) -> Self {
        let now = RepairProgress { bytes: 0, bytes_total };
        progress(&now);
        Self { progress, now, told_bytes: 0 }
    }

    /// A record was read.
    pub(super) fn read(&mut self, key: &[u8], value: &[u8]) {
        self.now.bytes += (key.len() + value.len()) as u64;
        if self.now.bytes - self.told_bytes >= STEP_BYTES {
            self.told_bytes = self.now.bytes;
            (self.progress)(&self.now);
        }
    }
}
