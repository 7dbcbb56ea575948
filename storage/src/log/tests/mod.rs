//! The segmented log keeps the promises of every log, on every disk; and what is special to it: its files.

mod format;
mod repair;
mod rot;
mod survey;
mod tail;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use quorate_telemetry::SeededRng;

use super::conformance::{Harness, suite};
use super::{LogBatch, LogConfig, LogPlace, LogStore, SegmentedLog, UnreadableEntry};
use crate::disk::{CrashMode, Disk, OpenMode, RealDisk, SimDisk};
use crate::entry::{Entry, EntryId, EntryKind, HardState};
use crate::error::Error;
use crate::identity::FileOwner;
use crate::ids::{GroupUid, Incarnation, Index, ReplicaId, Term};
use crate::snapshot::SnapshotToken;

fn place(disk: &SimDisk) -> LogPlace {
    let owner =
        FileOwner { group: GroupUid([1; 16]), replica: ReplicaId(2), incarnation: Incarnation([3; 16]) };
    // File ids must differ from start to start.
    let rng = SeededRng::new(disk.calls());
    LogPlace { disk: Arc::new(disk.clone()), dir: PathBuf::from("/g/wal"), owner, rng: Arc::new(rng) }
}

const CONFIG: LogConfig =
    LogConfig { segment_bytes: 32 << 10, first_segment_bytes: 16 << 10, zero_ahead_bytes: 0 };

fn birth() -> SnapshotToken {
    SnapshotToken { id: EntryId { term: Term(1), index: Index(1) }, bytes: 100, crc: 7 }
}

fn new_disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/g")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn create(disk: &SimDisk) -> SegmentedLog {
    SegmentedLog::create(place(disk), CONFIG, birth()).unwrap()
}

fn open(disk: &SimDisk) -> Result<SegmentedLog, Error> {
    SegmentedLog::open(place(disk), CONFIG)
}

fn entry(index: u64, term: u64) -> Entry {
    let payload = Bytes::from(format!("entry {index} of term {term}"));
    Entry { term: Term(term), index: Index(index), kind: EntryKind::Normal, payload }
}

fn batch(indexes: std::ops::Range<u64>, term: u64) -> LogBatch {
    LogBatch {
        entries: indexes.map(|index| entry(index, term)).collect(),
        hard_state: Some(HardState { term: Term(term), vote: Some(ReplicaId(2)), commit: Index(1) }),
        install: None,
    }
}

fn read(log: &SegmentedLog, low: u64, high: u64) -> Vec<Entry> {
    log.reader().entries(Index(low), Index(high), u64::MAX).unwrap()
}

/// The log on a simulated disk, whose syncs may do nothing once the log is there.
struct OnSimDisk {
    disk: SimDisk,
    is_lying: bool,
}

impl Harness for OnSimDisk {
    fn create(&mut self, base: SnapshotToken) -> Result<Box<dyn LogStore>, Error> {
        let log = SegmentedLog::create(place(&self.disk), CONFIG, base)?;
        self.disk.ignore_syncs(self.is_lying);
        Ok(Box::new(log))
    }

    fn crash(&mut self, mode: CrashMode) {
        self.disk = self.disk.crash(mode);
    }

    fn open(&mut self) -> Result<Box<dyn LogStore>, Error> {
        Ok(Box::new(open(&self.disk)?))
    }

    fn disk(&self) -> Option<&SimDisk> {
        Some(&self.disk)
    }
}

fn on_sim_disk(is_lying: bool) -> Box<dyn Harness> {
    Box::new(OnSimDisk { disk: new_disk(), is_lying })
}

/// The log on the real file system, where only the process can be ended.
struct OnRealDisk(tempfile::TempDir);

impl OnRealDisk {
    fn place(&self) -> LogPlace {
        LogPlace { disk: Arc::new(RealDisk::new()), dir: self.0.path().join("wal"), ..place(&SimDisk::new()) }
    }
}

impl Harness for OnRealDisk {
    fn create(&mut self, base: SnapshotToken) -> Result<Box<dyn LogStore>, Error> {
        Ok(Box::new(SegmentedLog::create(self.place(), CONFIG, base)?))
    }

