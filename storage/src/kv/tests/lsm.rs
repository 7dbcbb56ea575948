//! The LSM store under the suites.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_telemetry::clock::SimClock;
use quorate_telemetry::rng::SeededRng;
use quorate_telemetry::workers::ThreadWorkers;
use quorate_telemetry::{BootId, Workers};

use crate::disk::RealDisk;
use crate::kv::{KvStateMachine, StoreConfig, StoreKind, StoreShared};
use crate::state::StateMachine;
use crate::state::conformance::{self, GROUP_UID, Subject};

struct OnLsm {
    dir: tempfile::TempDir,
    shared: Arc<StoreShared>,
}

impl Subject for OnLsm {
    fn open(&mut self) -> Box<dyn StateMachine> {
        let disk = Arc::new(RealDisk::new());
        let engine = self.shared.engine(StoreKind::Lsm, disk.clone(), Arc::new(SeededRng::new(1)));
        let machine = KvStateMachine::open(engine, disk, &self.dir.path().join("state"), GROUP_UID);
        assert!(machine.failure().is_none(), "{:?}", machine.failure());
        Box::new(machine)
    }

    fn crash(&mut self) {}

    fn command(&self, n: u64) -> Bytes {
        super::command(n)
    }
}

#[test]
fn the_state_machine_on_the_lsm_store_conforms_however_small_its_memtable() {
    let workers: Arc<dyn Workers> = Arc::new(ThreadWorkers::new("flush", NonZeroUsize::MIN).unwrap());
    for group_memtable_bytes_max in [1 << 20, 1 << 10, 1] {
        let config = StoreConfig { group_memtable_bytes_max, ..StoreConfig::default() };
        let clock = Arc::new(SimClock::new(Duration::ZERO, BootId([1; 16])));
        let shared = StoreShared::new(config, workers.clone(), clock);
        conformance::check_all(&mut || {
            Box::new(OnLsm { dir: tempfile::tempdir().unwrap(), shared: shared.clone() })
        });
    }
}
