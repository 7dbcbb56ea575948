//! Nodes of a cluster in one process, their network, and how they are started, cut off and killed.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_storage::disk::{CrashMode, Disk, SimDisk};
use quorate_storage::identity::FileOwner;
use quorate_storage::log::{LogConfig, LogPlace, LogState, LogStore, SegmentedLog};
use quorate_storage::payload::InClear;
use quorate_storage::snapshot::file_name;
use quorate_storage::{
    ConfEpoch, ConfState, EntryId, GroupDescriptor, GroupId, GroupUid, Incarnation, Index, KeyRange, NodeId,
    RangeEpoch, ReplicaDescriptor, ReplicaId,
};
use quorate_telemetry::{
    BootId, Clock, GroupStats, Rng, SeededRng, SimClock, SimWorkers, SimWorkersConfig, SystemClock,
    ThreadWorkers, Workers,
};
use quorate_transport::net::BoxFuture;
use quorate_transport::{RaftMessage, RequestError, RequestKind};

use tokio::task::JoinHandle;

use super::machine::MapMachines;
use crate::actor::{
    Applied, Birth, CreateSpec, GroupConfig, GroupDeps, GroupHandle, GroupWorkers, Outbound, ReadLevel,
    ScrubBudget, SnapshotBudget, SnapshotBudgetConfig, StartError, StartSpec, StateMachineFactory,
    create_group, group_of_request, start_group,
};
use crate::error::{Error, Result};
use crate::hlc::ClockWatch;
use crate::repair::{Repair, Repaired};

pub(super) const GROUP: GroupId = GroupId(7);
pub(super) const DEADLINE: Duration = Duration::from_secs(20);
pub(super) const UID: GroupUid = GroupUid([9; 16]);
const EPOCH: RangeEpoch = RangeEpoch(1);
/// What all clocks show in the beginning.
pub(super) const WALL: Duration = Duration::from_secs(1_000_000);
pub(super) const DIR: &str = "/data/groups/7";

/// Carries messages between the groups of one process.
#[derive(Clone, Debug, Default)]
pub(super) struct Network(Arc<Mutex<Links>>);

#[derive(Debug, Default)]
struct Links {
    handles: BTreeMap<NodeId, GroupHandle>,
    cut: BTreeSet<NodeId>,
    requests: u64,
    /// Requests that fail, by their number: the even ones before they arrive, the odd ones after.
    broken: Range<u64>,
    refuses_requests: bool,
}

#[derive(Debug)]
struct Port {
    node: NodeId,
    network: Network,
}

impl Network {
    /// Nothing passes to or from `node`.
    pub(super) fn cut(&self, node: u64) {
        self.0.lock().cut.insert(NodeId(node));
    }

    pub(super) fn heal(&self, node: u64) {
        self.0.lock().cut.remove(&NodeId(node));
    }

    /// Messages pass, requests do not.
    pub(super) fn refuse_requests(&self) {
        self.0.lock().refuses_requests = true;
    }

    /// Of the requests from now on, those with these numbers fail.
    pub(super) fn break_requests(&self, numbers: Range<u64>) {
        let mut links = self.0.lock();
        links.requests = 0;
        links.broken = numbers;
    }

    /// Whether the next request fails, and if so, whether it arrives.
    fn fate(&self) -> Option<bool> {
        let mut links = self.0.lock();
        let number = links.requests;
        links.requests += 1;
        links.broken.contains(&number).then_some(number % 2 == 1)
    }

    /// The way out of `node`.
    pub(super) fn port(&self, node: u64) -> Arc<dyn Outbound> {
        Arc::new(Port { node: NodeId(node), network: self.clone() })
    }

    fn handle(&self, from: NodeId, to: NodeId) -> Option<GroupHandle> {
        let links = self.0.lock();
        let is_cut = links.cut.contains(&from) || links.cut.contains(&to);
        links.handles.get(&to).filter(|_| !is_cut).cloned()
    }
}

impl Outbound for Port {
    fn send(&self, node: NodeId, message: RaftMessage) {
        if let Some(handle) = self.network.handle(self.node, node) {
            handle.step(self.node, vec![message]);
        }
    }

