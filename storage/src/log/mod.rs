//! The replicated log of one replica: what raft appends, durable.
//!
//! A [`LogStore`] is written by one worker at a time; its [`LogReader`] is shared. Two implementations:
//! [`SegmentedLog`], the real one (`docs/FORMAT.md` has its bytes), and [`MemoryLog`], for tests and
//! simulation. Both pass [`conformance`], as must any other.

mod batch;
mod bytes;
pub mod conformance;
mod memory;
mod reader;
mod recovery;
mod scan;
mod segment;
mod segmented;
mod summary;
pub(crate) mod survey;
mod unchanged;

pub use memory::MemoryLog;
pub(crate) use recovery::read_state;
pub use segmented::{LogConfig, LogPlace, SegmentedLog};
pub(crate) use unchanged::UnchangedLog;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::entry::{Entry, EntryId, HardState};
use crate::error::Result;
use crate::ids::{Index, Term};
use crate::snapshot::SnapshotToken;

/// What one raft ready asks to be made durable.
#[derive(Clone, Debug, Default)]
pub struct LogBatch {
    /// The log is reset to this (installed) snapshot before anything else of this batch: first index
    /// becomes the snapshot's index + 1, earlier entries are gone.
    pub install: Option<SnapshotToken>,
    /// Contiguous entries. The first may overlap the log: then the suffix from it on is truncated first.
    pub entries: Vec<Entry>,
    /// The hard state after this batch.
    pub hard_state: Option<HardState>,
}

/// The terms of a log in memory: runs of equal term, and where conf changes stand.
/// Answers what raft asks synchronously, without touching the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSkeleton {
    /// The position before the first entry: the snapshot, or where the log was compacted.
    pub base: EntryId,
    /// Last index; `base.index` when the log holds no entry.
    pub last: Index,
    /// First index and term of each run, ascending; the first run starts at `base.index + 1`.
    pub runs: Vec<(Index, Term)>,
    /// Indexes of conf-change entries, ascending.
    pub conf_changes: Vec<Index>,
}

/// What a start found in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// Bounds and terms.
    pub skeleton: LogSkeleton,
    /// The newest hard state.
    pub hard_state: HardState,
    /// Snapshots recorded (published or installed), oldest first; the newest whose file is usable counts.
    pub snapshots: Vec<SnapshotToken>,
    /// Torn batches cut at this start: 0 or 1.
    pub torn_batches: u64,
    /// Whether the log was stopped cleanly.
    pub clean: bool,
}

/// An entry whose bytes are damaged, as the table of its batch names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableEntry {
    /// Its position and term.
    pub id: EntryId,
    /// [`Entry::crc`] of what was written.
    pub crc: u32,
    /// The segment it stands in.
    pub file: PathBuf,
    /// Byte offset of its batch.
    pub offset: u64,
}

/// What a log takes and has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogUsage {
    /// Bytes of its files, reserved room included.
    pub disk_bytes: u64,
    /// Bytes written since it was opened: padding, heads and zeroed room included.
    pub written_bytes: u64,
}

/// Writes one replica's log.
pub trait LogStore: fmt::Debug + Send {
    /// What was found when this log was opened. Does not change afterwards.
    fn recovered(&self) -> &LogState;

    /// Makes `batches`, in order, durable as one sync batch: one write, one sync. When this returns `Ok`
    /// everything in them survives a power cut; before that nothing may be acknowledged. A batch without
    /// entries and whose hard state differs in `commit` only need not be durable: with `sync = false` it may be
    /// held back and go with the next batch, proof or close. `sync = false` for anything else changes nothing.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`]: nothing was written, and the log goes on. Any other failure latches: it is
    /// returned once, and every later call returns [`crate::Error::Closed`] with it. What was in the failed
    /// batch may or may not be there after a restart.
    ///
    /// # Panics
    /// If the entries leave a gap, or reach to or below the log's base.
    fn append(&mut self, batches: &[LogBatch], sync: bool) -> Result<()>;

    /// Writes the proof of the last batch, so that an idle tail is proven too, and whatever hard state was held
    /// back. A no-op if there is neither. Call it when nothing was appended for 10 ms.
    fn prove(&mut self) -> Result<()>;

    /// Records a published snapshot. Durable on return. The log itself is not shortened. The newest 8 are
    /// remembered.
    ///
    /// # Errors
    /// [`crate::Error::OutOfRange`] if it is of an index behind the last entry: nothing was written.
    fn record_snapshot(&mut self, token: SnapshotToken) -> Result<()>;

    /// Drops entries up to and including `through`; at or below the base it is a no-op. Durable on return.
    ///
    /// # Errors
    /// [`crate::Error::OutOfRange`] if `through` is behind the last entry: nothing was written.
    fn compact(&mut self, through: Index) -> Result<()>;

