//! Snapshot files: a group's whole state at one index.

use bytes::Bytes;

use crate::entry::EntryId;
use crate::error::Result;
use crate::state::AppliedRecord;

/// What the log records of a snapshot file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotToken {
    /// Term and index of the last entry in it.
    pub id: EntryId,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// The file's footer: CRC-32 of everything before it.
    pub crc: u32,
}

/// What a snapshot says of itself: the applied record of the state it was taken from. The incarnation in it
/// is the source's, for information only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotLabel {
    /// Index, term, conf state, descriptor, ceiling, cutover, keys and digest.
    pub record: AppliedRecord,
}

/// Takes records in ascending key order.
pub trait SnapshotSink {
    /// Adds one record.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()>;
}

/// Gives records in ascending key order, each verified.
pub trait SnapshotSource {
    /// The next record, or `None` after the last one. Only after `None` the whole file has been verified.
    fn next_record(&mut self) -> Result<Option<(Bytes, Bytes)>>;
}
