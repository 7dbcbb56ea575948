//! One block of records, and its line in the index.
//!
//! Bytes: magic (4), CRC-32 of everything behind it (4), sequence (8), records (4), bytes of the body (4), body.
//! A record is the lengths of key and value (4 each), key, value. Keys ascend strictly through all blocks.

use std::path::Path;

use bytes::{Buf, Bytes};

use crate::error::{Error, Result};
use crate::snapshot::layout::{
    BLOCK_BODY_BYTES_MAX, BLOCK_BODY_BYTES_TARGET, BLOCK_HEADER_BYTES, BLOCK_MAGIC, RECORD_BYTES_MAX,
    RECORD_HEADER_BYTES, corrupt, length_field, u32_at, u64_at,
};

/// Where a block stands and what it must be: its line in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockEntry {
    pub(super) offset: u64,
    pub(super) records: u32,
    pub(super) crc: u32,
}

/// Collects records until a block is full.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    /// Header and body so far; the header's fields are filled in by [`Self::seal`].
    bytes: Vec<u8>,
    records: u32,
}

impl BlockBuilder {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; BLOCK_HEADER_BYTES], records: 0 }
    }

    /// # Errors
    /// [`Error::TooLarge`] if key and value together are over [`RECORD_BYTES_MAX`].
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let bytes = key.len().saturating_add(value.len());
        if bytes > RECORD_BYTES_MAX {
            let bytes_max = RECORD_BYTES_MAX as u64;
            return Err(Error::TooLarge { what: "snapshot record", bytes: bytes as u64, bytes_max });
        }
        for part in [key, value] {
            self.bytes.extend_from_slice(&length_field(part.len()));
        }
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.records += 1;
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() - BLOCK_HEADER_BYTES >= BLOCK_BODY_BYTES_TARGET
    }

    /// Fills in the header. The block's bytes, and its line in the index if it is written at `offset`.
    pub(super) fn seal(&mut self, sequence: u64, offset: u64) -> (&[u8], BlockEntry) {
        let body = self.bytes.len() - BLOCK_HEADER_BYTES;
        assert!(body <= BLOCK_BODY_BYTES_MAX, "a block of {body} bytes was not closed in time");
        self.bytes[0..4].copy_from_slice(&BLOCK_MAGIC);
        self.bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        self.bytes[16..20].copy_from_slice(&self.records.to_le_bytes());
        self.bytes[20..24].copy_from_slice(&length_field(body));
        let crc = crc32fast::hash(&self.bytes[8..]);
        self.bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        (&self.bytes, BlockEntry { offset, records: self.records, crc })
    }

    /// Starts the next block, keeping the memory of an ordinary one.
    pub(super) fn reset(&mut self) {
        self.bytes.truncate(BLOCK_HEADER_BYTES);
        self.bytes.shrink_to(2 * BLOCK_BODY_BYTES_TARGET);
        self.records = 0;
    }
}

/// A block's header, checked for plausibility only: the checksum needs the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockHeader {
    entry: BlockEntry,
    /// Checksum of the header's fields behind it.
    fields_crc: u32,
    pub(super) body_bytes: usize,
}

impl BlockHeader {
    /// Reads the header that stands at `offset` of the file at `path`, where block `sequence` should be.
    pub(super) fn decode(bytes: &[u8], sequence: u64, path: &Path, offset: u64) -> Result<Self> {
        let found = u64_at(bytes, 8);
        if found != sequence {
            return Err(corrupt("snapshot block sequence", path, offset + 8, [sequence, found]));
        }
        let body_bytes = u32_at(bytes, 20) as usize;
        if body_bytes > BLOCK_BODY_BYTES_MAX {
            let lengths = [BLOCK_BODY_BYTES_MAX as u64, body_bytes as u64];
            return Err(corrupt("snapshot block length", path, offset + 20, lengths));
        }
        let entry = BlockEntry { offset, records: u32_at(bytes, 16), crc: u32_at(bytes, 4) };
        Ok(Self { entry, fields_crc: crc32fast::hash(&bytes[8..BLOCK_HEADER_BYTES]), body_bytes })
    }

    /// Checks the body that follows and opens the block.
    pub(super) fn open(self, body: Bytes, path: &Path) -> Result<(Block, BlockEntry)> {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.fields_crc);
        hasher.update(&body);
        let computed = hasher.finalize();
        if computed != self.entry.crc {
            let crcs = [u64::from(computed), u64::from(self.entry.crc)];
            return Err(corrupt("snapshot block", path, self.entry.offset, crcs));
        }
        Ok((Block { body, left: self.entry.records, offset: self.entry.offset }, self.entry))
    }
}

/// The records of a block that was checked.
#[derive(Debug)]
pub(super) struct Block {
    body: Bytes,
    left: u32,
    offset: u64,
}

impl Block {
    /// The next record; shares the block's memory.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the lengths do not add up, although the checksum matches.
    pub(super) fn next_record(&mut self, path: &Path) -> Result<Option<(Bytes, Bytes)>> {
        let found = self.body.len();
        let inconsistent = |expected: usize| {
            corrupt("snapshot record length", path, self.offset, [expected as u64, found as u64])
        };
        if self.left == 0 {
            return if found == 0 { Ok(None) } else { Err(inconsistent(0)) };
        }
        if found < RECORD_HEADER_BYTES {
            return Err(inconsistent(RECORD_HEADER_BYTES));
        }
        let (key, value) = (u32_at(&self.body, 0) as usize, u32_at(&self.body, 4) as usize);
        let whole = RECORD_HEADER_BYTES.saturating_add(key).saturating_add(value);
        if whole > found {
            return Err(inconsistent(whole));
        }
        self.body.advance(RECORD_HEADER_BYTES);
        self.left -= 1;
        let key = self.body.split_to(key);
        Ok(Some((key, self.body.split_to(value))))
    }
}
