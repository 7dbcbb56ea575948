//! Snapshots on a simulated disk.

mod crash;
mod files;
mod fixtures;
mod format;
mod hashing;
mod spool;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use quorate_telemetry::rng::SeededRng;

use crate::disk::{Disk, SimDisk};
use crate::error::Result;
use crate::identity::FileOwner;
use crate::ids::{Incarnation, ReplicaId};
use crate::snapshot::{SnapshotDir, SnapshotLabel, SnapshotSink, SnapshotSource, SnapshotToken};
use crate::state::fixture::example_record;

type Records = Vec<(Bytes, Bytes)>;

fn label(index: u64) -> SnapshotLabel {
    SnapshotLabel { record: example_record(index, 3) }
}

fn owner() -> FileOwner {
    let group = example_record(1, 1).descriptor.uid;
    FileOwner { group, replica: ReplicaId(1), incarnation: Incarnation([1; 16]) }
}

fn dir_on(disk: &SimDisk) -> SnapshotDir {
    SnapshotDir::new(Arc::new(disk.clone()), PathBuf::from("/g"), owner())
}

/// A disk with an empty, durable directory on it.
fn disk() -> SimDisk {
    let disk = SimDisk::new();
    dir_on(&disk).create().unwrap();
    disk
}

/// `count` records of about `value_bytes` each.
fn records(count: usize, value_bytes: usize) -> Records {
    let record = |n: usize| {
        let value = vec![u8::try_from(n % 251).unwrap(); value_bytes + n % 3];
        (Bytes::from(format!("key{n:06}")), Bytes::from(value))
    };
    (0..count).map(record).collect()
}

fn publish(dir: &SnapshotDir, index: u64, records: &Records) -> Result<SnapshotToken> {
    let mut writer = dir.writer(&label(index), &SeededRng::new(index))?;
    for (key, value) in records {
        writer.put(key, value)?;
    }
    writer.finish()
}

fn read_all(dir: &SnapshotDir, token: SnapshotToken) -> Result<Records> {
    let mut reader = dir.reader(token)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        assert!(!reader.is_verified(), "the file is verified only after the last record");
        records.push(record);
    }
    assert!(reader.is_verified());
    Ok(records)
}

fn file_bytes(disk: &SimDisk, dir: &SnapshotDir, token: &SnapshotToken) -> Vec<u8> {
    let file = disk.open(&dir.path_of(token.id), crate::disk::OpenMode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(token.bytes).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}
