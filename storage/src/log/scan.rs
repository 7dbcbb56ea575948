//! Reads a segment batch by batch, and decides what a bad batch is: a torn tail, or corruption.
//!
//! A batch is written only after the sync of the one before has returned. So a bad batch with anything behind it
//! was durable once, and is rotten; a bad batch with nothing behind it may never have been.

use std::path::Path;

use super::batch::{ALIGN_BYTES, BATCH_BYTES_MAX, BatchHead, BatchTable, RECORD_KIND_MAX};
use super::segment::{HEAD_PAGE_BYTES, SegmentHead};
use super::summary::{Refusal, Summary};
use crate::disk::DiskFile;
use crate::error::{Error, Result};
use crate::ids::FileId;
use crate::planted::{self, Planted};

/// The longest file a scan reads into memory at once: a segment of one batch, its head and its seal.
pub(super) const SCAN_BYTES_MAX: u64 = 2 * BATCH_BYTES_MAX as u64;

/// What a scan found.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) summary: Summary,
    /// Where the next batch goes.
    pub(super) end: u64,
    /// The last batch, and where it stands.
    pub(super) last: Option<(u64, Vec<u8>)>,
    /// Something unproven and incomplete stands at `end`.
    pub(super) is_torn: bool,
    /// The body of a proven batch is damaged: entries of it are unreadable, the table still names them.
    pub(super) is_damaged: bool,
}

/// A segment being scanned.
struct Scanner<'a> {
    file: &'a dyn DiskFile,
    path: &'a Path,
    head: &'a SegmentHead,
    /// The sequence the next segment starts with: everything before it is proven, everything from it on was
    /// cut.
    until: Option<u64>,
    bytes: u64,
    scan: Scan,
}

/// Scans a segment. `until` is the sequence at which the next segment starts, if there is one.
///
/// # Errors
/// [`Error::LogLost`] for a proven batch if both of its tables are damaged, or it is not there.
pub(super) fn scan(file: &dyn DiskFile, path: &Path, head: &SegmentHead, until: Option<u64>) -> Result<Scan> {
    let bytes = file.len().map_err(|source| Error::io("measure", path, source))?;
    let summary = Summary::new(head.start.clone(), head.sequence, head.previous_crc);
    let scan = Scan { summary, end: HEAD_PAGE_BYTES, last: None, is_torn: false, is_damaged: false };
    let mut scanner = Scanner { file, path, head, until, bytes, scan };
    while scanner.step()? {}
    Ok(scanner.scan)
}

