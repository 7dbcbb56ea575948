//! Data directories as nodes leave them, on every store.

mod inspecting;
mod verifying;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_telemetry::clock::SimClock;
use quorate_telemetry::rng::SeededRng;
use quorate_telemetry::workers::ThreadWorkers;
use quorate_telemetry::{BootId, Rng};

use super::{LookOptions, StoppedDir, VerifyReport, verify};
use crate::disk::{Disk, OpenMode, RealDisk, SimDisk};
use crate::entry::{ConfState, Entry, EntryId, EntryKind, HardState};
use crate::error::Result;
use crate::identity::{DataDir, Divergence, FileOwner, ReplicaIdentity, ReplicaPaths};
use crate::ids::{ClusterId, GroupId, GroupUid, Incarnation, Index, NodeId, ReplicaId, Term};
use crate::kv::{KvCommand, KvEngine, KvStateMachine, Op, StoreConfig, StoreKind, StoreShared};
use crate::log::{LogBatch, LogConfig, LogPlace, LogStore, SegmentedLog};
use crate::snapshot::{SnapshotDir, SnapshotLabel};
use crate::state::fixture::example_record;
use crate::state::{AppliedRecord, Command, StateDigest, StateMachine};

const GROUP: GroupId = GroupId(4);
const LOG: LogConfig =
    LogConfig { segment_bytes: 32 << 10, first_segment_bytes: 32 << 10, zero_ahead_bytes: 0 };

/// The last entry, and the one the newest snapshot ends with.
const LAST: u64 = 20;
const SNAPSHOT: u64 = 12;

/// A data directory with one group in it.
struct Site {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    kind: StoreKind,
    clock: SimClock,
    shared: Arc<StoreShared>,
    scratch: tempfile::TempDir,
    _files: Option<tempfile::TempDir>,
}

fn owner() -> FileOwner {
    let uid = example_record(1, 1).descriptor.uid;
    FileOwner { group: uid, replica: ReplicaId(1), incarnation: Incarnation([1; 16]) }
}

fn record(index: u64) -> AppliedRecord {
    example_record(index, 1)
}

impl Site {
    fn on_sim(disk: &SimDisk) -> Self {
        Self::new(Arc::new(disk.clone()), PathBuf::from("/data"), StoreKind::Memory, None)
    }

    fn on_files(kind: StoreKind) -> Self {
        let files = tempfile::tempdir().unwrap();
        Self::new(Arc::new(RealDisk::new()), files.path().join("data"), kind, Some(files))
    }

    fn new(disk: Arc<dyn Disk>, root: PathBuf, kind: StoreKind, files: Option<tempfile::TempDir>) -> Self {
        let clock = SimClock::new(Duration::ZERO, BootId([1; 16]));
        let workers = Arc::new(ThreadWorkers::new("flush", NonZeroUsize::MIN).unwrap());
        let config = StoreConfig { memory_loss: Some(crate::kv::MemoryLoss::Tail), ..StoreConfig::default() };
        let shared = StoreShared::new(config, workers, Arc::new(clock.clone()));
        Self { disk, root, kind, clock, shared, scratch: tempfile::tempdir().unwrap(), _files: files }
    }

    fn engine(&self) -> Arc<dyn KvEngine> {
        self.shared.engine(self.kind, self.disk.clone(), Arc::new(SeededRng::new(3)))
    }

    fn machine(&self, paths: &ReplicaPaths) -> KvStateMachine {
        KvStateMachine::open(self.engine(), self.disk.clone(), &paths.state(), owner().group)
    }

    fn open_dir(&self) -> DataDir {
        let rng = SeededRng::new(7);
        DataDir::open_or_create(self.disk.clone(), &self.root, ClusterId([5; 16]), NodeId(1), &rng).unwrap()
    }

    fn paths(&self) -> ReplicaPaths {
        ReplicaPaths::new(self.root.join("groups").join(GROUP.to_string()))
    }

