//! Unreadable entries get copies, or go; either survives whatever comes next.

use super::*;

const LAST: u64 = 40;

/// A log of several segments, one entry a batch, and the file and offset of each entry's batch.
pub(super) fn long_log() -> SimDisk {
    let disk = new_disk();
    let mut log = create(&disk);
    for index in 2..=LAST {
        log.append(&[batch(index..index + 1, 1 + index / 10)], true).unwrap();
    }
    log.prove().unwrap();
    disk
}

pub(super) fn written(index: u64) -> Entry {
    entry(index, 1 + index / 10)
}

/// Damages the bytes of an entry where they first stand.
pub(super) fn rot(disk: &SimDisk, index: u64) {
    let payload = written(index).payload;
    for (path, bytes) in disk.files() {
        let file = disk.open(&path, OpenMode::Read).unwrap();
        let mut content = vec![0; usize::try_from(bytes).unwrap()];
        file.read_exact_at(&mut content, 0).unwrap();
        if let Some(at) = content.windows(payload.len()).position(|window| window == &payload[..]) {
            return disk.flip(&path, at as u64, 0x10).unwrap();
        }
    }
    panic!("entry {index} is not there");
}

fn unreadable(log: &SegmentedLog) -> Vec<u64> {
    let base = log.recovered().skeleton.first();
    let end = log.recovered().skeleton.last.next();
    log.unreadable(base, end).unwrap().iter().map(|lost| lost.id.index.get()).collect()
}

#[test]
fn a_repaired_entry_reads_as_it_was_written_now_and_after_every_start() {
    let disk = long_log();
    for index in [3, 17, 18, 33] {
        rot(&disk, index);
    }
    let mut log = open(&disk).unwrap();
    assert_eq!(unreadable(&log), [3, 17, 18, 33], "closed segments too");
    log.repair(vec![written(3), written(17), written(18)]).unwrap();
    assert_eq!(unreadable(&log), [33]);
    log.repair(vec![written(33)]).unwrap();
    let check = |log: &SegmentedLog, when: &str| {
        let first = log.recovered().skeleton.first().get();
        assert_eq!(read(log, first, LAST + 1), (first..=LAST).map(written).collect::<Vec<_>>(), "{when}");
        assert_eq!(unreadable(log), [0_u64; 0], "{when}");
    };
    check(&log, "at once");
    drop(log);
    let disk = disk.crash(CrashMode::LoseUnsynced);
    let mut log = open(&disk).unwrap();
    check(&log, "after a power cut");
    for index in LAST + 1..LAST + 12 {
        log.append(&[batch(index..index + 1, 9)], true).unwrap();
    }
    drop(log);
    let mut log = open(&disk).unwrap();
    check(&log, "in a sealed segment");
    log.compact(Index(10)).unwrap();
    log.close().unwrap();
    drop(log);
    check(&open(&disk).unwrap(), "after a compaction");
}

#[test]
fn a_damaged_copy_counts_for_nothing_and_a_newer_one_for_it() {
    let disk = long_log();
    rot(&disk, 20);
    let mut log = open(&disk).unwrap();
    log.repair(vec![written(20)]).unwrap();
    rot(&disk, 20);
    assert_eq!(unreadable(&log), [20], "its own bytes and the copy are damaged");
    log.repair(vec![written(20)]).unwrap();
    assert_eq!(unreadable(&log), [0_u64; 0]);
}

#[test]
fn a_copy_of_an_entry_that_was_overwritten_since_is_never_served() {
    let disk = long_log();
    rot(&disk, 39);
    let mut log = open(&disk).unwrap();
    log.repair(vec![written(39)]).unwrap();
    log.append(&[batch(38..41, 9)], true).unwrap();
    drop(log);
    let log = open(&disk).unwrap();
    assert_eq!(read(&log, 38, 41), [entry(38, 9), entry(39, 9), entry(40, 9)]);
    assert!(log.is_damaged() || unreadable(&log).is_empty(), "what does not count any more needs no repair");
}

#[test]
fn a_dropped_suffix_is_gone_with_its_hard_state() {
    let disk = long_log();
    rot(&disk, 30);
    let mut log = open(&disk).unwrap();
    let hard_state = HardState { term: Term(12), vote: None, commit: Index(29) };
    log.drop_from(Index(30), hard_state).unwrap();
    drop(log);
    let disk = disk.crash(CrashMode::LoseUnsynced);
    let mut log = open(&disk).unwrap();
    let state = log.recovered().clone();
    assert_eq!((state.skeleton.last, state.hard_state), (Index(29), hard_state));
    assert_eq!(unreadable(&log), [0_u64; 0]);
    log.append(&[batch(30..32, 12)], true).unwrap();
    assert_eq!(read(&log, 29, 32), [written(29), entry(30, 12), entry(31, 12)]);
}

#[test]
#[should_panic(expected = "is committed")]
fn what_is_committed_is_never_dropped() {
    let mut log = open(&long_log()).unwrap();
    drop(log.drop_from(Index(30), HardState { term: Term(12), vote: None, commit: Index(30) }));
}

#[test]
fn two_damaged_tables_are_lost_log_also_in_a_sealed_segment() {
    let disk = long_log();
    let path = disk.files()[0].0.clone();
    disk.flip(&path, 4096 + 70, 4).unwrap();
    disk.flip(&path, 8192 - 70, 4).unwrap();
    let log = open(&disk).unwrap();
    let error = log.unreadable(Index(2), Index(LAST + 1)).unwrap_err();
    assert!(matches!(error, Error::LogLost { .. }), "{error}");
}
