//! The manifest of a backup.

use std::path::Path;
use std::sync::Arc;

use quorate_storage::backup::{Backup, BackupWriter, MANIFEST_FILE, MANIFEST_HASH_FILE};
use quorate_storage::disk::SimDisk;
use quorate_storage::state::{AppliedRecord, StateDigest};
use quorate_storage::{ClusterId, GroupId, Sha256Sum};

use super::Target;
use super::fixture::{disk_with, full_record, read, write};
use super::snapshot::published;

pub(super) const TARGETS: &[Target] =
    &[Target { name: "backup_manifest", what: manifest, seeds: manifest_seeds }];

const DIR: &str = "/backup";

/// With the hash that belongs to it, and as the hash.
fn manifest(bytes: &[u8]) {
    let line = format!("{}  {MANIFEST_FILE}\n", Sha256Sum::of(bytes));
    open(bytes, line.as_bytes());
    open(b"{}", bytes);
}

fn open(manifest: &[u8], hash: &[u8]) {
    let dir = Path::new(DIR);
    let disk = disk_with(&dir.join(MANIFEST_FILE), manifest);
    write(&disk, &dir.join(MANIFEST_HASH_FILE), hash);
    let Ok(backup) = Backup::open(Arc::new(disk), dir) else { return };
    let known = backup.manifest();
    assert!(known.groups.is_sorted_by(|a, b| a.group < b.group), "each group stands once, in order");
    let _ = known.bytes();
    for group in &known.groups {
        assert_eq!(known.group(group.group), Some(group));
        let _ = backup.path_of(group);
    }
    assert_eq!(backup.hash(), Sha256Sum::of(manifest));
}

/// Backups of no group, and of two; and a hash.
fn manifest_seeds() -> Vec<Vec<u8>> {
    vec![
        take(None, &[]),
        take(Some("c"), &[GroupId(0), GroupId(7)]),
        format!("{}  {MANIFEST_FILE}\n", Sha256Sum::of(b"{}")).into_bytes(),
    ]
}

fn take(cluster_name: Option<&str>, groups: &[GroupId]) -> Vec<u8> {
    const HEALTHY: &str = "the disk is healthy";
    let disk = SimDisk::new();
    let dir = Path::new(DIR);
    let mut writer = BackupWriter::create(Arc::new(disk.clone()), dir).expect(HEALTHY);
    for group in groups {
        // Without a digest: the records are any.
        let mut record = AppliedRecord { digest: StateDigest::default(), ..full_record() };
        record.descriptor.group = *group;
        let (token, file) = published(&record, 2);
        let mut arriving = writer.begin(*group, token).expect(HEALTHY);
        arriving.put(&file).expect(HEALTHY);
        writer.keep(arriving, &mut |_| {}).expect(HEALTHY);
    }
    let cluster = (ClusterId([5; 16]), cluster_name.map(str::to_owned));
    writer.finish(cluster, 1_000, 2_000).expect(HEALTHY);
    read(&disk, &dir.join(MANIFEST_FILE))
}
