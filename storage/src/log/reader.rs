//! Reads entries by index. What stands where is kept per batch; the table of a batch is read when it is needed.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::batch::{ALIGN_BYTES, BATCH_BYTES_MAX, BatchHead, BatchTable, Row};
use super::segment::read_seal;
use super::summary::{BatchRef, RepairRef, Summary};
use super::{LogReader, UnreadableEntry};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::entry::{Entry, EntryId, HardState};
use crate::error::{Error, Result};
use crate::ids::{FileId, Index};
use crate::planted::{self, Planted};

/// What writer and readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) view: RwLock<View>,
    /// The closed segment that was read last.
    cached: Mutex<Option<Arc<OpenedSegment>>>,
}

/// Where the entries are. Changed only after what it says is durable.
#[derive(Debug)]
pub(super) struct View {
    /// First index of the log.
    pub(super) first: Index,
    /// Last index of the log.
    pub(super) last: Index,
    /// Oldest first.
    pub(super) closed: Vec<ClosedSegment>,
    pub(super) open: OpenSegment,
}

/// A segment that is not written any more. Newer segments take precedence from their first entry on.
#[derive(Clone, Debug)]
pub(super) struct ClosedSegment {
    pub(super) number: u64,
    pub(super) path: Arc<Path>,
    /// Each of its batches names it.
    pub(super) id: FileId,
    /// Its first entry, if it has any.
    pub(super) first: Option<Index>,
    /// Its batches; `None` if they stand in its seal.
    pub(super) refs: Option<Arc<[BatchRef]>>,
    /// Copies of entries of older segments.
    pub(super) repairs: Arc<[RepairRef]>,
    /// Size of its file.
    pub(super) bytes: u64,
}

/// The segment that is written.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) number: u64,
    pub(super) path: Arc<Path>,
    /// Each of its batches names it.
    pub(super) id: FileId,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) summary: Summary,
    /// Behind its last batch.
    pub(super) end: u64,
    /// Size its file was given.
    pub(super) bytes: u64,
}

#[derive(Debug)]
struct OpenedSegment {
    number: u64,
    file: Arc<dyn DiskFile>,
    refs: Arc<[BatchRef]>,
}

/// The batch that holds an entry.
struct Place {
    path: Arc<Path>,
    /// Of the segment: a batch that names another was written to a wrong place.
    id: FileId,
    file: Arc<dyn DiskFile>,
    offset: u64,
    /// From here on entries are elsewhere.
    end: Index,
}

/// Collects entries up to a bound.
struct Collected {
    entries: Vec<Entry>,
    bytes_left: u64,
}

impl Shared {
    pub(super) fn new(disk: Arc<dyn Disk>, view: View) -> Self {
        Self { disk, view: RwLock::new(view), cached: Mutex::new(None) }
    }

    /// Forgets the cached segment, so that its file can be freed.
    pub(super) fn forget_closed(&self) {
        *self.cached.lock() = None;
    }

    fn locate(&self, index: Index) -> Result<Place> {
        let (segment, end) = {
            let view = self.view.read();
            let open = &view.open;
            let mut end = view.last.next();
            if let Some(first) = open.summary.first() {
                if first <= index {
                    let (offset, end) = find(&open.summary.refs, index, end, &open.path)?;
                    return Ok(Place {
                        path: Arc::clone(&open.path),
                        id: open.id,
                        file: Arc::clone(&open.file),
                        offset,
                        end,
                    });
                }
                end = end.min(first);
            }
            let mut holder = None;
            for segment in view.closed.iter().rev() {
                let Some(first) = segment.first else { continue };
                if first <= index {
                    holder = Some(segment.clone());
                    break;
                }
                end = end.min(first);
            }
            (holder.ok_or_else(|| out_of_range(index, &view))?, end)
        };
        let opened = self.open_closed(&segment, index)?;
        let (offset, end) = find(&opened.refs, index, end, &segment.path)?;
        Ok(Place { path: segment.path, id: segment.id, file: Arc::clone(&opened.file), offset, end })
    }

