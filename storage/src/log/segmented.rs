//! The log in segment files: the one writer of a replica's `wal` directory.
//!
//! Every append is one write and one `fdatasync` in a preallocated file. A hard state that differs in `commit` only
//! waits in memory for the next batch, proof or close: so no write is ever in the file without its sync, and the
//! order that proves batches holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_telemetry::Rng;

use super::batch::{BATCH_BYTES_MAX, BatchBuilder, BatchTable, ENTRY_BYTES_MAX, Record};
use super::reader::{ClosedSegment, OpenSegment, Shared, View};
use super::recovery::{Recovery, Segment, Tail, recover};
use super::segment::{HEAD_PAGE_BYTES, SegmentHead, SegmentName, seal};
use super::summary::{Checkpoint, LastBatch, Summary};
use super::{LogBatch, LogReader, LogSkeleton, LogState, LogStore, LogUsage, UnreadableEntry};
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::entry::{Entry, EntryId, EntryKind, HardState};
use crate::error::{Error, Result};
use crate::identity::{FileHeader, FileKind, FileOwner};
use crate::ids::{FileId, Index};
use crate::snapshot::SnapshotToken;

/// Room a batch needs beside payloads, per entry: its rows, and at worst records of its own, in both tables.
const ENTRY_OVERHEAD_BYTES: u64 = 160;
/// What room is overwritten with.
static ZEROS: [u8; 256 << 10] = [0; 256 << 10];
/// How much is zeroed at first after a start.
const ZERO_FIRST_BYTES: u64 = 32 << 10;
/// Batches of more than one part of so many of the zeroed room go without.
const BATCHES_PER_ZEROING_MIN: u64 = 8;
/// Room for all else in a batch.
const BATCH_OVERHEAD_BYTES: u64 = 16 << 10;

/// How large segments are made. Not part of the format: it may change from start to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Size of a segment in bytes; at least 8 KiB. A batch that needs more gets a segment of its own.
    pub segment_bytes: u64,
    /// Size of a log's first segment, so that a small group stays small; at least 8 KiB.
    pub first_segment_bytes: u64,
    /// How far room is overwritten with zeros ahead of small batches, in bytes, up to 256 KiB; 0 for not at all.
    /// On ext4 the first write to preallocated room costs its sync a journal commit; zeroing 256 KiB with one
    /// sync made 1,024 appends of 4 KiB about a third faster, for twice the bytes written.
    pub zero_ahead_bytes: u64,
}

/// Where and whose a log is.
#[derive(Clone, Debug)]
pub struct LogPlace {
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// The replica's `wal` directory. Nothing else may write in it.
    pub dir: PathBuf,
    /// The replica.
    pub owner: FileOwner,
    /// Draws file ids.
    pub rng: Arc<dyn Rng>,
}

/// The log of one replica in segment files. See [`LogStore`] for what its calls promise.
#[derive(Debug)]
pub struct SegmentedLog {
    place: LogPlace,
    config: LogConfig,
    recovered: LogState,
    skeleton: LogSkeleton,
    /// The newest hard state; the segment's summary has what was written.
    hard_state: HardState,
    shared: Arc<Shared>,
    cursor: Cursor,
    builder: BatchBuilder,
    is_damaged: bool,
    written_bytes: u64,
    latch: Option<Arc<Error>>,
}

/// Where the next batch goes.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    file: FileId,
    offset: u64,
    /// Room before this was written or zeroed.
    zeroed: u64,
    /// How much is zeroed next: doubles each time, so that an idle group's first batch stays cheap.
    zero_next_bytes: u64,
    planned_bytes: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { segment_bytes: 4 << 20, first_segment_bytes: 256 << 10, zero_ahead_bytes: 256 << 10 }
    }
}