    fn crash(&mut self, _mode: CrashMode) {}

    fn open(&mut self) -> Result<Box<dyn LogStore>, Error> {
        Ok(Box::new(SegmentedLog::open(self.place(), CONFIG)?))
    }

    fn disk(&self) -> Option<&SimDisk> {
        None
    }
}

#[test]
fn the_segmented_log_conforms_on_files() {
    suite(&mut || Box::new(OnRealDisk(tempfile::tempdir().unwrap())), 0..2);
}

#[test]
fn the_segmented_log_conforms() {
    suite(&mut || on_sim_disk(false), 0..200);
}

#[test]
#[should_panic(expected = "what was appended survives")]
fn without_syncs_the_suite_fails() {
    suite(&mut || on_sim_disk(true), 0..1);
}

#[test]
fn entries_survive_rolls_and_a_crash() {
    let disk = new_disk();
    let mut log = create(&disk);
    for index in 2..60 {
        log.append(&[batch(index..index + 1, 1 + index / 20)], true).unwrap();
    }
    let expected: Vec<Entry> = (2..60).map(|index| entry(index, 1 + index / 20)).collect();
    assert_eq!(read(&log, 2, 60), expected);
    let disk = disk.crash(CrashMode::LoseUnsynced);
    let log = open(&disk).unwrap();
    assert_eq!(read(&log, 2, 60), expected);
    assert_eq!(log.recovered().skeleton.last, Index(59));
    assert!(disk.files().len() > 5, "it rolled: {:?}", disk.files());
}

#[test]
fn compaction_removes_whole_segments_and_never_the_open_one() {
    let disk = new_disk();
    let mut log = create(&disk);
    for index in 2..60 {
        log.append(&[batch(index..index + 1, 1)], true).unwrap();
    }
    let before = disk.files().len();
    log.compact(Index(30)).unwrap();
    assert!(disk.files().len() < before, "{:?}", disk.files());
    assert_eq!(read(&log, 31, 60).len(), 29);
    log.compact(Index(59)).unwrap();
    assert_eq!(disk.files().len(), 1, "{:?}", disk.files());
    let log = open(&disk.crash(CrashMode::LoseUnsynced)).unwrap();
    assert_eq!(log.recovered().skeleton.base.index, Index(59));
}

#[test]
fn a_damaged_last_batch_behind_which_segments_went_is_named_by_file_and_offset() {
    let disk = new_disk();
    let mut log = create(&disk);
    for index in 2..60 {
        log.append(&[batch(index..index + 1, 1)], true).unwrap();
    }
    log.compact(Index(58)).unwrap();
    drop(log);
    let (newest, _) = disk.files().pop().unwrap();
    let last_batch = disk.written(&newest).unwrap().last().unwrap().end - 4096;
    disk.flip(&newest, last_batch + 2, 1).unwrap();
    let lost = open(&disk.crash(CrashMode::KeepAll)).unwrap_err();
    let Error::LogLost { file, offset, .. } = &lost else { panic!("{lost}") };
    assert_eq!((file, *offset), (&newest, Some(last_batch)), "{lost}");
}

#[test]
fn an_entry_larger_than_a_segment_gets_one_of_its_own() {
    let disk = new_disk();
    let mut log = create(&disk);
    let large = Entry { payload: Bytes::from(vec![7; 100_000]), ..entry(2, 1) };
    log.append(&[LogBatch { entries: vec![large.clone()], ..LogBatch::default() }], true).unwrap();
    log.append(&[batch(3..4, 1)], true).unwrap();
    let log = open(&disk.crash(CrashMode::LoseUnsynced)).unwrap();
    assert_eq!(read(&log, 2, 4), [large, entry(3, 1)]);
}

#[test]
fn an_entry_over_the_limit_is_refused_and_the_log_goes_on() {
    let mut log = create(&new_disk());
    let large = Entry { payload: Bytes::from(vec![0; super::batch::ENTRY_BYTES_MAX + 1]), ..entry(2, 1) };
    let refused = log.append(&[LogBatch { entries: vec![large], ..LogBatch::default() }], true).unwrap_err();
    assert!(matches!(refused, Error::TooLarge { what: "entry", .. }), "{refused}");
    log.append(&[batch(2..3, 1)], true).unwrap();
}

