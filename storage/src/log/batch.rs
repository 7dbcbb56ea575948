//! The sync batch: one write, and the unit of proof. Byte tables are in `docs/FORMAT.md`.
//!
//! ```text
//! | head 64 | table | body | zeros | table again | head again |    a multiple of 4 KiB
//! ```
//! The head's checksum covers head and table, the table names every entry with its own checksum, and the body has
//! a third: a damaged body leaves a table that still says what was in it. It stands for the whole batch in the
//! chain: the next batch repeats it.

use std::ops::Range;

use super::bytes::{Fields, PutFields, vote};
use crate::entry::{Entry, EntryId, EntryKind, HardState};
use crate::ids::{FileId, Index, ReplicaId, Term};
use crate::snapshot::SnapshotToken;

/// Batches start on such a boundary.
pub(super) const ALIGN_BYTES: usize = 4096;
/// The longest batch written or read. A longer one is refused before anything is written.
pub(super) const BATCH_BYTES_MAX: usize = 256 << 20;
/// An entry's length has 28 bits in the table.
pub(super) const ENTRY_BYTES_MAX: usize = (1 << 28) - 1;

const HEAD_BYTES: usize = 64;
const RECORD_BYTES: usize = 40;
const FRONT_MAGIC: [u8; 4] = *b"QBAT";
const END_MAGIC: [u8; 4] = *b"QEND";
const LENGTH_BITS: u32 = 28;

const _: () = assert!(BATCH_BYTES_MAX <= u32::MAX as usize && BATCH_BYTES_MAX.is_multiple_of(ALIGN_BYTES));
const _: () = assert!(2 * HEAD_BYTES + 2 * RECORD_BYTES <= ALIGN_BYTES);

mod kind {
    pub(super) const ENTRIES: u8 = 1;
    pub(super) const HARD_STATE: u8 = 2;
    pub(super) const TRUNCATE: u8 = 3;
    pub(super) const COMPACT: u8 = 4;
    pub(super) const SNAPSHOT: u8 = 5;
    pub(super) const REPAIR: u8 = 6;
    pub(super) const PROOF: u8 = 7;
    pub(super) const CLOSE: u8 = 8;
}

/// The highest record kind this release knows.
pub(super) const RECORD_KIND_MAX: u8 = kind::CLOSE;

/// Flag of a snapshot record: the log was reset to it.
const FLAG_INSTALL: u8 = 1;

/// One statement of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Entries of one term.
    Entries(Run),
    /// Copies of entries that stand unreadable in older batches. Says nothing about where the log ends.
    Repair(Run),
    HardState(HardState),
    /// The entries after `last` are gone.
    Truncate {
        last: EntryId,
    },
    /// The entries up to this one are gone.
    Compact(EntryId),
    /// A snapshot was published, or installed: then the log starts anew behind it.
    Snapshot {
        token: SnapshotToken,
        install: bool,
    },
    Proof,
    Close,
    /// Of a kind this release does not know. Whatever follows it in the table was not read.
    Unknown(u8),
}

/// Entries of one term in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: Index,
    pub(super) term: Term,
    pub(super) prev_term: Term,
    /// Where its rows start among the batch's rows, and how many there are.
    row: usize,
    pub(super) count: u32,
    /// Where its payloads start in the body.
    body_offset: u64,
}

/// What the table says of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) crc: u32,
    pub(super) bytes: u32,
    pub(super) kind: EntryKind,
}

/// The head of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHead {
    pub(super) sequence: u64,
    pub(super) file: FileId,
    /// Length of the whole batch.
    pub(super) batch_bytes: u32,
    pub(super) table_bytes: u32,
    pub(super) body_bytes: u32,
    pub(super) body_crc: u32,
    pub(super) previous_crc: u32,
    /// Over head and table: stands for the batch in the chain.
    pub(super) crc: u32,
}

/// Head and table of a batch, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BatchTable {
    pub(super) head: BatchHead,
    pub(super) records: Vec<Record>,
    rows: Vec<Row>,
}

/// Builds a batch in a buffer that is kept between batches. First every record, then every payload in the
/// order of the records, then [`Self::finish`].
#[derive(Debug, Default)]
pub(super) struct BatchBuilder {
    bytes: Vec<u8>,
    records: u32,
    table_bytes: usize,
}

