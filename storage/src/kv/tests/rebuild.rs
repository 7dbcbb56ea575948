//! Bloated stores, and builds that come to nothing.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_telemetry::{BootId, SeededRng, SimClock, ThreadWorkers, Workers};

use crate::disk::{Disk, OpenMode, RealDisk, SimDisk};
use crate::error::Error;
use crate::kv::{
    KvCommand, KvStateMachine, MemoryEngine, MemoryLoss, Op, StoreConfig, StoreKind, StoreShared,
};
use crate::snapshot::SnapshotSource;
use crate::state::conformance::{GROUP_UID, record_at};
use crate::state::{
    AppliedIndexReader, Command, RebuildFailure, StateBuild, StateDigest, StateMachine, StateRebuild, Switch,
};

/// Records of 10 KB, all but one of them deleted again: a store of any kind takes several times what it holds then.
const RECORDS: u64 = 3_000;

fn in_memory(disk: &SimDisk) -> KvStateMachine {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let engine = MemoryEngine::new(disk.clone(), Arc::new(SeededRng::new(1)), Some(MemoryLoss::Tail));
    KvStateMachine::open(Arc::new(engine), disk, Path::new("/state"), GROUP_UID)
}

fn put(machine: &mut KvStateMachine, index: u64, key: &str, value: Bytes) {
    run(machine, index, vec![Op::Put(Bytes::copy_from_slice(key.as_bytes()), value)]);
}

fn run(machine: &mut KvStateMachine, index: u64, ops: Vec<Op>) {
    let body = KvCommand { conditions: Vec::new(), ops }.encode().unwrap();
    machine.apply(&[Command { id: record_at(index).applied, body }], &record_at(index)).unwrap();
}

fn digest(machine: &KvStateMachine) -> StateDigest {
    machine.applied_record().unwrap().unwrap().digest
}

/// All steps of a build.
fn built(machine: &mut KvStateMachine) -> Box<dyn StateBuild> {
    let mut build = machine.begin_rebuild(0).unwrap();
    while !build.step(1 << 20).unwrap().is_done {}
    build
}

/// Says why `build` is of no use.
fn abandoned(machine: &mut KvStateMachine, build: Box<dyn StateBuild>) -> RebuildFailure {
    match machine.finish_rebuild(build).unwrap() {
        Switch::Abandoned(failure) => failure,
        Switch::Switched | Switch::Behind(_) => panic!("it was of use"),
    }
}

fn value(index: u64) -> Bytes {
    // Nothing that a store could make smaller.
    let rng = SeededRng::new(index);
    let words = std::iter::repeat_with(|| quorate_telemetry::Rng::next_u64(&rng));
    words.take(1_250).flat_map(u64::to_le_bytes).collect()
}

#[test]
fn a_bloated_store_of_any_kind_shrinks_and_keeps_its_digest() {
    for kind in StoreKind::ALL {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let workers: Arc<dyn Workers> = Arc::new(ThreadWorkers::new("flush", NonZeroUsize::MIN).unwrap());
        let config = StoreConfig {
            // One flush: nothing to be merged.
            group_memtable_bytes_max: 64 << 20,
            memory_loss: Some(MemoryLoss::Tail),
            ..StoreConfig::default()
        };
        let clock = Arc::new(SimClock::new(Duration::ZERO, BootId([1; 16])));
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
        let engine =
            StoreShared::new(config, workers, clock).engine(kind, disk.clone(), Arc::new(SeededRng::new(1)));
        let mut machine = KvStateMachine::open(engine, disk, &dir.path().join("state"), GROUP_UID);
        (1..=RECORDS).for_each(|index| put(&mut machine, index, &format!("key-{index}"), value(index)));
        machine.checkpoint().unwrap();
        let gone = (1..RECORDS).map(|number| Op::Delete(Bytes::from(format!("key-{number}"))));
        run(&mut machine, RECORDS + 1, gone.collect());
        let (before, digest_before) = (machine.size().unwrap(), digest(&machine));
        assert!(before.disk_bytes > 4 * before.live_bytes, "{kind} is not bloated: {before:?}");
        let build = built(&mut machine);
        put(&mut machine, RECORDS + 2, &format!("key-{RECORDS}"), value(RECORDS));
        assert!(matches!(machine.finish_rebuild(build), Ok(Switch::Switched)), "{kind}");
        let after = machine.size().unwrap();
        assert_eq!((digest(&machine), after.live_bytes), (digest_before, before.live_bytes), "{kind}");
        assert!(after.disk_bytes < before.disk_bytes / 2, "{kind}: {before:?}, {after:?}");
        assert!(machine.is_trusted(), "{kind}");
        machine.close().unwrap();
    }
}

