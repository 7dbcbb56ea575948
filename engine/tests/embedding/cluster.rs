//! Clusters of nodes in this process, each with a directory and a loopback port of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use quorate::config::NodeAddress;
use quorate::storage::Error as StorageError;
use quorate::{Builder, Config, Error, Group, GroupId, GroupStatus, Node, NodeId, ReplicaId};
use tempfile::TempDir;
use tokio::time::Instant;

/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The only user group of most clusters here.
pub(crate) const GROUP: GroupId = GroupId(1);

/// Nodes of one cluster. Node ids count from 1.
pub(crate) struct Cluster {
    dir: TempDir,
    addresses: Vec<NodeAddress>,
    nodes: Vec<Option<Node>>,
    configure: fn(&mut Config),
}

impl Cluster {
    /// Opens `count` nodes; the groups are replicated on three of them.
    pub(crate) async fn open(count: u64, configure: fn(&mut Config)) -> Self {
        let addresses = free_addresses(count);
        let nodes = addresses.iter().map(|_| None).collect();
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = Self { dir, addresses, nodes, configure };
        for id in 1..=count {
            cluster.start(id).await;
        }
        for id in 1..=count {
            cluster.node(id).ready(PATIENCE).await.unwrap();
        }
        cluster
    }

    /// Three nodes with one group for all keys.
    pub(crate) async fn of_three() -> Self {
        Self::open(3, |_| {}).await
    }

    pub(crate) fn data_dir(&self, id: u64) -> PathBuf {
        self.dir.path().join(id.to_string())
    }

    pub(crate) fn config(&self, id: u64) -> Config {
        let mut config = Config::new(self.data_dir(id));
        config.node = NodeId(id);
        config.listen = Some(self.addresses[at(id)].peer);
        config.bootstrap.nodes.clone_from(&self.addresses);
        (self.configure)(&mut config);
        config
    }

    /// Starts a node on what its last stop left.
    pub(crate) async fn start(&mut self, id: u64) -> Node {
        let node = start_unlocked(self.config(id)).await;
        self.nodes[at(id)] = Some(node.clone());
        node
    }

    pub(crate) async fn restart(&mut self, id: u64) -> Node {
        let node = self.start(id).await;
        node.ready(PATIENCE).await.unwrap();
        node
    }

    pub(crate) fn node(&self, id: u64) -> &Node {
        self.nodes[at(id)].as_ref().unwrap()
    }

    /// Stops a node like a killed process: nobody holds it any more.
    pub(crate) fn kill(&mut self, id: u64) {
        drop(self.nodes[at(id)].take().unwrap());
    }

    /// Where a node serves Redis clients from its next start on; the others are not told.
    pub(crate) fn set_resp(&mut self, id: u64, resp: SocketAddr) {
        self.addresses[at(id)].resp = Some(resp);
    }

    /// Takes a node out, to be stopped by the caller.
    pub(crate) fn take(&mut self, id: u64) -> Node {
        self.nodes[at(id)].take().unwrap()
    }

    /// The group's leader, as far as the running nodes agree on one that itself says so.
    pub(crate) async fn leader(&self, group: GroupId) -> u64 {
        until("a leader", || {
            let leading = |node: &&Node| node.group(group).local_status().is_some_and(|s| s.role.is_serving);
            self.nodes.iter().flatten().find(leading).map(|node| node.id().get())
        })
        .await
    }

    /// A running node with a replica of the group that does not lead it.
    pub(crate) async fn follower(&self, group: GroupId) -> u64 {
        let leader = self.leader(group).await;
        let follows = |node: &&Node| node.id().get() != leader && node.group(group).local_status().is_some();
        self.nodes.iter().flatten().find(follows).unwrap().id().get()
    }

    pub(crate) async fn shutdown(self) {
        for node in self.nodes.iter().flatten() {
            node.shutdown_together().await.unwrap();
        }
    }
}

fn at(id: u64) -> usize {
    usize::try_from(id - 1).unwrap()
}

/// Opens a directory whose last holder may just be letting it go.
pub(crate) async fn start_unlocked(config: Config) -> Node {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Builder::from_config(config.clone()).start().await {
            Err(Error::Storage(StorageError::Locked { .. })) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            opened => return opened.unwrap(),
        }
    }
}

/// Polls until `found` says something.
pub(crate) async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The group's replica on `node`, as `from` knows it.
pub(crate) fn replica_on(from: &Group, node: u64) -> Option<ReplicaId> {
    from.descriptor()?.replica_on(NodeId(node)).map(|replica| replica.replica)
}

/// Whether the replica here has applied what the group had committed when `leader` said so.
pub(crate) fn has_applied(node: &Node, leader: &GroupStatus) -> bool {
    node.group(leader.group).local_status().is_some_and(|status| status.applied >= leader.commit)
}

/// Ports of an address nobody else uses: every cluster of every test process has its own part of 127/8, so that
/// neither other tests nor outgoing connections can take a port while its node is down.
pub(crate) fn free_addresses(count: u64) -> Vec<NodeAddress> {
    static CLUSTERS: AtomicU8 = AtomicU8::new(1);
    let cluster = CLUSTERS.fetch_add(1, Ordering::Relaxed);
    let [.., high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, high.max(1), low, cluster);
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind((ip, 0)).unwrap()).collect();
    let address = |listener: &TcpListener| -> SocketAddr { listener.local_addr().unwrap() };
    (1..)
        .zip(&held)
        .map(|(id, listener)| NodeAddress {
            node: NodeId(id),
            peer: address(listener),
            resp: None,
            admin: None,
        })
        .collect()
}
