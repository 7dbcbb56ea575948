//! The engine's backend on three nodes over real loopback TCP: who serves which key, and what a node says of keys
//! that others serve.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quorate::config::{NodeAddress, slot_ranges};
use quorate::{Builder, Config, Node, NodeId, StoreKind};
use quorate_server::{
    Access, Backend, BackendError, EngineBackend, KeyPage, Routing, Topology, Write, Written,
};
use quorate_telemetry::exporter::Exporter;
use tempfile::TempDir;

use crate::client::PATIENCE;

const GROUPS: u16 = 8;
/// Every how many slots one key is.
const STRIDE: usize = 512;

const CLUSTER: Access = Access { routing: Routing::Cluster, reads_from_followers: false };
const PROXY: Access = Access { routing: Routing::Proxy, reads_from_followers: false };

struct Nodes {
    _dir: TempDir,
    addresses: Vec<NodeAddress>,
    running: Vec<Option<Node>>,
    backends: Vec<EngineBackend>,
}

impl Nodes {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let addresses = free_addresses();
        let (mut running, mut backends) = (Vec::new(), Vec::new());
        for address in &addresses {
            let mut config = Config::new(dir.path().join(address.node.to_string()));
            config.node = address.node;
            config.listen = Some(address.peer);
            config.store = StoreKind::Memory;
            config.bootstrap.nodes.clone_from(&addresses);
            config.bootstrap.ranges = slot_ranges(GROUPS);
            config.leader_wait = Some(config.raft.election_timeout_max() * 2);
            let node = Builder::from_config(config).start().await.unwrap();
            backends.push(EngineBackend::new(node.clone(), Arc::new(Exporter::new(PATIENCE))));
            running.push(Some(node));
        }
        let opened = Self { _dir: dir, addresses, running, backends };
        opened.agreed().await;
        opened
    }

    /// The ranges, once all nodes tell the same ones, each with a leader.
    async fn agreed(&self) -> Arc<Topology> {
        let has_leaders = |topology: &Topology| {
            let ranges = &topology.ranges;
            ranges.len() == usize::from(GROUPS) && ranges.iter().all(|range| range.leader.is_some())
        };
        let agree = async {
            loop {
                let told: Vec<_> = self.backends.iter().map(EngineBackend::topology).collect();
                let is_same = told.iter().all(|topology| topology.ranges == told[0].ranges);
                if is_same && has_leaders(&told[0]) {
                    return Arc::clone(&told[0]);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, agree).await.unwrap()
    }

    /// Drops a node as a killed process would.
    fn kill(&mut self, node: u64) {
        let at = usize::try_from(node - 1).unwrap();
        // The backend holds the node as well.
        let other = usize::from(at == 0);
        self.backends[at] = self.backends[other].clone();
        drop(self.running[at].take().unwrap());
    }

    fn backend(&self, node: u64) -> &EngineBackend {
        &self.backends[usize::try_from(node - 1).unwrap()]
    }

    fn resp(&self, node: u64) -> SocketAddr {
        self.addresses[usize::try_from(node - 1).unwrap()].resp.unwrap()
    }

    async fn shutdown(self) {
        for node in self.running.iter().flatten() {
            node.shutdown_together().await.unwrap();
        }
    }
}

/// An address of 127/8 for this process and cluster alone; nobody serves the Redis ports.
fn free_addresses() -> Vec<NodeAddress> {
    static CLUSTERS: AtomicU8 = AtomicU8::new(1);
    let cluster = CLUSTERS.fetch_add(1, Ordering::Relaxed);
    let [.., high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, high.max(1), low, cluster);
    let held: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind((ip, 0)).unwrap()).collect();
    let address = |(id, listener): (u16, &TcpListener)| NodeAddress {
        node: NodeId(id.into()),
        peer: listener.local_addr().unwrap(),
        resp: Some(SocketAddr::from((ip, 6000 + id))),
        admin: None,
    };
    (1..).zip(&held).map(address).collect()
}

/// The key `name` in `slot`.
fn key(slot: u16, name: &str) -> Bytes {
    [&slot.to_be_bytes(), name.as_bytes()].concat().into()
}

fn keys() -> Vec<Bytes> {
    (0..16_384).step_by(STRIDE).map(|slot| key(slot, "k")).collect()
}

fn puts() -> Vec<Write> {
    keys().into_iter().map(|key| Write::Put { key, value: Bytes::from_static(b"v") }).collect()
}