    fn open_closed(&self, segment: &ClosedSegment, index: Index) -> Result<Arc<OpenedSegment>> {
        let mut cached = self.cached.lock();
        if let Some(opened) = cached.as_ref().filter(|opened| opened.number == segment.number) {
            return Ok(Arc::clone(opened));
        }
        let path = &segment.path;
        let file = self.disk.open(path, OpenMode::Read).map_err(|source| {
            let view = self.view.read();
            // Compacted while it was looked up.
            if index < view.first { out_of_range(index, &view) } else { Error::io("open", path, source) }
        })?;
        let refs = match &segment.refs {
            Some(refs) => Arc::clone(refs),
            None => read_refs(file.as_ref(), path)?,
        };
        let opened = Arc::new(OpenedSegment { number: segment.number, file: Arc::from(file), refs });
        *cached = Some(Arc::clone(&opened));
        Ok(opened)
    }
}

impl Shared {
    /// See [`super::SegmentedLog::unreadable`].
    pub(super) fn unreadable(&self, low: Index, high: Index) -> Result<Vec<UnreadableEntry>> {
        let high = self.check_range(low, high)?;
        let mut unreadable = Vec::new();
        let mut at = low;
        while at < high {
            let place = self.locate(at)?;
            let end = place.end.min(high);
            let table = place.read_table().map_err(|error| match error {
                Error::Corrupt { file, offset, .. } => Error::LogLost {
                    file,
                    offset: Some(offset),
                    reason: "both tables of a proven batch are damaged",
                },
                error => error,
            })?;
            for index in at.get()..end.get() {
                let (term, row, range) =
                    table.find(Index(index)).ok_or_else(|| place.corrupt("batch table", index, 0))?;
                let id = EntryId { term, index: Index(index) };
                let body = place.read_body(&range)?;
                if intact(id, &row, body).or_else(|| self.repaired(id, &row)).is_none() {
                    let (file, offset) = (place.path.to_path_buf(), place.offset);
                    unreadable.push(UnreadableEntry { id, crc: row.crc, file, offset });
                }
            }
            at = end;
        }
        Ok(unreadable)
    }

    /// The repaired copy of an entry whose own bytes are damaged, if there is an intact one.
    fn repaired(&self, id: EntryId, row: &Row) -> Option<Entry> {
        self.repairs_of(id).into_iter().find_map(|place| {
            let (copy, range) = place.read_table().ok()?.find_repair(id)?;
            let is_same = (copy.crc, copy.kind, copy.bytes) == (row.crc, row.kind, row.bytes);
            is_same.then_some(())?;
            intact(id, row, place.read_body(&range).ok()?)
        })
    }

    /// The batches that hold a copy of an entry, newest first.
    fn repairs_of(&self, id: EntryId) -> Vec<Place> {
        let end = id.index.next();
        let mut places = Vec::new();
        let mut closed = Vec::new();
        {
            let view = self.view.read();
            let open = &view.open;
            for found in open.summary.repairs.iter().rev().filter(|found| found.id == id) {
                let (path, file) = (Arc::clone(&open.path), Arc::clone(&open.file));
                places.push(Place { path, id: open.id, file, offset: found.offset, end });
            }
            for segment in view.closed.iter().rev() {
                let found = segment.repairs.iter().rev().filter(|found| found.id == id);
                closed.extend(found.map(|found| (Arc::clone(&segment.path), segment.id, found.offset)));
            }
        }
        for (path, id, offset) in closed {
            if let Ok(file) = self.disk.open(&path, OpenMode::Read) {
                places.push(Place { path, id, file: Arc::from(file), offset, end });
            }
        }
        places
    }

    /// `high`, cut to the end of the log.
    fn check_range(&self, low: Index, high: Index) -> Result<Index> {
        let view = self.view.read();
        if low < view.first || low > view.last {
            return Err(out_of_range(low, &view));
        }
        Ok(high.min(view.last.next()))
    }
}

/// The entry that `row` names, if `body` is still what was written.
fn intact(id: EntryId, row: &Row, body: Option<Bytes>) -> Option<Entry> {
    let entry = Entry { term: id.term, index: id.index, kind: row.kind, payload: body? };
    (entry.crc() == row.crc || planted::is(Planted::ChecksumIgnored)).then_some(entry)
}

impl LogReader for Shared {
    fn hard_state(&self) -> HardState {
        self.view.read().open.summary.end.hard_state
    }

    fn entries(&self, low: Index, high: Index, bytes_max: u64) -> Result<Vec<Entry>> {
        let high = self.check_range(low, high)?;
        let mut collected = Collected { entries: Vec::new(), bytes_left: bytes_max };
        let mut at = low;
        while at < high {
            let place = self.locate(at)?;
            let end = place.end.min(high);
            assert!(at < end, "a place holds the entry it was looked up for");
            if !place.read(at, end, &mut collected, self)? {
                break;
            }
            at = end;
        }
        Ok(collected.entries)
    }

