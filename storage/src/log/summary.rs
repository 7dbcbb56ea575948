//! What one segment does to the log: kept while it is written, sealed into its end when it is closed, rebuilt by
//! a scan when there is no seal.

use super::LogSkeleton;
use super::batch::{BatchTable, Record};
use super::bytes::{Fields, PutFields};
use crate::entry::{EntryId, EntryKind, HardState};
use crate::ids::Index;
use crate::snapshot::SnapshotToken;

/// Snapshots remembered; twice what is kept as files, and some.
pub(super) const SNAPSHOTS_MAX: usize = 8;

const TOKEN_BYTES: usize = 28;

/// The log's state beside its entries. Stands in each segment's head too, so that older segments can go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The position before the first entry.
    pub(super) base: EntryId,
    pub(super) hard_state: HardState,
    /// Oldest first, at most [`SNAPSHOTS_MAX`].
    pub(super) snapshots: Vec<SnapshotToken>,
}

/// Where a batch with entries starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchRef {
    /// The lowest index in it that counted when it was written. Ascending from batch to batch.
    pub(super) first: Index,
    /// Byte offset in the segment.
    pub(super) offset: u64,
}

/// Where a repaired copy of an entry stands. One entry has one position and one term for ever: the copy is right
/// wherever an entry of this id is wanted, whatever was truncated or appended since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RepairRef {
    pub(super) id: EntryId,
    /// Byte offset of its batch in the segment.
    pub(super) offset: u64,
}

/// A segment's effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// The state after its last batch.
    pub(super) end: Checkpoint,
    /// The log was reset to this in it.
    pub(super) reset: Option<EntryId>,
    /// The entries it holds. They follow `tail.base`: whatever older segments hold above that is truncated.
    pub(super) tail: Option<LogSkeleton>,
    /// The batches that hold them.
    pub(super) refs: Vec<BatchRef>,
    /// Copies of entries of older batches.
    pub(super) repairs: Vec<RepairRef>,
    /// Sequence of the next batch.
    pub(super) sequence: u64,
    /// Checksum of the last batch.
    pub(super) crc: u32,
    /// What the last batch was.
    pub(super) last: LastBatch,
}

/// What a segment, or a log, ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastBatch {
    /// Something that is not proven before the next batch.
    Unproven,
    /// A proof: everything of worth before it is proven.
    Proof,
    /// A clean stop.
    Close,
}

/// Why a sound batch cannot be taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It contradicts what was before it. It passes its checksums, so this is a bug or a mixed-up directory,
    /// not rot.
    Contradiction,
    /// A newer release wrote a record of this kind.
    UnknownRecord(u8),
}

impl Checkpoint {
    pub(super) fn put(&self, bytes: &mut Vec<u8>) {
        bytes.put_id(self.base);
        bytes.put_hard_state(&self.hard_state);
        bytes.put_u32(u32::try_from(self.snapshots.len()).expect("at most SNAPSHOTS_MAX"));
        for token in &self.snapshots {
            bytes.put_token(token);
        }
    }

    pub(super) fn take(fields: &mut Fields<'_>) -> Option<Self> {
        let base = fields.id()?;
        let hard_state = fields.hard_state()?;
        let count = fields.count(TOKEN_BYTES)?;
        let snapshots = (0..count).map(|_| fields.token()).collect::<Option<_>>()?;
        Some(Self { base, hard_state, snapshots })
    }

    pub(super) fn add_snapshot(&mut self, token: SnapshotToken) {
        self.snapshots.push(token);
        let surplus = self.snapshots.len().saturating_sub(SNAPSHOTS_MAX);
        self.snapshots.drain(..surplus);
    }
}

impl Summary {
    /// Of a segment without batches: its head page is written after the sync of the last batch, so it proves it.
    pub(super) fn new(start: Checkpoint, sequence: u64, crc: u32) -> Self {
        let last = LastBatch::Proof;
        Self {
            end: start,
            reset: None,
            tail: None,
            refs: Vec::new(),
            repairs: Vec::new(),
            sequence,
            crc,
            last,
        }
    }