    /// What the log takes on the disk, and what was written to it. Touches nothing; a step per segment.
    fn usage(&self) -> LogUsage;

    /// A reader that sees every append that has returned.
    fn reader(&self) -> Arc<dyn LogReader>;

    /// Proves the tail and marks a clean stop. Nothing may be appended afterwards.
    fn close(&mut self) -> Result<()>;
}

/// Reads entries; shared between threads. Blocking: call it on a worker.
pub trait LogReader: fmt::Debug + Send + Sync {
    /// Entries from `low` (included) to `high` (excluded), cut to `bytes_max` of payload but at least one.
    ///
    /// # Errors
    /// [`crate::Error::OutOfRange`] if `low` was compacted away or is behind the end;
    /// [`crate::Error::Corrupt`] if an entry does not match its checksum.
    fn entries(&self, low: Index, high: Index, bytes_max: u64) -> Result<Vec<Entry>>;

    /// The newest hard state that is durable. Does not block.
    fn hard_state(&self) -> HardState;

    /// About how many bytes of log files the entries above `index` take: exact to a batch in the segment that is
    /// written, in proportion to the entries in older ones. Never grows with `index`. Reads nothing; a step per
    /// segment.
    fn bytes_above(&self, index: Index) -> u64;
}

impl LogSkeleton {
    /// First index of the log.
    pub fn first(&self) -> Index {
        self.base.index.next()
    }

    /// Whether its parts fit together: runs one behind the other from the first entry to the last, conf changes within.
    /// Says nothing of the terms.
    pub fn is_sound(&self) -> bool {
        let Self { base, last, runs, conf_changes } = self;
        let begins = match runs.first() {
            None => base.index == *last,
            Some(&(first, _)) => first.prev() == base.index && first > base.index,
        };
        let ascends = runs.is_sorted_by(|a, b| a.0 < b.0) && conf_changes.is_sorted_by(|a, b| a < b);
        let is_within = |index: Index| base.index < index && index <= *last;
        let ends = runs.last().is_none_or(|&(first, _)| is_within(first));
        begins && ascends && ends && conf_changes.iter().all(|&index| is_within(index))
    }

    /// The term at `index`, for `base.index <= index <= last`.
    pub fn term(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        if index < self.base.index || index > self.last {
            return None;
        }
        let at = self.runs.partition_point(|&(first, _)| first <= index);
        self.runs[..at].last().map(|&(_, term)| term)
    }

    /// Adds an entry, truncating first if it overlaps.
    pub fn push(&mut self, id: EntryId, is_conf_change: bool) {
        assert!(id.index > self.base.index, "entry {} is below the log's base {}", id.index, self.base.index);
        assert!(id.index <= self.last.next(), "entry {} leaves a gap after {}", id.index, self.last);
        if id.index <= self.last {
            self.truncate(id.index);
        }
        if self.runs.last().is_none_or(|&(_, term)| term != id.term) {
            self.runs.push((id.index, id.term));
        }
        if is_conf_change {
            self.conf_changes.push(id.index);
        }
        self.last = id.index;
    }

    /// Adds the entries from `first` up to, and without, `end`, all of one term. They must follow the last one.
    pub(super) fn extend(&mut self, first: Index, end: Index, term: Term) {
        assert!(first == self.last.next(), "entry {first} does not follow {}", self.last);
        if first >= end {
            return;
        }
        if self.runs.last().is_none_or(|&(_, last)| last != term) {
            self.runs.push((first, term));
        }
        self.last = end.prev();
    }

    /// Removes the entries from `from` on.
    pub fn truncate(&mut self, from: Index) {
        assert!(
            from > self.base.index,
            "cannot truncate from {from} at or below the base {}",
            self.base.index
        );
        self.runs.retain(|&(first, _)| first < from);
        self.conf_changes.retain(|&index| index < from);
        self.last = self.last.min(from.prev());
    }

    /// Removes the entries up to and including `through`.
    pub fn compact(&mut self, through: Index) {
        let Some(term) = self.term(through) else { return };
        let at = self.runs.partition_point(|&(first, _)| first <= through.next());
        if at > 0 {
            self.runs.drain(..at - 1);
            self.runs[0].0 = through.next();
        }
        if through >= self.last {
            self.runs.clear();
        }
        self.conf_changes.retain(|&index| index > through);
        self.base = EntryId { term, index: through };
    }

    /// Starts anew behind a snapshot.
    pub fn reset(&mut self, base: EntryId) {
        *self = Self { base, last: base.index, runs: Vec::new(), conf_changes: Vec::new() };
    }
}

#[cfg(test)]
mod tests;
