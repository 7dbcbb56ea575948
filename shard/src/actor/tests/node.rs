//! Nodes of a cluster in one process, their network, and how they are started, cut off and killed.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_storage::disk::SimDisk;
use quorate_storage::identity::FileOwner;
use quorate_storage::snapshot::{SnapshotDir, SnapshotLabel, SnapshotToken};
use quorate_storage::state::{AppliedRecord, StateDigest};
use quorate_storage::{
    ConfEpoch, ConfState, EntryId, GroupDescriptor, GroupId, GroupUid, Incarnation, Index, KeyRange, NodeId,
    RangeEpoch, ReplicaDescriptor, ReplicaId, Timestamp,
};
use quorate_telemetry::{BootId, Rng, SeededRng, SimClock, SimWorkers, SimWorkersConfig, Workers};
use quorate_transport::net::BoxFuture;
use quorate_transport::{RaftMessage, RequestError, RequestKind};

use super::log::MemoryLog;
use super::machine::{MapMachines, MapStore};
use crate::actor::launch::{Opened, launch};
use crate::actor::{
    Applied, GroupConfig, GroupDeps, GroupHandle, GroupWorkers, Outbound, ReadLevel, SNAPSHOT_CHUNK,
    StartSpec,
};
use crate::error::{Error, Result};

pub(super) const GROUP: GroupId = GroupId(7);
pub(super) const DEADLINE: Duration = Duration::from_secs(20);
const UID: GroupUid = GroupUid([9; 16]);
const EPOCH: RangeEpoch = RangeEpoch(1);

/// Carries messages between the groups of one process.
#[derive(Clone, Debug, Default)]
pub(super) struct Network(Arc<Mutex<Links>>);

#[derive(Debug, Default)]
struct Links {
    handles: BTreeMap<NodeId, GroupHandle>,
    cut: BTreeSet<NodeId>,
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
        assert_eq!(kind, SNAPSHOT_CHUNK);
        let handle = self.network.handle(self.node, node);
        Box::pin(async move {
            match handle {
                Some(handle) => Ok(handle.receive_snapshot(body).await),
                None => Err(RequestError::Unreachable(node)),
            }
        })
    }
}

/// One replica and everything of it that survives a restart.
#[derive(Debug)]
pub(super) struct TestNode {
    pub(super) id: u64,
    pub(super) handle: GroupHandle,
    pub(super) log: MemoryLog,
    pub(super) config: GroupConfig,
    pub(super) disk: SimDisk,
    network: Network,
    seed: u64,
}

pub(super) fn config() -> GroupConfig {
    GroupConfig::default()
}

/// The replicas 1 to `count` of a new group.
pub(super) fn cluster(count: u64, config: &GroupConfig) -> (Network, Vec<TestNode>) {
    let network = Network::default();
    let nodes = (1..=count).map(|id| TestNode::born(id, count, config, &network)).collect();
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
    Incarnation([id as u8; 16])
}

fn snapshot_dir(id: u64, disk: &SimDisk) -> SnapshotDir {
    let owner = FileOwner { group: UID, replica: ReplicaId(id), incarnation: incarnation(id) };
    SnapshotDir::new(Arc::new(disk.clone()), PathBuf::from("/group/snapshots"), owner)
}

fn empty_record(id: u64, descriptor: GroupDescriptor) -> AppliedRecord {
    AppliedRecord {
        applied: EntryId::default(),
        conf_state: ConfState::default(),
        descriptor,
        incarnation: incarnation(id),
        hlc_ceiling: Timestamp(0),
        cutover: None,
        wrapped_keys: Bytes::new(),
        digest: StateDigest::default(),
    }
}

impl TestNode {
    /// A founding member.
    pub(super) fn born(id: u64, count: u64, config: &GroupConfig, network: &Network) -> Self {
        let disk = SimDisk::new();
        let (rng, dir) = (SeededRng::new(id), snapshot_dir(id, &disk));
        dir.create().unwrap();
        let voters = ConfState::of_voters((1..=count).map(ReplicaId).collect());
        let (token, label) = dir.publish_empty(voters, descriptor(count), &rng).unwrap();
        let log = MemoryLog::born(token);
        let newest = Some((token, Box::new(label.clone())));
        let handle = launch_on(id, network, &disk, config, &log, (label.record, newest), id);
        Self { id, handle, log, config: config.clone(), disk, network: network.clone(), seed: id }
    }