impl SegmentedLog {
    /// Creates the log of a new replica behind a snapshot: `base` is recorded as installed, its index counts as
    /// committed. A joiner that has nothing yet gives the default token (index 0). Creates the directory;
    /// durable on return, and the directory's own name too. Three syncs.
    ///
    /// # Errors
    /// [`Error::Io`]. If the directory holds a log already the file to create is there (`AlreadyExists`): remove
    /// the directory first if a creation was interrupted.
    pub fn create(place: LogPlace, config: LogConfig, base: SnapshotToken) -> Result<Self> {
        let (disk, dir) = (&place.disk, &place.dir);
        disk.create_dir_all(dir).map_err(|source| Error::io("create", dir, source))?;
        if let Some(parent) = dir.parent() {
            disk.sync_dir(parent).map_err(|source| Error::io("sync", parent, source))?;
        }
        let is_seeded = base.id.index > Index(0);
        let hard_state = HardState { term: base.id.term, vote: None, commit: base.id.index };
        let snapshots = if is_seeded { vec![base] } else { Vec::new() };
        let start = Checkpoint { base: base.id, hard_state, snapshots: snapshots.clone() };
        let mut skeleton = LogSkeleton::default();
        skeleton.reset(base.id);
        let name = SegmentName { number: 1, first: base.id.index.next() };
        let summary = Summary::new(start, 1, 0);
        let (open, cursor) = create_segment(&place, name, &summary, base.id, config.first_segment_bytes)?;
        let recovered = LogState { skeleton, hard_state, snapshots, ..LogState::default() };
        Ok(Self::assemble(place, config, recovered, (Vec::new(), open, cursor)))
    }

    /// Opens the log that is in the directory. A torn tail is cut, and what comes next goes to a new file. One
    /// sync, or two when a new file is needed; reads closed segments' seals and the whole open segment.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a rotten head of a segment, naming file and offset: nothing was changed. (A batch whose
    /// body is rotten is no error here: see [`SegmentedLog::unreadable`].) [`Error::LogLost`] if acknowledged log, or the hard state, is gone: this replica must
    /// rejoin as a new one. [`Error::Foreign`] and [`Error::NewerFormat`] for a file that is not this replica's
    /// or this release's. [`Error::Io`].
    pub fn open(place: LogPlace, config: LogConfig) -> Result<Self> {
        let Recovery { mut segments, tail, state, is_damaged, leftovers } =
            recover(place.disk.as_ref(), &place.dir, &place.owner, OpenMode::Write)?;
        for path in &leftovers {
            remove(place.disk.as_ref(), path);
        }
        let newest = segments.pop().expect("a recovered log has a segment");
        let (open, cursor) = match tail {
            Tail::Open { file, end, last } => {
                persist_tail(&place, &newest, file.as_ref(), last.as_ref())?;
                let cursor = Cursor {
                    file: newest.head.header.file,
                    offset: end,
                    zeroed: end,
                    zero_next_bytes: ZERO_FIRST_BYTES,
                    planned_bytes: newest.head.planned_bytes,
                };
                let (number, path) = (newest.name.number, Arc::from(newest.path.as_path()));
                let open = OpenSegment {
                    number,
                    path,
                    file: Arc::from(file),
                    summary: newest.summary,
                    end,
                    bytes: newest.head.planned_bytes.max(newest.bytes),
                };
                (open, cursor)
            }
            Tail::Ended => {
                let last = last_id(&state.skeleton);
                let name = SegmentName { number: newest.name.number + 1, first: last.index.next() };
                let created = create_segment(&place, name, &newest.summary, last, config.segment_bytes)?;
                segments.push(newest);
                created
            }
        };
        let closed = segments.into_iter().map(ClosedSegment::from).collect();
        let mut log = Self::assemble(place, config, state, (closed, open, cursor));
        log.is_damaged = is_damaged;
        log.remove_obsolete();
        Ok(log)
    }

    /// Whether this start came across damage in a proven batch. Sealed segments were not looked into.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    /// Index of the last entry.
    pub fn last(&self) -> Index {
        self.skeleton.last
    }

    /// Reads every entry from `low` up to, and without, `high`, and gives those that cannot be read, ascending: the
    /// table of their batch still tells what they were. Entries that were repaired count as readable. Blocking.
    ///
    /// # Errors
    /// [`Error::LogLost`] if both tables of a batch are damaged: nobody knows what it held. [`Error::OutOfRange`],
    /// [`Error::Io`].
    pub fn unreadable(&self, low: Index, high: Index) -> Result<Vec<UnreadableEntry>> {
        if low >= high { Ok(Vec::new()) } else { self.shared.unreadable(low, high) }
    }