impl Scanner<'_> {
    /// Takes in the next batch; false at the end.
    fn step(&mut self) -> Result<bool> {
        if self.until == Some(self.scan.summary.sequence) {
            return Ok(false);
        }
        if let Some((table, bytes)) = self.read_intact()? {
            self.push(&table, bytes)?;
            return Ok(true);
        }
        let rest = self.read_rest()?;
        if self.until.is_none() && rest.iter().all(|&byte| byte == 0) {
            return Ok(false);
        }
        if !self.is_proven(&rest) {
            self.scan.is_torn = true;
            return Ok(false);
        }
        self.push_proven(&rest)?;
        Ok(true)
    }

    /// The next batch, if all of it is as it was written.
    fn read_intact(&self) -> Result<Option<(BatchTable, Vec<u8>)>> {
        let left = self.bytes.saturating_sub(self.scan.end);
        if left < ALIGN_BYTES as u64 {
            return Ok(None);
        }
        let mut bytes = vec![0; ALIGN_BYTES];
        self.read(&mut bytes, self.scan.end)?;
        let Some(batch_bytes) = BatchHead::batch_bytes(&bytes).filter(|&count| count as u64 <= left) else {
            return Ok(None);
        };
        bytes.resize(batch_bytes, 0);
        self.read(&mut bytes[ALIGN_BYTES..], self.scan.end + ALIGN_BYTES as u64)?;
        let Some(table) = BatchTable::at_front(&bytes).filter(|table| self.is_next(table)) else {
            return Ok(None);
        };
        let is_intact =
            BatchTable::at_end(&bytes).as_ref() == Some(&table) && body_crc(&table, &bytes).is_ok();
        Ok(is_intact.then_some((table, bytes)))
    }

    /// Everything from the bad batch to the end of the file.
    fn read_rest(&self) -> Result<Vec<u8>> {
        let left = self.bytes.saturating_sub(self.scan.end);
        if left > SCAN_BYTES_MAX {
            return Err(self.corrupt("segment size", SCAN_BYTES_MAX, left));
        }
        if left == 0 {
            return Ok(Vec::new());
        }
        let mut rest = vec![0; usize::try_from(left).expect("bounded by SCAN_BYTES_MAX")];
        self.read(&mut rest, self.scan.end)?;
        Ok(rest)
    }

    /// Whether something was written behind the batch at the start of `rest`.
    fn is_proven(&self, rest: &[u8]) -> bool {
        self.until.is_some() || is_followed(rest, self.head.header.file, self.scan.summary.sequence)
    }

    /// A proven batch that is not intact still counts if one table is: a damaged body is left to whoever reads it.
    fn push_proven(&mut self, rest: &[u8]) -> Result<()> {
        let at_end = || {
            (ALIGN_BYTES..=rest.len())
                .step_by(ALIGN_BYTES)
                .filter_map(|at| {
                    BatchTable::at_end(&rest[..at]).filter(|t| t.head.batch_bytes as usize == at)
                })
                .find(|table| self.is_next(table))
        };
        let found = BatchTable::at_front(rest).filter(|table| self.is_next(table)).or_else(at_end);
        let Some(table) = found else {
            let reason = "both tables of a proven batch are damaged, or it is not there";
            return Err(Error::LogLost {
                file: self.path.to_path_buf(),
                offset: Some(self.scan.end),
                reason,
            });
        };
        let bytes = rest.get(..table.head.batch_bytes as usize).unwrap_or(rest);
        let is_damaged = body_crc(&table, bytes).is_err();
        self.scan.is_damaged |= is_damaged;
        let what = if is_damaged { "body of a proven batch" } else { "one of two batch tables" };
        tracing::warn!(file = %self.path.display(), offset = self.scan.end, "damaged: {what}");
        self.push(&table, bytes.to_vec())
    }

    fn push(&mut self, table: &BatchTable, bytes: Vec<u8>) -> Result<()> {
        let offset = self.scan.end;
        self.scan.summary.push(table, offset).map_err(|refusal| match refusal {
            Refusal::UnknownRecord(kind) => self.corrupt("record kind", RECORD_KIND_MAX.into(), kind.into()),
            Refusal::Contradiction => {
                let reason = "a batch contradicts the ones before it";
                Error::LogLost { file: self.path.to_path_buf(), offset: Some(offset), reason }
            }
        })?;
        self.scan.end += u64::from(table.head.batch_bytes);
        self.scan.last = Some((offset, bytes));
        Ok(())
    }

    /// Whether this is the batch that must come next.
    fn is_next(&self, table: &BatchTable) -> bool {
        let (head, summary) = (&table.head, &self.scan.summary);
        head.file == self.head.header.file
            && head.sequence == summary.sequence
            && head.previous_crc == summary.crc
    }

    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(bytes, offset).map_err(|source| Error::io("read", self.path, source))
    }

    fn corrupt(&self, what: &'static str, expected: u64, found: u64) -> Error {
        Error::Corrupt { what, file: self.path.to_path_buf(), offset: self.scan.end, expected, found }
    }
}

/// Whether `rest` holds a table of a batch of `file` behind `sequence`. It starts where the batch of that sequence
/// should.
pub(super) fn is_followed(rest: &[u8], file: FileId, sequence: u64) -> bool {
    let is_later = |table: Option<BatchTable>| {
        table.is_some_and(|table| table.head.file == file && table.head.sequence > sequence)
    };
    (ALIGN_BYTES..=rest.len())
        .step_by(ALIGN_BYTES)
        .any(|at| is_later(BatchTable::at_front(&rest[at..])) || is_later(BatchTable::at_end(&rest[..at])))
}

/// Checks the body against the table; the checksum found if it differs (0 if it is cut off).
pub(super) fn body_crc(table: &BatchTable, batch: &[u8]) -> Result<(), u32> {
    let found = batch.get(table.head.body()).map_or(0, crc32fast::hash);
    let is_sound = batch.len() >= table.head.body().end && found == table.head.body_crc;
    if is_sound || planted::is(Planted::ChecksumIgnored) { Ok(()) } else { Err(found) }
}
