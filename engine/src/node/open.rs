//! Opening a node, from the directory lock to the first round of reconciling.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use parking_lot::Mutex;
use quorate_shard::actor::{
    self, BackgroundConfig, GroupConfig, GroupDeps, ScrubBudget, SnapshotBudget, SnapshotBudgetConfig,
    StateMachineFactory,
};
use quorate_shard::catalog::{CATALOG_GROUP, Catalog, NodeRecord, ReplicaOrigin};
use quorate_shard::core::CoreConfig;
use quorate_shard::disk_space::DiskSpace;
use quorate_shard::hlc::ClockWatch;
use quorate_shard::registry::Registry;
use quorate_shard::router::{LeaderTable, Router, RouterParts};
use quorate_storage::identity::DataDir;
use quorate_storage::payload::InClear;
use quorate_storage::{GroupDescriptor, GroupId, Incarnation, NodeId};
use quorate_telemetry::collector::{Collector, CollectorConfig};
use quorate_telemetry::{NodeStats, Workers};
use quorate_transport::{Handler, Identity, Parts, Transport};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::disk_space::DiskWatch;
use super::handler::NodeHandler;
use super::machines::KvMachines;
use super::outbound::NodeOutbound;
use super::peers::CatalogPeers;
use super::replicas::Opening;
use super::{
    CatalogCopy, CatalogWriter, Core, Node, announce, bootstrap, clock, disk_space, peers, publish,
    reconcile, replicas, revive, topology,
};
use crate::config::{Config, NodeAddress, SnapshotConfig};
use crate::error::{Error, Result};
use crate::kv::Kv;
use crate::seams::Seams;

/// An address of a node nobody connects to.
const NOWHERE: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Opens a node: on return its listener is open, its directory locked, and its groups are being opened.
pub(crate) async fn open(
    config: Config,
    seams: Seams,
    machines: Option<Arc<dyn StateMachineFactory>>,
) -> Result<Node> {
    let nodes = initial_nodes(&config);
    let catalog_group = bootstrap::catalog_descriptor(config.cluster, &nodes);
    let (data, remembered) = open_data_dir(&config, &seams).await?;
    let copy = CatalogCopy::new(Catalog::unread(nodes.iter().map(unregistered), catalog_group.clone()));
    let registry = Arc::new(Registry::default());
    let (space, watch) = watch_disk(&config, &seams).await?;
    let leaders = Arc::new(LeaderTable::default());
    let handler = Arc::new(NodeHandler {
        registry: Arc::clone(&registry),
        copy: copy.clone(),
        space: Arc::clone(&space),
        leaders: Arc::clone(&leaders),
    });
    let transport = start_transport(&config, &seams, (&data, &remembered), &copy, handler).await?;
    let router = Router::new(RouterParts {
        node: config.node,
        catalog: Arc::clone(&copy.current),
        registry: Arc::clone(&registry),
        leaders,
        transport: transport.clone(),
        clock: Arc::clone(&seams.clock),
        rng: seams.rng.stream(0x0a),
        catalog_stale: Arc::clone(&copy.stale),
    });
    let kv = |leader_wait| Kv { router: router.clone(), clock: Arc::clone(&seams.clock), leader_wait };
    let catalog = CatalogWriter {
        copy: copy.clone(),
        // The catalog's own changes have time until their deadline.
        kv: kv(None),
        clock: Arc::clone(&seams.clock),
        rng: seams.rng.stream(0x0b),
    };
    let kv = kv(config.leader_wait);
    let kv_machines = Arc::new(KvMachines::new(&config, &seams));
    let stores = Arc::clone(kv_machines.shared());
    let kv_machines: Arc<dyn StateMachineFactory> = kv_machines;
    let collector = collector(&config, &seams);
    let stats = Arc::clone(collector.node_stats());
    let deps = group_deps((&config, &seams), &transport, (&space, stats), Arc::clone(&kv_machines));
    let catalog_deps = Arc::new(deps.clone());
    let deps = Arc::new(GroupDeps { machines: machines.unwrap_or(kv_machines), ..deps });
    let core = Arc::new(Core {
        catalog_deps,
        deps,
        config,
        seams,
        registry,
        router,
        copy,
        catalog,
        kv,
        transport,
        data: Mutex::new(Some(data)),
        topology: watch::Sender::default(),
        collector,
        stores,
        lost: Mutex::default(),
        opening: Arc::default(),
        space: Arc::clone(&space),
        remembered: Mutex::new(remembered),
        repaired: Arc::default(),
        changed: Arc::new(Notify::new()),
        stopping: CancellationToken::new(),
        tasks: Mutex::new(JoinSet::new()),
        runtime: tokio::runtime::Handle::current(),
    });
    open_groups(&core, &catalog_group).await?;
    spawn_tasks(&core, nodes, watch);
    Ok(Node::new(core))
}

