//! What a start finds: puts the segments of a directory together to one log, or says why it cannot.

use std::path::{Path, PathBuf};

use super::scan::scan;
use super::segment::{HEAD_PAGE_BYTES, SegmentHead, SegmentName, read_seal};
use super::summary::{LastBatch, Summary};
use super::{LogSkeleton, LogState};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::identity::FileOwner;

/// A segment that was found.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) name: SegmentName,
    pub(super) path: PathBuf,
    pub(super) head: SegmentHead,
    pub(super) summary: Summary,
    pub(super) is_sealed: bool,
    /// Size of the file.
    pub(super) bytes: u64,
}

/// How the newest segment ends.
#[derive(Debug)]
pub(super) enum Tail {
    /// Appending goes on at `end`. The last batch may have reached the cache only, and even count as clean there
    /// after a failed sync: it is written and synced once more before anything relies on it.
    Open { file: Box<dyn DiskFile>, end: u64, last: Option<(u64, Vec<u8>)> },
    /// What comes next goes to a new file.
    Ended,
}

/// What was wrong with the newest segment.
#[derive(Clone, Copy, Debug, Default)]
struct Flaws {
    /// Where the batch begins that is to be cut.
    torn_at: Option<u64>,
    is_damaged: bool,
}

/// A log as it was found. Nothing on the disk was changed.
#[derive(Debug)]
pub(super) struct Recovery {
    /// Oldest first; at least one.
    pub(super) segments: Vec<Segment>,
    pub(super) tail: Tail,
    pub(super) state: LogState,
    /// The body of a proven batch is damaged. (Sealed segments are not looked into.)
    pub(super) is_damaged: bool,
    /// Files without a use: segments below a gap that compaction left, and files that were never finished.
    pub(super) leftovers: Vec<PathBuf>,
}

/// What a start would find in the log in `dir`. Opens nothing for writing.
///
/// # Errors
/// As [`super::SegmentedLog::open`].
pub(crate) fn read_state(disk: &dyn Disk, dir: &Path, owner: &FileOwner) -> Result<LogState> {
    recover(disk, dir, owner, OpenMode::Read).map(|recovery| recovery.state)
}

/// Reads the log in `dir`. `mode` is how the newest segment is opened: to go on with it, for writing.
pub(super) fn recover(disk: &dyn Disk, dir: &Path, owner: &FileOwner, mode: OpenMode) -> Result<Recovery> {
    let (mut found, leftovers) = list(disk, dir)?;
    let mut heads = read_heads(disk, dir, owner, &found)?;
    let Some(newest) = found.pop().zip(heads.pop()) else {
        return Err(Error::LogLost { file: dir.to_path_buf(), offset: None, reason: "there is no segment" });
    };
    let mut segments = Vec::with_capacity(found.len() + 1);
    let mut next: Vec<u64> = heads.iter().skip(1).map(|head| head.sequence).collect();
    next.push(newest.1.sequence);
    let mut is_damaged = false;
    for ((name, head), until) in found.into_iter().zip(heads).zip(next) {
        let (segment, damaged) = read_closed(disk, dir, (name, head), until)?;
        segments.push(segment);
        is_damaged |= damaged;
    }
    let (newest, tail, Flaws { torn_at, is_damaged: damaged }) = read_newest(disk, dir, newest, mode)?;
    segments.push(newest);
    is_damaged |= damaged;
    check_chain(&segments)?;
    let state = replay(dir, &segments, torn_at)?;
    Ok(Recovery { segments, tail, state, is_damaged, leftovers })
}

/// The newest segments with consecutive numbers, oldest first, and the files without a use: those before them, and
/// those that were never finished.
pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<(Vec<SegmentName>, Vec<PathBuf>)> {
    let entries = disk.list(dir).map_err(|source| Error::io("list", dir, source))?;
    let mut names: Vec<SegmentName> =
        entries.iter().filter_map(|entry| SegmentName::parse(&entry.name)).collect();
    names.sort_unstable();
    let gap = names.windows(2).rposition(|pair| pair[0].number + 1 != pair[1].number);
    let kept = names.split_off(gap.map_or(0, |at| at + 1));
    let parts = entries.iter().filter(|entry| SegmentName::is_part(&entry.name));
    let parts = parts.map(|entry| dir.join(&entry.name));
    Ok((kept, names.into_iter().map(|name| name.path(dir)).chain(parts).collect()))
}

/// The heads of `found`. Each was durable before its file had its name.
fn read_heads(
    disk: &dyn Disk,
    dir: &Path,
    owner: &FileOwner,
    found: &[SegmentName],
) -> Result<Vec<SegmentHead>> {
    let head = |name: &SegmentName| {
        let path = name.path(dir);
        let file = open(disk, &path)?;
        let bytes = len(file.as_ref(), &path)?;
        let page = read(file.as_ref(), &path, 0, bytes.min(HEAD_PAGE_BYTES))?;
        SegmentHead::decode(&page, owner, &path)
    };
    found.iter().map(head).collect()
}

