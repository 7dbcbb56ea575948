//! Where the next batch goes, and how far the room behind it is overwritten with zeros.

use crate::ids::FileId;

/// What room is overwritten with.
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];
/// How much is zeroed at first after a start.
const ZERO_FIRST_BYTES: u64 = 32 << 10;
/// Batches of more than one part of so many of the zeroed room go without.
const BATCHES_PER_ZEROING_MIN: u64 = 8;

/// Where the next batch goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    pub(super) file: FileId,
    pub(super) offset: u64,
    /// Room before this was written or zeroed.
    pub(super) zeroed: u64,
    /// How much is zeroed next: doubles each time, so that an idle group's first batch stays cheap.
    pub(super) zero_next_bytes: u64,
    pub(super) planned_bytes: u64,
}

impl Cursor {
    /// At `offset` of a segment that has room up to `planned_bytes`.
    pub(super) fn new(file: FileId, offset: u64, planned_bytes: u64) -> Self {
        Self { file, offset, zeroed: offset, zero_next_bytes: ZERO_FIRST_BYTES, planned_bytes }
    }

    /// Whether a batch of so many bytes ends in room that was only reserved.
    pub(super) fn reaches_reserved(&self, batch_bytes: u64) -> bool {
        self.offset + batch_bytes > self.zeroed
    }

    /// The zeros to write behind a batch, if it is time. Zeros over zeros: no crash can make them anything else.
    pub(super) fn zeros(&self, batch_bytes: u64, ahead_bytes: u64) -> Option<&'static [u8]> {
        let end = self.offset + batch_bytes;
        let room = self.planned_bytes.saturating_sub(end);
        let bytes = ahead_bytes.min(ZEROS.len() as u64).min(self.zero_next_bytes).min(room);
        let is_time = self.reaches_reserved(batch_bytes) && batch_bytes * BATCHES_PER_ZEROING_MIN <= bytes;
        is_time.then(|| &ZEROS[..usize::try_from(bytes).expect("bounded by ZEROS")])
    }

    /// The zeros up to `end` were written.
    pub(super) fn note_zeroed(&mut self, end: u64) {
        self.zeroed = end;
        self.zero_next_bytes = (2 * self.zero_next_bytes).min(ZEROS.len() as u64);
    }
}