fn collector(config: &Config, seams: &Seams) -> Arc<Collector> {
    let settings = CollectorConfig::new(config.node.to_string());
    Arc::new(Collector::new(Arc::clone(&seams.recorder), Arc::clone(&seams.clock), settings))
}

/// What all groups share. `machines` are those of group 0.
fn group_deps(
    (config, seams): (&Config, &Seams),
    transport: &Transport,
    (space, stats): (&Arc<DiskSpace>, Arc<NodeStats>),
    machines: Arc<dyn StateMachineFactory>,
) -> GroupDeps {
    let clock = &seams.clock;
    GroupDeps {
        node: config.node,
        clock: Arc::clone(clock),
        rng: seams.rng.stream(0x0c),
        disk: Arc::clone(&seams.disk),
        workers: seams.workers.clone(),
        outbound: Arc::new(NodeOutbound { transport: transport.clone() }),
        machines,
        stats,
        snapshots: SnapshotBudget::new(snapshot_budget(config), Arc::clone(clock)),
        scrub: ScrubBudget::new(config.scrub.bytes_per_second, Arc::clone(clock)),
        space: Arc::clone(space),
        clock_watch: Arc::new(ClockWatch::new(Arc::clone(clock))),
        unsealer: Arc::new(InClear),
    }
}

fn spawn_tasks(core: &Arc<Core>, nodes: Vec<NodeAddress>, watch: Arc<DiskWatch>) {
    let mut tasks = core.tasks.lock();
    tasks.spawn(reconcile::run(Arc::clone(core), nodes));
    tasks.spawn(reconcile::follow(Arc::clone(core)));
    tasks.spawn(publish::run(Arc::clone(core)));
    tasks.spawn(announce::run(Arc::clone(core)));
    tasks.spawn(topology::run(Arc::clone(core)));
    tasks.spawn(disk_space::run(Arc::clone(core), watch));
    tasks.spawn(revive::run(Arc::clone(core)));
    tasks.spawn(clock::run(Arc::clone(core)));
}

/// Measures the room on the disk before anything is written, and makes the reserve.
async fn watch_disk(config: &Config, seams: &Seams) -> Result<(Arc<DiskSpace>, Arc<DiskWatch>)> {
    let space = Arc::new(DiskSpace::new());
    let (disk, dir) = (Arc::clone(&seams.disk), config.data_dir.clone());
    let watch = Arc::new(DiskWatch::new(disk, dir, config.disk, Arc::clone(&space)));
    let measuring = Arc::clone(&watch);
    run_on(seams.workers.background.as_ref(), 0, move || measuring.measure()).await?;
    Ok((space, watch))
}

/// Starts what is on disk, group 0 first, the others side by side; creates group 0 where it belongs.
async fn open_groups(core: &Arc<Core>, catalog_group: &GroupDescriptor) -> Result<()> {
    let data = core.data()?;
    let found = data.groups()?;
    let cold_start = &core.config.cold_start;
    tracing::info!(
        node = core.config.node.get(),
        groups = found.len(),
        policy = cold_start.policy.as_str(),
        verify = cold_start.verify.as_str(),
        opening_max = cold_start.opening_max,
        restoring_max = cold_start.restoring_max,
        "opening groups"
    );
    // Group 0 comes first on every node. Where others are, or its tombstone is, it was here and is gone: made anew
    // under its old id it would have forgotten its votes.
    let is_new = found.is_empty() && data.replica(CATALOG_GROUP)?.is_none();
    if found.contains(&CATALOG_GROUP) {
        replicas::start(core, CATALOG_GROUP, false).await?;
    } else if let Some(replica) = catalog_group.replica_on(core.config.node).filter(|_| is_new) {
        let mut replica = *replica;
        replica.incarnation = Incarnation(core.seams.rng.next_id());
        replicas::create(core, catalog_group, &ReplicaOrigin::Birth(replica)).await?;
        let is_first = catalog_group.replicas.first().is_some_and(|first| first.replica == replica.replica);
        replicas::start(core, CATALOG_GROUP, is_first).await?;
    }
    let mut tasks = core.tasks.lock();
    for group in found.into_iter().filter(|&group| group != CATALOG_GROUP) {
        // Claimed here, not when its task first runs: the first round of reconciling must leave it alone.
        let Some(opening) = Opening::begin(core, group) else { continue };
        let core = Arc::clone(core);
        tasks.spawn(async move {
            if let Err(error) = replicas::start_claimed(&core, opening, false).await {
                tracing::error!(group = group.get(), %error, "the group was not started");
            }
        });
    }
    Ok(())
}

