//! A consistent view of a key-value state, for a snapshot.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::generations::Generation;
use super::restore::check_digest;
use super::store::KvView;
use super::{marker, record};
use crate::error::{Error, Result};
use crate::snapshot::SnapshotSink;
use crate::state::{AppliedRecord, RecordHasher, StateDigest, StateView};

/// Every record at one applied record, which is read inside the same view.
#[derive(Debug)]
pub(super) struct KvStateView {
    record: AppliedRecord,
    // The view goes before the generation whose files it reads.
    view: Box<dyn KvView>,
    generation: Arc<Generation>,
    /// Of what was written so far.
    written: StateDigest,
}

impl KvStateView {
    /// # Errors
    /// [`Error::Missing`] if nothing was applied yet: there is no state to speak of.
    pub(super) fn new(view: Box<dyn KvView>, generation: Arc<Generation>) -> Result<Self> {
        let missing = || Error::Missing { path: generation.dir().to_path_buf() };
        let bytes = view.marker().ok_or_else(missing)?;
        let (_, record) = marker::decode(bytes, generation.dir())?.ok_or_else(missing)?;
        Ok(Self { record, view, generation, written: StateDigest::EMPTY })
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
}
