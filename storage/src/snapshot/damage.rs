//! Where a snapshot file that is not the one it should be is damaged: every place, not only the first.

use std::path::Path;

use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::snapshot::SnapshotToken;
use crate::snapshot::block::{BlockEntry, BlockHeader};
use crate::snapshot::checked_file::{CheckedFile, open_existing};
use crate::snapshot::fault::SnapshotFault;
use crate::snapshot::label::{Front, check_name};
use crate::snapshot::layout::{
    self, BLOCK_HEADER_BYTES, BLOCK_MAGIC, FILE_BYTES_MIN, FOOTER_BYTES, INDEX_ENTRY_BYTES,
    INDEX_HEADER_BYTES, INDEX_MAGIC, TAIL_BYTES, TAIL_MAGIC, corrupt, u32_at, u64_at,
};

/// What is wrong with the file at `path`, part by part: front, blocks, index, tail, footer. Blocks are found by the
/// index, or without one by their own lengths. Empty if every part is right by itself, which a damaged file may be
/// in places that only its footer covers.
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`].
pub(crate) fn find_damage(disk: &dyn Disk, path: &Path, token: &SnapshotToken) -> Result<Vec<Error>> {
    let file = open_existing(disk, path)?;
    let bytes = file.len().map_err(|cause| Error::io("stat", path, cause))?;
    if bytes < FILE_BYTES_MIN {
        return Ok(vec![SnapshotFault::TooSmall.error(path, 0, [FILE_BYTES_MIN, bytes])]);
    }
    let mut search = Search { file: file.as_ref(), path, bytes, damage: Vec::new() };
    if bytes != token.bytes {
        search.damage.push(SnapshotFault::OtherSize.error(path, 0, [token.bytes, bytes]));
    }
    let blocks_at = search.check_front(CheckedFile::open(disk, path)?);
    match search.read_index()? {
        Some((entries, index_at)) => search.check_blocks(&entries, index_at)?,
        None => search.walk_blocks(blocks_at)?,
    }
    let footer_at = bytes - FOOTER_BYTES as u64;
    let footer = u32_at(&search.read(footer_at, FOOTER_BYTES as u64)?, 0);
    if footer != token.crc {
        let crcs = [token.crc, footer].map(u64::from);
        search.damage.push(SnapshotFault::TokenCrc.error(path, footer_at, crcs));
    }
    Ok(search.damage)
}

struct Search<'a> {
    file: &'a dyn DiskFile,
    path: &'a Path,
    bytes: u64,
    damage: Vec<Error>,
}

impl Search<'_> {
    /// Where the blocks start, if the front is sound.
    fn check_front(&mut self, mut file: CheckedFile) -> Option<u64> {
        let front = Front::read(&mut file).and_then(|front| check_name(self.path, &front.label));
        match front {
            Ok(()) => Some(file.offset()),
            Err(error) => {
                self.damage.push(error);
                None
            }
        }
    }

    /// The index and where it stands, if it and the tail that says so are sound.
    fn read_index(&mut self) -> Result<Option<(Vec<BlockEntry>, u64)>> {
        let tail_at = self.bytes - TAIL_BYTES as u64;
        let tail = self.read(tail_at, TAIL_BYTES as u64)?;
        let index_at = u64_at(&tail, 8);
        let header_end = index_at.checked_add(INDEX_HEADER_BYTES as u64).filter(|&end| end <= tail_at);
        let is_tail = tail.starts_with(&TAIL_MAGIC);
        let (true, Some(_)) = (is_tail, header_end) else {
            self.damage.push(corrupt("snapshot tail", self.path, tail_at, [tail_at, index_at]));
            return Ok(None);
        };
        let index = self.read(index_at, tail_at - index_at)?;
        let (stored, computed) = (u32_at(&index, 4), crc32fast::hash(&index[8..]));
        if !index.starts_with(&INDEX_MAGIC) || stored != computed {
            let crcs = [computed, stored].map(u64::from);
            self.damage.push(corrupt("snapshot index", self.path, index_at, crcs));
            return Ok(None);
        }
        let lines = index[INDEX_HEADER_BYTES..].chunks_exact(INDEX_ENTRY_BYTES);
        let entry = |line: &[u8]| BlockEntry {
            offset: u64_at(line, 0),
            records: u32_at(line, 8),
            crc: u32_at(line, 12),
        };
        Ok(Some((lines.map(entry).collect(), index_at)))
    }

    /// Checks each block against its line in the index.
    fn check_blocks(&mut self, entries: &[BlockEntry], index_at: u64) -> Result<()> {
        for (at, entry) in entries.iter().enumerate() {
            let end = entries.get(at + 1).map_or(index_at, |next| next.offset);
            let header_end = entry.offset.checked_add(BLOCK_HEADER_BYTES as u64);
            if header_end.is_none_or(|header_end| header_end > end) || end > index_at {
                let offsets = [entry.offset, end];
                self.damage.push(corrupt("snapshot index against blocks", self.path, index_at, offsets));
                continue;
            }
            match self.check_block(at as u64, entry.offset, end)? {
                Ok((found, _)) if found == *entry => {}
                Ok((found, _)) => {
                    let crcs = [entry.crc, found.crc].map(u64::from);
                    self.damage.push(corrupt("snapshot index against blocks", self.path, entry.offset, crcs));
                }
                Err(error) => self.damage.push(error),
            }
        }
        Ok(())
    }

    /// Checks block after block as long as each says where the next one starts.
    fn walk_blocks(&mut self, start: Option<u64>) -> Result<()> {
        let Some(mut at) = start else { return Ok(()) };
        let tail_at = self.bytes - TAIL_BYTES as u64;
        for number in 0.. {
            let Some(body_at) = at.checked_add(BLOCK_HEADER_BYTES as u64).filter(|&body| body <= tail_at)
            else {
                break;
            };
            let header = self.read(at, BLOCK_HEADER_BYTES as u64)?;
            if !header.starts_with(&BLOCK_MAGIC) {
                break;
            }
            let end = body_at + u64::from(u32_at(&header, 20));
            match self.check_block(number, at, end.min(tail_at))? {
                Ok(_) => {}
                Err(error) => self.damage.push(error),
            }
            at = end;
        }
        Ok(())
    }

    /// The block between two offsets, or what is wrong with it.
    fn check_block(&self, number: u64, start: u64, end: u64) -> Result<Result<(BlockEntry, u64)>> {
        let header = self.read(start, BLOCK_HEADER_BYTES as u64)?;
        if !header.starts_with(&BLOCK_MAGIC) {
            let magics = [u32_at(&BLOCK_MAGIC, 0), u32_at(&header, 0)].map(u64::from);
            return Ok(Err(SnapshotFault::UnknownMagic.error(self.path, start, magics)));
        }
        let header = match BlockHeader::decode(&header, number, self.path, start) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error)),
        };
        let body_at = start + BLOCK_HEADER_BYTES as u64;
        if body_at + header.body_bytes as u64 != end {
            let lengths = [end - body_at, header.body_bytes as u64];
            return Ok(Err(corrupt("snapshot block length", self.path, start, lengths)));
        }
        let body = self.read(body_at, header.body_bytes as u64)?;
        let opened = header.open(body.into(), self.path).and_then(|(mut block, entry)| {
            let mut records = 0;
            while block.next_record(self.path)?.is_some() {
                records += 1;
            }
            Ok((entry, records))
        });
        Ok(opened)
    }

    /// `count` is bounded by the size of the file, or of a block.
    fn read(&self, at: u64, count: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; layout::length(count)];
        self.file.read_exact_at(&mut bytes, at).map_err(|cause| Error::io("read", self.path, cause))?;
        Ok(bytes)
    }
}
