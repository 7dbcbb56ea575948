//! The nodes of `quorate dev` and of `quorate node` on the real engine: both open nodes the same way.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use quorate::config::{NodeAddress, slot_ranges};
use quorate::{Config, Node, NodeId, Seams, StartProgress};
use quorate_telemetry::exporter::Exporter;
use tokio::task::JoinHandle;

use super::admission::HELD_ELECTIONS;
use super::{EngineBackend, errors, pages};
use crate::backend::BoxFuture;
use crate::cluster::{Cluster, ClusterNode, RunningCluster, Started};
use crate::config::NodeSettings;
use crate::exit::StartError;
use crate::options::DevOptions;

/// How often a node that waits for others compares what it knows by then with its settings.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// How often it says what it waits for.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);
/// How long the start of a whole cluster waits for leaders.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// A group that was destroyed keeps its series this long.
const SERIES_IDLE: Duration = Duration::from_secs(60);
/// How often the exporter tidies up its histograms.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Starts the engine's nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineCluster;

impl Cluster for EngineCluster {
    fn start<'a>(&'a self, options: &'a DevOptions) -> BoxFuture<'a, Started> {
        Box::pin(async move {
            let addresses = addresses(options)?;
            let opening = addresses.iter().map(|address| open(dev_config(options, &addresses, address)));
            let opened = join_all(opening).await;
            let mut running =
                Running { nodes: Vec::new(), groups: options.groups as usize, extent: Extent::All };
            let mut failed = None;
            for node in opened {
                match node {
                    Ok(node) => running.nodes.push(node),
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
            match failed {
                None => Ok(Box::new(running) as Box<dyn RunningCluster>),
                Some(error) => {
                    // The first failure is what the operator has to know.
                    drop(Box::new(running).stop().await);
                    Err(error)
                }
            }
        })
    }

    fn start_node<'a>(&'a self, settings: &'a NodeSettings) -> BoxFuture<'a, Started> {
        Box::pin(async move {
            let config = settings.engine();
            let groups = config.bootstrap.ranges.len();
            let nodes = vec![open(config).await?];
            Ok(Box::new(Running { nodes, groups, extent: Extent::Part }) as Box<dyn RunningCluster>)
        })
    }
}

/// How much of the cluster is in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// All nodes: they come and go together.
    All,
    /// One of them: the others take over when it goes, and it waits for them when it comes.
    Part,
}

struct RunningNode {
    node: Node,
    backend: EngineBackend,
    peer_addr: SocketAddr,
    upkeep: JoinHandle<()>,
}

struct Running {
    nodes: Vec<RunningNode>,
    groups: usize,
    extent: Extent,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

impl RunningCluster for Running {
    fn nodes(&self) -> Vec<ClusterNode> {
        let part = |node: &RunningNode| ClusterNode {
            backend: Arc::new(node.backend.clone()),
            peer_addr: node.peer_addr,
        };
        self.nodes.iter().map(part).collect()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), StartError>> {
        Box::pin(async move {
            match self.extent {
                Extent::All => {
                    let ready = self.nodes.iter().map(|running| running.node.ready(READY_TIMEOUT));
                    try_join_all(ready).await.map_err(errors::of_start)?;
                }
                Extent::Part => join_all(self.nodes.iter().map(|running| self.wait(running)))
                    .await
                    .into_iter()
                    .collect::<Result<(), _>>()?,
            }
            self.nodes.iter().try_for_each(|running| self.check_groups(&running.node))
        })
    }

