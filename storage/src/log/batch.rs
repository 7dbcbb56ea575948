//! The sync batch: one write, and the unit of proof. Byte tables are in `docs/FORMAT.md`.
//!
//! ```text
//! | head 64 | table | body | zeros | table again | head again |    a multiple of 4 KiB
//! ```
//! The head's checksum covers head and table, the table names every entry with its own checksum, and the body has
//! a third: a damaged body leaves a table that still says what was in it. It stands for the whole batch in the
//! chain: the next batch repeats it.

mod builder;
mod table;

pub(super) use self::builder::BatchBuilder;
pub(super) use self::table::BatchTable;

use std::ops::Range;

use super::bytes::Fields;
use crate::entry::{EntryId, EntryKind, HardState};
use crate::ids::{FileId, Index, Term};
use crate::snapshot::SnapshotToken;

/// Batches start on such a boundary.
pub(super) const ALIGN_BYTES: usize = 4096;
/// The longest batch written or read. A longer one is refused before anything is written.
pub(super) const BATCH_BYTES_MAX: usize = 256 << 20;
/// An entry's length has 28 bits in the table.
pub(super) const ENTRY_BYTES_MAX: usize = (1 << 28) - 1;

const HEAD_BYTES: usize = 64;
const RECORD_BYTES: usize = 40;
const FRONT_MAGIC: [u8; 4] = *b"QBAT";
const END_MAGIC: [u8; 4] = *b"QEND";
const LENGTH_BITS: u32 = 28;

const _: () = assert!(BATCH_BYTES_MAX <= u32::MAX as usize && BATCH_BYTES_MAX.is_multiple_of(ALIGN_BYTES));
const _: () = assert!(2 * HEAD_BYTES + 2 * RECORD_BYTES <= ALIGN_BYTES);

mod kind {
    pub(super) const ENTRIES: u8 = 1;
    pub(super) const HARD_STATE: u8 = 2;
    pub(super) const TRUNCATE: u8 = 3;
    pub(super) const COMPACT: u8 = 4;
    pub(super) const SNAPSHOT: u8 = 5;
    pub(super) const REPAIR: u8 = 6;
    pub(super) const PROOF: u8 = 7;
    pub(super) const CLOSE: u8 = 8;
}

/// The highest record kind this release knows.
pub(super) const RECORD_KIND_MAX: u8 = kind::CLOSE;

/// Flag of a snapshot record: the log was reset to it.
const FLAG_INSTALL: u8 = 1;

/// One statement of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Entries of one term.
    Entries(Run),
    /// Copies of entries that stand unreadable in older batches. Says nothing about where the log ends.
    Repair(Run),
    HardState(HardState),
    /// The entries after `last` are gone.
    Truncate {
        last: EntryId,
    },
    /// The entries up to this one are gone.
    Compact(EntryId),
    /// A snapshot was published, or installed: then the log starts anew behind it.
    Snapshot {
        token: SnapshotToken,
        install: bool,
    },
    Proof,
    Close,
    /// Of a kind this release does not know. Whatever follows it in the table was not read.
    Unknown(u8),
}

/// Entries of one term in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: Index,
    pub(super) term: Term,
    pub(super) prev_term: Term,
    /// Where its rows start among the batch's rows, and how many there are.
    row: usize,
    pub(super) count: u32,
    /// Where its payloads start in the body.
    body_offset: u64,
}

/// What the table says of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) crc: u32,
    pub(super) bytes: u32,
    pub(super) kind: EntryKind,
}

/// The head of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHead {
    pub(super) sequence: u64,
    pub(super) file: FileId,
    /// Length of the whole batch.
    pub(super) batch_bytes: u32,
    pub(super) table_bytes: u32,
    pub(super) body_bytes: u32,
    pub(super) body_crc: u32,
    pub(super) previous_crc: u32,
    /// Over head and table: stands for the batch in the chain.
    pub(super) crc: u32,
}

impl BatchHead {
    /// Size of the front part that [`BatchTable::at_front`] needs, if `bytes` start with a plausible head.
    pub(super) fn front_bytes(bytes: &[u8]) -> Option<usize> {
        let (head, _, _) = parse_head(bytes.get(..HEAD_BYTES)?, FRONT_MAGIC)?;
        Some(HEAD_BYTES + head.table_bytes as usize)
    }

    /// Size of the part at the end that [`BatchTable::at_end`] needs, if `bytes` end with a plausible head.
    pub(super) fn end_bytes(bytes: &[u8]) -> Option<usize> {
        let (head, _, _) = parse_head(bytes.last_chunk::<HEAD_BYTES>()?, END_MAGIC)?;
        Some(HEAD_BYTES + head.table_bytes as usize)
    }

    /// Size of the batch, if `bytes` start with a plausible head.
    pub(super) fn batch_bytes(bytes: &[u8]) -> Option<usize> {
        let (head, _, _) = parse_head(bytes.get(..HEAD_BYTES)?, FRONT_MAGIC)?;
        Some(head.batch_bytes as usize)
    }

    /// Where the body stands in the batch.
    pub(super) fn body(&self) -> Range<usize> {
        let start = HEAD_BYTES + self.table_bytes as usize;
        start..start + self.body_bytes as usize
    }
}

impl Run {
    pub(super) fn last(&self) -> Index {
        Index(self.first.get() + u64::from(self.count) - 1)
    }

    fn contains(&self, index: Index) -> bool {
        self.first <= index && index <= self.last()
    }
}

/// The head's fields, its count of records and its checksum, if lengths are plausible.
fn parse_head(bytes: &[u8], magic: [u8; 4]) -> Option<(BatchHead, u32, u32)> {
    let mut fields = Fields(bytes);
    if fields.array::<4>()? != magic {
        return None;
    }
    let records = fields.u32()?;
    let mut head = BatchHead {
        sequence: fields.number()?,
        file: FileId(fields.array()?),
        batch_bytes: fields.u32()?,
        table_bytes: fields.u32()?,
        body_bytes: fields.u32()?,
        body_crc: fields.u32()?,
        previous_crc: fields.u32()?,
        crc: 0,
    };
    fields.u64()?;
    head.crc = fields.u32()?;
    let content = 2 * (HEAD_BYTES as u64 + u64::from(head.table_bytes)) + u64::from(head.body_bytes);
    let expected = content.next_multiple_of(ALIGN_BYTES as u64);
    let is_plausible =
        expected == u64::from(head.batch_bytes) && head.batch_bytes as usize <= BATCH_BYTES_MAX;
    is_plausible.then_some((head, records, head.crc))
}

/// The magic is left out, so that both copies have one checksum.
fn head_crc(head: &[u8], table: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[4..]);
    hasher.update(table);
    hasher.finalize()
}

/// A length that the caps have bounded.
fn count_u32(count: usize) -> u32 {
    u32::try_from(count).expect("bounded by BATCH_BYTES_MAX")
}
