//! Writing a backup: what counts as one, and when.

use super::*;
use crate::disk::CrashMode;
use crate::error::Error;
use crate::offline::verify_backup;

#[test]
fn a_backup_reads_back_as_taken() {
    let disk = SimDisk::new();
    let manifest = take(&disk).unwrap();
    let backup = open(&disk).unwrap();
    assert_eq!(backup.manifest(), &manifest);
    assert_eq!((manifest.cluster, manifest.begun_ms, manifest.ended_ms), (CLUSTER, 1_000, 2_000));
    assert_eq!(manifest.groups.iter().map(|group| group.group).collect::<Vec<_>>(), GROUPS);
    let group = manifest.group(GROUPS[1]).unwrap();
    let expected = record(GROUPS[1], 5);
    assert_eq!((group.uid, &group.range), (expected.descriptor.uid, &expected.descriptor.range));
    assert_eq!((position(&group.token), group.records), (expected.applied, 5));
    assert_eq!(group.digest, Some(expected.digest));
    let mut keys = Vec::new();
    let on_record = &mut |key: &[u8], _: &[u8]| {
        keys.extend_from_slice(key);
        Ok(())
    };
    backup.check(group, &mut |_| {}, on_record).unwrap();
    assert_eq!(keys, [0, 1, 2, 3, 4]);
    let names: Vec<_> = files(&disk).into_iter().map(|(path, _)| path).collect();
    let expected = ["group-0.snap", "group-4.snap", "manifest.json", "manifest.json.sha256"];
    assert_eq!(names, expected.map(|name| Path::new(DIR).join(name)));
}

#[test]
fn whatever_crashes_a_directory_of_that_name_is_a_whole_backup() {
    let calls = {
        let disk = SimDisk::new();
        take(&disk).unwrap();
        disk.calls()
    };
    let (mut whole, mut none) = (0, 0);
    for nth in 1..=calls {
        for mode in [
            CrashMode::LoseUnsynced,
            CrashMode::KeepAll,
            CrashMode::KeepPieces { seed: nth, piece_bytes: 512 },
        ] {
            let disk = SimDisk::new();
            disk.cut_power_at_call(nth);
            let _ = take(&disk);
            let disk = disk.crash(mode);
            let is_there = disk.size(Path::new(DIR)).unwrap().is_some();
            let shared: Arc<dyn Disk> = Arc::new(disk.clone());
            if is_there {
                let report = verify_backup(&shared, Path::new(DIR), None, &mut |_| {});
                assert!(report.findings.is_empty(), "call {nth}, {mode:?}: {:?}", report.findings);
                whole += 1;
                continue;
            }
            none += 1;
            // The next one is not in its way, and leaves nothing of it.
            take(&disk).unwrap_or_else(|error| panic!("call {nth}, {mode:?}: {error}"));
            assert_eq!(files(&disk).len(), 4);
            assert!(disk.size(Path::new(PART)).unwrap().is_none());
        }
    }
    assert!(whole > 0 && none > 50, "{whole} whole, {none} without");
}

#[test]
fn a_writer_that_gives_up_leaves_nothing() {
    let disk = SimDisk::new();
    let writer = BackupWriter::create(Arc::new(disk.clone()), Path::new(DIR)).unwrap();
    let (token, bytes) = published(GROUPS[0], 2);
    let mut file = writer.begin(GROUPS[0], token).unwrap();
    file.put(&bytes[..10]).unwrap();
    drop(writer);
    assert!(disk.size(Path::new(PART)).unwrap().is_none() && disk.size(Path::new(DIR)).unwrap().is_none());
}

#[test]
fn nothing_that_is_there_is_touched() {
    let disk = SimDisk::new();
    take(&disk).unwrap();
    let before = files(&disk);
    let error = take(&disk).unwrap_err();
    assert!(matches!(&error, Error::Occupied { path } if path == Path::new(DIR)), "{error}");
    assert_eq!(files(&disk), before);
    let other = Path::new("/backups/two.part/precious");
    disk.create_dir_all(other.parent().unwrap()).unwrap();
    disk.open(other, OpenMode::Create).unwrap();
    let error = BackupWriter::create(Arc::new(disk.clone()), Path::new("/backups/two")).unwrap_err();
    assert!(matches!(&error, Error::Occupied { path } if path == other), "{error}");
    assert!(disk.size(other).unwrap().is_some());
}

#[test]
fn two_writers_of_one_backup_exclude_each_other() {
    let disk = SimDisk::new();
    let writer = BackupWriter::create(Arc::new(disk.clone()), Path::new(DIR)).unwrap();
    let error = BackupWriter::create(Arc::new(disk.clone()), Path::new(DIR)).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop(writer);
    take(&disk).unwrap();
}

#[test]
fn what_arrives_otherwise_than_it_was_sent_is_not_kept_and_can_be_sent_again() {
    let disk = SimDisk::new();
    let mut writer = BackupWriter::create(Arc::new(disk.clone()), Path::new(DIR)).unwrap();
    let (token, bytes) = published(GROUPS[1], 5);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let mut file = writer.begin(GROUPS[1], token).unwrap();
        file.put(&damaged).unwrap();
        // Some bytes are zero and ignored, or for information: the device gave what was sent, and the token is right.
        if let Ok(kept) = writer.keep(file, &mut |_| {}) {
            panic!("byte {at} went unnoticed: {kept:?}");
        }
    }
    let mut short = writer.begin(GROUPS[1], token).unwrap();
    short.put(&bytes[1..]).unwrap();
    assert!(writer.keep(short, &mut |_| {}).unwrap_err().is_corruption());
    let mut long = writer.begin(GROUPS[1], token).unwrap();
    long.put(&bytes).unwrap();
    assert!(long.put(&[0]).unwrap_err().is_corruption());
    assert!(long.is_complete());
    writer.keep(long, &mut |_| {}).unwrap();
}

#[test]
fn a_snapshot_of_another_group_is_refused() {
    let disk = SimDisk::new();
    let mut writer = BackupWriter::create(Arc::new(disk), Path::new(DIR)).unwrap();
    let (token, bytes) = published(GROUPS[1], 5);
    let mut file = writer.begin(GroupId(7), token).unwrap();
    file.put(&bytes).unwrap();
    let error = writer.keep(file, &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::Foreign { what: "group", .. }), "{error}");
}

#[test]
fn the_name_of_the_cluster_is_carried_where_it_is_known() {
    let disk = SimDisk::new();
    let unnamed = take(&disk).unwrap();
    assert_eq!(unnamed.cluster_name, None);
    let named = Manifest { cluster_name: Some("production".to_owned()), ..unnamed };
    assert_eq!(Manifest::decode(&named.encode(), Path::new("manifest.json")).unwrap(), named);
}

#[test]
fn sizes_that_overflow_are_summed_up_to_the_largest_number() {
    let mut manifest = take(&SimDisk::new()).unwrap();
    manifest.groups.iter_mut().for_each(|group| group.token.bytes = u64::MAX);
    assert!(manifest.groups.len() > 1);
    assert_eq!(manifest.bytes(), u64::MAX);
}
