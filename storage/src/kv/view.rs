//! A consistent view of a key-value state, for a snapshot or a scan.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
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
    seen: Seen,
}

/// What was read so far of a view.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) digest: StateDigest,
    pub(super) counts: Counts,
}

impl Seen {
    /// Whether all of a store in `dir` is what its marker says.
    pub(super) fn check(&self, counts: Counts, record: &AppliedRecord, dir: &Path) -> Result<()> {
        let sums = [
            ("number of records", counts.records, self.counts.records),
            ("bytes of records", counts.bytes, self.counts.bytes),
        ];
        if let Some((what, expected, found)) = sums.into_iter().find(|(_, expected, found)| expected != found)
        {
            return Err(Error::Corrupt { what, file: dir.to_path_buf(), offset: 0, expected, found });
        }
        check_digest(self.digest, record.digest, dir)
    }
}

impl KvStateView {
    /// # Errors
    /// [`Error::Missing`] if nothing was applied yet: there is no state to speak of.
    pub(super) fn new(view: Box<dyn KvView>, generation: Arc<Generation>) -> Result<Self> {
        let missing = || Error::Missing { path: generation.dir().to_path_buf() };
        let bytes = view.marker().ok_or_else(missing)?;
        let (counts, record) = marker::decode(bytes, generation.dir())?.ok_or_else(missing)?;
        Ok(Self { record, counts, view, generation, seen: Seen::default() })
    }

    /// What the marker says that there is.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Reads on, by about `bytes_max`; whether that was the end, and everything is what was written.
    fn read_some(&mut self, bytes_max: u64, visit: &mut VisitPlain<'_>) -> Result<bool> {
        let dir = self.generation.dir();
        let hasher = RecordHasher::new(self.record.descriptor.uid);
        let is_done = walk_some(self.view.as_mut(), &mut self.seen, (&hasher, dir), bytes_max, visit)?;
        if is_done {
            // A store that lost or changed records without an error must not become anyone's snapshot.
            self.seen.check(self.counts, &self.record, dir)?;
        }
        Ok(is_done)
    }
}

/// Takes a user's key and the plain value.
pub(super) type VisitPlain<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// Walks on through `view`, of a store in `dir`, by about `bytes_max`: checks every value, and adds it to `seen`. Whether
/// that was the end.
pub(super) fn walk_some(
    view: &mut dyn KvView,
    seen: &mut Seen,
    (hasher, dir): (&RecordHasher, &Path),
    bytes_max: u64,
    visit: &mut VisitPlain<'_>,
) -> Result<bool> {
    let before = seen.counts.bytes;
    let mut is_done = true;
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
        seen.digest = seen.digest.with(hasher.hash(key, value));
        seen.counts.add(key, value);
        visit(key, value)?;
        is_done = seen.counts.bytes - before < bytes_max;
        Ok(if is_done { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    })?;
    Ok(is_done)
}

impl StateView for KvStateView {
    fn record(&self) -> &AppliedRecord {
        &self.record
    }

    fn write_to(&mut self, sink: &mut dyn SnapshotSink) -> Result<()> {
        self.write_some(sink, u64::MAX).map(drop)
    }

    fn write_some(&mut self, sink: &mut dyn SnapshotSink, bytes_max: u64) -> Result<bool> {
        self.read_some(bytes_max, &mut |key, value| sink.put(key, value))
    }

    fn as_scan(&mut self) -> Option<&mut dyn StateScan> {
        Some(self)
    }
}

impl StateScan for KvStateView {
    fn step(&mut self, bytes_max: u64) -> Result<ScanStep> {
        let before = self.seen.counts;
        // Third-party code over bytes that may be damaged.
        let read = catch_unwind(AssertUnwindSafe(|| self.read_some(bytes_max, &mut |_, _| Ok(()))));
        let is_done = read.unwrap_or_else(|_| Err(failed("read", Panicked)))?;
        let Counts { records, bytes } = self.seen.counts;
        Ok(ScanStep { records: records - before.records, bytes: bytes - before.bytes, is_done })
    }
}