    /// A replica that joins a group of `count`: it knows where they are and nothing else.
    pub(super) fn joining(id: u64, count: u64, config: &GroupConfig, network: &Network) -> Self {
        let disk = SimDisk::new();
        snapshot_dir(id, &disk).create().unwrap();
        let log = MemoryLog::default();
        let record = empty_record(id, descriptor(count));
        let handle = launch_on(id, network, &disk, config, &log, (record, None), id);
        Self { id, handle, log, config: config.clone(), disk, network: network.clone(), seed: id }
    }

    /// Starts again, after the handle was stopped, from the newest snapshot.
    pub(super) fn restart(&mut self) {
        self.seed += 100;
        let dir = snapshot_dir(self.id, &self.disk);
        let recorded = self.log.open().recovered().snapshots.clone();
        let token = *dir.usable(&recorded).unwrap().last().unwrap();
        let mut reader = dir.reader(token).unwrap();
        let label: SnapshotLabel = reader.label().clone();
        let store = MapStore::default();
        store.machine(None).restore(&mut reader, &label.record).unwrap();
        let newest = Some((token, Box::new(label.clone())));
        let opened = (label.record, newest);
        let handle = launch_with(
            self.id,
            &self.network,
            &self.disk,
            &self.config,
            &self.log,
            opened,
            (self.seed, store),
        );
        self.handle = handle;
    }

    /// As a crash of the process would: nothing is finished but the disk writes in flight.
    pub(super) async fn kill(&self) {
        self.network.0.lock().handles.remove(&NodeId(self.id));
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

type Found = (AppliedRecord, Option<(SnapshotToken, Box<SnapshotLabel>)>);

fn launch_on(
    id: u64,
    network: &Network,
    disk: &SimDisk,
    config: &GroupConfig,
    log: &MemoryLog,
    found: Found,
    seed: u64,
) -> GroupHandle {
    launch_with(id, network, disk, config, log, found, (seed, MapStore::default()))
}

fn launch_with(
    id: u64,
    network: &Network,
    disk: &SimDisk,
    config: &GroupConfig,
    log: &MemoryLog,
    (record, newest): Found,
    (seed, store): (u64, MapStore),
) -> GroupHandle {
    let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(seed));
    let workers = |label| -> Arc<dyn Workers> {
        let threads = NonZeroUsize::new(2).unwrap();
        Arc::new(SimWorkers::new(
            rng.stream(label),
            SimWorkersConfig { threads, job_time_max: Duration::from_micros(500) },
        ))
    };
    let deps = GroupDeps {
        node: NodeId(id),
        clock: Arc::new(SimClock::new(Duration::from_secs(1_000_000), BootId([1; 16]))),
        rng: Arc::clone(&rng),
        disk: Arc::new(disk.clone()),
        workers: GroupWorkers {
            log: workers(1),
            apply: workers(2),
            read: workers(3),
            background: workers(4),
        },
        outbound: Arc::new(Port { node: NodeId(id), network: network.clone() }),
        machines: Arc::new(MapMachines),
    };
    let spec = StartSpec {
        group: GROUP,
        dir: PathBuf::from("/group"),
        config: config.clone(),
        campaigns_at_once: id == 1 && seed == 1,
        stats: Arc::default(),
        listener: None,
    };
    let opened = Opened {
        replica: ReplicaId(id),
        incarnation: incarnation(id),
        log: log.open(),
        machine: store.machine(Some(record.clone())),
        record,
        snapshots: snapshot_dir(id, disk),
        tokens: newest.iter().map(|(token, _)| *token).collect(),
        newest,
        tail: Vec::new(),
        addresses: BTreeMap::new(),
    };
    let handle = launch(Arc::new(deps), spec, opened).unwrap();
    network.0.lock().handles.insert(NodeId(id), handle.clone());
    handle
}

/// The first of `nodes` that takes proposals.
pub(super) async fn leader(nodes: &[TestNode]) -> &TestNode {
    loop {
        let mut roles: Vec<_> = nodes.iter().map(|node| node.handle.watch_role()).collect();
        if let Some(at) = roles.iter_mut().position(|role| role.borrow_and_update().is_serving) {
            return &nodes[at];
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
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