    fn request(
        &self,
        node: NodeId,
        kind: RequestKind,
        body: Bytes,
        _deadline: Duration,
    ) -> BoxFuture<'static, std::result::Result<Bytes, RequestError>> {
        assert_eq!(group_of_request(kind, &body), Some(GROUP));
        let from = self.node;
        let is_refused = self.network.0.lock().refuses_requests;
        let handle = self.network.handle(from, node).filter(|_| !is_refused);
        let fate = self.network.fate();
        Box::pin(async move {
            let handle = handle.ok_or(RequestError::Unreachable(node))?;
            if fate == Some(false) {
                return Err(RequestError::Unreachable(node));
            }
            let reply = handle.serve_group(from, kind, body).await;
            if fate.is_some() { Err(RequestError::NoReply(node)) } else { Ok(reply) }
        })
    }
}

/// What jobs run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pools {
    /// The test's own thread and virtual time.
    Simulated,
    /// Threads and real time.
    Threads,
}

/// One replica and everything of it that survives a restart. Clones share it all, and start alike.
#[derive(Clone, Debug)]
pub(super) struct TestNode {
    pub(super) id: u64,
    pub(super) handle: GroupHandle,
    pub(super) config: GroupConfig,
    pub(super) disk: SimDisk,
    pub(super) machines: Arc<dyn StateMachineFactory>,
    /// The node's, as of its first start.
    pub(super) budget: Arc<SnapshotBudget>,
    /// Of all its starts.
    pub(super) clock: SimClock,
    /// Of the current start.
    pub(super) clock_watch: Arc<ClockWatch>,
    /// What its next start is told of its store.
    pub(super) store_is_rotten: bool,
    network: Network,
    pools: Pools,
    starts: u64,
    /// Whether it is the group's only replica.
    is_alone: bool,
    /// Of all its starts.
    pub(super) stats: Arc<GroupStats>,
}

pub(super) fn config() -> GroupConfig {
    GroupConfig::default()
}

/// The replicas 1 to `count` of a new group.
pub(super) async fn cluster(count: u64, config: &GroupConfig) -> (Network, Vec<TestNode>) {
    cluster_on(Pools::Simulated, count, config).await
}

pub(super) async fn cluster_on(pools: Pools, count: u64, config: &GroupConfig) -> (Network, Vec<TestNode>) {
    let network = Network::default();
    let mut nodes = Vec::new();
    for id in 1..=count {
        let voters = ConfState::of_voters((1..=count).map(ReplicaId).collect());
        nodes.push(TestNode::made(id, count, Birth::Founding(voters), (config, &network, pools)).await);
    }
    (network, nodes)
}

pub(super) fn descriptor(count: u64) -> GroupDescriptor {
    let replica =
        |id| ReplicaDescriptor { replica: ReplicaId(id), node: NodeId(id), incarnation: incarnation(id) };
    GroupDescriptor {
        group: GROUP,
        uid: UID,
        range: KeyRange::all(),
        range_epoch: EPOCH,
        conf_epoch: ConfEpoch(1),
        replicas: (1..=count).map(replica).collect(),
    }
}

pub(super) fn incarnation(id: u64) -> Incarnation {
    Incarnation(u128::from(id).to_le_bytes())
}

impl TestNode {
    /// A replica that joins a group of `count`.
    pub(super) async fn joining(id: u64, count: u64, config: &GroupConfig, network: &Network) -> Self {
        Self::made(id, count, Birth::Joining, (config, network, Pools::Simulated)).await
    }

