//! The end of a log that was stopped in the middle of a write.

use super::*;

/// Fails the next append after half of its write: entries 5 to 60, of more than a page.
fn tear(disk: &SimDisk, log: &mut SegmentedLog) {
    disk.shorten_write(1);
    log.append(&[batch(5..300, 1)], true).unwrap_err();
}

#[test]
fn a_torn_tail_is_cut_once_as_a_whole_and_counted() {
    let disk = new_disk();
    let mut log = create(&disk);
    log.append(&[batch(2..5, 1)], true).unwrap();
    tear(&disk, &mut log);
    drop(log);
    let disk = disk.crash(CrashMode::KeepAll);
    let log = open(&disk).unwrap();
    assert_eq!((log.recovered().torn_batches, log.recovered().skeleton.last), (1, Index(4)));
    let disk = disk.crash(CrashMode::LoseUnsynced);
    let mut log = open(&disk).unwrap();
    assert_eq!((log.recovered().torn_batches, log.recovered().skeleton.last), (0, Index(4)));
    log.append(&[batch(5..7, 2)], true).unwrap();
    assert_eq!(read(&log, 2, 7).len(), 5);
    let log = open(&disk.crash(CrashMode::LoseUnsynced)).unwrap();
    assert_eq!(read(&log, 2, 7).len(), 5);
}

#[test]
fn what_follows_a_torn_tail_goes_to_a_new_file_and_the_old_one_stays_as_it_was() {
    let disk = new_disk();
    let mut log = create(&disk);
    tear_after_some(&disk, &mut log);
    let disk = disk.crash(CrashMode::KeepAll);
    let before = disk.files();
    let log = open(&disk).unwrap();
    let after = disk.files();
    assert_eq!(after.len(), before.len() + 1);
    assert_eq!(after[..before.len()], before);
    drop(log);
}

fn tear_after_some(disk: &SimDisk, log: &mut SegmentedLog) {
    log.append(&[batch(2..5, 1)], true).unwrap();
    tear(disk, log);
}

#[test]
fn a_whole_unproven_batch_is_kept_and_made_durable_by_the_start_that_shows_it() {
    let disk = new_disk();
    let mut log = create(&disk);
    log.append(&[batch(2..5, 1)], true).unwrap();
    disk.fail_sync(1);
    log.append(&[batch(5..6, 1)], true).unwrap_err();
    drop(log);
    let disk = disk.crash(CrashMode::KeepAll);
    assert_eq!(open(&disk).unwrap().recovered().skeleton.last, Index(5));
    let log = open(&disk.crash(CrashMode::LoseUnsynced)).unwrap();
    assert_eq!(log.recovered().skeleton.last, Index(5));
}

#[test]
fn a_full_disk_closes_the_log_and_a_start_with_room_goes_on() {
    let disk = new_disk();
    let mut log = create(&disk);
    disk.set_capacity(Some(20 << 10));
    let failed = (2..100).find(|&index| log.append(&[batch(index..index + 1, 1)], true).is_err()).unwrap();
    assert!(log.prove().is_err());
    drop(log);
    let disk = disk.crash(CrashMode::KeepAll);
    disk.set_capacity(None);
    let mut log = open(&disk).unwrap();
    assert_eq!(log.recovered().skeleton.last, Index(failed - 1));
    log.append(&[batch(failed..failed + 1, 1)], true).unwrap();
}

#[test]
fn a_record_of_an_unknown_kind_is_refused_and_never_cut() {
    let disk = new_disk();
    let mut log = create(&disk);
    log.append(&[batch(2..5, 1)], true).unwrap();
    // What a later release would write: the proof as a record of its own kind, with right checksums.
    log.prove().unwrap();
    let path = disk.files()[0].0.clone();
    let file = disk.open(&path, OpenMode::Write).unwrap();
    let mut head = [0; 104];
    file.read_exact_at(&mut head, 8192).unwrap();
    head[64] = 9;
    let crc = crc32fast::hash(&[&head[4..60], &head[64..]].concat());
    head[60..64].copy_from_slice(&crc.to_le_bytes());
    file.write_all_at(&head, 8192).unwrap();
    head[..4].copy_from_slice(b"QEND");
    file.write_all_at(&[&head[64..], &head[..64]].concat(), 8192 + 4096 - 104).unwrap();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, Error::Corrupt { what: "record kind", offset: 8192, found: 9, .. }), "{error}");
}