async fn open_data_dir(config: &Config, seams: &Seams) -> Result<(DataDir, BTreeMap<NodeId, Incarnation>)> {
    let (disk, rng) = (Arc::clone(&seams.disk), seams.rng.stream(0x0d));
    let (path, cluster, node) = (config.data_dir.clone(), config.cluster, config.node);
    let open = move || {
        let data = DataDir::open_or_create(disk, &path, cluster, node, rng.as_ref())?;
        let remembered = peers::remembered(&data);
        Ok::<_, quorate_storage::Error>((data, remembered))
    };
    Ok(run_on(seams.workers.background.as_ref(), 0, open).await??)
}

async fn start_transport(
    config: &Config,
    seams: &Seams,
    (data, remembered): (&DataDir, &BTreeMap<NodeId, Incarnation>),
    copy: &CatalogCopy,
    handler: Arc<dyn Handler>,
) -> Result<Transport> {
    let settings = quorate_transport::Config { listen: config.listen, ..Default::default() };
    let identity = Identity { cluster: config.cluster, node: config.node, incarnation: data.incarnation() };
    let peers = Arc::new(CatalogPeers {
        copy: copy.clone(),
        configured: config.bootstrap.nodes.clone(),
        remembered: remembered.clone(),
        asked: AtomicUsize::new(0),
    });
    let rng = seams.rng.stream(0x0e);
    let (net, clock) = (Arc::clone(&seams.net), Arc::clone(&seams.clock));
    let parts = Parts { identity, net, handler, peers, rng, clock };
    Ok(Transport::start(settings, parts).await?)
}

/// The nodes of a new cluster; without any in the configuration, this one alone.
pub(crate) fn initial_nodes(config: &Config) -> Vec<NodeAddress> {
    if config.bootstrap.nodes.is_empty() {
        let peer = config.listen.unwrap_or(NOWHERE);
        return vec![NodeAddress { node: config.node, peer, resp: None, admin: None }];
    }
    config.bootstrap.nodes.clone()
}

fn unregistered(address: &NodeAddress) -> NodeRecord {
    NodeRecord {
        node: address.node,
        incarnation: Incarnation::ZERO,
        peer: address.peer,
        resp: address.resp,
        admin: address.admin,
    }
}

/// A group's behaviour out of the node's configuration.
pub(super) fn group_config(config: &Config) -> GroupConfig {
    let raft = &config.raft;
    GroupConfig {
        tick: raft.tick,
        core: CoreConfig {
            heartbeat_ticks: raft.heartbeat_ticks,
            election_ticks_min: raft.election_ticks,
            election_ticks_max: raft.election_ticks * 2,
            ..Default::default()
        },
        snapshots: actor::SnapshotConfig {
            log_bytes_min: config.snapshots.log_bytes_min,
            entries: config.snapshots.entries,
            trailing_entries: config.snapshots.trailing_entries,
            trailing_bytes: config.snapshots.trailing_bytes,
            age_max: config.snapshots.age_max,
            follower_grace: config.snapshots.follower_grace,
            kept: config.snapshots.kept,
            ..Default::default()
        },
        log: config.log,
        cold_start: actor::ColdStartConfig {
            policy: config.cold_start.policy,
            verify: config.cold_start.verify,
            observer: config.cold_start.observer.clone(),
        },
        hlc: config.hlc,
        background: BackgroundConfig {
            scrub_interval: config.scrub.interval,
            consistency_interval: config.consistency.interval,
            ..Default::default()
        },
        ..Default::default()
    }
}

/// What all groups of a node share of its configuration.
fn snapshot_budget(config: &Config) -> SnapshotBudgetConfig {
    let SnapshotConfig { bytes_per_second, publishing_max, transfers_max, .. } = config.snapshots;
    SnapshotBudgetConfig { bytes_per_second, publishing_max, transfers_max }
}

/// Runs blocking work of a group on the background workers.
pub(crate) async fn blocking<T: Send + 'static>(
    core: &Core,
    group: GroupId,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    run_on(core.seams.workers.background.as_ref(), group.get(), work).await
}

async fn run_on<T: Send + 'static>(
    workers: &dyn Workers,
    key: u64,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let (done, result) = oneshot::channel();
    // Nobody listens any more if the caller was dropped.
    let job = Box::new(move || drop(done.send(work())));
    workers.submit(key, job).map_err(|_| Error::Stopped)?;
    result.await.map_err(|_| Error::Stopped)
}
