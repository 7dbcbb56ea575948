//! All nodes of `quorate dev`, in this process, over real loopback TCP.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use quorate::config::{NodeAddress, slot_ranges};
use quorate::{Config, Node, NodeId, Seams, StoreKind};
use quorate_telemetry::exporter::Exporter;
use tokio::task::JoinHandle;

use super::admission::HELD_ELECTIONS;
use super::{EngineBackend, errors};
use crate::backend::BoxFuture;
use crate::dev::{Cluster, ClusterNode, RunningCluster};
use crate::exit::StartError;
use crate::options::{DevOptions, Store};

/// How long a start waits for leaders.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// A group that was destroyed keeps its series this long.
const SERIES_IDLE: Duration = Duration::from_secs(60);
/// How often the exporter tidies up its histograms.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Starts the engine's nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineCluster;

impl Cluster for EngineCluster {
    fn start<'a>(
        &'a self,
        options: &'a DevOptions,
    ) -> BoxFuture<'a, Result<Box<dyn RunningCluster>, StartError>> {
        Box::pin(async move {
            let addresses = addresses(options)?;
            let opening = addresses.iter().map(|address| open(options, &addresses, address.node));
            let opened = join_all(opening).await;
            let mut running = Running { nodes: Vec::new(), groups: options.groups as usize };
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
            let ready = self.nodes.iter().map(|running| running.node.ready(READY_TIMEOUT));
            try_join_all(ready).await.map_err(errors::of_start)?;
            let found = self.nodes.first().map_or(0, |first| first.node.catalog().user_groups().count());
            if found == self.groups {
                return Ok(());
            }
            let source = Arc::new(OtherGroups { asked: self.groups, found });
            Err(StartError::Config { source })
        })
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<(), StartError>> {
        Box::pin(async move {
            let stopping = self.nodes.iter().map(|running| running.node.shutdown_together());
            let stopped = join_all(stopping).await;
            for running in &self.nodes {
                running.upkeep.abort();
            }
            stopped.into_iter().collect::<Result<(), _>>().map_err(errors::of_start)
        })
    }
}

/// The directory was made with another number of groups.
#[derive(Debug, thiserror::Error)]
#[error("the directory holds {found} groups, {asked} were asked for: the number is fixed at the first start")]
struct OtherGroups {
    asked: usize,
    found: usize,
}

async fn open(
    options: &DevOptions,
    addresses: &[NodeAddress],
    node: NodeId,
) -> Result<RunningNode, StartError> {
    let peer_addr = addresses.iter().find(|address| address.node == node).map(|address| address.peer);
    let peer_addr = peer_addr.expect("every node has an address");
    let mut config = Config::new(options.data.join(format!("node-{node}")));
    config.node = node;
    config.listen = Some(peer_addr);
    config.store = store(options.store);
    config.bootstrap.nodes = addresses.to_vec();
    config.bootstrap.ranges = slot_ranges(u16::try_from(options.groups).expect("checked by the options"));
    config.snapshots.entries = options.snapshot_entries;
    config.leader_wait = Some(config.raft.election_timeout_max() * HELD_ELECTIONS);
    // One process holds all nodes, so they share what one node would have.
    config.memtable_bytes /= u64::from(options.nodes);
    config.cache_bytes /= u64::from(options.nodes);
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

fn store(store: Store) -> StoreKind {
    match store {
        Store::Lsm => StoreKind::Lsm,
        Store::Sled => StoreKind::Sled,
        Store::Memory => StoreKind::Memory,
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