    /// Writes `entries`, ascending, as copies of entries that cannot be read where they stand. They must be what
    /// [`SegmentedLog::unreadable`] asked for: index, term and checksum. Durable on return; one sync.
    ///
    /// # Errors
    /// As [`LogStore::append`].
    ///
    /// # Panics
    /// If the log has another entry there, or none.
    pub fn repair(&mut self, entries: Vec<Entry>) -> Result<()> {
        let last = self.begin()?;
        let batch = [LogBatch { entries, ..LogBatch::default() }];
        check_sizes(&batch)?;
        for entry in &batch[0].entries {
            let term = self.skeleton.term(entry.index);
            assert!(term == Some(entry.term), "{} is not what is to be repaired", entry.index);
        }
        self.builder.repairs(&batch[0].entries);
        self.write(last, &batch)
    }

    /// Removes the entries from `from` on: they are unreadable, and cannot have been committed. Durable on return,
    /// together with `hard_state`; one sync.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if `from` is behind the end; else as [`LogStore::append`].
    ///
    /// # Panics
    /// If `from` is known to be committed, or not above the base.
    pub fn drop_from(&mut self, from: Index, hard_state: HardState) -> Result<()> {
        let last = self.begin()?;
        self.check_reached(from)?;
        assert!(from > hard_state.commit && from > self.hard_state.commit, "entry {from} is committed");
        let index = from.prev();
        let term = self.skeleton.term(index).expect("above the base, so the one before has a term");
        self.builder.record(&Record::Truncate { last: EntryId { term, index } });
        self.skeleton.truncate(from);
        self.hard_state = hard_state;
        self.write(last, &[])
    }

    fn assemble(
        place: LogPlace,
        config: LogConfig,
        recovered: LogState,
        (closed, open, cursor): (Vec<ClosedSegment>, OpenSegment, Cursor),
    ) -> Self {
        let skeleton = recovered.skeleton.clone();
        let view = View { first: skeleton.first(), last: skeleton.last, closed, open };
        let shared = Arc::new(Shared::new(Arc::clone(&place.disk), view));
        let hard_state = recovered.hard_state;
        let builder = BatchBuilder::default();
        Self {
            place,
            config,
            recovered,
            skeleton,
            hard_state,
            shared,
            cursor,
            builder,
            is_damaged: false,
            written_bytes: 0,
            latch: None,
        }
    }

    /// Puts one batch's records into the builder, and into what is known of the log.
    fn add(&mut self, batch: &LogBatch) {
        if let Some(token) = batch.install {
            self.builder.record(&Record::Snapshot { token, install: true });
            self.skeleton.reset(token.id);
            self.hard_state.term = self.hard_state.term.max(token.id.term);
            self.hard_state.commit = self.hard_state.commit.max(token.id.index);
        }
        if let Some(first) = batch.entries.first() {
            let before = first.index.prev();
            let term =
                self.skeleton.term(before).expect("entries follow the log without a gap, above its base");
            if first.index <= self.skeleton.last {
                self.builder.record(&Record::Truncate { last: EntryId { term, index: before } });
            }
            self.builder.entries(&batch.entries, term);
            for entry in &batch.entries {
                self.skeleton.push(entry.id(), entry.kind == EntryKind::ConfChange);
            }
            assert_eq!(
                self.skeleton.last.get() - before.get(),
                batch.entries.len() as u64,
                "entries leave no gap"
            );
        }
        if let Some(hard_state) = batch.hard_state {
            self.hard_state = hard_state;
        }
    }

    /// Whether all there is to write is a new commit index.
    fn is_commit_only(&self) -> bool {
        let written = self.shared.view.read().open.summary.end.hard_state;
        !self.builder.has_records()
            && HardState { commit: self.hard_state.commit, ..written } == self.hard_state
    }