    fn bytes_above(&self, index: Index) -> u64 {
        let view = self.view.read();
        let index = index.max(view.first.prev());
        let mut bytes = view.open.bytes_above(index);
        // Behind the last entry of the segment at hand: newer segments take precedence.
        let mut end = view.last.next().min(view.open.summary.first().unwrap_or(Index(u64::MAX)));
        for segment in view.closed.iter().rev() {
            if end <= index.next() {
                break;
            }
            let Some(first) = segment.first.filter(|first| *first < end) else { continue };
            let (held, above) = (end.get() - first.get(), end.get() - first.max(index.next()).get());
            let share = u128::from(segment.bytes) * u128::from(above) / u128::from(held);
            bytes += u64::try_from(share).expect("a part is no larger than the whole");
            end = first;
        }
        bytes
    }
}

impl OpenSegment {
    /// From the first batch on that begins above `index`.
    fn bytes_above(&self, index: Index) -> u64 {
        let refs = &self.summary.refs;
        let above = refs.get(refs.partition_point(|batch| batch.first <= index));
        above.map_or(0, |batch| self.end - batch.offset)
    }
}

impl Place {
    /// Reads the entries from `low` up to `end` out of this batch; false once the bound is reached.
    fn read(&self, low: Index, end: Index, into: &mut Collected, log: &Shared) -> Result<bool> {
        let table = self.read_table()?;
        let mut rows = Vec::new();
        let mut is_cut = false;
        for index in low.get()..end.get() {
            let (term, row, range) =
                table.find(Index(index)).ok_or_else(|| self.corrupt("batch table", index, 0))?;
            if !into.takes(row.bytes, rows.len()) {
                is_cut = true;
                break;
            }
            rows.push((Index(index), term, row, range));
        }
        let Some(start) = rows.iter().map(|(_, _, _, range)| range.start).min() else { return Ok(false) };
        // Entries of one place that count follow each other in the body, but others may stand between.
        let stop = rows.iter().map(|(_, _, _, range)| range.end).max().unwrap_or(start);
        let body = self.read_body(&(start..stop))?;
        for (index, term, row, range) in rows {
            let within = |offset: u64| usize::try_from(offset - start).expect("bounded by the batch");
            let payload = body.as_ref().map(|body| body.slice(within(range.start)..within(range.end)));
            let id = EntryId { term, index };
            let entry = intact(id, &row, payload.clone()).or_else(|| log.repaired(id, &row));
            into.entries.push(entry.ok_or_else(|| {
                let entry = payload.map(|payload| Entry { term, index, kind: row.kind, payload });
                self.corrupt("entry", row.crc.into(), entry.map_or(0, |entry| entry.crc()).into())
            })?);
        }
        Ok(!is_cut)
    }