impl BatchBuilder {
    pub(super) fn begin(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEAD_BYTES, 0);
        self.records = 0;
    }

    pub(super) fn has_records(&self) -> bool {
        self.records > 0
    }

    /// Adds a record that has no payload.
    pub(super) fn record(&mut self, record: &Record) {
        let (kind, flags, id, value, crc) = match *record {
            Record::Entries(_) | Record::Repair(_) | Record::Unknown(_) => {
                unreachable!("entries are added with their rows")
            }
            Record::HardState(state) => {
                let id = EntryId { term: state.term, index: state.commit };
                (kind::HARD_STATE, 0, id, state.vote.map_or(0, ReplicaId::get), 0)
            }
            Record::Truncate { last } => (kind::TRUNCATE, 0, last, 0, 0),
            Record::Compact(id) => (kind::COMPACT, 0, id, 0, 0),
            Record::Snapshot { token, install } => {
                let flags = if install { FLAG_INSTALL } else { 0 };
                (kind::SNAPSHOT, flags, token.id, token.bytes, token.crc)
            }
            Record::Proof => (kind::PROOF, 0, EntryId::default(), 0, 0),
            Record::Close => (kind::CLOSE, 0, EntryId::default(), 0, 0),
        };
        self.put_record([kind, flags], 0, id, value);
        self.bytes.put_u32(0);
        self.bytes.put_u32(crc);
    }

    /// Adds the records of `entries`, one per run of equal term. Their payloads follow later.
    pub(super) fn entries(&mut self, entries: &[Entry], mut prev_term: Term) {
        for run in entries.chunk_by(|a, b| a.term == b.term) {
            self.put_run(kind::ENTRIES, run, prev_term);
            prev_term = run[0].term;
        }
    }

    /// Adds the records of repaired `entries`, ascending, perhaps with gaps. Their payloads follow later.
    pub(super) fn repairs(&mut self, entries: &[Entry]) {
        for run in entries.chunk_by(|a, b| a.term == b.term && a.index.next() == b.index) {
            self.put_run(kind::REPAIR, run, Term(0));
        }
    }

    fn put_run(&mut self, kind: u8, run: &[Entry], prev_term: Term) {
        let body_bytes: usize = run.iter().map(|entry| entry.payload.len()).sum();
        self.put_record([kind, 0], count_u32(run.len()), run[0].id(), prev_term.get());
        self.bytes.put_u32(count_u32(body_bytes));
        self.bytes.put_u32(0);
        for entry in run {
            assert!(entry.payload.len() <= ENTRY_BYTES_MAX, "an entry's size is checked before");
            self.bytes.put_u32(entry.crc());
            let kind = u32::from(entry.kind.code()) << LENGTH_BITS;
            self.bytes.put_u32(kind | count_u32(entry.payload.len()));
        }
    }

    /// Ends the table; payloads follow.
    pub(super) fn begin_body(&mut self) {
        self.table_bytes = self.bytes.len() - HEAD_BYTES;
    }

    pub(super) fn payloads(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.bytes.put(&entry.payload);
        }
    }

    /// Bytes the finished batch will have.
    pub(super) fn batch_bytes(&self) -> usize {
        (self.bytes.len() + self.table_bytes + HEAD_BYTES).next_multiple_of(ALIGN_BYTES)
    }

    /// Closes the batch and returns its bytes.
    pub(super) fn finish(&mut self, file: FileId, sequence: u64, previous_crc: u32) -> &[u8] {
        let body_at = HEAD_BYTES + self.table_bytes;
        let batch_bytes = self.batch_bytes();
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.put(&FRONT_MAGIC);
        head.put_u32(self.records);
        head.put_u64(sequence);
        head.put(&file.0);
        head.put_u32(count_u32(batch_bytes));
        head.put_u32(count_u32(self.table_bytes));
        head.put_u32(count_u32(self.bytes.len() - body_at));
        head.put_u32(crc32fast::hash(&self.bytes[body_at..]));
        head.put_u32(previous_crc);
        head.put_u64(0);
        let crc = head_crc(&head, &self.bytes[HEAD_BYTES..body_at]);
        head.put_u32(crc);
        self.bytes[..HEAD_BYTES].copy_from_slice(&head);
        self.bytes.resize(batch_bytes - self.table_bytes - HEAD_BYTES, 0);
        self.bytes.extend_from_within(HEAD_BYTES..body_at);
        head[..4].copy_from_slice(&END_MAGIC);
        self.bytes.put(&head);
        assert_eq!(self.bytes.len(), batch_bytes, "a batch ends on a boundary");
        &self.bytes
    }

    /// Gives the buffer's memory back; the next batch allocates anew.
    pub(super) fn release(&mut self) {
        self.bytes = Vec::new();
    }

    fn put_record(&mut self, [kind, flags]: [u8; 2], count: u32, id: EntryId, value: u64) {
        self.bytes.put(&[kind, flags, 0, 0]);
        self.bytes.put_u32(count);
        self.bytes.put_id(id);
        self.bytes.put_u64(value);
        self.records += 1;
    }
}