    async fn made(
        id: u64,
        count: u64,
        birth: Birth,
        (config, network, pools): (&GroupConfig, &Network, Pools),
    ) -> Self {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/data/groups")).unwrap();
        for dir in ["/", "/data"] {
            disk.sync_dir(Path::new(dir)).unwrap();
        }
        let machines: Arc<dyn StateMachineFactory> = Arc::new(MapMachines);
        let clock = SimClock::new(WALL, BootId([1; 16]));
        let deps = deps((id, 0), (pools, &clock), &disk, network, Arc::clone(&machines));
        let spec = CreateSpec {
            descriptor: descriptor(count),
            replica: ReplicaId(id),
            incarnation: incarnation(id),
            dir: PathBuf::from(DIR),
            birth,
            log: LogConfig::default(),
        };
        create_group(Arc::clone(&deps), spec.clone()).await.unwrap();
        create_group(Arc::clone(&deps), spec).await.expect("what stands is left as it is");
        let stats: Arc<GroupStats> = Arc::default();
        let spec = StartSpec { campaigns_at_once: id == 1, ..start_spec(config, &stats) };
        let (budget, clock_watch) = (Arc::clone(&deps.snapshots), Arc::clone(&deps.clock_watch));
        let handle = start_group(deps, spec).await.unwrap();
        network.0.lock().handles.insert(NodeId(id), handle.clone());
        let (config, network) = (config.clone(), network.clone());
        Self {
            id,
            handle,
            config,
            disk,
            machines,
            budget,
            clock,
            clock_watch,
            store_is_rotten: false,
            network,
            pools,
            starts: 1,
            is_alone: count == 1,
            stats,
        }
    }

    /// Starts again, after the handle was stopped.
    pub(super) async fn restart(&mut self) {
        self.handle = self.try_restart().await.unwrap();
        self.network.0.lock().handles.insert(NodeId(self.id), self.handle.clone());
    }

    pub(super) async fn try_restart(&mut self) -> std::result::Result<GroupHandle, StartError> {
        start_group(self.next_deps(), self.spec()).await
    }

    fn next_deps(&mut self) -> Arc<GroupDeps> {
        self.starts += 1;
        let machines = Arc::clone(&self.machines);
        let clock = (self.pools, &self.clock);
        let deps = deps((self.id, self.starts), clock, &self.disk, &self.network, machines);
        self.clock_watch = Arc::clone(&deps.clock_watch);
        deps
    }

    fn spec(&self) -> StartSpec {
        StartSpec {
            is_alone: self.is_alone,
            store_is_rotten: self.store_is_rotten,
            ..start_spec(&self.config, &self.stats)
        }
    }

    /// Starts again as a node would: what is unreadable is being repaired when this returns.
    pub(super) async fn begin_restart(&mut self) -> Option<JoinHandle<Repaired>> {
        let (handle, repair) = match self.try_restart().await {
            Ok(handle) => (handle, None),
            Err(StartError::Unreadable { damage, .. }) => {
                let (handle, repair) = Repair::begin(self.next_deps(), self.spec(), *damage, &[]);
                (handle, Some(tokio::spawn(repair.run())))
            }
            Err(error) => panic!("{error}"),
        };
        self.handle = handle;
        self.network.0.lock().handles.insert(NodeId(self.id), self.handle.clone());
        repair
    }

    /// What stands in for it after a start that failed.
    pub(super) fn quarantined(&self, error: &StartError) -> GroupHandle {
        let machines = Arc::clone(&self.machines);
        let clock = (self.pools, &self.clock);
        let deps = deps((self.id, 0), clock, &self.disk, &self.network, machines);
        GroupHandle::quarantined(&deps, &self.spec(), error)
    }

    /// What a start would find in the log.
    pub(super) fn log(&self) -> LogState {
        let owner = FileOwner { group: UID, replica: ReplicaId(self.id), incarnation: incarnation(self.id) };
        let place = LogPlace {
            disk: Arc::new(self.disk.clone()),
            dir: PathBuf::from(DIR).join("wal"),
            owner,
            rng: Arc::new(SeededRng::new(99)),
        };
        SegmentedLog::open(place, LogConfig::default()).unwrap().recovered().clone()
    }

    /// As a crash of the process would: nothing is finished but the disk writes in flight.
    pub(super) async fn kill(&self) {
        self.network.0.lock().handles.remove(&NodeId(self.id));
        self.handle.stop(crate::actor::StopMode::Now).await;
    }

