//! One segment file: its name, its head page, and the seal at the end of a closed one. See `docs/FORMAT.md`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::{ALIGN_BYTES, BATCH_BYTES_MAX};
use super::bytes::{Fields, PutFields};
use super::summary::{Checkpoint, Summary};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::entry::EntryId;
use crate::error::{Error, Result};
use crate::identity::{FileHeader, FileKind, FileOwner, HEADER_BYTES};
use crate::ids::Index;

/// Batches start behind the head page.
pub(super) const HEAD_PAGE_BYTES: u64 = ALIGN_BYTES as u64;

const SEAL_MAGIC: [u8; 8] = *b"QSEAL\0\0\x01";
/// Ends the name of a segment that is being made.
const PART_SUFFIX: &str = ".tmp";
/// Magic, offset, length, checksum of the seal, checksum of these.
const SEAL_END_BYTES: usize = 28;
/// A seal holds 16 bytes per batch and run, and 8 per conf change.
const SEAL_BYTES_MAX: u64 = BATCH_BYTES_MAX as u64;

/// A segment's file name: the index of the entry it was opened for, and its number. Numbers are consecutive and
/// never reused while an older segment is there; they give the order, because a truncation lets first indexes
/// repeat and go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentName {
    pub(super) number: u64,
    pub(super) first: Index,
}

/// The first page of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub(super) header: FileHeader,
    pub(super) number: u64,
    /// Sequence of the first batch, and checksum of the one before it.
    pub(super) sequence: u64,
    pub(super) previous_crc: u32,
    /// Size the file was given; until it is sealed it has no less.
    pub(super) planned_bytes: u64,
    /// The last entry when the segment was opened.
    pub(super) last: EntryId,
    /// The state when the segment was opened.
    pub(super) start: Checkpoint,
}

impl SegmentName {
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (first, number) = name.strip_suffix(".wal")?.split_once('-')?;
        if first.len() != 20 || number.len() != 10 {
            return None;
        }
        Some(Self { first: Index(first.parse().ok()?), number: number.parse().ok()? })
    }

    pub(super) fn path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{:020}-{:010}.wal", self.first.get(), self.number))
    }

    /// Where it stands while it is made.
    fn part_path(self, dir: &Path) -> PathBuf {
        let mut path = self.path(dir).into_os_string();
        path.push(PART_SUFFIX);
        PathBuf::from(path)
    }

    /// Whether `name` is of a file that was never finished.
    pub(super) fn is_part(name: &str) -> bool {
        name.strip_suffix(PART_SUFFIX).is_some_and(|name| Self::parse(name).is_some())
    }
}

impl SegmentHead {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_u64(self.number);
        body.put_u64(self.sequence);
        body.put_u32(self.previous_crc);
        body.put_u64(self.planned_bytes);
        body.put_id(self.last);
        self.start.put(&mut body);
        let mut page = Vec::with_capacity(ALIGN_BYTES);
        page.put(&self.header.encode());
        page.put_u32(u32::try_from(body.len()).expect("a head fits in its page"));
        page.put_u32(crc32fast::hash(&body));
        page.put(&body);
        assert!(page.len() <= ALIGN_BYTES, "a head fits in its page");
        page.resize(ALIGN_BYTES, 0);
        page
    }

    pub(super) fn decode(page: &[u8], owner: &FileOwner, path: &Path) -> Result<Self> {
        let header = FileHeader::decode(page, FileKind::Log, path)?;
        header.check_owner(owner, path)?;
        header.check_clear(path)?;
        let corrupt = |expected: u32, found: u32| Error::Corrupt {
            what: "segment head",
            file: path.to_path_buf(),
            offset: HEADER_BYTES as u64,
            expected: expected.into(),
            found: found.into(),
        };
        let mut fields = Fields(&page[HEADER_BYTES..]);
        let (Some(bytes), Some(crc)) = (fields.u32(), fields.u32()) else { return Err(corrupt(0, 0)) };
        let body = fields.take(bytes as usize).ok_or_else(|| corrupt(0, bytes))?;
        if crc32fast::hash(body) != crc {
            return Err(corrupt(crc32fast::hash(body), crc));
        }
        Self::parse(header, &mut Fields(body)).ok_or_else(|| corrupt(0, bytes))
    }

    fn parse(header: FileHeader, fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            header,
            number: fields.number()?,
            sequence: fields.number()?,
            previous_crc: fields.u32()?,
            planned_bytes: fields.u64()?,
            last: fields.id()?,
            start: Checkpoint::take(fields)?,
        })
    }

    /// Creates the file, durable by name and content on return. It gets its name when its content is durable: a file
    /// of that name is whole. Two syncs.
    pub(super) fn create(&self, disk: &dyn Disk, dir: &Path, name: SegmentName) -> Result<Arc<dyn DiskFile>> {
        let (path, part) = (name.path(dir), name.part_path(dir));
        let failed = |action| {
            let part = part.clone();
            move |source| Error::io(action, &part, source)
        };
        let file = disk.open(&part, OpenMode::Create).map_err(failed("create"))?;
        file.preallocate(self.planned_bytes).map_err(failed("preallocate"))?;
        file.write_all_at(&self.encode(), 0).map_err(failed("write"))?;
        file.sync_data().map_err(failed("sync"))?;
        disk.rename(&part, &path).map_err(failed("rename"))?;
        disk.sync_dir(dir).map_err(|source| Error::io("sync", dir, source))?;
        Ok(Arc::from(file))
    }

    /// Makes the page and the file's name durable once more: what a start does with a segment that has no batch yet.
    /// The first attempt may have failed after the cache had it.
    pub(super) fn persist(
        &self,
        disk: &dyn Disk,
        file: &dyn DiskFile,
        dir: &Path,
        path: &Path,
    ) -> Result<()> {
        file.write_all_at(&self.encode(), 0).map_err(|source| Error::io("write", path, source))?;
        file.sync_data().map_err(|source| Error::io("sync", path, source))?;
        disk.sync_dir(dir).map_err(|source| Error::io("sync", dir, source))
    }
}

