//! Snapshot files: a group's whole state at one index, one file each, in the group's `snapshots` directory.
//!
//! [`SnapshotDir`] names, writes, lists and retains them. A file is written beside its name, synced, and then
//! renamed: so a file of the final name is whole. What it promises otherwise is in `docs/FORMAT.md`: blocks are
//! checked one by one, the whole file by its footer, and the log's [`SnapshotToken`] says which footer counts.
//! When a snapshot is due, and what the log records of it, is left to the caller.

mod block;
mod checked_file;
mod chunk;
mod damage;
mod dir;
mod fault;
mod hash;
mod label;
mod layout;
mod payload;
mod read_back;
mod reader;
mod retention;
mod spool;
mod state_header;
mod verify;
mod writer;

pub use chunk::{CHUNK_BYTES_MAX, SnapshotChunk, SnapshotChunks};
pub(crate) use damage::find_damage;
pub(crate) use dir::check_room;
pub use dir::{SnapshotDir, SnapshotFile};
pub use fault::SnapshotFault;
pub(crate) use label::read_footer;
pub use label::{read_label, read_token};
pub use layout::{RECORD_BYTES_MAX, file_name, parse_file_name};
pub use payload::SnapshotPayload;
pub use read_back::SnapshotReadBack;
pub use reader::SnapshotReader;
pub use retention::Retention;
pub use spool::{SnapshotSpool, SpoolLimits};
pub use state_header::StateHeader;
pub use verify::{ReadFrom, Verification, verify, verify_with};
pub use writer::SnapshotWriter;

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

impl SnapshotLabel {
    /// Whether both are of the same state. Each replica writes a file of its own of it: they differ in the source.
    pub fn is_of_same_state(&self, other: &Self) -> bool {
        let incarnation = other.record.incarnation;
        AppliedRecord { incarnation, ..self.record.clone() } == other.record
    }
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

#[cfg(test)]
mod tests;
