//! Three nodes in one process: real disk, real loopback TCP.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate::config::{NodeAddress, uniform_ranges};
use quorate::{Config, Node, NodeId, Seams, StoreKind};

use crate::Error;

/// For electing all leaders.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// The nodes and what they write through.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    disks: Vec<Arc<dyn quorate::disk::Disk>>,
}

impl Cluster {
    /// Starts `nodes` nodes with `groups` groups of three replicas under `dir`.
    pub(crate) async fn start(dir: &Path, nodes: u64, groups: u16, store: StoreKind) -> Result<Self, Error> {
        Self::start_with(dir, nodes, groups, store, &|_config| {}).await
    }

    /// [`Cluster::start`], with what `configure` changes in each node's configuration.
    pub(crate) async fn start_with(
        dir: &Path,
        nodes: u64,
        groups: u16,
        store: StoreKind,
        configure: &dyn Fn(&mut Config),
    ) -> Result<Self, Error> {
        let peers = free_addresses(nodes).map_err(|source| Error::Io { what: "no free port", source })?;
        let mut cluster = Self { nodes: Vec::new(), disks: Vec::new() };
        let mut opening = Vec::new();
        for node in 1..=nodes {
            let mut config = Config::new(dir.join(format!("node-{node}")));
            config.node = NodeId(node);
            config.store = store;
            config.listen = peers.iter().find(|peer| peer.node == config.node).map(|peer| peer.peer);
            config.bootstrap.nodes.clone_from(&peers);
            config.bootstrap.ranges = uniform_ranges(groups);
            configure(&mut config);
            let seams = Seams::production(&config)?;
            cluster.disks.push(Arc::clone(&seams.disk));
            opening.push(tokio::spawn(quorate::open_with_seams(config, seams)));
        }
        for node in opening {
            cluster.nodes.push(node.await.expect("opening a node does not panic")?);
        }
        for node in &cluster.nodes {
            node.ready(READY_TIMEOUT).await?;
        }
        Ok(cluster)
    }

    /// Syncs and bytes written so far, at the disk seam of all nodes. (The stores' own files are not behind it.)
    pub(crate) fn disk_counts(&self) -> (u64, u64) {
        self.disks
            .iter()
            .fold((0, 0), |(syncs, bytes), disk| (syncs + disk.sync_count(), bytes + disk.bytes_written()))
    }

    /// Stops all nodes.
    pub(crate) async fn stop(self) -> Result<(), Error> {
        for node in &self.nodes {
            node.shutdown().await?;
        }
        Ok(())
    }
}

fn free_addresses(nodes: u64) -> std::io::Result<Vec<NodeAddress>> {
    // All ports are held until all are known, so that none is given out twice.
    let held: Vec<TcpListener> =
        (0..nodes).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    let addresses: Vec<SocketAddr> = held.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    Ok((1..)
        .zip(addresses)
        .map(|(node, peer)| NodeAddress { node: NodeId(node), peer, resp: None, admin: None })
        .collect())
}
