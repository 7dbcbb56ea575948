//! Replaces a whole state: the next generation is built, proven, closed and only then switched to. Whatever
//! fails or crashes before the rename leaves the old state as it was.

use std::path::{Path, PathBuf};

use super::batch::Batch;
use super::generations::Generations;
use super::machine::{Backing, KvStateMachine};
use super::marker::{self, Counts};
use super::record;
use super::store::{KvEngine, KvStore};
use crate::error::{Error, Result};
use crate::ids::GroupUid;
use crate::snapshot::SnapshotSource;
use crate::state::{AppliedRecord, RecordHasher, StateDigest};

/// Bytes after which a batch of records is written.
const BATCH_BYTES: usize = 256 << 10;

/// Bytes of keys and values after which a store that is built writes out what it holds: what it syncs at once, the logs
/// on the same disk wait for.
const CHECKPOINT_BYTES: u64 = 8 << 20;

/// A generation that is being built.
#[derive(Debug)]
pub(super) struct Building {
    number: u64,
    label: AppliedRecord,
    pub(super) part: PathBuf,
    pub(super) store: Box<dyn KvStore>,
    /// Records that are not written yet.
    batch: Batch,
    counts: Counts,
    digest: StateDigest,
    last_key: Vec<u8>,
    /// Bytes of keys and values since the last checkpoint.
    unwritten_bytes: u64,
}

/// Takes about `bytes_max` more of `source`; whether that was the end, and the new state is there.
pub(super) fn restore_some(
    machine: &mut KvStateMachine,
    source: &mut dyn SnapshotSource,
    label: &AppliedRecord,
    bytes_max: u64,
) -> Result<bool> {
    let begun = machine.building.take().filter(|begun| begun.label == *label);
    let number = match &begun {
        Some(begun) => begun.number,
        None => machine.next_generation()?,
    };
    let begin = || Building::begin(machine.engine.as_ref(), &machine.generations, number, label.clone());
    let built = begun.map_or_else(begin, Ok).and_then(|mut building| {
        if building.take_some(&machine.hasher, source, bytes_max)? {
            building.seal()?;
            building.store.close()?;
            machine.generations.switch(number)?;
            return Ok(true);
        }
        machine.building = Some(building);
        Ok(false)
    });
    match built {
        Ok(true) => take_over(machine, number).map(|()| true),
        Ok(false) => Ok(false),
        Err(cause) => {
            machine.generations.abandon(number);
            Err(cause)
        }
    }
}

/// Opens the generation that was just switched to.
fn take_over(machine: &mut KvStateMachine, number: u64) -> Result<()> {
    machine.supersede_build();
    machine.generation = number;
    let opened = machine.open_generation(number);
    match &machine.backing {
        // Whoever still reads the old generation keeps it until they are done.
        Backing::Ready(old) => old.generation.retire(),
        Backing::Empty => {}
        Backing::Failed(_) => machine.generations.forget_others(number),
    }
    machine.settle(opened);
    machine.failure().map_or(Ok(()), |cause| Err(cause.clone()))
}

impl Building {
    pub(super) fn begin(
        engine: &dyn KvEngine,
        generations: &Generations,
        number: u64,
        label: AppliedRecord,
    ) -> Result<Self> {
        let part = generations.begin(number)?;
        let store = engine.open(&part)?;
        let batch = Batch::new(label.applied.index);
        let (counts, digest, last_key) = (Counts::default(), StateDigest::EMPTY, Vec::new());
        Ok(Self { number, label, part, store, batch, counts, digest, last_key, unwritten_bytes: 0 })
    }

    /// Whether `source` has ended.
    fn take_some(
        &mut self,
        hasher: &RecordHasher,
        source: &mut dyn SnapshotSource,
        bytes_max: u64,
    ) -> Result<bool> {
        let mut bytes = 0_u64;
        while bytes < bytes_max {
            let Some((key, value)) = source.next_record()? else {
                self.flush()?;
                return Ok(true);
            };
            self.put(hasher, &key, &value)?;
            bytes = bytes.saturating_add((key.len() + value.len()) as u64);
        }
        self.flush()?;
        Ok(false)
    }

    /// Adds the next record, in key order.
    pub(super) fn put(&mut self, hasher: &RecordHasher, key: &[u8], value: &[u8]) -> Result<()> {
        if self.counts.records > 0 && self.last_key.as_slice() >= key {
            return Err(Error::Malformed { what: "order of snapshot records" });
        }
        self.digest = self.digest.with(hasher.hash(key, value));
        self.counts.add(key, value);
        record::put(&mut self.batch, key, value);
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        if self.batch.bytes() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes the records that are not written yet.
    pub(super) fn flush(&mut self) -> Result<()> {
        let batch = std::mem::replace(&mut self.batch, Batch::new(self.label.applied.index));
        if batch.writes().len() == 0 { Ok(()) } else { self.write(&batch) }
    }

    pub(super) fn write(&mut self, batch: &Batch) -> Result<()> {
        self.store.write(batch)?;
        self.unwritten_bytes += batch.bytes() as u64;
        if self.unwritten_bytes >= CHECKPOINT_BYTES { self.checkpoint() } else { Ok(()) }
    }

    pub(super) fn checkpoint(&mut self) -> Result<()> {
        self.unwritten_bytes = 0;
        self.store.checkpoint().map(drop)
    }

    /// Proves what was built, and completes it with its marker.
    pub(super) fn seal(&mut self) -> Result<()> {
        check_digest(self.digest, self.label.digest, &self.part)?;
        let mut batch = Batch::new(self.label.applied.index);
        batch.set_marker(marker::encode(self.counts, &self.label));
        self.store.write(&batch)
    }
}

/// Reads all of a snapshot of the group `uid` and sums up its digest, without building anything of it.
///
/// # Errors
/// Those of `source`; [`Error::Malformed`] if its keys do not ascend; [`Error::Corrupt`] about the state digest, naming
/// `file`, if it is not the one in `label`.
pub fn verify_snapshot(
    uid: GroupUid,
    source: &mut dyn SnapshotSource,
    label: &AppliedRecord,
    file: &Path,
) -> Result<()> {
    let hasher = RecordHasher::new(uid);
    let (mut digest, mut last_key) = (StateDigest::EMPTY, None);
    while let Some((key, value)) = source.next_record()? {
        if last_key.as_ref().is_some_and(|last| *last >= key) {
            return Err(Error::Malformed { what: "order of snapshot records" });
        }
        digest = digest.with(hasher.hash(&key, &value));
        last_key = Some(key);
    }
    check_digest(digest, label.digest, file)
}

/// Whether what was read adds up to what the label says.
pub(super) fn check_digest(found: StateDigest, expected: StateDigest, file: &Path) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    let (expected, found) = (folded(expected), folded(found));
    Err(Error::Corrupt { what: "state digest", file: file.to_path_buf(), offset: 0, expected, found })
}

/// The halves of a digest, joined: an error has room for 64 bits.
fn folded(digest: StateDigest) -> u64 {
    let (low, high) = (digest.0 & u128::from(u64::MAX), digest.0 >> 64);
    u64::try_from(low ^ high).unwrap_or_else(|_| unreachable!("both halves have 64 bits"))
}
