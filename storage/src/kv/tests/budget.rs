//! The node's memtable budget.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_telemetry::clock::SimClock;
use quorate_telemetry::rng::SeededRng;
use quorate_telemetry::{BootId, Job, Stopped, Workers};

use crate::disk::RealDisk;
use crate::ids::Index;
use crate::kv::{KvCommand, KvStateMachine, Op, StoreConfig, StoreKind, StoreShared};
use crate::state::conformance::{GROUP_UID, record_at};
use crate::state::{Command, StateMachine};

/// Runs every job where it is submitted.
#[derive(Debug)]
struct AtOnce;

impl Workers for AtOnce {
    fn submit(&self, _key: u64, job: Job) -> Result<(), Stopped> {
        job();
        Ok(())
    }

    fn depth(&self) -> usize {
        0
    }

    fn stop(&self) {}
}

fn put(machine: &mut KvStateMachine, index: u64, value_bytes: usize) {
    let ops = vec![Op::Put(Bytes::from("key"), Bytes::from(vec![1; value_bytes]))];
    let body = KvCommand { conditions: Vec::new(), ops }.encode().unwrap();
    let command = Command { id: record_at(index).applied, body };
    machine.apply(&[command], &record_at(index)).unwrap();
}

#[test]
fn over_the_nodes_budget_the_largest_memtable_is_flushed() {
    let config = StoreConfig { memtable_bytes_max: 100_000, ..StoreConfig::default() };
    let shared =
        StoreShared::new(config, Arc::new(AtOnce), Arc::new(SimClock::new(Duration::ZERO, BootId([1; 16]))));
    let dir = tempfile::tempdir().unwrap();
    let mut machines: Vec<_> = ["a", "b"].into_iter().map(|name| open(&shared, &dir, name)).collect();
    put(&mut machines[0], 1, 60_000);
    put(&mut machines[1], 1, 30_000);
    assert_eq!(machines[0].durable_applied(), Index(0));
    put(&mut machines[1], 2, 20_000);
    assert_eq!(machines[0].durable_applied(), Index(1), "the largest");
    assert_eq!(machines[1].durable_applied(), Index(0));
    assert!(shared.memtable_bytes() < 60_000);
}

#[test]
fn a_group_that_is_not_written_gives_its_memtable_back() {
    let clock = SimClock::new(Duration::ZERO, BootId([1; 16]));
    let shared = StoreShared::new(StoreConfig::default(), Arc::new(AtOnce), Arc::new(clock));
    let config = StoreConfig { flush_idle_after: Duration::ZERO, ..StoreConfig::default() };
    let at_once =
        StoreShared::new(config, Arc::new(AtOnce), Arc::new(SimClock::new(Duration::ZERO, BootId([1; 16]))));
    let dir = tempfile::tempdir().unwrap();
    let cases =
        [(&shared, "a", 20_000, false), (&at_once, "b", 20_000, true), (&at_once, "c", 10_000, false)];
    for (shared, name, bytes, is_flushed) in cases {
        let mut machine = open(shared, &dir, name);
        put(&mut machine, 1, bytes);
        shared.tick();
        assert!(shared.memtable_bytes() > 0, "it was written since the last tick");
        shared.tick();
        assert_eq!(shared.memtable_bytes() == 0, is_flushed);
        assert_eq!(machine.durable_applied() == Index(1), is_flushed);
    }
}

fn open(shared: &StoreShared, dir: &tempfile::TempDir, name: &str) -> KvStateMachine {
    let disk = Arc::new(RealDisk::new());
    let engine = shared.engine(StoreKind::Lsm, disk.clone(), Arc::new(SeededRng::new(1)));
    KvStateMachine::open(engine, disk, &dir.path().join(name), GROUP_UID)
}