    /// Writes what the builder holds, a changed hard state and the payloads of `batches`. `last` was the last
    /// entry before. The first failure latches.
    fn write(&mut self, last: EntryId, batches: &[LogBatch]) -> Result<()> {
        if self.hard_state != self.shared.view.read().open.summary.end.hard_state {
            self.builder.record(&Record::HardState(self.hard_state));
        }
        if !self.builder.has_records() {
            return Ok(());
        }
        self.builder.begin_body();
        for batch in batches {
            self.builder.payloads(&batch.entries);
        }
        let written = self.write_batch(last);
        if let Err(error) = &written {
            self.latch = Some(Arc::new(error.clone()));
        }
        written
    }

    fn write_batch(&mut self, last: EntryId) -> Result<()> {
        let batch_bytes = self.builder.batch_bytes() as u64;
        if self.cursor.offset + batch_bytes > self.cursor.planned_bytes {
            self.roll(last, batch_bytes)?;
        }
        let (file, path, sequence, previous_crc) = {
            let open = &self.shared.view.read().open;
            (Arc::clone(&open.file), Arc::clone(&open.path), open.summary.sequence, open.summary.crc)
        };
        let bytes = self.builder.finish(self.cursor.file, sequence, previous_crc);
        file.write_all_at(bytes, self.cursor.offset).map_err(|source| Error::io("write", &path, source))?;
        if let Some(zeros) = self.cursor.zeros(batch_bytes, self.config.zero_ahead_bytes) {
            let end = self.cursor.offset + batch_bytes;
            file.write_all_at(zeros, end).map_err(|source| Error::io("write", &path, source))?;
            self.cursor.zeroed = end + zeros.len() as u64;
            self.written_bytes += zeros.len() as u64;
            self.cursor.zero_next_bytes = (2 * self.cursor.zero_next_bytes).min(ZEROS.len() as u64);
        }
        file.sync_data().map_err(|source| Error::io("sync", &path, source))?;
        let table = BatchTable::at_front(bytes).expect("a batch just built is sound");
        let mut view = self.shared.view.write();
        view.open.summary.push(&table, self.cursor.offset).expect("a batch just built follows the log");
        view.first = self.skeleton.first();
        view.last = self.skeleton.last;
        self.cursor.offset += batch_bytes;
        view.open.end = self.cursor.offset;
        self.written_bytes += batch_bytes;
        Ok(())
    }

    /// Seals the open segment and goes on in a new one. Three syncs.
    fn roll(&mut self, last: EntryId, batch_bytes: u64) -> Result<()> {
        // Only this writer changes the view, so what is read stays; readers go on meanwhile.
        let view = self.shared.view.read();
        let open = &view.open;
        let sealed_bytes = seal(open.file.as_ref(), &open.path, &open.summary, self.cursor.offset)?;
        let name = SegmentName { number: open.number + 1, first: last.index.next() };
        let planned_bytes = self.config.segment_bytes.max(HEAD_PAGE_BYTES + batch_bytes);
        let (open, cursor) = create_segment(&self.place, name, &open.summary, last, planned_bytes)?;
        drop(view);
        let mut view = self.shared.view.write();
        let sealed = std::mem::replace(&mut view.open, open);
        view.closed.push(ClosedSegment {
            number: sealed.number,
            path: sealed.path,
            first: sealed.summary.first(),
            refs: None,
            repairs: Arc::from(sealed.summary.repairs),
            bytes: sealed_bytes,
        });
        self.written_bytes += sealed_bytes - self.cursor.offset + HEAD_PAGE_BYTES;
        self.cursor = Cursor { zero_next_bytes: self.cursor.zero_next_bytes, ..cursor };
        Ok(())
    }

    /// Removes the closed segments that hold nothing above the base, oldest first. A removal that fails or is
    /// undone by a crash is repeated by the next start.
    fn remove_obsolete(&mut self) {
        let obsolete = self.shared.view.read().count_obsolete();
        if obsolete == 0 {
            return;
        }
        let segments: Vec<ClosedSegment> = self.shared.view.write().closed.drain(..obsolete).collect();
        self.shared.forget_closed();
        for segment in segments {
            remove(self.place.disk.as_ref(), &segment.path);
        }
    }

