//! One segment, batch by batch, also behind damage.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;

use super::damaged::DamagedEntries;
use super::{Depth, End, Event, Seal, SegmentSurvey, Sink, corrupt, found, redundant};
use crate::disk::DiskFile;
use crate::entry::{Entry, EntryId};
use crate::error::{Error, Result};
use crate::ids::{FileId, Index};
use crate::log::batch::{ALIGN_BYTES, BatchHead, BatchTable, RECORD_KIND_MAX, Record, Row};
use crate::log::scan::{SCAN_BYTES_MAX, body_crc, is_followed};
use crate::log::segment::{HEAD_PAGE_BYTES, SegmentHead};
use crate::log::summary::{LastBatch, Refusal, Summary};

/// A segment being read.
pub(super) struct Walk<'a, 's> {
    pub(super) survey: SegmentSurvey,
    file: &'a dyn DiskFile,
    depth: Depth,
    sink: &'a mut Sink<'s>,
    damaged: &'a mut DamagedEntries,
    /// Where the next batch starts, and where there are none any more.
    at: u64,
    limit: u64,
    file_id: FileId,
    /// Sequence the next batch must have, and the checksum it must repeat; `None` once a batch was lost.
    sequence: u64,
    previous_crc: Option<u32>,
    /// The sequence at which this segment ends, where something durable says so: all before it is proven.
    until: Option<u64>,
    /// What the batches come to; `None` once one was lost.
    summary: Option<Summary>,
}

impl<'a, 's> Walk<'a, 's> {
    pub(super) fn new(
        file: &'a dyn DiskFile,
        survey: SegmentSurvey,
        depth: Depth,
        sink: &'a mut Sink<'s>,
        damaged: &'a mut DamagedEntries,
    ) -> Self {
        let limit = survey.bytes;
        Self {
            survey,
            file,
            depth,
            sink,
            damaged,
            at: HEAD_PAGE_BYTES,
            limit,
            file_id: FileId([0; 16]),
            sequence: 0,
            previous_crc: None,
            until: None,
            summary: None,
        }
    }

    /// Takes over what head, seal and the next segment's head say. Without a head the first batch's table does.
    pub(super) fn begin(&mut self, head: Option<&SegmentHead>, seal: Option<&Seal>, next: Option<u64>) {
        if let Some((offset, summary)) = seal {
            self.limit = *offset;
            self.until = Some(summary.sequence);
        } else {
            self.until = next;
        }
        if let Some(head) = head {
            self.file_id = head.header.file;
            self.sequence = head.sequence;
            self.previous_crc = Some(head.previous_crc);
            self.summary = Some(Summary::new(head.start.clone(), head.sequence, head.previous_crc));
        } else {
            let Ok(Some(table)) = self.read_table() else { return };
            self.file_id = table.head.file;
            self.sequence = table.head.sequence;
        }
        self.survey.sequence = self.sequence;
    }