fn leader(topology: &Topology, key: &[u8]) -> u64 {
    let slot = u16::from_be_bytes([key[0], key[1]]);
    let range = topology.ranges.iter().find(|range| (range.first..=range.last).contains(&slot));
    range.unwrap().leader.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_serves_what_it_leads_and_names_the_leader_of_the_rest() {
    let nodes = Nodes::open().await;
    let topology = nodes.agreed().await;
    let written = nodes.backend(1).write(puts(), PROXY).await;
    assert!(written.iter().all(Result::is_ok), "any node serves every key when it forwards: {written:?}");
    for node in 1..=3 {
        let backend = nodes.backend(node);
        let read = backend.read(keys(), usize::MAX, CLUSTER).await;
        let lengths = backend.lengths(keys(), CLUSTER).await;
        let written = backend.write(puts(), CLUSTER).await;
        let mut led = 0;
        for (at, key) in keys().iter().enumerate() {
            let leader = leader(&topology, key);
            if leader == node {
                led += 1;
                assert_eq!(read[at].as_ref().unwrap().as_deref(), Some(&b"v"[..]));
                assert_eq!(*lengths[at].as_ref().unwrap(), Some(1));
                assert!(matches!(written[at], Ok(Written::Done { existed: true, .. })), "{:?}", written[at]);
            } else {
                let errors = [
                    read[at].as_ref().unwrap_err(),
                    lengths[at].as_ref().unwrap_err(),
                    written[at].as_ref().unwrap_err(),
                ];
                for error in errors {
                    let BackendError::Moved { slot, to } = error else { panic!("{error:?}") };
                    assert_eq!(slot.to_be_bytes(), key[..2]);
                    assert_eq!(*to, nodes.resp(leader));
                }
            }
        }
        assert!(led > 0, "leaders are spread over the nodes");
        let follower_reads = Access { reads_from_followers: true, ..CLUSTER };
        let read = backend.read(keys(), usize::MAX, follower_reads).await;
        assert!(
            read.iter().all(|value| matches!(value, Ok(Some(_)))),
            "this node has every replica: {read:?}"
        );
    }
    nodes.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_tell_one_topology_and_each_counts_and_lists_what_it_leads() {
    let nodes = Nodes::open().await;
    let topology = nodes.agreed().await;
    let names: BTreeSet<&str> = topology.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names.len(), 3);
    for node in 1..=3 {
        let told = nodes.backend(node).topology();
        assert_eq!(told.own_node, node);
        assert!(told.nodes.iter().map(|node| node.name.as_str()).eq(topology.nodes.iter().map(|n| &*n.name)));
        assert!(told.ranges.iter().all(|range| range.followers.len() == 2));
        assert!(Arc::ptr_eq(&told, &nodes.backend(node).topology()), "made once");
    }
    let count = keys().len() as u64;
    nodes.backend(2).write(puts(), PROXY).await;
    let (mut counted, mut listed) = (0, Vec::new());
    for node in 1..=3 {
        let backend = nodes.backend(node);
        assert_eq!(backend.key_count(PROXY).await.unwrap(), count);
        assert_eq!(list(backend, PROXY).await, keys());
        counted += backend.key_count(CLUSTER).await.unwrap();
        let led = list(backend, CLUSTER).await;
        assert!(led.iter().all(|key| leader(&topology, key) == node));
        listed.extend(led);
    }
    listed.sort();
    assert_eq!((counted, listed), (count, keys()));
    nodes.shutdown().await;
}

/// All keys but those of the highest slot, three at a time.
async fn list(backend: &EngineBackend, access: Access) -> Vec<Bytes> {
    let mut keys = Vec::new();
    let mut next = Some(Bytes::new());
    while let Some(start) = next {
        let page: KeyPage = backend.keys(start, key(16_383, ""), 3, access).await.unwrap();
        assert!(page.keys.len() <= 3);
        keys.extend(page.keys);
        next = page.next;
    }
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_held_through_an_election_and_without_a_quorum_it_ends_as_no_leader() {
    let mut nodes = Nodes::open().await;
    let topology = nodes.agreed().await;
    let lost = leader(&topology, &key(0, "k"));
    let (a, b) = (lost % 3 + 1, (lost + 1) % 3 + 1);
    nodes.kill(lost);
    // Whoever is asked serves the key, or names a node until that one does; the lost one for a while.
    let put = || vec![Write::Put { key: key(0, "k"), value: Bytes::from_static(b"v") }];
    let mut at = a;
    let served = async {
        loop {
            match nodes.backend(at).write(put(), CLUSTER).await.remove(0) {
                Ok(_) => return,
                Err(BackendError::Moved { to, .. }) if to == nodes.resp(a) => at = a,
                Err(BackendError::Moved { to, .. }) if to == nodes.resp(b) => at = b,
                Err(BackendError::Moved { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => panic!("an election is shorter than the hold: {error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, served).await.unwrap();

    nodes.kill(if at == a { b } else { a });
    let backend = nodes.backend(at).clone();
    let leaderless = async {
        loop {
            match backend.write(put(), CLUSTER).await.remove(0) {
                Err(BackendError::NoLeader) => return,
                // The leader has not noticed yet, or its node was just lost.
                Err(_) => {}
                Ok(_) => panic!("acknowledged without a quorum"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, leaderless).await.unwrap();
    for access in [CLUSTER, PROXY] {
        let read = backend.read(vec![key(0, "k")], usize::MAX, access).await.remove(0);
        assert!(matches!(read, Err(BackendError::NoLeader)), "{access:?}: {read:?}");
    }
    drop(backend);
    nodes.shutdown().await;
}