    fn begin(&mut self) -> Result<EntryId> {
        if let Some(cause) = &self.latch {
            return Err(Error::Closed { cause: Arc::clone(cause) });
        }
        self.builder.begin();
        Ok(last_id(&self.skeleton))
    }

    fn check_reached(&self, index: Index) -> Result<()> {
        if index <= self.skeleton.last {
            return Ok(());
        }
        let (first, last) = (self.skeleton.first().get(), self.skeleton.last.get());
        Err(Error::OutOfRange { index: index.get(), first, last })
    }
}

impl LogStore for SegmentedLog {
    fn recovered(&self) -> &LogState {
        &self.recovered
    }

    fn append(&mut self, batches: &[LogBatch], sync: bool) -> Result<()> {
        let last = self.begin()?;
        check_sizes(batches)?;
        for batch in batches {
            self.add(batch);
        }
        if !sync && self.is_commit_only() {
            return Ok(());
        }
        self.write(last, batches)?;
        if batches.iter().any(|batch| batch.install.is_some()) {
            self.remove_obsolete();
        }
        Ok(())
    }

    fn prove(&mut self) -> Result<()> {
        let last = self.begin()?;
        if self.shared.view.read().open.summary.last == LastBatch::Unproven || !self.is_hard_state_written() {
            self.builder.record(&Record::Proof);
            self.write(last, &[])?;
        }
        self.builder.release();
        Ok(())
    }

    fn record_snapshot(&mut self, token: SnapshotToken) -> Result<()> {
        let last = self.begin()?;
        self.check_reached(token.id.index)?;
        self.builder.record(&Record::Snapshot { token, install: false });
        self.write(last, &[])
    }

    fn compact(&mut self, through: Index) -> Result<()> {
        let last = self.begin()?;
        self.check_reached(through)?;
        if through <= self.skeleton.base.index {
            return Ok(());
        }
        let term = self.skeleton.term(through).expect("an entry of the log has a term");
        self.builder.record(&Record::Compact(EntryId { term, index: through }));
        self.skeleton.compact(through);
        self.write(last, &[])?;
        self.remove_obsolete();
        Ok(())
    }

    fn usage(&self) -> LogUsage {
        let view = self.shared.view.read();
        let closed: u64 = view.closed.iter().map(|segment| segment.bytes).sum();
        LogUsage { disk_bytes: closed + view.open.bytes, written_bytes: self.written_bytes }
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::clone(&self.shared) as Arc<dyn LogReader>
    }

    fn close(&mut self) -> Result<()> {
        let last = self.begin()?;
        if self.shared.view.read().open.summary.last != LastBatch::Close || !self.is_hard_state_written() {
            self.builder.record(&Record::Close);
            self.write(last, &[])?;
        }
        let closed = std::io::Error::other("the log was closed");
        self.latch = Some(Arc::new(Error::io("append to", &self.place.dir, closed)));
        self.builder.release();
        Ok(())
    }
}

impl SegmentedLog {
    fn is_hard_state_written(&self) -> bool {
        self.hard_state == self.shared.view.read().open.summary.end.hard_state
    }
}

impl Cursor {
    /// The zeros to write behind a batch, if it is time. Zeros over zeros: no crash can make them anything else.
    fn zeros(&self, batch_bytes: u64, ahead_bytes: u64) -> Option<&'static [u8]> {
        let end = self.offset + batch_bytes;
        let room = self.planned_bytes.saturating_sub(end);
        let bytes = ahead_bytes.min(ZEROS.len() as u64).min(self.zero_next_bytes).min(room);
        let is_time = end > self.zeroed && batch_bytes * BATCHES_PER_ZEROING_MIN <= bytes;
        is_time.then(|| &ZEROS[..usize::try_from(bytes).expect("bounded by ZEROS")])
    }
}