    fn place(&self) -> LogPlace {
        // File ids must differ from opening to opening.
        let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(self.disk.sync_count()));
        LogPlace { disk: self.disk.clone(), dir: self.paths().wal(), owner: owner(), rng }
    }

    fn snapshots(&self) -> SnapshotDir {
        SnapshotDir::new(self.disk.clone(), self.paths().snapshots(), owner())
    }

    /// What a node leaves that applied `applied` of [`LAST`] entries, published a snapshot, compacted, and was
    /// stopped cleanly.
    fn fill(&self, applied: u64) {
        self.try_fill(applied).unwrap();
    }

    /// [`Self::fill`], as far as the disk goes along.
    fn try_fill(&self, applied: u64) -> Result<()> {
        let rng = SeededRng::new(7);
        let cluster = ClusterId([5; 16]);
        let data = DataDir::open_or_create(self.disk.clone(), &self.root, cluster, NodeId(1), &rng)?;
        let paths = data.prepare(GROUP)?;
        let rng = SeededRng::new(9);
        let snapshots = self.snapshots();
        snapshots.create()?;
        let conf = ConfState::of_voters(vec![ReplicaId(1)]);
        let (birth, _) = snapshots.publish_empty(conf, record(1).descriptor, &rng)?;
        let mut log = SegmentedLog::create(self.place(), LOG, birth)?;
        identity().create(&*self.disk, &paths.replica_file(), &rng)?;
        for index in 2..=LAST {
            log.append(&[batch(index)], true)?;
        }
        let mut machine = self.machine(&paths);
        apply(&mut machine, 2..=SNAPSHOT)?;
        let mut view = machine.view()?;
        let label = SnapshotLabel { record: view.record().clone() };
        let mut writer = snapshots.writer(&label, &rng)?;
        view.write_to(&mut writer)?;
        let token = writer.finish()?;
        drop(view);
        machine.checkpoint()?;
        log.record_snapshot(token)?;
        log.compact(Index(4))?;
        apply(&mut machine, SNAPSHOT + 1..=applied)?;
        machine.close()?;
        log.close()
    }

    /// Marks the replica as one whose state was proven wrong; gives the mark's file.
    fn mark(&self) -> PathBuf {
        let (own, majority) = (StateDigest(0xa << 124), StateDigest(0xb << 124));
        let path = self.paths().divergence_file();
        let found = Divergence { index: Index(SNAPSHOT), own, majority };
        found.write(&*self.disk, &path, owner(), &SeededRng::new(4)).unwrap();
        path
    }

    fn options(&self) -> LookOptions {
        let clock = Arc::new(self.clock.clone());
        LookOptions { group: None, clock, scratch: self.scratch.path().to_path_buf() }
    }

    fn stopped(&self) -> StoppedDir {
        StoppedDir::lock(self.disk.clone(), &self.root).unwrap()
    }

    fn verify(&self) -> VerifyReport {
        verify(&self.stopped(), &self.options(), &mut |_| {})
    }

    /// Every file and its bytes.
    fn bytes(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&*self.disk, &self.root, &mut files);
        files
    }
}

fn collect(disk: &dyn Disk, dir: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in disk.list(dir).unwrap() {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            collect(disk, &path, files);
        } else {
            let file = disk.open(&path, OpenMode::Read).unwrap();
            let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
            file.read_exact_at(&mut bytes, 0).unwrap();
            files.insert(path, bytes);
        }
    }
}

fn identity() -> ReplicaIdentity {
    let FileOwner { group: uid, replica, incarnation } = owner();
    ReplicaIdentity { group: GROUP, uid, replica, incarnation, tombstone: false }
}

fn batch(index: u64) -> LogBatch {
    let payload = Bytes::from(format!("entry {index}"));
    let kind = if index == 5 { EntryKind::ConfChange } else { EntryKind::Normal };
    LogBatch {
        install: None,
        entries: vec![Entry { term: Term(1), index: Index(index), kind, payload }],
        hard_state: Some(HardState { term: Term(1), vote: Some(ReplicaId(1)), commit: Index(index - 1) }),
    }
}

/// Each entry sets one key and overwrites another.
fn apply(machine: &mut KvStateMachine, indexes: std::ops::RangeInclusive<u64>) -> Result<()> {
    for index in indexes {
        let value = Bytes::from(vec![b'a' + u8::try_from(index % 26).unwrap(); 200]);
        let ops = vec![
            Op::Put(Bytes::from(format!("key {index}")), value),
            Op::Put(Bytes::from_static(b"last"), Bytes::from(index.to_string())),
        ];
        let body = KvCommand { conditions: Vec::new(), ops }.encode().unwrap();
        let id = EntryId { term: Term(1), index: Index(index) };
        machine.apply(&[Command { id, body }], &record(index))?;
    }
    Ok(())
}

/// Another group's uid.
const OTHER: GroupUid = GroupUid([8; 16]);