fn read_closed(
    disk: &dyn Disk,
    dir: &Path,
    (name, head): (SegmentName, SegmentHead),
    until: u64,
) -> Result<(Segment, bool)> {
    let path = name.path(dir);
    let file = open(disk, &path)?;
    let bytes = len(file.as_ref(), &path)?;
    let seal = read_seal(file.as_ref(), &path, bytes)?.filter(|summary| summary.sequence == until);
    let is_sealed = seal.is_some();
    let (summary, is_damaged) = if let Some(summary) = seal {
        (summary, false)
    } else {
        let scan = scan(file.as_ref(), &path, &head, Some(until))?;
        (scan.summary, scan.is_damaged)
    };
    Ok((Segment { name, path, head, summary, is_sealed, bytes }, is_damaged))
}

fn read_newest(
    disk: &dyn Disk,
    dir: &Path,
    (name, head): (SegmentName, SegmentHead),
    mode: OpenMode,
) -> Result<(Segment, Tail, Flaws)> {
    let path = name.path(dir);
    let file = disk.open(&path, mode).map_err(|source| Error::io("open", &path, source))?;
    let bytes = len(file.as_ref(), &path)?;
    if let Some(summary) = read_seal(file.as_ref(), &path, bytes)? {
        let segment = Segment { name, path, head, summary, is_sealed: true, bytes };
        return Ok((segment, Tail::Ended, Flaws::default()));
    }
    let scan = scan(file.as_ref(), &path, &head, None)?;
    if bytes < head.planned_bytes {
        // Its size was synced before it had its name.
        let reason = "the newest segment is shorter than it was made";
        return Err(Error::LogLost { file: path, offset: Some(bytes), reason });
    }
    let tail = if scan.is_torn { Tail::Ended } else { Tail::Open { file, end: scan.end, last: scan.last } };
    let flaws = Flaws { torn_at: scan.is_torn.then_some(scan.end), is_damaged: scan.is_damaged };
    Ok((Segment { name, path, head, summary: scan.summary, is_sealed: false, bytes }, tail, flaws))
}

/// Each segment starts with the sequence and the checksum that the one before ended with.
fn check_chain(segments: &[Segment]) -> Result<()> {
    for pair in segments.windows(2) {
        let (before, after) = (&pair[0].summary, &pair[1].head);
        if (before.sequence, before.crc) != (after.sequence, after.previous_crc) {
            let reason = "it does not follow the segment before it";
            return Err(Error::LogLost { file: pair[1].path.clone(), offset: Some(0), reason });
        }
    }
    Ok(())
}

fn replay(dir: &Path, segments: &[Segment], torn_at: Option<u64>) -> Result<LogState> {
    let lost = |file: &Path, reason| Error::LogLost {
        file: file.to_path_buf(),
        offset: (file != dir).then_some(0),
        reason,
    };
    let mut skeleton = LogSkeleton::default();
    skeleton.reset(segments[0].head.last);
    for (at, segment) in segments.iter().enumerate() {
        segment
            .summary
            .apply_to(&mut skeleton, at == 0)
            .map_err(|_| lost(&segment.path, "its entries do not follow the segment before it"))?;
    }
    let newest = &segments[segments.len() - 1].summary;
    let base = newest.end.base;
    if base.index < skeleton.base.index {
        let file = segments[segments.len() - 1].path.clone();
        return Err(match torn_at {
            // Segments go only behind a batch that says so and is durable.
            offset @ Some(_) => Error::LogLost {
                file,
                offset,
                reason: "its last batch is damaged, and segments went behind it",
            },
            None => lost(dir, "segments with entries that are needed are missing"),
        });
    }
    if skeleton.term(base.index) != Some(base.term) {
        return Err(lost(dir, "its entries do not reach the position it was compacted to"));
    }
    skeleton.compact(base.index);
    Ok(LogState {
        skeleton,
        hard_state: newest.end.hard_state,
        snapshots: newest.end.snapshots.clone(),
        torn_batches: u64::from(torn_at.is_some()),
        clean: newest.last == LastBatch::Close && torn_at.is_none(),
    })
}

fn open(disk: &dyn Disk, path: &Path) -> Result<Box<dyn DiskFile>> {
    disk.open(path, OpenMode::Read).map_err(|source| Error::io("open", path, source))
}

fn len(file: &dyn DiskFile, path: &Path) -> Result<u64> {
    file.len().map_err(|source| Error::io("measure", path, source))
}

/// `count` is bounded by the caller.
fn read(file: &dyn DiskFile, path: &Path, offset: u64, count: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(count).expect("bounded by the caller")];
    file.read_exact_at(&mut bytes, offset).map_err(|source| Error::io("read", path, source))?;
    Ok(bytes)
}