    fn progress(&self) -> StartProgress {
        let of_nodes = self.nodes.iter().map(|running| running.node.readiness().progress());
        of_nodes.fold(StartProgress::default(), StartProgress::plus)
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<(), StartError>> {
        Box::pin(async move {
            let stopping = self.nodes.iter().map(async |running| match self.extent {
                Extent::All => running.node.shutdown_together().await,
                Extent::Part => running.node.shutdown().await,
            });
            let stopped = join_all(stopping).await;
            for running in &self.nodes {
                running.upkeep.abort();
            }
            stopped.into_iter().collect::<Result<(), _>>().map_err(errors::of_start)
        })
    }
}

impl Running {
    /// Waits for nodes of other processes for as long as it takes.
    async fn wait(&self, running: &RunningNode) -> Result<(), StartError> {
        let begun = tokio::time::Instant::now();
        let mut reported = begun;
        while let Err(error) = running.node.ready(CHECK_INTERVAL).await {
            if !matches!(error, quorate::Error::Group(quorate::GroupError::DeadlineExceeded)) {
                return Err(errors::of_start(error));
            }
            self.check_groups(&running.node)?;
            if reported.elapsed() < REPORT_INTERVAL {
                continue;
            }
            reported = tokio::time::Instant::now();
            let waited_s = begun.elapsed().as_secs();
            let (node, missing) = (running.node.id().get(), pages::waits_for(&running.backend));
            tracing::info!(node, waited_s, "waiting: {missing}");
        }
        Ok(())
    }

    /// Once the catalog is known: the cluster must have the groups it was asked for.
    fn check_groups(&self, node: &Node) -> Result<(), StartError> {
        let catalog = node.catalog();
        let found = catalog.user_groups().count();
        if catalog.version.is_none() || found == self.groups {
            return Ok(());
        }
        let source = Arc::new(OtherGroups { asked: self.groups, found });
        Err(StartError::Config { source })
    }
}

/// The cluster was made with another number of groups.
#[derive(Debug, thiserror::Error)]
#[error("the cluster has {found} groups, {asked} were asked for: the number is fixed at the first start")]
struct OtherGroups {
    asked: usize,
    found: usize,
}

/// A node of `quorate dev`.
fn dev_config(options: &DevOptions, addresses: &[NodeAddress], own: &NodeAddress) -> Config {
    let mut config = Config::new(options.data.join(format!("node-{}", own.node)));
    config.node = own.node;
    config.listen = Some(own.peer);
    config.store = options.store.kind();
    config.bootstrap.nodes = addresses.to_vec();
    config.bootstrap.ranges = slot_ranges(u16::try_from(options.groups).expect("checked by the options"));
    config.snapshots.entries = options.snapshot_entries;
    config.leader_wait = Some(config.raft.election_timeout_max() * HELD_ELECTIONS);
    // One process holds all nodes, so they share what one node would have.
    config.memtable_bytes /= u64::from(options.nodes);
    config.cache_bytes /= u64::from(options.nodes);
    config
}

/// Opens a node on the real world, with metrics.
async fn open(mut config: Config) -> Result<RunningNode, StartError> {
    // Clients are told soon that a group has no leader; they ask again.
    config.leader_wait = Some(config.raft.election_timeout_max() * HELD_ELECTIONS);
    let peer_addr = config.listen.expect("every node of a process listens for the others");
    let mut seams = Seams::production(&config).map_err(errors::of_start)?;
    let exporter = Arc::new(Exporter::new(SERIES_IDLE));
    seams.recorder = exporter.recorder();
    let node = quorate::open_with_seams(config, seams).await.map_err(errors::of_start)?;
    let backend = EngineBackend::new(node.clone(), Arc::clone(&exporter));
    Ok(RunningNode { node, backend, peer_addr, upkeep: tokio::spawn(upkeep(exporter)) })
}

async fn upkeep(exporter: Arc<Exporter>) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        exporter.run_upkeep();
    }
}

/// Where each node listens. Port 0 is made a free port here, because all nodes must know it beforehand.
fn addresses(options: &DevOptions) -> Result<Vec<NodeAddress>, StartError> {
    let mut held = Vec::new();
    let mut addresses = Vec::new();
    for at in 0..options.nodes {
        let mut peer = options.peer_addr(at);
        if peer.port() == 0 {
            let free =
                free_port(peer).map_err(|source| StartError::Io { action: "find a free port", source })?;
            peer = free.1;
            held.push(free.0);
        }
        let offered = |addr: SocketAddr| (addr.port() != 0).then_some(addr);
        addresses.push(NodeAddress {
            node: NodeId(u64::from(at) + 1),
            peer,
            resp: offered(options.resp_addr(at)),
            admin: offered(options.admin_addr(at)),
        });
    }
    Ok(addresses)
}

fn free_port(addr: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(addr)?;
    let addr = listener.local_addr()?;
    Ok((listener, addr))
}