    /// Reads all batches. Returns where they ended, if none was lost.
    pub(super) fn run(&mut self) -> Option<End> {
        loop {
            match self.step() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    (self.sink)(found(error));
                    self.summary = None;
                    return None;
                }
            }
        }
        let is_whole = self.until.is_none_or(|until| until == self.sequence);
        is_whole.then_some((self.sequence, self.previous_crc))
    }

    /// Takes in the next batch; false at the end.
    fn step(&mut self) -> Result<bool> {
        if self.until == Some(self.sequence) {
            return Ok(false);
        }
        if let Some(table) = self.read_table()?.filter(|table| self.is_next(table)) {
            if self.depth == Depth::Tables {
                self.take(&table);
                return Ok(true);
            }
            let batch = self.read(self.at, table.head.batch_bytes.into())?;
            let is_intact =
                BatchTable::at_end(&batch).as_ref() == Some(&table) && body_crc(&table, &batch).is_ok();
            if is_intact {
                self.check(&table, batch);
                self.take(&table);
                return Ok(true);
            }
        }
        self.step_over_damage()
    }

    /// What follows is the end, a torn tail, or damaged.
    fn step_over_damage(&mut self) -> Result<bool> {
        let left = self.limit.saturating_sub(self.at);
        if left > SCAN_BYTES_MAX {
            return Err(corrupt("segment size", &self.survey.path, self.at, [SCAN_BYTES_MAX, left]));
        }
        let rest = self.read(self.at, left)?;
        if self.until.is_none() && rest.iter().all(|&byte| byte == 0) {
            return Ok(false);
        }
        if self.until.is_none() && !is_followed(&rest, self.file_id, self.sequence) {
            self.survey.torn_at = Some(self.at);
            return Ok(false);
        }
        if let Some(table) = self.find_table(&rest) {
            let batch = rest.get(..table.head.batch_bytes as usize).unwrap_or(&rest).to_vec();
            self.check(&table, batch);
            self.take(&table);
            return Ok(true);
        }
        Ok(self.resume_behind(&rest))
    }

    /// A table of the next batch, from its front or from its end.
    fn find_table(&self, rest: &[u8]) -> Option<BatchTable> {
        let is_it =
            |table: &BatchTable| table.head.file == self.file_id && table.head.sequence == self.sequence;
        let at_end = || {
            (ALIGN_BYTES..=rest.len()).step_by(ALIGN_BYTES).find_map(|at| {
                let table = BatchTable::at_end(&rest[..at])?;
                (table.head.batch_bytes as usize == at && is_it(&table)).then_some(table)
            })
        };
        BatchTable::at_front(rest).filter(is_it).or_else(at_end)
    }

    /// The next batch is lost. Goes on with the first one behind that has a table.
    fn resume_behind(&mut self, rest: &[u8]) -> bool {
        let is_later = |table: &BatchTable| {
            let sequence = table.head.sequence;
            table.head.file == self.file_id
                && sequence > self.sequence
                && self.until.is_none_or(|until| sequence < until)
        };
        let next = (ALIGN_BYTES..=rest.len()).step_by(ALIGN_BYTES).find_map(|at| {
            let front = BatchTable::at_front(&rest[at..]).map(|table| (at, table));
            let end = || {
                let table = BatchTable::at_end(&rest[..at])?;
                Some((at.checked_sub(table.head.batch_bytes as usize)?, table))
            };
            front.or_else(end).filter(|(start, table)| *start > 0 && is_later(table))
        });
        let sequence = next.as_ref().map_or(0, |(_, table)| table.head.sequence);
        (self.sink)(found(corrupt("batch", &self.survey.path, self.at, [self.sequence, sequence])));
        self.summary = None;
        self.previous_crc = None;
        let Some((start, _)) = next else { return false };
        self.at += start as u64;
        self.sequence = sequence;
        true
    }

    /// Tells of everything in a batch that is not as its table says.
    fn check(&mut self, table: &BatchTable, batch: Vec<u8>) {
        let (at, head) = (self.at, &table.head);
        if let Some(crc) = self.previous_crc.filter(|&crc| crc != head.previous_crc) {
            self.report(found, "chain of batches", at, [crc, head.previous_crc]);
        }
        if BatchTable::at_front(&batch).as_ref() != Some(table) {
            self.report(redundant, "first batch table", at, [head.crc, 0]);
        }
        if BatchTable::at_end(&batch).as_ref() != Some(table) {
            self.report(redundant, "second batch table", at + table.end_table_at() as u64, [head.crc, 0]);
        }
        if let Some(Record::Unknown(kind)) = table.records.last() {
            self.report(found, "record kind", at, [RECORD_KIND_MAX.into(), (*kind).into()]);
        }
        let padding = head.body().end..table.end_table_at();
        let bad = batch.get(padding.clone()).and_then(|zeros| zeros.iter().position(|&byte| byte != 0));
        if let Some(bad) = bad {
            self.report(redundant, "batch padding", at + (padding.start + bad) as u64, [0, 1]);
        }
        self.check_body(table, batch);
    }

    fn check_body(&mut self, table: &BatchTable, batch: Vec<u8>) {
        let body_crc = body_crc(table, &batch);
        let batch = Bytes::from(batch);
        let mut is_told = false;
        let crc_of = |id: EntryId, row: &Row, range: Range<usize>| {
            let payload = if range.end <= batch.len() { batch.slice(range) } else { Bytes::new() };
            Entry { term: id.term, index: id.index, kind: row.kind, payload }.crc()
        };
        for (id, row, range) in table.entries() {
            let (at, crc) = (self.at + range.start as u64, crc_of(id, &row, range));
            if crc != row.crc {
                is_told = true;
                let error = corrupt("entry", &self.survey.path, at, [row.crc, crc].map(u64::from));
                self.damaged.push(id, row.crc, error);
            }
        }
        for (id, row, range) in table.repairs() {
            let (at, crc) = (self.at + range.start as u64, crc_of(id, &row, range));
            if crc == row.crc {
                self.damaged.push_copy(id, row.crc);
            } else {
                is_told = true;
                // Where nothing else holds the entry, that is told of the entry itself.
                self.report(redundant, "copy of an entry", at, [row.crc, crc]);
            }
        }
        if let Err(crc) = body_crc
            && !is_told
        {
            let at = self.at + table.head.body().start as u64;
            self.report(found, "batch body", at, [table.head.body_crc, crc]);
        }
    }

    fn report(&mut self, kind: fn(Error) -> Event, what: &'static str, at: u64, [expected, found]: [u32; 2]) {
        let numbers = [u64::from(expected), u64::from(found)];
        (self.sink)(kind(corrupt(what, &self.survey.path, at, numbers)));
    }

    /// Counts a batch and moves behind it.
    fn take(&mut self, table: &BatchTable) {
        if let Some(Err(refusal)) = self.summary.as_mut().map(|summary| summary.push(table, self.at)) {
            self.summary = None;
            // The record's kind was told with the batch.
            if refusal == Refusal::Contradiction {
                let reason = "a batch contradicts the ones before it";
                (self.sink)(found(Error::LogLost {
                    file: self.survey.path.clone(),
                    offset: Some(self.at),
                    reason,
                }));
            }
        }
        self.survey.batches += 1;
        for record in &table.records {
            self.survey.add(record);
        }
        let is_statement = matches!(table.records.last(), Some(Record::Proof | Record::Close));
        self.survey.is_tail_proven = is_statement;
        self.at += u64::from(table.head.batch_bytes);
        self.sequence = table.head.sequence + 1;
        self.previous_crc = Some(table.head.crc);
    }

    /// What stands behind the last batch: a seal, where there must be one.
    pub(super) fn check_end(&mut self, seal: Option<&Seal>, is_newest: bool) {
        let (bytes, planned) = (self.survey.bytes, self.survey.planned_bytes);
        if self.until.is_some() {
            self.survey.is_tail_proven = true;
        }
        if let Some((offset, sealed)) = seal {
            // A seal does not say what the last batch was.
            let summary = self.summary.take().map(|mut summary| {
                summary.last = LastBatch::Unproven;
                summary
            });
            let is_right = summary.is_none_or(|summary| summary == *sealed && self.at == *offset);
            if !is_right && self.depth == Depth::Everything {
                let at = self.at;
                (self.sink)(redundant(corrupt("segment seal", &self.survey.path, *offset, [at, *offset])));
            }
            return;
        }
        let has_batches = self.survey.batches > 0 || self.survey.torn_at.is_some();
        if is_newest && bytes < planned {
            // Its size was synced before it had its name.
            (self.sink)(found(corrupt("segment size", &self.survey.path, bytes, [planned, bytes])));
        } else if bytes < planned && has_batches {
            // A segment is cut only once its seal is durable. (A longer one may have a seal that a crash tore.)
            (self.sink)(redundant(corrupt("segment seal", &self.survey.path, self.at, [planned, bytes])));
        } else if !is_newest {
            self.survey.torn_at = self.find_cut();
            if bytes > planned && self.survey.torn_at.is_none() {
                // Only a seal makes a segment longer than it was planned, and here it should stand.
                let seal = corrupt("segment seal", &self.survey.path, self.at, [bytes, self.at]);
                (self.sink)(redundant(seal));
            }
        }
    }

    /// Where a batch stands that an earlier start has cut.
    fn find_cut(&mut self) -> Option<u64> {
        let left = self.limit.saturating_sub(self.at).min(ALIGN_BYTES as u64);
        let rest = self.read(self.at, left).ok()?;
        rest.iter().any(|&byte| byte != 0).then_some(self.at)
    }

    /// The table at the front of the batch at `at`, if it is sound and the batch has room.
    fn read_table(&mut self) -> Result<Option<BatchTable>> {
        let left = self.limit.saturating_sub(self.at);
        if left < ALIGN_BYTES as u64 {
            return Ok(None);
        }
        let mut front = self.read(self.at, ALIGN_BYTES as u64)?;
        let Some(front_bytes) = BatchHead::front_bytes(&front).filter(|&count| count as u64 <= left) else {
            return Ok(None);
        };
        if front_bytes > front.len() {
            front = self.read(self.at, front_bytes as u64)?;
        }
        Ok(BatchTable::at_front(&front).filter(|table| u64::from(table.head.batch_bytes) <= left))
    }

    fn is_next(&self, table: &BatchTable) -> bool {
        let head = &table.head;
        head.file == self.file_id
            && head.sequence == self.sequence
            && self.previous_crc.is_none_or(|crc| crc == head.previous_crc)
    }

    fn read(&mut self, offset: u64, count: u64) -> Result<Vec<u8>> {
        read(self.file, &self.survey.path, offset, count)
    }
}

impl SegmentSurvey {
    fn add(&mut self, record: &Record) {
        match *record {
            Record::Entries(run) => {
                let (low, high) = self.entries.unwrap_or((Index(u64::MAX), Index(0)));
                self.entries = Some((low.min(run.first), high.max(run.last())));
            }
            Record::HardState(state) => self.hard_state = Some(state),
            Record::Truncate { last } => self.truncations.push(last),
            Record::Compact(id) => self.compactions.push(id),
            Record::Snapshot { token, install } => self.snapshots.push((token, install)),
            Record::Repair(_) | Record::Proof | Record::Close | Record::Unknown(_) => {}
        }
    }
}

/// Bytes of a file; `count` is bounded by the caller.
pub(super) fn read(file: &dyn DiskFile, path: &Path, offset: u64, count: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(count).expect("bounded by the caller")];
    file.read_exact_at(&mut bytes, offset).map_err(|source| Error::io("read", path, source))?;
    Ok(bytes)
}