/// Ends a closed segment: writes its summary behind the last batch, syncs, and cuts the file there. The cut
/// needs no sync: a file that keeps its room is scanned instead. One sync.
pub(super) fn seal(file: &dyn DiskFile, path: &Path, summary: &Summary, offset: u64) -> Result<u64> {
    let mut bytes = Vec::new();
    summary.put(&mut bytes);
    let seal_bytes = bytes.len() as u64;
    let crc = crc32fast::hash(&bytes);
    let end_at = bytes.len();
    bytes.put(&SEAL_MAGIC);
    bytes.put_u64(offset);
    bytes.put_u32(u32::try_from(seal_bytes).expect("bounded by the segment's size"));
    bytes.put_u32(crc);
    let end_crc = crc32fast::hash(&bytes[end_at..]);
    bytes.put_u32(end_crc);
    file.write_all_at(&bytes, offset).map_err(|source| Error::io("write", path, source))?;
    file.sync_data().map_err(|source| Error::io("sync", path, source))?;
    let end = offset + bytes.len() as u64;
    file.set_len(end).map_err(|source| Error::io("cut", path, source))?;
    Ok(end)
}

/// The seal of a closed segment of `bytes` bytes, if it has a sound one.
pub(super) fn read_seal(file: &dyn DiskFile, path: &Path, bytes: u64) -> Result<Option<Summary>> {
    Ok(find_seal(file, path, bytes)?.map(|(_, summary)| summary))
}

/// [`read_seal`], with the offset at which the seal starts.
pub(super) fn find_seal(file: &dyn DiskFile, path: &Path, bytes: u64) -> Result<Option<(u64, Summary)>> {
    let Some(end_at) = bytes.checked_sub(SEAL_END_BYTES as u64) else { return Ok(None) };
    let mut end = [0; SEAL_END_BYTES];
    file.read_exact_at(&mut end, end_at).map_err(|source| Error::io("read", path, source))?;
    let Some((offset, crc)) = parse_seal_end(&end, end_at) else { return Ok(None) };
    let length = usize::try_from(end_at - offset).expect("bounded by SEAL_BYTES_MAX");
    let mut seal = vec![0; length];
    file.read_exact_at(&mut seal, offset).map_err(|source| Error::io("read", path, source))?;
    if crc32fast::hash(&seal) != crc {
        return Ok(None);
    }
    let summary = Summary::take(&mut Fields(&seal)).filter(|summary| summary.stands_before(offset));
    Ok(summary.map(|summary| (offset, summary)))
}

/// Offset and checksum of the seal that ends at `end_at`.
fn parse_seal_end(end: &[u8; SEAL_END_BYTES], end_at: u64) -> Option<(u64, u32)> {
    let mut fields = Fields(end);
    if fields.array::<8>()? != SEAL_MAGIC {
        return None;
    }
    let (offset, bytes, crc, end_crc) = (fields.u64()?, fields.u32()?, fields.u32()?, fields.u32()?);
    let is_sound = end_crc == crc32fast::hash(&end[..SEAL_END_BYTES - 4])
        && u64::from(bytes) <= SEAL_BYTES_MAX
        && offset.checked_add(bytes.into()) == Some(end_at);
    is_sound.then_some((offset, crc))
}
