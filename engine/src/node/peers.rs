//! Who the other nodes are, as the catalog says.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use quorate_storage::{Incarnation, NodeId};
use quorate_transport::Peers;

use super::CatalogCopy;
use crate::config::NodeAddress;

/// Addresses out of the node's configuration and its copy of the catalog; incarnations out of the latter.
#[derive(Debug)]
pub(super) struct CatalogPeers {
    pub(super) copy: CatalogCopy,
    /// The nodes this one was configured with.
    pub(super) configured: Vec<NodeAddress>,
    /// Counts the questions.
    pub(super) asked: AtomicUsize,
}

impl Peers for CatalogPeers {
    fn address(&self, node: NodeId) -> Option<SocketAddr> {
        let known = self.copy.load().nodes.get(&node).map(|record| record.peer);
        let configured =
            self.configured.iter().find(|address| address.node == node).map(|address| address.peer);
        // Where the two differ, one of them is old and nobody here can tell which: they take turns.
        if self.asked.fetch_add(1, Ordering::Relaxed) % 2 == 0 {
            configured.or(known)
        } else {
            known.or(configured)
        }
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