#[test]
fn a_build_that_more_is_applied_to_than_is_kept_comes_to_nothing() {
    let disk = SimDisk::new();
    let mut machine = in_memory(&disk);
    put(&mut machine, 1, "a", Bytes::from_static(b"1"));
    // Nothing is written where a value stays as it is.
    let large = |index| Bytes::from(vec![index; 8 << 20]);
    let build = built(&mut machine);
    (2_u8..=6).for_each(|index| put(&mut machine, index.into(), "b", large(index)));
    let failure = abandoned(&mut machine, build);
    assert!(matches!(failure, RebuildFailure::Overtaken { .. }), "{failure}");
    let mut begun = machine.begin_rebuild(0).unwrap();
    (7_u8..=11).for_each(|index| put(&mut machine, index.into(), "b", large(index)));
    assert!(matches!(begun.step(1), Err(RebuildFailure::Overtaken { .. })), "it ends at its next step");
    drop(begun);
    assert_eq!(disk.list(Path::new("/state")).unwrap().len(), 1, "nothing is left of it");
    put(&mut machine, 12, "c", Bytes::from_static(b"2"));
    let build = built(&mut machine);
    assert!(matches!(machine.finish_rebuild(build), Ok(Switch::Switched)));
}

#[test]
fn a_build_with_too_much_to_write_at_the_switch_goes_on_first() {
    let mut machine = in_memory(&SimDisk::new());
    put(&mut machine, 1, "a", Bytes::from_static(b"1"));
    let build = built(&mut machine);
    put(&mut machine, 2, "b", Bytes::from(vec![7; 2 << 20]));
    let Switch::Behind(mut build) = machine.finish_rebuild(build).unwrap() else { panic!("2 MiB in one go") };
    while !build.step(1).unwrap().is_done {}
    assert!(matches!(machine.finish_rebuild(build), Ok(Switch::Switched)));
    assert_eq!(machine.counts().records, 2);
}

/// An empty snapshot.
#[derive(Debug)]
struct Nothing;

impl SnapshotSource for Nothing {
    fn next_record(&mut self) -> crate::Result<Option<(Bytes, Bytes)>> {
        Ok(None)
    }
}

#[test]
fn a_build_of_a_state_that_was_replaced_or_built_again_comes_to_nothing() {
    let disk = SimDisk::new();
    let mut machine = in_memory(&disk);
    put(&mut machine, 1, "a", Bytes::from_static(b"1"));
    let first = built(&mut machine);
    let second = built(&mut machine);
    assert!(matches!(abandoned(&mut machine, first), RebuildFailure::Superseded));
    machine.restore(&mut Nothing, &record_at(9)).unwrap();
    assert!(matches!(abandoned(&mut machine, second), RebuildFailure::Superseded));
    assert_eq!((machine.counts().records, disk.list(Path::new("/state")).unwrap().len()), (0, 1));
}

#[test]
fn a_store_that_rots_unnoticed_is_not_copied() {
    let disk = SimDisk::new();
    let mut machine = in_memory(&disk);
    put(&mut machine, 1, "a", Bytes::from_static(b"one and only"));
    machine.close().unwrap();
    // The record is gone and the marker is not: nothing but the sums tells.
    let path = Path::new("/state/1/batches");
    let mut content = vec![0; usize::try_from(disk.size(path).unwrap().unwrap()).unwrap()];
    disk.open(path, OpenMode::Read).unwrap().read_exact_at(&mut content, 0).unwrap();
    let at = content.windows(12).position(|window| window == b"one and only").unwrap();
    content[at] ^= 1;
    let crc = {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&0_u32.to_le_bytes());
        hasher.update(&content[8..]);
        hasher.finalize()
    };
    content[4..8].copy_from_slice(&crc.to_le_bytes());
    disk.open(path, OpenMode::Write).unwrap().write_all_at(&content, 0).unwrap();
    let mut machine = in_memory(&disk);
    let mut build = machine.begin_rebuild(0).unwrap();
    let failure = build.step(u64::MAX).unwrap_err();
    let RebuildFailure::Source(Error::Corrupt { file, .. }) = failure else { panic!("{failure}") };
    assert_eq!(file, Path::new("/state/1"));
}

#[test]
fn a_build_that_finds_no_room_comes_to_nothing() {
    let disk = SimDisk::new();
    let mut machine = in_memory(&disk);
    put(&mut machine, 1, "a", Bytes::from(vec![7; 1 << 20]));
    let free = disk.free_bytes(Path::new("/")).unwrap();
    let mut build = machine.begin_rebuild(free).unwrap();
    let failure = build.step(1).unwrap_err();
    assert!(matches!(failure, RebuildFailure::Build(Error::NoRoom { .. })), "{failure}");
    assert_eq!(disk.list(Path::new("/state")).unwrap().len(), 1);
}