    /// First entry held here.
    pub(super) fn first(&self) -> Option<Index> {
        self.tail.as_ref().filter(|tail| tail.last > tail.base.index).map(LogSkeleton::first)
    }

    /// Whether all batches it speaks of begin before `offset` of their file.
    pub(super) fn stands_before(&self, offset: u64) -> bool {
        let refs = self.refs.iter().map(|batch| batch.offset);
        refs.chain(self.repairs.iter().map(|repair| repair.offset)).all(|batch| batch < offset)
    }

    /// Takes in the batch that stands at `offset`.
    pub(super) fn push(&mut self, batch: &BatchTable, offset: u64) -> Result<(), Refusal> {
        let mut first = None;
        self.last = LastBatch::Unproven;
        for record in &batch.records {
            match *record {
                Record::Entries(run) => {
                    let start = first.map_or(run.first, |first: Index| first.min(run.first));
                    first = Some(start);
                    self.push_run(batch, &run)?;
                }
                Record::Repair(run) => {
                    let ids = (run.first.get()..=run.last().get())
                        .map(|index| EntryId { term: run.term, index: Index(index) });
                    self.repairs.extend(ids.map(|id| RepairRef { id, offset }));
                }
                Record::HardState(state) => self.end.hard_state = state,
                Record::Truncate { last } => self.truncate(last)?,
                Record::Compact(id) => self.end.base = self.end.base.max_by_index(id),
                Record::Snapshot { token, install } => {
                    self.end.add_snapshot(token);
                    if install {
                        first = None;
                        self.install(token.id);
                    }
                }
                Record::Proof => self.last = LastBatch::Proof,
                Record::Close => self.last = LastBatch::Close,
                Record::Unknown(kind) => return Err(Refusal::UnknownRecord(kind)),
            }
        }
        if let Some(first) = first {
            self.refs.retain(|batch| batch.first < first);
            self.refs.push(BatchRef { first, offset });
        }
        self.sequence = batch.head.sequence + 1;
        self.crc = batch.head.crc;
        Ok(())
    }

    /// Brings the log before this segment to where it stood after it. `is_oldest`: nothing older is left.
    pub(super) fn apply_to(&self, log: &mut LogSkeleton, is_oldest: bool) -> Result<(), Refusal> {
        if let Some(base) = self.reset {
            log.reset(base);
        }
        let Some(tail) = &self.tail else { return Ok(()) };
        // Older entries were compacted away: the log starts where this segment's entries do.
        if tail.base.index < log.base.index && is_oldest {
            log.reset(tail.base);
        }
        if log.term(tail.base.index) != Some(tail.base.term) {
            return Err(Refusal::Contradiction);
        }
        if tail.base.index < log.last {
            log.truncate(tail.first());
        }
        for (at, &(first, term)) in tail.runs.iter().enumerate() {
            let next = tail.runs.get(at + 1).map_or(tail.last.next(), |&(next, _)| next);
            log.extend(first, next, term);
        }
        log.conf_changes.extend_from_slice(&tail.conf_changes);
        Ok(())
    }

    pub(super) fn put(&self, bytes: &mut Vec<u8>) {
        bytes.put_u64(self.sequence);
        bytes.put_u32(self.crc);
        self.end.put(bytes);
        put_option(bytes, self.reset, PutFields::put_id);
        put_option(bytes, self.tail.as_ref(), put_skeleton);
        put_count(bytes, self.refs.len());
        for batch in &self.refs {
            bytes.put_u64(batch.first.get());
            bytes.put_u64(batch.offset);
        }
        put_count(bytes, self.repairs.len());
        for repair in &self.repairs {
            bytes.put_id(repair.id);
            bytes.put_u64(repair.offset);
        }
    }