    /// The machine loses power: what was not synced is gone.
    pub(super) async fn cut_power(&mut self) {
        self.network.0.lock().handles.remove(&NodeId(self.id));
        self.disk = self.disk.crash(CrashMode::LoseUnsynced);
        self.handle.stop(crate::actor::StopMode::Now).await;
    }

    pub(super) async fn put(&self, command: &str) -> Result<Applied> {
        self.handle.propose(Bytes::copy_from_slice(command.as_bytes()), EPOCH, DEADLINE).await
    }

    pub(super) async fn get(&self, key: &str, level: ReadLevel) -> Result<String> {
        let key = Bytes::copy_from_slice(key.as_bytes());
        let value = self.handle.read_with(level, DEADLINE, move |state| state.query(&key)).await?;
        Ok(String::from_utf8(value.unwrap().to_vec()).unwrap())
    }

    /// Waits until this replica takes proposals.
    pub(super) async fn serves(&self) {
        self.handle.watch_role().wait_for(|role| role.is_serving).await.unwrap();
    }

    /// Waits until this replica has applied everything up to `index`.
    pub(super) async fn applies(&self, index: Index) {
        self.handle.watch_applied().wait_for(|applied| *applied >= index).await.unwrap();
    }
}

fn start_spec(config: &GroupConfig, stats: &Arc<GroupStats>) -> StartSpec {
    StartSpec {
        group: GROUP,
        dir: PathBuf::from(DIR),
        config: config.clone(),
        campaigns_at_once: false,
        stats: Arc::clone(stats),
        listener: None,
        is_alone: false,
        store_is_rotten: false,
    }
}

fn deps(
    (id, start): (u64, u64),
    (pools, clock): (Pools, &SimClock),
    disk: &SimDisk,
    network: &Network,
    machines: Arc<dyn StateMachineFactory>,
) -> Arc<GroupDeps> {
    let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(id * 1_000 + start));
    let workers = |label| -> Arc<dyn Workers> {
        let threads = NonZeroUsize::new(2).unwrap();
        if pools == Pools::Threads {
            return Arc::new(ThreadWorkers::new("test", threads).unwrap());
        }
        let config = SimWorkersConfig { threads, job_time_max: Duration::from_micros(500) };
        Arc::new(SimWorkers::new(rng.stream(label), config))
    };
    let clock: Arc<dyn Clock> = match pools {
        Pools::Simulated => Arc::new(clock.clone()),
        Pools::Threads => Arc::new(SystemClock::new()),
    };
    Arc::new(GroupDeps {
        node: NodeId(id),
        clock: Arc::clone(&clock),
        rng: Arc::clone(&rng),
        disk: Arc::new(disk.clone()),
        workers: GroupWorkers {
            log: workers(1),
            apply: workers(2),
            read: workers(3),
            background: workers(4),
            open: workers(5),
            restore: workers(6),
        },
        outbound: network.port(id),
        machines,
        space: Arc::default(),
        clock_watch: Arc::new(ClockWatch::new(Arc::clone(&clock))),
        unsealer: Arc::new(InClear),
        scrub: ScrubBudget::new(64 << 20, Arc::clone(&clock)),
        snapshots: SnapshotBudget::new(SnapshotBudgetConfig::default(), clock),
    })
}

pub(super) fn snapshot_path(id: EntryId) -> PathBuf {
    Path::new(DIR).join("snapshots").join(file_name(id))
}

/// The first of `nodes` that takes proposals.
pub(super) async fn leader(nodes: &[TestNode]) -> &TestNode {
    for _ in 0..6_000 {
        let mut roles: Vec<_> = nodes.iter().map(|node| node.handle.watch_role()).collect();
        if let Some(at) = roles.iter_mut().position(|role| role.borrow_and_update().is_serving) {
            return &nodes[at];
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody leads after a minute");
}

/// Tries until `command` is applied by whoever leads; for commands that may be applied twice.
pub(super) async fn put_anyhow(nodes: &[TestNode], command: &str) -> Applied {
    loop {
        match leader(nodes).await.put(command).await {
            Ok(applied) => return applied,
            Err(Error::Invalid(error)) => panic!("{error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
