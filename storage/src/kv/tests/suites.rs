//! Every store under the state suite and the store suite.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_telemetry::clock::SimClock;
use quorate_telemetry::rng::SeededRng;
use quorate_telemetry::workers::ThreadWorkers;
use quorate_telemetry::{BootId, Clock, Workers};

use crate::disk::{CrashMode, Disk, RealDisk, SimDisk};
use crate::kv::{KvEngine, KvStateMachine, MemoryLoss, StoreConfig, StoreKind, StoreShared, conformance};
use crate::state::StateMachine;
use crate::state::conformance::{self as state_conformance, GROUP_UID};

/// A place for a store of one kind.
struct Place {
    kind: StoreKind,
    shared: Arc<StoreShared>,
    clock: SimClock,
    files: Files,
}

enum Files {
    Real(tempfile::TempDir),
    Simulated { disk: SimDisk, mode: CrashMode },
}

impl Place {
    fn new(kind: StoreKind, config: StoreConfig, files: Files) -> Self {
        let workers: Arc<dyn Workers> = Arc::new(ThreadWorkers::new("flush", NonZeroUsize::MIN).unwrap());
        let clock = SimClock::new(Duration::ZERO, BootId([1; 16]));
        let shared = StoreShared::new(config, workers, Arc::new(clock.clone()));
        Self { kind, shared, clock, files }
    }
}

impl conformance::Subject for Place {
    fn disk(&self) -> Arc<dyn Disk> {
        match &self.files {
            Files::Real(_) => Arc::new(RealDisk::new()),
            Files::Simulated { disk, .. } => Arc::new(disk.clone()),
        }
    }

    fn engine(&self, disk: Arc<dyn Disk>) -> Arc<dyn KvEngine> {
        self.shared.engine(self.kind, disk, Arc::new(SeededRng::new(1)))
    }

    fn dir(&self) -> PathBuf {
        match &self.files {
            Files::Real(dir) => dir.path().to_path_buf(),
            Files::Simulated { .. } => PathBuf::from("/"),
        }
    }

    fn crash_process(&mut self) {
        if let Files::Simulated { disk, .. } = &mut self.files {
            *disk = disk.crash(CrashMode::KeepAll);
        }
    }

    fn cut_power(&mut self) {
        let BootId(boot) = self.clock.boot_id();
        self.clock.restart(Duration::ZERO, BootId([boot[0] + 1; 16]));
        if let Files::Simulated { disk, mode } = &mut self.files {
            *disk = disk.crash(*mode);
        }
    }
}

impl state_conformance::Subject for Place {
    fn open(&mut self) -> Box<dyn StateMachine> {
        use conformance::Subject as _;

        let (disk, dir) = (self.disk(), self.dir().join("state"));
        let machine = KvStateMachine::open(self.engine(disk.clone()), disk, &dir, GROUP_UID);
        assert!(machine.failure().is_none(), "{:?}", machine.failure());
        Box::new(machine)
    }

    fn crash(&mut self) {
        use conformance::Subject as _;

        if self.kind == StoreKind::Memory { self.cut_power() } else { self.crash_process() }
    }

    fn command(&self, n: u64) -> Bytes {
        super::command(n)
    }
}

/// In memory where the system has such a place: what a real power cut does is not at issue here.
fn real_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn on_memory(loss: MemoryLoss, mode: CrashMode) -> Place {
    let config = StoreConfig { memory_loss: Some(loss), ..StoreConfig::default() };
    Place::new(StoreKind::Memory, config, Files::Simulated { disk: SimDisk::new(), mode })
}

fn on_lsm(group_memtable_bytes_max: u64) -> Place {
    let config = StoreConfig { group_memtable_bytes_max, ..StoreConfig::default() };
    Place::new(StoreKind::Lsm, config, Files::Real(real_dir()))
}

fn on_sled() -> Place {
    Place::new(StoreKind::Sled, StoreConfig::default(), Files::Real(real_dir()))
}

/// Every way an in-memory store can lose data.
fn losses() -> impl Iterator<Item = (MemoryLoss, CrashMode)> {
    let pieces = |seed| CrashMode::KeepPieces { seed, piece_bytes: 512 };
    let modes = [CrashMode::LoseUnsynced, CrashMode::KeepAll, pieces(1), pieces(2), pieces(3)];
    [MemoryLoss::Tail, MemoryLoss::All]
        .into_iter()
        .flat_map(move |loss| modes.into_iter().map(move |mode| (loss, mode)))
}

/// Never full, often full, always full: flushes then race with everything.
const MEMTABLES: [u64; 3] = [1 << 20, 4 << 10, 1];

#[test]
fn the_memory_store_conforms_whatever_a_crash_loses() {
    for (loss, mode) in losses() {
        conformance::check_all(&mut || Box::new(on_memory(loss, mode)));
    }
}

#[test]
fn the_lsm_store_conforms_however_small_its_memtable() {
    for bytes in &MEMTABLES[..2] {
        conformance::check_all(&mut || Box::new(on_lsm(*bytes)));
    }
    let always_full = &mut || -> Box<dyn conformance::Subject> { Box::new(on_lsm(1)) };
    conformance::a_view_stays_as_it_was_while_writes_go_on(always_full);
    conformance::scans_keep_to_their_range_and_direction(always_full);
}

#[test]
fn the_lsm_store_takes_views_while_it_flushes() {
    // One batch is enough for a flush in the background, two for one by the writer.
    conformance::a_view_is_taken_whatever_work_is_under_way(&mut || Box::new(on_lsm(150)));
}

#[test]
fn the_sled_store_conforms() {
    conformance::check_all(&mut || Box::new(on_sled()));
}

#[test]
fn the_state_machine_conforms_on_the_memory_store() {
    for (loss, mode) in losses() {
        state_conformance::check_all(&mut || Box::new(on_memory(loss, mode)));
    }
}

#[test]
fn the_state_machine_conforms_on_the_lsm_store() {
    for bytes in MEMTABLES {
        state_conformance::check_all(&mut || Box::new(on_lsm(bytes)));
    }
}

#[test]
fn the_state_machine_conforms_on_the_sled_store() {
    state_conformance::check_all(&mut || Box::new(on_sled()));
}
