//! The log in segment files: the one writer of a replica's `wal` directory.
//!
//! Every append is one write and one `fdatasync` in a preallocated file. A hard state that differs in `commit` only
//! waits in memory for the next batch, proof or close: so no write is ever in the file without its sync, and the
//! order that proves batches holds.

mod config;
mod cursor;
mod opening;
mod writing;

pub use self::config::{LogConfig, LogPlace};

use std::path::Path;
use std::sync::Arc;

use self::cursor::Cursor;
use self::opening::{create_segment, take_up};
use self::writing::check_sizes;
use super::batch::{BatchBuilder, Record};
use super::reader::{ClosedSegment, OpenSegment, Shared, View};
use super::recovery::{Recovery, Tail, recover};
use super::segment::SegmentName;
use super::summary::{Checkpoint, LastBatch, Summary};
use super::{LogBatch, LogReader, LogSkeleton, LogState, LogStore, LogUsage, UnreadableEntry};
use crate::disk::{Disk, OpenMode};
use crate::entry::{Entry, EntryId, HardState};
use crate::error::{Error, Result};
use crate::ids::Index;
use crate::planted::{self, Planted};
use crate::snapshot::SnapshotToken;

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
            Tail::Open { file, end, last } => take_up(&place, newest, (file, end), last.as_ref())?,
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
        if planted::is(Planted::SegmentsRemovedEarly) {
            self.shared.view.write().first = self.skeleton.first();
            self.remove_obsolete();
        }
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

fn last_id(skeleton: &LogSkeleton) -> EntryId {
    let index = skeleton.last;
    let term = skeleton.term(index).expect("the last entry, or the base, has a term");
    EntryId { term, index }
}

/// Removes a file that is of no use any more; one that stays only takes room until the next start.
fn remove(disk: &dyn Disk, path: &Path) {
    if let Err(error) = disk.remove_file(path) {
        tracing::warn!(file = %path.display(), %error, "cannot remove an obsolete segment");
    }
}
