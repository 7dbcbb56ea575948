//! Who the other nodes are: asked on every attempt to connect, so answers may change.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use parking_lot::RwLock;
use quorate_storage::{Incarnation, NodeId};

/// Knows the other nodes. Called on the transport's tasks: must not block.
pub trait Peers: fmt::Debug + Send + Sync + 'static {
    /// Where `node` listens, if anyone knows.
    fn address(&self, node: NodeId) -> Option<SocketAddr>;

    /// Whether to talk to `node` as this incarnation of its data directory. Asked at every handshake, on
    /// both sides. By default every node with an address is accepted.
    fn accepts(&self, node: NodeId, incarnation: Incarnation) -> bool {
        let _ = incarnation;
        self.address(node).is_some()
    }
}

/// A table of addresses that may be changed while it is in use.
#[derive(Debug, Default)]
pub struct PeerTable {
    addresses: RwLock<BTreeMap<NodeId, SocketAddr>>,
}

impl PeerTable {
    /// A table of these nodes.
    pub fn new(addresses: impl IntoIterator<Item = (NodeId, SocketAddr)>) -> Self {
        Self { addresses: RwLock::new(addresses.into_iter().collect()) }
    }

    /// Adds a node or moves it. Open connections stay.
    pub fn set(&self, node: NodeId, addr: SocketAddr) {
        self.addresses.write().insert(node, addr);
    }

    /// Forgets a node. Open connections stay.
    pub fn remove(&self, node: NodeId) {
        self.addresses.write().remove(&node);
    }
}

impl Peers for PeerTable {
    fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.addresses.read().get(&node).copied()
    }
}
