//! What stores keep: the in-memory store's file, and the table list of an LSM tree.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_storage::disk::{RealDisk, SimDisk};
use quorate_storage::fuzzing::lsm_tables;
use quorate_storage::kv::{
    Batch, KvStateMachine, MemoryEngine, MemoryLoss, ScanRange, StoreConfig, StoreKind, StoreShared, record,
};
use quorate_storage::state::{AppliedIndexReader as _, Command, StateMachine};
use quorate_storage::{EntryId, Index, Term};
use quorate_telemetry::{BootId, SeededRng, SimClock, ThreadWorkers};

use super::Target;
use super::fixture::{UID, disk_with, entry, read};
use super::seal::{put_u32, u32_at};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "memory_store", what: memory_store, seeds: memory_seeds },
    Target { name: "lsm_version", what: lsm_version, seeds: version_seeds },
];

const STATE: &str = "/state";
const FILE: &str = "/state/1/batches";
const HEALTHY: &str = "the disk is healthy";

/// Most pairs and bytes that are read.
const ITEMS_MAX: usize = 1_000;
const BYTES_MAX: usize = 1 << 20;

fn machine(disk: &SimDisk) -> KvStateMachine {
    let rng = Arc::new(SeededRng::new(1));
    let engine = MemoryEngine::new(Arc::new(disk.clone()), rng, Some(MemoryLoss::Tail));
    KvStateMachine::open(Arc::new(engine), Arc::new(disk.clone()), Path::new(STATE), UID)
}

fn memory_store(bytes: &[u8]) {
    open(bytes);
    let mut sealed = bytes.to_vec();
    seal_frames(&mut sealed);
    open(&sealed);
}

/// What is read twice is the same: a start cuts, and changes nothing else.
fn open(bytes: &[u8]) {
    let disk = disk_with(Path::new(FILE), bytes);
    let first = look(&machine(&disk));
    assert_eq!(first, look(&machine(&disk)), "a second start finds something else");
}

fn look(machine: &KvStateMachine) -> String {
    let record = machine.applied_record();
    let counts = machine.counts();
    let reader = machine.reader();
    let Some(kv) = reader.as_kv() else { panic!("it is a key-value machine") };
    let all = ScanRange { start: b"", end: None, reverse: false };
    let pairs = kv.scan(all, ITEMS_MAX, BYTES_MAX);
    let keys = kv.keys(ScanRange { reverse: true, ..all }, ITEMS_MAX, BYTES_MAX);
    if let (Ok(pairs), Ok(page)) = (&pairs, &keys)
        && page.next.is_none()
        && pairs.len() < ITEMS_MAX
    {
        assert!(page.keys.iter().rev().eq(pairs.iter().map(|(key, _)| key)), "two ways of reading differ");
    }
    let view = machine.view().map(|mut view| {
        let scan = view.as_scan().map(|scan| scan.step(BYTES_MAX as u64));
        format!("{scan:?}")
    });
    format!("{:?} {record:?} {counts:?} {pairs:?} {view:?}", machine.failure())
}

/// Chains the frames anew.
fn seal_frames(bytes: &mut [u8]) {
    let (mut at, mut chain) = (0, 0_u32);
    while let Some(body_bytes) = u32_at(bytes, at) {
        let Some(body) = bytes.get(at + 8..).and_then(|rest| rest.get(..body_bytes as usize)) else { return };
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&chain.to_le_bytes());
        hasher.update(body);
        chain = hasher.finalize();
        if put_u32(bytes, at + 4, chain).is_none() {
            return;
        }
        at += 8 + body_bytes as usize;
    }
}

fn memory_seeds() -> Vec<Vec<u8>> {
    let write = |last: u64| {
        let disk = SimDisk::new();
        let mut machine = machine(&disk);
        for index in 1..=last {
            let id = EntryId { term: Term(1), index: Index(index * 6) };
            let payload = quorate_storage::payload::Payload::decode(&entry(id).payload).expect("a command");
            let record = super::fixture::record(id, 1);
            let command = Command { id, body: payload.body };
            machine.apply(&[command], &record).expect(HEALTHY);
        }
        machine.checkpoint().expect(HEALTHY);
        drop(machine);
        read(&disk, Path::new(FILE))
    };
    vec![write(1), write(4)]
}

/// Its checksum stands in another file, and is taken to be right.
fn lsm_version(bytes: &[u8]) {
    // Each table has 33 bytes.
    let tables = lsm_tables(bytes).unwrap_or_default();
    assert!(tables <= bytes.len() / 33, "{tables} tables in {} bytes", bytes.len());
}

fn version_seeds() -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let workers = Arc::new(ThreadWorkers::new("flush", NonZeroUsize::MIN).expect("a thread"));
    let clock = Arc::new(SimClock::new(Duration::ZERO, BootId([1; 16])));
    let shared = StoreShared::new(StoreConfig::default(), workers, clock);
    let rng = Arc::new(SeededRng::new(1));
    let engine = shared.engine(StoreKind::Lsm, Arc::new(RealDisk::new()), rng);
    let mut store = engine.open(dir.path()).expect(HEALTHY);
    for index in 1..=2 {
        let mut batch = Batch::new(Index(index));
        record::put(&mut batch, format!("key-{index}").as_bytes(), b"value");
        batch.set_marker(vec![1; 8]);
        store.write(&batch).expect(HEALTHY);
        store.checkpoint().expect(HEALTHY);
    }
    store.close().expect(HEALTHY);
    let files = fs::read_dir(dir.path()).expect(HEALTHY).filter_map(Result::ok);
    let is_version = |name: &str| name.strip_prefix('v').is_some_and(|number| number.parse::<u64>().is_ok());
    let mut versions: Vec<_> = files
        .filter(|file| is_version(&file.file_name().to_string_lossy()))
        .map(|file| file.path())
        .collect();
    versions.sort();
    versions.iter().map(|path| fs::read(path).expect(HEALTHY)).collect()
}
