//! Three machines in one process, each with a simulated disk that outlives its node.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use quorate::config::NodeAddress;
use quorate::storage::disk::{CrashMode, SimDisk};
use quorate::storage::kv::KeyValue;
use quorate::{
    Config, GroupId, GroupReadiness, GroupWorkers, Node, NodeId, ReadLevel, ScanOptions, Seams, StoreKind,
};
use quorate_telemetry::{
    BootId, Rng, SeededRng, SimClock, SimWorkers, SimWorkersConfig, SystemClock, ThreadWorkers, Workers,
};
use quorate_transport::MemoryNetwork;
use tokio::time::Instant;

/// The only user group.
pub(crate) const GROUP: GroupId = GroupId(1);
/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const PORT: u16 = 7380;

/// What jobs run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pools {
    /// The test's own thread and virtual time: nothing may block.
    Simulated,
    /// Threads and real time.
    Threads,
}

/// One machine.
#[derive(Debug)]
struct Machine {
    disk: SimDisk,
    node: Option<Node>,
    starts: u64,
}

/// A cluster of three. Machines count from 1.
pub(crate) struct Machines {
    pools: Pools,
    seed: u64,
    network: MemoryNetwork,
    all: Vec<Machine>,
    configure: fn(&mut Config),
}

impl Machines {
    /// Opens three nodes and waits until they are ready.
    pub(crate) async fn open(pools: Pools, seed: u64, configure: fn(&mut Config)) -> Self {
        let machine = |_| Machine { disk: SimDisk::new(), node: None, starts: 0 };
        let all = (1..=3).map(machine).collect();
        let mut this = Self { pools, seed, network: MemoryNetwork::new(), all, configure };
        for id in 1..=3 {
            this.start(id).await;
        }
        for id in 1..=3 {
            this.node(id).ready(PATIENCE).await.unwrap();
        }
        this
    }

    /// Starts a node on what its last stop left.
    pub(crate) async fn start(&mut self, id: u64) {
        let (pools, seed, network, configure) = (self.pools, self.seed, self.network.clone(), self.configure);
        let machine = &mut self.all[at(id)];
        machine.starts += 1;
        let seams = seams(pools, seed * 1_000 + id * 100 + machine.starts, &machine.disk, (&network, id));
        let mut config = config(pools, id);
        configure(&mut config);
        machine.node = Some(quorate::open_with_seams(config, seams).await.unwrap());
    }

    /// The machine loses power, and its node is started again.
    pub(crate) async fn cut_power(&mut self, id: u64) {
        let machine = &mut self.all[at(id)];
        machine.disk = machine.disk.crash(CrashMode::LoseUnsynced);
        let node = machine.node.take().unwrap();
        // Nothing of it reaches the disk any more: this only ends its tasks.
        let _dead = node.shutdown_together().await;
        self.start(id).await;
    }

    pub(crate) fn node(&self, id: u64) -> &Node {
        self.all[at(id)].node.as_ref().unwrap()
    }

    pub(crate) fn nodes(&self) -> Vec<Node> {
        self.all.iter().filter_map(|machine| machine.node.clone()).collect()
    }

    pub(crate) fn disk(&self, id: u64) -> &SimDisk {
        &self.all[at(id)].disk
    }

    /// The machine whose node leads `group` and says so itself.
    pub(crate) async fn leader(&self, group: GroupId) -> u64 {
        until("a leader", || (1..=3).find(|&id| self.leads(id, group))).await
    }

    pub(crate) fn leads(&self, id: u64, group: GroupId) -> bool {
        self.node(id)
            .group(group)
            .local_status()
            .is_some_and(|status| status.role.is_serving && status.lifecycle == quorate::Lifecycle::Running)
    }

    pub(crate) fn readiness(&self, id: u64, group: GroupId) -> GroupReadiness {
        let readiness = self.node(id).readiness();
        readiness.groups.into_iter().find(|(known, _)| *known == group).unwrap().1
    }

    /// Every replica of the user group has applied what is committed, and all hold the same records: these.
    pub(crate) async fn converged(&self) -> Vec<KeyValue> {
        let statuses =
            || -> Option<Vec<_>> { (1..=3).map(|id| self.node(id).group(GROUP).local_status()).collect() };
        let is_even = || {
            let found = statuses()?;
            let last = found.iter().find(|status| status.role.is_serving)?.last;
            found.iter().all(|status| status.applied == last && status.last == last).then_some(())
        };
        let even = tokio::time::timeout(PATIENCE / 2, until("the replicas to agree", is_even)).await;
        assert!(even.is_ok(), "the replicas do not agree: {:#?}", statuses());
        let mut found: Vec<Vec<KeyValue>> = Vec::new();
        for node in self.nodes() {
            found.push(node.scan(&ScanOptions::default(), usize::MAX, ReadLevel::Local).await.unwrap());
        }
        assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "replicas differ");
        found.remove(0)
    }

    pub(crate) async fn shutdown(self) {
        for machine in &self.all {
            machine.disk.heal();
            machine.node.as_ref().unwrap().shutdown_together().await.unwrap();
        }
    }
}

fn at(id: u64) -> usize {
    usize::try_from(id - 1).unwrap()
}

/// Polls until `found` says something.
pub(crate) async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn config(pools: Pools, id: u64) -> Config {
    let mut config = Config::new("/data");
    config.node = NodeId(id);
    config.store = StoreKind::Memory;
    config.listen = Some(address(id));
    config.bootstrap.nodes = (1..=3)
        .map(|id| NodeAddress { node: NodeId(id), peer: address(id), resp: None, admin: None })
        .collect();
    config.deadline = Duration::from_secs(2);
    // Snapshots, and with them durable states, come often.
    config.snapshots.entries = Some(15);
    config.snapshots.trailing_entries = 5;
    if pools == Pools::Threads {
        config.raft.tick = Duration::from_millis(5);
    }
    config
}

fn address(id: u64) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, u8::try_from(id).unwrap()), PORT))
}

fn seams(pools: Pools, seed: u64, disk: &SimDisk, (network, id): (&MemoryNetwork, u64)) -> Seams {
    let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(seed));
    let workers = |label| -> Arc<dyn Workers> {
        let threads = NonZeroUsize::new(2).unwrap();
        match pools {
            Pools::Threads => Arc::new(ThreadWorkers::new("faults", threads).unwrap()),
            Pools::Simulated => {
                let config = SimWorkersConfig { threads, job_time_max: Duration::from_micros(300) };
                Arc::new(SimWorkers::new(rng.stream(label), config))
            }
        }
    };
    Seams {
        clock: match pools {
            Pools::Threads => Arc::new(SystemClock::new()),
            Pools::Simulated => Arc::new(SimClock::new(Duration::from_secs(1_000_000), BootId([1; 16]))),
        },
        rng: rng.stream(0),
        disk: Arc::new(disk.reopen()),
        net: Arc::new(network.numbered(u8::try_from(id).unwrap())),
        workers: GroupWorkers {
            log: workers(1),
            apply: workers(2),
            read: workers(3),
            background: workers(4),
            open: workers(5),
            restore: workers(6),
        },
        recorder: Arc::new(metrics::NoopRecorder),
    }
}