impl View {
    /// How many of the oldest segments hold nothing above the base.
    fn count_obsolete(&self) -> usize {
        let firsts: Vec<Option<Index>> =
            self.closed.iter().map(|segment| segment.first).chain([self.open.summary.first()]).collect();
        let is_obsolete = |at: &usize| {
            let next = firsts[at + 1..].iter().flatten().min().copied();
            firsts[*at].is_none() || next.unwrap_or(self.last.next()) <= self.first
        };
        (0..self.closed.len()).take_while(is_obsolete).count()
    }
}

impl From<Segment> for ClosedSegment {
    fn from(segment: Segment) -> Self {
        let refs = (!segment.is_sealed).then(|| Arc::from(segment.summary.refs.as_slice()));
        let first = segment.summary.first();
        let bytes = segment.bytes;
        let repairs = Arc::from(segment.summary.repairs);
        Self { number: segment.name.number, path: Arc::from(segment.path), first, refs, repairs, bytes }
    }
}

/// Creates the segment that continues behind `before`. Two syncs.
fn create_segment(
    place: &LogPlace,
    name: SegmentName,
    before: &Summary,
    last: EntryId,
    planned_bytes: u64,
) -> Result<(OpenSegment, Cursor)> {
    let head = SegmentHead {
        header: FileHeader::new(FileKind::Log, place.owner, place.rng.as_ref()),
        number: name.number,
        sequence: before.sequence,
        previous_crc: before.crc,
        planned_bytes: planned_bytes.max(2 * HEAD_PAGE_BYTES),
        last,
        start: before.end.clone(),
    };
    let file = head.create(place.disk.as_ref(), &place.dir, name)?;
    let summary = Summary::new(before.end.clone(), before.sequence, before.crc);
    let cursor = Cursor {
        file: head.header.file,
        offset: HEAD_PAGE_BYTES,
        zeroed: HEAD_PAGE_BYTES,
        zero_next_bytes: ZERO_FIRST_BYTES,
        planned_bytes: head.planned_bytes,
    };
    let open = OpenSegment {
        number: name.number,
        path: Arc::from(name.path(&place.dir)),
        file,
        summary,
        end: HEAD_PAGE_BYTES,
        bytes: head.planned_bytes,
    };
    Ok((open, cursor))
}

/// Makes sure that the last thing of the open segment is on the device.
fn persist_tail(
    place: &LogPlace,
    segment: &Segment,
    file: &dyn DiskFile,
    last: Option<&(u64, Vec<u8>)>,
) -> Result<()> {
    let path = &segment.path;
    let Some((offset, bytes)) = last else {
        file.preallocate(segment.head.planned_bytes)
            .map_err(|source| Error::io("preallocate", path, source))?;
        return segment.head.persist(place.disk.as_ref(), file, &place.dir, path);
    };
    file.write_all_at(bytes, *offset).map_err(|source| Error::io("write", path, source))?;
    file.sync_data().map_err(|source| Error::io("sync", path, source))
}

fn last_id(skeleton: &LogSkeleton) -> EntryId {
    let index = skeleton.last;
    let term = skeleton.term(index).expect("the last entry, or the base, has a term");
    EntryId { term, index }
}

fn check_sizes(batches: &[LogBatch]) -> Result<()> {
    let mut total = BATCH_OVERHEAD_BYTES;
    for entry in batches.iter().flat_map(|batch| &batch.entries) {
        let bytes = entry.payload.len() as u64;
        if bytes > ENTRY_BYTES_MAX as u64 {
            return Err(Error::TooLarge { what: "entry", bytes, bytes_max: ENTRY_BYTES_MAX as u64 });
        }
        total += bytes + ENTRY_OVERHEAD_BYTES;
    }
    total += batches.len() as u64 * ENTRY_OVERHEAD_BYTES;
    if total > BATCH_BYTES_MAX as u64 {
        return Err(Error::TooLarge { what: "log batch", bytes: total, bytes_max: BATCH_BYTES_MAX as u64 });
    }
    Ok(())
}

/// Removes a file that is of no use any more; one that stays only takes room until the next start.
fn remove(disk: &dyn Disk, path: &Path) {
    if let Err(error) = disk.remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "cannot remove an obsolete segment");
    }
}
