//! Reads a snapshot's records and verifies the file on the way.

use std::path::Path;

use bytes::Bytes;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::identity::FileHeader;
use crate::sha256::Sha256Sum;
use crate::snapshot::block::{Block, BlockHeader};
use crate::snapshot::checked_file::CheckedFile;
use crate::snapshot::fault::SnapshotFault;
use crate::snapshot::label::{Front, check_name};
use crate::snapshot::layout::{
    BLOCK_HEADER_BYTES, BLOCK_MAGIC, FILE_BYTES_MIN, FOOTER_BYTES, INDEX_ENTRY_BYTES, INDEX_HEADER_BYTES,
    INDEX_MAGIC, TAIL_BYTES, TAIL_MAGIC, corrupt, u32_at, u64_at,
};
use crate::snapshot::writer::encode_entry;
use crate::snapshot::{SnapshotLabel, SnapshotSource, SnapshotToken, StateHeader};

/// A snapshot, read from front to back once. Each record given was checked with its block; the whole file is
/// verified once the source has said `None`, so nothing made of the records may be switched to before.
///
/// Memory: 256 KiB or one block, and whatever records the caller keeps: they share that memory.
#[derive(Debug)]
pub struct SnapshotReader {
    file: CheckedFile,
    token: SnapshotToken,
    front: Front,
    block: Option<Block>,
    blocks: u64,
    records: u64,
    /// Checksum of the index lines the blocks seen should have.
    index: crc32fast::Hasher,
    last_key: Option<Bytes>,
    is_verified: bool,
}

impl SnapshotReader {
    /// Opens the file at `path`, which should be the one of `token`, and reads its front.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; [`Error::Corrupt`] if its size is not the token's or the front is
    /// damaged; [`Error::NewerFormat`]; [`Error::Foreign`] if it is no snapshot.
    pub fn open(disk: &dyn Disk, path: &Path, token: SnapshotToken) -> Result<Self> {
        Self::begin(CheckedFile::open(disk, path)?, token)
    }