    /// `range` counts from the start of the batch. `None` if the file ends before.
    fn read_body(&self, range: &Range<u64>) -> Result<Option<Bytes>> {
        match self.read_bytes(range.start, range.end - range.start) {
            Ok(bytes) => Ok(Some(Bytes::from(bytes))),
            Err(Error::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The front table; the one at the end if it is damaged, or of another file.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if there is none; and if there are two that are sound and not the same, because one of them was
    /// written to a wrong place, and only the chain of batches from the segment's first on would tell which.
    fn read_table(&self) -> Result<BatchTable> {
        let mut bytes = self.read_bytes(0, ALIGN_BYTES as u64)?;
        if let Some(front) = BatchHead::front_bytes(&bytes)
            && front > bytes.len()
        {
            bytes = self.read_bytes(0, front as u64)?;
        }
        let Some(front) = BatchTable::at_front(&bytes).filter(|table| table.head.file == self.id) else {
            return self.find_end_table();
        };
        match self.read_end_table(front.head.batch_bytes as usize, &bytes)? {
            Some(end) if end != front => {
                Err(self.corrupt("batch tables", front.head.crc.into(), end.head.crc.into()))
            }
            _ => Ok(front),
        }
    }

    /// The table at the end of this batch of `batch_bytes`, if it is sound and of this file. `read` are its first bytes.
    fn read_end_table(&self, batch_bytes: usize, read: &[u8]) -> Result<Option<BatchTable>> {
        let ours = |bytes: &[u8]| BatchTable::at_end(bytes).filter(|table| table.head.file == self.id);
        if let Some(batch) = read.get(..batch_bytes) {
            return Ok(ours(batch));
        }
        let Some(page) = self.read_end(batch_bytes, ALIGN_BYTES)? else { return Ok(None) };
        let Some(table_bytes) = BatchHead::end_bytes(&page).filter(|&count| count <= batch_bytes) else {
            return Ok(None);
        };
        if table_bytes <= page.len() {
            return Ok(ours(&page));
        }
        Ok(self.read_end(batch_bytes, table_bytes)?.and_then(|bytes| ours(&bytes)))
    }

    /// The last `count` bytes of this batch; `None` if the file ends before.
    fn read_end(&self, batch_bytes: usize, count: usize) -> Result<Option<Vec<u8>>> {
        match self.read_bytes((batch_bytes - count) as u64, count as u64) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Error::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The first table in the rest of the file that ends a batch which begins here.
    fn find_end_table(&self) -> Result<BatchTable> {
        let size = self.file.len().map_err(|source| Error::io("measure", &self.path, source))?;
        let left = size.saturating_sub(self.offset).min(BATCH_BYTES_MAX as u64);
        let rest = self.read_bytes(0, left)?;
        let is_ours = |table: &BatchTable, end: usize| {
            table.head.file == self.id && table.head.batch_bytes as usize == end
        };
        (ALIGN_BYTES..=rest.len())
            .step_by(ALIGN_BYTES)
            .find_map(|at| BatchTable::at_end(&rest[..at]).filter(|table| is_ours(table, at)))
            .ok_or_else(|| self.corrupt("batch table", 1, 0))
    }

    /// `within` counts from the start of the batch.
    fn read_bytes(&self, within: u64, count: u64) -> Result<Vec<u8>> {
        if count > ALIGN_BYTES as u64 {
            // A table may claim more than the file has: no room is made for that.
            let size = self.file.len().map_err(|source| Error::io("measure", &self.path, source))?;
            if self.offset + within + count > size {
                return Err(self.corrupt("batch", count, size));
            }
        }
        let mut bytes = vec![0; usize::try_from(count).expect("bounded by BATCH_BYTES_MAX")];
        self.file.read_exact_at(&mut bytes, self.offset + within).map_err(|source| match source.kind() {
            // The file was cut.
            std::io::ErrorKind::UnexpectedEof => self.corrupt("batch", count, 0),
            _ => Error::io("read", &self.path, source),
        })?;
        Ok(bytes)
    }

    fn corrupt(&self, what: &'static str, expected: u64, found: u64) -> Error {
        Error::Corrupt { what, file: self.path.to_path_buf(), offset: self.offset, expected, found }
    }
}

impl Collected {
    /// Whether an entry of `bytes` fits, after `pending` that are not yet in the list. The first always does.
    fn takes(&mut self, bytes: u32, pending: usize) -> bool {
        let is_first = self.entries.is_empty() && pending == 0;
        if !is_first && u64::from(bytes) > self.bytes_left {
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes.into());
        true
    }
}

/// The offset of the batch that holds `index`, and the index from which on it does not.
fn find(refs: &[BatchRef], index: Index, end: Index, path: &Path) -> Result<(u64, Index)> {
    let after = refs.partition_point(|batch| batch.first <= index);
    let Some(batch) = after.checked_sub(1).map(|at| refs[at]) else {
        return Err(Error::Corrupt {
            what: "segment seal",
            file: path.to_path_buf(),
            offset: 0,
            expected: index.get(),
            found: 0,
        });
    };
    Ok((batch.offset, refs.get(after).map_or(end, |next| end.min(next.first))))
}

fn read_refs(file: &dyn DiskFile, path: &Path) -> Result<Arc<[BatchRef]>> {
    let bytes = file.len().map_err(|source| Error::io("measure", path, source))?;
    let summary = read_seal(file, path, bytes)?.ok_or_else(|| Error::Corrupt {
        what: "segment seal",
        file: path.to_path_buf(),
        offset: bytes,
        expected: 1,
        found: 0,
    })?;
    Ok(Arc::from(summary.refs))
}

fn out_of_range(index: Index, view: &View) -> Error {
    Error::OutOfRange { index: index.get(), first: view.first.get(), last: view.last.get() }
}
