//! The in-memory store under the suites.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use quorate_telemetry::rng::SeededRng;

use crate::disk::{CrashMode, SimDisk};
use crate::kv::{KvStateMachine, MemoryEngine, MemoryLoss};
use crate::state::StateMachine;
use crate::state::conformance::{self, GROUP_UID, Subject};

struct OnMemory {
    disk: SimDisk,
    loss: MemoryLoss,
    mode: CrashMode,
}

impl Subject for OnMemory {
    fn open(&mut self) -> Box<dyn StateMachine> {
        let disk = Arc::new(self.disk.clone());
        let engine = MemoryEngine::new(disk.clone(), Arc::new(SeededRng::new(1)), Some(self.loss));
        let machine = KvStateMachine::open(Arc::new(engine), disk, &PathBuf::from("/state"), GROUP_UID);
        assert!(machine.failure().is_none(), "{:?}", machine.failure());
        Box::new(machine)
    }

    fn crash(&mut self) {
        self.disk = self.disk.crash(self.mode);
    }

    fn command(&self, n: u64) -> Bytes {
        super::command(n)
    }
}

#[test]
fn the_state_machine_on_the_memory_store_conforms_whatever_a_crash_loses() {
    let pieces = |seed| CrashMode::KeepPieces { seed, piece_bytes: 512 };
    for loss in [MemoryLoss::Tail, MemoryLoss::All] {
        for mode in [CrashMode::LoseUnsynced, CrashMode::KeepAll, pieces(1), pieces(2), pieces(3)] {
            conformance::check_all(&mut || Box::new(OnMemory { disk: SimDisk::new(), loss, mode }));
        }
    }
}