impl BatchHead {
    /// Size of the front part that [`BatchTable::at_front`] needs, if `bytes` start with a plausible head.
    pub(super) fn front_bytes(bytes: &[u8]) -> Option<usize> {
        let (head, _, _) = parse_head(bytes.get(..HEAD_BYTES)?, FRONT_MAGIC)?;
        Some(HEAD_BYTES + head.table_bytes as usize)
    }

    /// Size of the batch, if `bytes` start with a plausible head.
    pub(super) fn batch_bytes(bytes: &[u8]) -> Option<usize> {
        let (head, _, _) = parse_head(bytes.get(..HEAD_BYTES)?, FRONT_MAGIC)?;
        Some(head.batch_bytes as usize)
    }

    /// Where the body stands in the batch.
    pub(super) fn body(&self) -> Range<usize> {
        let start = HEAD_BYTES + self.table_bytes as usize;
        start..start + self.body_bytes as usize
    }
}

impl BatchTable {
    /// Reads head and table at the front of `bytes`. `None` unless complete and sound.
    pub(super) fn at_front(bytes: &[u8]) -> Option<Self> {
        let (head, records, crc) = parse_head(bytes.get(..HEAD_BYTES)?, FRONT_MAGIC)?;
        let table = bytes.get(HEAD_BYTES..HEAD_BYTES + head.table_bytes as usize)?;
        Self::parse(head, records, table, head_crc(&bytes[..HEAD_BYTES - 4], table) == crc)
    }

    /// Reads table and head at the end of `bytes`. `None` unless complete and sound.
    pub(super) fn at_end(bytes: &[u8]) -> Option<Self> {
        let table_end = bytes.len().checked_sub(HEAD_BYTES)?;
        let (head, records, crc) = parse_head(&bytes[table_end..], END_MAGIC)?;
        let table = bytes.get(table_end.checked_sub(head.table_bytes as usize)?..table_end)?;
        Self::parse(head, records, table, head_crc(&bytes[table_end..bytes.len() - 4], table) == crc)
    }

    /// The row of `index` and the range of its payload in the batch. The newest, if the batch holds two.
    pub(super) fn find(&self, index: Index) -> Option<(Term, Row, Range<u64>)> {
        let run = self.runs().rev().find(|run| run.contains(index))?;
        let (row, range) = self.row(run, index)?;
        Some((run.term, row, range))
    }

    /// The row of the repaired copy of `id` and the range of its payload in the batch.
    pub(super) fn find_repair(&self, id: EntryId) -> Option<(Row, Range<u64>)> {
        let run = self.records.iter().find_map(|record| match record {
            Record::Repair(run) if run.term == id.term && run.contains(id.index) => Some(run),
            _ => None,
        })?;
        self.row(run, id.index)
    }

    /// The row of an entry of `run`.
    fn row(&self, run: &Run, index: Index) -> Option<(Row, Range<u64>)> {
        let at = usize::try_from(index.get() - run.first.get()).ok()?;
        let rows = self.rows(run);
        let before: u64 = rows[..at].iter().map(|row| u64::from(row.bytes)).sum();
        let start = self.head.body().start as u64 + run.body_offset + before;
        Some((rows[at], start..start + u64::from(rows[at].bytes)))
    }

    pub(super) fn rows(&self, run: &Run) -> &[Row] {
        &self.rows[run.row..run.row + run.count as usize]
    }

    /// Every entry, in the order of the table: its position, its row, the range of its payload in the batch.
    pub(super) fn entries(&self) -> impl Iterator<Item = (EntryId, Row, Range<usize>)> {
        self.placed(self.runs())
    }

    /// Every copy of an entry, its row and the range of its payload in the batch.
    pub(super) fn repairs(&self) -> impl Iterator<Item = (EntryId, Row, Range<usize>)> {
        self.placed(self.records.iter().filter_map(|record| match record {
            Record::Repair(run) => Some(run),
            _ => None,
        }))
    }

