//! A consistent view of a key-value state, for a snapshot or a scan.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::generations::Generation;
use super::lsm::{Panicked, failed};
use super::marker::Counts;
use super::restore::check_digest;
use super::store::KvView;
use super::{marker, record};
use crate::error::{Error, Result};
use crate::snapshot::SnapshotSink;
use crate::state::{AppliedRecord, RecordHasher, ScanStep, StateDigest, StateScan, StateView};

/// Every record at one applied record, which is read inside the same view.
#[derive(Debug)]
pub(super) struct KvStateView {
    record: AppliedRecord,
    /// What the marker says that there is.
    counts: Counts,
    // The view goes before the generation whose files it reads.
    view: Box<dyn KvView>,
    generation: Arc<Generation>,
    /// Of what was written so far.
    written: StateDigest,
    scanned: Scanned,
}

/// What a scan has seen so far.
#[derive(Debug, Default)]
struct Scanned {
    digest: StateDigest,
    counts: Counts,
}

impl KvStateView {
    /// # Errors
    /// [`Error::Missing`] if nothing was applied yet: there is no state to speak of.
    pub(super) fn new(view: Box<dyn KvView>, generation: Arc<Generation>) -> Result<Self> {
        let missing = || Error::Missing { path: generation.dir().to_path_buf() };
        let bytes = view.marker().ok_or_else(missing)?;
        let (counts, record) = marker::decode(bytes, generation.dir())?.ok_or_else(missing)?;
        Ok(Self {
            record,
            counts,
            view,
            generation,
            written: StateDigest::EMPTY,
            scanned: Scanned::default(),
        })
    }

    /// Whether what was seen is what the marker says.
    fn check_sums(&self) -> Result<()> {
        let (dir, found) = (self.generation.dir(), self.scanned.counts);
        let sums = [
            ("number of records", self.counts.records, found.records),
            ("bytes of records", self.counts.bytes, found.bytes),
        ];
        if let Some((what, expected, found)) = sums.into_iter().find(|(_, expected, found)| expected != found)
        {
            return Err(Error::Corrupt { what, file: dir.to_path_buf(), offset: 0, expected, found });
        }
        check_digest(self.scanned.digest, self.record.digest, dir)
    }
}

impl StateView for KvStateView {
    fn record(&self) -> &AppliedRecord {
        &self.record
    }

    fn write_to(&mut self, sink: &mut dyn SnapshotSink) -> Result<()> {
        self.write_some(sink, u64::MAX).map(drop)
    }

    fn write_some(&mut self, sink: &mut dyn SnapshotSink, bytes_max: u64) -> Result<bool> {
        let dir = self.generation.dir();
        let hasher = RecordHasher::new(self.record.descriptor.uid);
        let (written, mut bytes, mut is_done) = (&mut self.written, 0_u64, true);
        self.view.for_each(&mut |key, stored| {
            let key = key.strip_prefix(&[record::PREFIX]).ok_or(Error::Malformed { what: "stored key" })?;
            let value = record::verify(key, stored, dir)?;
            *written = written.with(hasher.hash(key, value));
            sink.put(key, value)?;
            bytes = bytes.saturating_add((key.len() + value.len()) as u64);
            is_done = bytes < bytes_max;
            Ok(if is_done { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        if is_done {
            // A store that lost or changed records without an error must not become anyone's snapshot.
            check_digest(self.written, self.record.digest, dir)?;
        }
        Ok(is_done)
    }

    fn as_scan(&mut self) -> Option<&mut dyn StateScan> {
        Some(self)
    }
}

impl StateScan for KvStateView {
    fn step(&mut self, bytes_max: u64) -> Result<ScanStep> {
        let dir = self.generation.dir();
        let hasher = RecordHasher::new(self.record.descriptor.uid);
        let (scanned, view) = (&mut self.scanned, &mut self.view);
        let before = scanned.counts;
        let mut is_done = true;
        // Third-party code over bytes that may be damaged.
        let walk = AssertUnwindSafe(|| {
            view.for_each(&mut |key, stored| {
                // Nothing else can have put it there: the store gave another key than was written.
                let strange = || Error::Corrupt {
                    what: "stored key",
                    file: dir.to_path_buf(),
                    offset: 0,
                    expected: record::PREFIX.into(),
                    found: key.first().copied().unwrap_or_default().into(),
                };
                let key = key.strip_prefix(&[record::PREFIX]).ok_or_else(strange)?;
                let value = record::verify(key, stored, dir)?;
                scanned.digest = scanned.digest.with(hasher.hash(key, value));
                scanned.counts.add(key, value);
                is_done = scanned.counts.bytes - before.bytes < bytes_max;
                Ok(if is_done { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            })
        });
        catch_unwind(walk).unwrap_or_else(|_| Err(failed("read", Panicked)))?;
        let Counts { records, bytes } = self.scanned.counts;
        if is_done {
            self.check_sums()?;
        }
        Ok(ScanStep { records: records - before.records, bytes: bytes - before.bytes, is_done })
    }
}
