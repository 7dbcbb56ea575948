//! Reads what a batch says of itself: its head and table, at either end.

use std::ops::Range;

use super::{
    BatchHead, END_MAGIC, FLAG_INSTALL, FRONT_MAGIC, HEAD_BYTES, LENGTH_BITS, Record, Row, Run, head_crc,
    kind, parse_head,
};
use crate::entry::{EntryId, EntryKind, HardState};
use crate::ids::{Index, Term};
use crate::log::bytes::{Fields, vote};
use crate::snapshot::SnapshotToken;

/// Head and table of a batch, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::log) struct BatchTable {
    pub(in crate::log) head: BatchHead,
    pub(in crate::log) records: Vec<Record>,
    rows: Vec<Row>,
}

impl BatchTable {
    /// Reads head and table at the front of `bytes`. `None` unless complete and sound.
    pub(in crate::log) fn at_front(bytes: &[u8]) -> Option<Self> {
        let (head, records, crc) = parse_head(bytes.get(..HEAD_BYTES)?, FRONT_MAGIC)?;
        let table = bytes.get(HEAD_BYTES..HEAD_BYTES + head.table_bytes as usize)?;
        Self::parse(head, records, table, head_crc(&bytes[..HEAD_BYTES - 4], table) == crc)
    }

    /// Reads table and head at the end of `bytes`. `None` unless complete and sound.
    pub(in crate::log) fn at_end(bytes: &[u8]) -> Option<Self> {
        let table_end = bytes.len().checked_sub(HEAD_BYTES)?;
        let (head, records, crc) = parse_head(&bytes[table_end..], END_MAGIC)?;
        let table = bytes.get(table_end.checked_sub(head.table_bytes as usize)?..table_end)?;
        Self::parse(head, records, table, head_crc(&bytes[table_end..bytes.len() - 4], table) == crc)
    }

    /// The row of `index` and the range of its payload in the batch. The newest, if the batch holds two.
    pub(in crate::log) fn find(&self, index: Index) -> Option<(Term, Row, Range<u64>)> {
        let run = self.runs().rev().find(|run| run.contains(index))?;
        let (row, range) = self.row(run, index)?;
        Some((run.term, row, range))
    }

    /// The row of the repaired copy of `id` and the range of its payload in the batch.
    pub(in crate::log) fn find_repair(&self, id: EntryId) -> Option<(Row, Range<u64>)> {
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

    pub(in crate::log) fn rows(&self, run: &Run) -> &[Row] {
        &self.rows[run.row..run.row + run.count as usize]
    }

    /// Every entry, in the order of the table: its position, its row, the range of its payload in the batch.
    pub(in crate::log) fn entries(&self) -> impl Iterator<Item = (EntryId, Row, Range<usize>)> {
        self.placed(self.runs())
    }

    /// Every copy of an entry, its row and the range of its payload in the batch.
    pub(in crate::log) fn repairs(&self) -> impl Iterator<Item = (EntryId, Row, Range<usize>)> {
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
    pub(in crate::log) fn end_table_at(&self) -> usize {
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