    fn placed<'a>(
        &'a self,
        runs: impl Iterator<Item = &'a Run>,
    ) -> impl Iterator<Item = (EntryId, Row, Range<usize>)> {
        runs.flat_map(|run| {
            let mut end = self.head.body().start + usize::try_from(run.body_offset).unwrap_or(usize::MAX);
            (run.first.get()..).zip(self.rows(run)).map(move |(index, row)| {
                let start = end;
                end += row.bytes as usize;
                (EntryId { term: run.term, index: Index(index) }, *row, start..end)
            })
        })
    }

    /// Where the second copy of the table starts in the batch.
    pub(super) fn end_table_at(&self) -> usize {
        self.head.batch_bytes as usize - HEAD_BYTES - self.head.table_bytes as usize
    }

    fn runs(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.records.iter().filter_map(|record| match record {
            Record::Entries(run) => Some(run),
            _ => None,
        })
    }

    fn parse(head: BatchHead, count: u32, table: &[u8], is_sound: bool) -> Option<Self> {
        if !is_sound {
            return None;
        }
        let mut parsed = Self { head, records: Vec::new(), rows: Vec::new() };
        let mut fields = Fields(table);
        let mut body_offset = 0;
        for _ in 0..count {
            body_offset = parsed.parse_record(&mut fields, body_offset)?;
            if matches!(parsed.records.last(), Some(Record::Unknown(_))) {
                return Some(parsed);
            }
        }
        (fields.0.is_empty() && body_offset == u64::from(head.body_bytes)).then_some(parsed)
    }

    fn parse_record(&mut self, fields: &mut Fields<'_>, body_offset: u64) -> Option<u64> {
        let [kind, flags, ..] = fields.array::<4>()?;
        let count = fields.u32()?;
        let id = fields.id()?;
        let (value, bytes, crc) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let record = match kind {
            kind::ENTRIES | kind::REPAIR => {
                let (term, prev_term) = (id.term, Term(value));
                let run = Run { first: id.index, term, prev_term, row: self.rows.len(), count, body_offset };
                self.parse_rows(fields, run, bytes)?;
                if kind == kind::REPAIR { Record::Repair(run) } else { Record::Entries(run) }
            }
            kind::HARD_STATE => {
                Record::HardState(HardState { term: id.term, vote: vote(value), commit: id.index })
            }
            kind::TRUNCATE => Record::Truncate { last: id },
            kind::COMPACT => Record::Compact(id),
            kind::SNAPSHOT => {
                let token = SnapshotToken { id, bytes: value, crc };
                Record::Snapshot { token, install: flags & FLAG_INSTALL != 0 }
            }
            kind::PROOF => Record::Proof,
            kind::CLOSE => Record::Close,
            _ => Record::Unknown(kind),
        };
        self.records.push(record);
        Some(body_offset + u64::from(bytes))
    }

    fn parse_rows(&mut self, fields: &mut Fields<'_>, run: Run, bytes: u32) -> Option<()> {
        let mut sum = 0;
        for _ in 0..run.count {
            let (crc, packed) = (fields.u32()?, fields.u32()?);
            let kind = EntryKind::from_code(u8::try_from(packed >> LENGTH_BITS).ok()?)?;
            let row = Row { crc, bytes: packed & ((1 << LENGTH_BITS) - 1), kind };
            sum += u64::from(row.bytes);
            self.rows.push(row);
        }
        let is_sound = run.count > 0
            && sum == u64::from(bytes)
            && run.first.get().checked_add(run.count.into()).is_some();
        is_sound.then_some(())
    }
}

impl Run {
    pub(super) fn last(&self) -> Index {
        Index(self.first.get() + u64::from(self.count) - 1)
    }

    fn contains(&self, index: Index) -> bool {
        self.first <= index && index <= self.last()
    }
}

/// The head's fields, its count of records and its checksum, if lengths are plausible.
fn parse_head(bytes: &[u8], magic: [u8; 4]) -> Option<(BatchHead, u32, u32)> {
    let mut fields = Fields(bytes);
    if fields.array::<4>()? != magic {
        return None;
    }
    let records = fields.u32()?;
    let mut head = BatchHead {
        sequence: fields.u64()?,
        file: FileId(fields.array()?),
        batch_bytes: fields.u32()?,
        table_bytes: fields.u32()?,
        body_bytes: fields.u32()?,
        body_crc: fields.u32()?,
        previous_crc: fields.u32()?,
        crc: 0,
    };
    fields.u64()?;
    head.crc = fields.u32()?;
    let content = 2 * (HEAD_BYTES as u64 + u64::from(head.table_bytes)) + u64::from(head.body_bytes);
    let expected = content.next_multiple_of(ALIGN_BYTES as u64);
    let is_plausible =
        expected == u64::from(head.batch_bytes) && head.batch_bytes as usize <= BATCH_BYTES_MAX;
    is_plausible.then_some((head, records, head.crc))
}

/// The magic is left out, so that both copies have one checksum.
fn head_crc(head: &[u8], table: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[4..]);
    hasher.update(table);
    hasher.finalize()
}

/// A length that the caps have bounded.
fn count_u32(count: usize) -> u32 {
    u32::try_from(count).expect("bounded by BATCH_BYTES_MAX")
}
