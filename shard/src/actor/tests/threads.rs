//! The same actor on real threads, and on a real disk with the default store.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::disk::{Disk, RealDisk};
use quorate_storage::kv::{KvCommand, KvStateMachine, Op, ScanRange, StoreConfig, StoreKind, StoreShared};
use quorate_storage::log::LogConfig;
use quorate_storage::payload::InClear;
use quorate_storage::state::StateMachine;
use quorate_storage::{ConfState, NodeId, RangeEpoch, ReplicaId, Result};
use quorate_telemetry::stats::ColdStartOutcome;
use quorate_telemetry::{Rng, SystemClock, SystemRng, ThreadWorkers, Workers};

use super::network::Network;
use super::node::{DEADLINE, GROUP, Pools, cluster_on, config, descriptor, incarnation, leader, put_anyhow};
use crate::actor::{
    Birth, CreateSpec, GroupDeps, GroupHandle, GroupWorkers, ReadLevel, ScrubBudget, SnapshotBudget,
    SnapshotBudgetConfig, StartSpec, StateContext, StateMachineFactory, StopMode, create_group, start_group,
};
use crate::hlc::ClockWatch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_on_a_hanging_disk_gives_its_office_away() {
    let mut config = config();
    config.tick = Duration::from_millis(2);
    let (_network, nodes) = cluster_on(Pools::Threads, 3, &config).await;
    put_anyhow(&nodes, "a=1").await;
    let old = leader(&nodes).await.id;
    let (old, rest): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| node.id == old);
    old[0].disk.stall_syncs(true);
    let (handle, epoch) = (old[0].handle.clone(), RangeEpoch(1));
    let hangs = tokio::spawn(async move { handle.propose("b=2".into(), epoch, DEADLINE).await });
    let mut role = old[0].handle.watch_role();
    role.wait_for(|role| !role.is_leader).await.unwrap();
    put_anyhow(&rest, "c=3").await;
    while !old[0].handle.status().is_log_stalled {
        tokio::time::sleep(config.tick).await;
    }
    old[0].disk.stall_syncs(false);
    // Its entry stands in the followers' logs: it may well be applied.
    drop(hangs.await.unwrap());
    while old[0].handle.status().is_log_stalled {
        tokio::time::sleep(config.tick).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_every_kind_of_stop() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = 0;
    for stop in [StopMode::Now, StopMode::Graceful { deadline: DEADLINE }, StopMode::Now] {
        let handle = open(dir.path()).await;
        handle.watch_role().wait_for(|role| role.is_serving).await.unwrap();
        assert_eq!(count(&handle).await, expected, "keys after a restart");
        let restored = if expected == 0 { ColdStartOutcome::Fallback } else { ColdStartOutcome::Skipped };
        assert_eq!(handle.stats().cold_starts.counts()[0].0, restored, "a restart costs the tail of the log");
        let mut writes = tokio::task::JoinSet::new();
        for i in expected..expected + 200 {
            let handle = handle.clone();
            writes.spawn(async move { handle.propose(put(i), RangeEpoch(1), DEADLINE).await.unwrap() });
        }
        writes.join_all().await;
        expected += 200;
        handle.publish_snapshot(DEADLINE).await.unwrap();
        handle.propose(put(expected), RangeEpoch(1), DEADLINE).await.unwrap();
        expected += 1;
        handle.stop(stop).await;
    }
}

/// Makes the key-value machine on the default store.
#[derive(Debug)]
struct KvMachines {
    stores: Arc<StoreShared>,
    disk: Arc<dyn Disk>,
    rng: Arc<dyn Rng>,
}

impl StateMachineFactory for KvMachines {
    fn open(&self, context: &StateContext) -> Result<Box<dyn StateMachine>> {
        let engine = self.stores.engine(StoreKind::Lsm, Arc::clone(&self.disk), Arc::clone(&self.rng));
        Ok(Box::new(KvStateMachine::open(engine, Arc::clone(&self.disk), &context.dir, context.uid)))
    }

    fn check(&self, body: &Bytes) -> Result<()> {
        KvCommand::decode(body).map(drop)
    }
}

async fn open(dir: &Path) -> GroupHandle {
    let workers = |name| -> Arc<dyn Workers> {
        Arc::new(ThreadWorkers::new(name, NonZeroUsize::new(2).unwrap()).unwrap())
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    let (clock, rng) = (Arc::new(SystemClock::new()), Arc::new(SystemRng::new()));
    let machines = KvMachines {
        stores: StoreShared::new(StoreConfig::default(), workers("store"), clock.clone()),
        disk: Arc::clone(&disk),
        rng: rng.clone(),
    };
    let deps = Arc::new(GroupDeps {
        node: NodeId(1),
        clock: clock.clone(),
        rng,
        disk,
        workers: GroupWorkers {
            log: workers("log"),
            apply: workers("apply"),
            read: workers("read"),
            background: workers("background"),
            open: workers("open"),
            restore: workers("restore"),
        },
        outbound: Network::default().port(1),
        machines: Arc::new(machines),
        stats: Arc::default(),
        space: Arc::default(),
        clock_watch: Arc::new(ClockWatch::new(Arc::new(SystemClock::new()))),
        unsealer: Arc::new(InClear),
        scrub: ScrubBudget::new(64 << 20, clock),
        snapshots: SnapshotBudget::new(SnapshotBudgetConfig::default(), Arc::new(SystemClock::new())),
    });
    let create = CreateSpec {
        descriptor: descriptor(1),
        replica: ReplicaId(1),
        incarnation: incarnation(1),
        dir: dir.join("groups/7"),
        birth: Birth::Founding(ConfState::of_voters(vec![ReplicaId(1)])),
        log: LogConfig::default(),
    };
    let start = StartSpec {
        group: GROUP,
        dir: create.dir.clone(),
        config: config(),
        campaigns_at_once: true,
        stats: Arc::default(),
        listener: None,
        is_alone: true,
        store_is_rotten: false,
    };
    create_group(Arc::clone(&deps), create).await.unwrap();
    start_group(deps, start).await.unwrap()
}

fn put(i: usize) -> Bytes {
    let (key, value) = (format!("{i:08}").into(), Bytes::from(vec![b'v'; 100]));
    KvCommand { conditions: Vec::new(), ops: vec![Op::Put(key, value)] }.encode().unwrap()
}

async fn count(handle: &GroupHandle) -> usize {
    let range = ScanRange { start: b"", end: None, reverse: false };
    let scan = handle.read_with(ReadLevel::Linearizable, DEADLINE, move |state| {
        state.as_kv().unwrap().scan(range, usize::MAX, usize::MAX).unwrap().len()
    });
    scan.await.unwrap()
}