#[test]
fn an_append_in_zeroed_room_is_one_write_and_one_sync() {
    let disk = new_disk();
    let config = LogConfig { zero_ahead_bytes: 32 << 10, first_segment_bytes: 64 << 10, ..CONFIG };
    let mut log = SegmentedLog::create(place(&disk), config, birth()).unwrap();
    log.append(&[batch(2..3, 1)], true).unwrap();
    let (calls, syncs, bytes) = (disk.calls(), disk.sync_count(), disk.bytes_written());
    log.append(&[batch(3..5, 1), batch(5..9, 2)], true).unwrap();
    assert_eq!((disk.calls() - calls, disk.sync_count() - syncs), (2, 1));
    assert_eq!(disk.bytes_written() - bytes, 4096);
    let commit = LogBatch {
        hard_state: Some(HardState { term: Term(2), vote: Some(ReplicaId(2)), commit: Index(4) }),
        ..LogBatch::default()
    };
    log.append(&[commit], false).unwrap();
    log.prove().unwrap();
    log.prove().unwrap();
    assert_eq!(disk.sync_count() - syncs, 2, "an idle log proves its tail once");
}

#[test]
fn in_new_room_a_batch_is_acknowledged_only_after_a_second_sync() {
    let disk = new_disk();
    let mut log = create(&disk);
    disk.fail_sync(2);
    let refused = log.append(&[batch(2..3, 1)], true).unwrap_err();
    assert!(matches!(refused, Error::Io { action: "sync", .. }), "{refused}");
    assert!(log.append(&[batch(3..4, 1)], true).is_err(), "a failed sync is final");
}

#[test]
fn a_log_of_another_replica_is_foreign() {
    let disk = new_disk();
    drop(create(&disk));
    let mut other = place(&disk);
    other.owner.incarnation = Incarnation([9; 16]);
    let error = SegmentedLog::open(other, CONFIG).unwrap_err();
    assert!(matches!(error, Error::Foreign { what: "incarnation", .. }), "{error}");
}

#[test]
fn a_directory_without_a_segment_is_lost_log() {
    let disk = new_disk();
    disk.create_dir_all(Path::new("/g/wal")).unwrap();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, Error::LogLost { .. }), "{error}");
}

#[test]
fn room_is_zeroed_ahead_so_that_most_syncs_find_written_blocks() {
    let disk = new_disk();
    let config = LogConfig { zero_ahead_bytes: 64 << 10, ..LogConfig::default() };
    let mut log = SegmentedLog::create(place(&disk), config, birth()).unwrap();
    let (calls, syncs) = (disk.calls(), disk.sync_count());
    for index in 2..34 {
        log.append(&[batch(index..index + 1, 1)], true).unwrap();
    }
    assert_eq!(disk.sync_count() - syncs, 32 + 3, "one more where room was new");
    assert_eq!(disk.calls() - calls, 2 * 32 + 2 * 3, "three of them zeroed: 32, 64 and the next 64 KiB");
    let log = SegmentedLog::open(place(&disk.crash(CrashMode::LoseUnsynced)), config).unwrap();
    assert_eq!(read(&log, 2, 34).len(), 32);
}

#[test]
fn a_crash_while_room_is_zeroed_ahead_loses_nothing() {
    for call in 1..40 {
        let disk = new_disk();
        let config = LogConfig { zero_ahead_bytes: 8 << 10, ..CONFIG };
        let mut log = SegmentedLog::create(place(&disk), config, birth()).unwrap();
        disk.cut_power_at_call(call);
        let failed =
            (2..100).find(|&index| log.append(&[batch(index..index + 1, 1)], true).is_err()).unwrap();
        let disk = disk.crash(CrashMode::KeepPieces { seed: call, piece_bytes: 512 });
        let log = SegmentedLog::open(place(&disk), config).unwrap();
        let last = log.recovered().skeleton.last.get();
        assert!(last == failed - 1 || last == failed, "call {call}: {last}, failed at {failed}");
    }
}