    pub(super) fn take(fields: &mut Fields<'_>) -> Option<Self> {
        let (sequence, crc) = (fields.number()?, fields.u32()?);
        let end = Checkpoint::take(fields)?;
        let reset = if fields.u32()? == 0 { None } else { Some(fields.id()?) };
        let tail = if fields.u32()? == 0 { None } else { Some(take_skeleton(fields)?) };
        let count = fields.count(16)?;
        let refs = (0..count)
            .map(|_| Some(BatchRef { first: Index(fields.number()?), offset: fields.u64()? }))
            .collect::<Option<Vec<_>>>()?;
        let count = fields.count(24)?;
        let repairs = (0..count)
            .map(|_| Some(RepairRef { id: fields.id()?, offset: fields.u64()? }))
            .collect::<Option<_>>()?;
        if !refs.is_sorted_by(|a, b| a.first < b.first) {
            return None;
        }
        Some(Self { end, reset, tail, refs, repairs, sequence, crc, last: LastBatch::Unproven })
    }

    fn push_run(&mut self, batch: &BatchTable, run: &super::batch::Run) -> Result<(), Refusal> {
        let before = EntryId { term: run.prev_term, index: run.first.prev() };
        let tail = self.tail.get_or_insert_with(|| LogSkeleton {
            base: before,
            last: before.index,
            ..LogSkeleton::default()
        });
        if run.first == Index(0) || tail.last != before.index || tail.term(before.index) != Some(before.term)
        {
            return Err(Refusal::Contradiction);
        }
        tail.extend(run.first, run.last().next(), run.term);
        for (index, row) in (run.first.get()..).zip(batch.rows(run)) {
            if row.kind == EntryKind::ConfChange {
                tail.conf_changes.push(Index(index));
            }
        }
        Ok(())
    }

    fn truncate(&mut self, last: EntryId) -> Result<(), Refusal> {
        let tail = self.tail.get_or_insert_with(|| LogSkeleton {
            base: last,
            last: last.index,
            ..LogSkeleton::default()
        });
        if last.index <= tail.base.index {
            tail.reset(last);
        } else if tail.term(last.index) == Some(last.term) {
            tail.truncate(last.index.next());
        } else {
            return Err(Refusal::Contradiction);
        }
        self.refs.retain(|batch| batch.first <= last.index);
        Ok(())
    }

    fn install(&mut self, id: EntryId) {
        self.reset = Some(id);
        self.tail = None;
        self.refs.clear();
        self.repairs.clear();
        self.end.base = id;
    }
}

impl EntryId {
    fn max_by_index(self, other: Self) -> Self {
        if other.index > self.index { other } else { self }
    }
}

fn put_option<T>(bytes: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    bytes.put_u32(u32::from(value.is_some()));
    if let Some(value) = value {
        put(bytes, value);
    }
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.put_u32(u32::try_from(count).expect("bounded by the segment's size"));
}

fn put_skeleton(bytes: &mut Vec<u8>, skeleton: &LogSkeleton) {
    bytes.put_id(skeleton.base);
    bytes.put_u64(skeleton.last.get());
    put_count(bytes, skeleton.runs.len());
    for &(first, term) in &skeleton.runs {
        bytes.put_id(EntryId { term, index: first });
    }
    put_count(bytes, skeleton.conf_changes.len());
    for index in &skeleton.conf_changes {
        bytes.put_u64(index.get());
    }
}

fn take_skeleton(fields: &mut Fields<'_>) -> Option<LogSkeleton> {
    let base = fields.id()?;
    let last = Index(fields.number()?);
    let count = fields.count(16)?;
    let runs = (0..count).map(|_| fields.id().map(|id| (id.index, id.term))).collect::<Option<_>>()?;
    let count = fields.count(8)?;
    let conf_changes = (0..count).map(|_| fields.number().map(Index)).collect::<Option<_>>()?;
    let skeleton = LogSkeleton { base, last, runs, conf_changes };
    skeleton.is_sound().then_some(skeleton)
}
