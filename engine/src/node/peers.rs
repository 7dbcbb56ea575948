//! Who the other nodes are, as the catalog says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use quorate_shard::catalog::{CATALOG_GROUP, Catalog};
use quorate_storage::identity::DataDir;
use quorate_storage::{Incarnation, NodeId};
use quorate_transport::Peers;

use super::{CatalogCopy, Core};
use crate::config::NodeAddress;
use crate::error::Result;

/// Addresses out of the node's configuration and its copy of the catalog; incarnations out of the latter.
#[derive(Debug)]
pub(super) struct CatalogPeers {
    pub(super) copy: CatalogCopy,
    /// The nodes this one was configured with.
    pub(super) configured: Vec<NodeAddress>,
    /// The data directories the nodes had when this one was last running: what counts until the catalog is read.
    pub(super) remembered: BTreeMap<NodeId, Incarnation>,
    /// Counts the questions.
    pub(super) asked: AtomicUsize,
}

impl Peers for CatalogPeers {
    fn address(&self, node: NodeId) -> Option<SocketAddr> {
        let known = self.copy.load().nodes.get(&node).map(|record| record.peer);
        let configured =
            self.configured.iter().find(|address| address.node == node).map(|address| address.peer);
        // Where the two differ, one of them is old and nobody here can tell which: they take turns.
        if self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            configured.or(known)
        } else {
            known.or(configured)
        }
    }

    /// A node is its data directory: one that comes back with another has forgotten its votes.
    fn accepts(&self, node: NodeId, incarnation: Incarnation) -> bool {
        let catalog = self.copy.load();
        let Some(record) = catalog.nodes.get(&node) else { return false };
        let bound = Some(record.incarnation).filter(|bound| !bound.is_zero());
        bound.or_else(|| self.remembered.get(&node).copied()).is_none_or(|bound| bound == incarnation)
    }
}

/// Remembers the data directories of the nodes, so that a node that has lost its own is refused by this one from its
/// next start on, before the catalog is read.
pub(super) async fn remember(core: &Core, catalog: &Catalog) -> Result<()> {
    let nodes = catalog.nodes.values().filter(|record| !record.incarnation.is_zero());
    let peers: BTreeMap<_, _> = nodes.map(|record| (record.node, record.incarnation)).collect();
    if *core.remembered.lock() == peers {
        return Ok(());
    }
    let (data, written) = (core.data()?, peers.clone());
    super::open::blocking(core, CATALOG_GROUP, move || data.remember_peers(&written)).await??;
    *core.remembered.lock() = peers;
    Ok(())
}

/// What was remembered. A file that cannot be read is none: the catalog says the same a little later.
pub(super) fn remembered(data: &DataDir) -> BTreeMap<NodeId, Incarnation> {
    data.peers().unwrap_or_else(|error| {
        tracing::error!(%error, "the other nodes' directories are not remembered");
        BTreeMap::new()
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use quorate_shard::catalog::NodeRecord;
    use quorate_storage::{ClusterId, ReplicaDescriptor};

    use super::*;
    use crate::node::bootstrap;

    const OLD: Incarnation = Incarnation([1; 16]);
    const NEW: Incarnation = Incarnation([2; 16]);

    /// What a node knows before it has read the catalog.
    fn unread(remembered: BTreeMap<NodeId, Incarnation>) -> CatalogPeers {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let node = |id| NodeAddress { node: NodeId(id), peer, resp: None, admin: None };
        let configured: Vec<NodeAddress> = (1..4).map(node).collect();
        let records = configured.iter().map(|address| NodeRecord {
            node: address.node,
            incarnation: Incarnation::ZERO,
            peer,
            resp: None,
            admin: None,
        });
        let descriptor = bootstrap::catalog_descriptor(ClusterId([7; 16]), &configured);
        assert!(descriptor.replicas.iter().all(|replica: &ReplicaDescriptor| replica.incarnation.is_zero()));
        let copy = CatalogCopy::new(Catalog::unread(records, descriptor));
        CatalogPeers { copy, configured, remembered, asked: AtomicUsize::new(0) }
    }

    #[test]
    fn a_wiped_node_is_refused_before_the_catalog_is_read() {
        let peers = unread([(NodeId(2), OLD)].into());
        assert!(peers.accepts(NodeId(2), OLD));
        assert!(!peers.accepts(NodeId(2), NEW), "it has forgotten its votes");
        assert!(peers.accepts(NodeId(3), NEW), "never heard of");
        assert!(!peers.accepts(NodeId(9), NEW), "no node of this cluster");
        assert!(unread(BTreeMap::new()).accepts(NodeId(2), NEW), "a new cluster has nothing to remember");
    }
}
