//! Backups on a simulated disk.

mod restoring;
mod taking;
mod verifying;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_telemetry::rng::SeededRng;

use super::{Backup, BackupWriter, Manifest};
use crate::disk::{Disk, OpenMode, SimDisk};
use crate::entry::EntryId;
use crate::error::Result;
use crate::identity::FileOwner;
use crate::ids::{ClusterId, GroupId, GroupUid, Incarnation, ReplicaId};
use crate::snapshot::{SnapshotDir, SnapshotLabel, SnapshotSink as _, SnapshotToken};
use crate::state::fixture::example_record;
use crate::state::{AppliedRecord, RecordHasher, StateDigest};

const CLUSTER: ClusterId = ClusterId([3; 16]);
const DIR: &str = "/backups/one";
const PART: &str = "/backups/one.part";
const GROUPS: [GroupId; 2] = [GroupId(0), GroupId(4)];

fn record(group: GroupId, records: u8) -> AppliedRecord {
    let mut record = example_record(u64::from(records) + 5, 3);
    record.descriptor.group = group;
    record.descriptor.uid = GroupUid([u8::try_from(group.get()).unwrap() + 1; 16]);
    record.digest = digest(record.descriptor.uid, records);
    record
}

fn digest(uid: GroupUid, records: u8) -> StateDigest {
    let hasher = RecordHasher::new(uid);
    (0..records).fold(StateDigest::EMPTY, |digest, at| digest.with(hasher.hash(&[at], &[at; 9])))
}

/// A published snapshot of `group` with that many records, as some node has it: its token and its bytes.
fn published(group: GroupId, records: u8) -> (SnapshotToken, Vec<u8>) {
    let disk = SimDisk::new();
    let record = record(group, records);
    let owner =
        FileOwner { group: record.descriptor.uid, replica: ReplicaId(1), incarnation: Incarnation([1; 16]) };
    let dir = SnapshotDir::new(Arc::new(disk.clone()), PathBuf::from("/g"), owner);
    dir.create().unwrap();
    let mut writer = dir.writer(&SnapshotLabel { record }, &SeededRng::new(group.get())).unwrap();
    for at in 0..records {
        writer.put(&[at], &[at; 9]).unwrap();
    }
    let token = writer.finish().unwrap();
    (token, read(&disk, &dir.path_of(token.id)))
}

fn read(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let bytes = disk.size(path).unwrap().unwrap();
    let mut buffer = vec![0; usize::try_from(bytes).unwrap()];
    disk.open(path, OpenMode::Read).unwrap().read_exact_at(&mut buffer, 0).unwrap();
    buffer
}

/// Takes the backup of two groups to [`DIR`].
fn take(disk: &SimDisk) -> Result<Manifest> {
    let mut writer = BackupWriter::create(Arc::new(disk.clone()), Path::new(DIR))?;
    for (group, records) in GROUPS.into_iter().zip([2, 5]) {
        let (token, bytes) = published(group, records);
        let mut file = writer.begin(group, token)?;
        for piece in bytes.chunks(100) {
            file.put(piece)?;
        }
        writer.keep(file, &mut |_| {})?;
    }
    writer.finish((CLUSTER, None), 1_000, 2_000)
}

fn open(disk: &SimDisk) -> Result<Backup> {
    Backup::open(Arc::new(disk.clone()), Path::new(DIR))
}

/// Every file below the backup.
fn files(disk: &SimDisk) -> Vec<(PathBuf, u64)> {
    disk.files().into_iter().filter(|(path, _)| path.starts_with(DIR)).collect()
}

fn position(token: &SnapshotToken) -> EntryId {
    token.id
}