    /// As [`Self::open`], and sums up the file's SHA-256 on the way.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_hashing(disk: &dyn Disk, path: &Path, token: SnapshotToken) -> Result<Self> {
        Self::begin(CheckedFile::open_hashing(disk, path)?, token)
    }

    fn begin(mut file: CheckedFile, token: SnapshotToken) -> Result<Self> {
        let path = &file.path().to_path_buf();
        if file.bytes() < FILE_BYTES_MIN {
            return Err(SnapshotFault::TooSmall.error(path, 0, [FILE_BYTES_MIN, file.bytes()]));
        }
        if file.bytes() != token.bytes {
            return Err(SnapshotFault::OtherSize.error(path, 0, [token.bytes, file.bytes()]));
        }
        let front = Front::read(&mut file)?;
        check_name(path, &front.label)?;
        if front.label.record.applied != token.id {
            let (expected, found) = (token.id.index.get(), front.label.record.applied.index.get());
            return Err(corrupt("snapshot label", path, 0, [expected, found]));
        }
        Ok(Self {
            file,
            token,
            front,
            block: None,
            blocks: 0,
            records: 0,
            index: crc32fast::Hasher::new(),
            last_key: None,
            is_verified: false,
        })
    }

    /// The outer header: the group, and who wrote it.
    pub fn header(&self) -> &FileHeader {
        &self.front.header
    }

    /// What the snapshot says it holds. Checked by its own checksum.
    pub fn label(&self) -> &SnapshotLabel {
        &self.front.label
    }

    /// The state header, `None` in a legacy file. Checked by its own checksum.
    pub fn state_header(&self) -> Option<&StateHeader> {
        self.front.state.as_ref()
    }

    /// Bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.file.offset()
    }

    /// Whether the whole file was read and matched its token.
    pub fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// SHA-256 of the file, once the whole of it was read; `None` if it was not opened to be hashed.
    pub fn sha256(&self) -> Option<Sha256Sum> {
        self.file.sha256().filter(|_| self.is_verified)
    }

    fn open_block(&mut self) -> Result<()> {
        let at = self.file.offset();
        let header: [u8; BLOCK_HEADER_BYTES] = self.file.take_array("snapshot block header")?;
        let header = BlockHeader::decode(&header, self.blocks, self.file.path(), at)?;
        let body = self.file.take(header.body_bytes, "snapshot block")?;
        let (block, entry) = header.open(body, self.file.path())?;
        self.index.update(&encode_entry(&entry));
        self.blocks += 1;
        self.block = Some(block);
        Ok(())
    }

    /// Everything behind the blocks.
    fn check_end(&mut self) -> Result<()> {
        let index_at = self.file.offset();
        self.check_index(index_at)?;
        let at = self.file.offset();
        let tail: [u8; TAIL_BYTES - FOOTER_BYTES] = self.file.take_array("snapshot tail")?;
        let magic = [u32_at(&TAIL_MAGIC, 0), u32_at(&tail, 0)].map(u64::from);
        self.expect("snapshot tail", at, magic)?;
        self.expect("snapshot index offset", at + 8, [index_at, u64_at(&tail, 8)])?;
        let (computed, at) = (self.file.crc(), self.file.offset());
        let footer = u32::from_le_bytes(self.file.take_array("snapshot footer")?);
        self.expect(SnapshotFault::TokenCrc.as_str(), at, [self.token.crc, footer].map(u64::from))?;
        self.expect(SnapshotFault::FileCrc.as_str(), at, [footer, computed].map(u64::from))?;
        self.expect(SnapshotFault::OtherSize.as_str(), 0, [self.file.offset(), self.file.bytes()])
    }

    /// What stands where a block or the index should start.
    fn unknown_magic(&self, found: [u8; 4]) -> Error {
        let magics = [u32_at(&BLOCK_MAGIC, 0), u32_at(&found, 0)].map(u64::from);
        SnapshotFault::UnknownMagic.error(self.file.path(), self.file.offset(), magics)
    }

    fn check_index(&mut self, at: u64) -> Result<()> {
        let header: [u8; INDEX_HEADER_BYTES] = self.file.take_array("snapshot index")?;
        self.expect("snapshot block count", at + 8, [self.blocks, u64_at(&header, 8)])?;
        self.expect("snapshot record count", at + 16, [self.records, u64_at(&header, 16)])?;
        let mut stored = crc32fast::Hasher::new();
        for _ in 0..self.blocks {
            stored.update(&self.file.take(INDEX_ENTRY_BYTES, "snapshot index")?);
        }
        // The checksum of the whole section starts with the two counts, which are equal by now.
        let mut section = crc32fast::Hasher::new();
        section.update(&header[8..]);
        section.combine(&stored);
        self.expect("snapshot index", at + 4, [section.finalize(), u32_at(&header, 4)].map(u64::from))?;
        let expected = self.index.clone().finalize();
        self.expect("snapshot index against blocks", at, [expected, stored.finalize()].map(u64::from))
    }

    fn expect(&self, what: &'static str, offset: u64, [expected, found]: [u64; 2]) -> Result<()> {
        if expected == found {
            return Ok(());
        }
        Err(corrupt(what, self.file.path(), offset, [expected, found]))
    }

    fn check_order(&mut self, key: &Bytes) -> Result<()> {
        if self.last_key.as_ref().is_some_and(|last| key <= last) {
            return Err(Error::Malformed { what: "order of snapshot records" });
        }
        self.last_key = Some(key.clone());
        self.records += 1;
        Ok(())
    }
}

impl SnapshotSource for SnapshotReader {
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Malformed`]: the snapshot must not be used, nor what was made of it.
    /// [`Error::Io`].
    fn next_record(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        while !self.is_verified {
            if let Some(block) = &mut self.block {
                if let Some((key, value)) = block.next_record(self.file.path())? {
                    self.check_order(&key)?;
                    return Ok(Some((key, value)));
                }
                self.block = None;
            }
            match self.file.peek("snapshot section")? {
                BLOCK_MAGIC => self.open_block()?,
                INDEX_MAGIC => {
                    self.check_end()?;
                    self.is_verified = true;
                }
                unknown => return Err(self.unknown_magic(unknown)),
            }
        }
        Ok(None)
    }
}
