//! Replaces a whole state: the next generation is built, proven, closed and only then switched to. Whatever
//! fails or crashes before the rename leaves the old state as it was.

use std::path::Path;

use super::batch::Batch;
use super::machine::{Backing, KvStateMachine};
use super::marker::{self, Counts};
use super::record;
use crate::error::{Error, Result};
use crate::ids::GroupUid;
use crate::snapshot::SnapshotSource;
use crate::state::{AppliedRecord, RecordHasher, StateDigest};

/// Bytes after which a batch of records is written.
const BATCH_BYTES: usize = 1 << 20;

pub(super) fn restore(
    machine: &mut KvStateMachine,
    source: &mut dyn SnapshotSource,
    record: &AppliedRecord,
) -> Result<()> {
    let number = machine.generation.max(machine.generations.highest()?) + 1;
    let built = build(machine, number, source, record).and_then(|()| machine.generations.switch(number));
    if let Err(cause) = built {
        machine.generations.abandon(number);
        return Err(cause);
    }
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

fn build(
    machine: &KvStateMachine,
    number: u64,
    source: &mut dyn SnapshotSource,
    label: &AppliedRecord,
) -> Result<()> {
    let part = machine.generations.begin(number)?;
    let mut store = machine.engine.open(&part)?;
    let mut counts = Counts::default();
    let mut digest = StateDigest::EMPTY;
    let mut batch = Batch::new(label.applied.index);
    let mut last_key = None;
    while let Some((key, value)) = source.next_record()? {
        if last_key.as_ref().is_some_and(|last| *last >= key) {
            return Err(Error::Malformed { what: "order of snapshot records" });
        }
        digest = digest.with(machine.hasher.hash(&key, &value));
        counts.add(&key, &value);
        record::put(&mut batch, &key, &value);
        last_key = Some(key);
        if batch.bytes() >= BATCH_BYTES {
            store.write(&batch)?;
            batch = Batch::new(label.applied.index);
        }
    }
    check_digest(digest, label.digest, &part)?;
    batch.set_marker(marker::encode(counts, label));
    store.write(&batch)?;
    store.close()
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
