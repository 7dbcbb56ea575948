//! What is special to the segmented log: files, tails, rot.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use quorate_telemetry::SeededRng;

use super::conformance::{Harness, suite};
use super::{LogBatch, LogConfig, LogPlace, LogStore, SegmentedLog};
use crate::disk::{CrashMode, Disk, SimDisk};
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

const CONFIG: LogConfig = LogConfig { segment_bytes: 32 << 10, first_segment_bytes: 16 << 10 };

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

/// The log on a simulated disk.
struct OnSimDisk {
    disk: SimDisk,
}

impl Harness for OnSimDisk {
    fn create(&mut self, base: SnapshotToken) -> Result<Box<dyn LogStore>, Error> {
        let log = SegmentedLog::create(place(&self.disk), CONFIG, base)?;
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
    let disk = new_disk();
    disk.ignore_syncs(is_lying);
    Box::new(OnSimDisk { disk })
}

#[test]
fn the_segmented_log_conforms() {
    suite(&mut || on_sim_disk(false), 0..200);
}

#[test]
#[should_panic(expected = "a log opens after a power cut")]
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
