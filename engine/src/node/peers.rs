//! Who the other nodes are, as the catalog says.

use std::net::SocketAddr;

use quorate_storage::{Incarnation, NodeId};
use quorate_transport::Peers;

use super::CatalogCopy;

/// Addresses and incarnations out of the node's copy of the catalog; before the first version, out of its
/// configuration.
#[derive(Clone, Debug)]
pub(super) struct CatalogPeers {
    pub(super) copy: CatalogCopy,
}

impl Peers for CatalogPeers {
    fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.copy.load().nodes.get(&node).map(|record| record.peer)
    }

    /// A node is its data directory: one that comes back with another has forgotten its votes.
    fn accepts(&self, node: NodeId, incarnation: Incarnation) -> bool {
        let catalog = self.copy.load();
        catalog
            .nodes
            .get(&node)
            .is_some_and(|record| record.incarnation.is_zero() || record.incarnation == incarnation)
    }
}
