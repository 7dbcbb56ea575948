//! The catalog: which nodes there are, which groups, and who serves which keys.
//!
//! It lives in group 0 as key-value records and changes only through that group's log, by compare-and-set on
//! its version. Every node holds a decoded copy in memory. This module is pure: decoding, routing, and the
//! edits that become commands.

mod codec;
mod edit;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use quorate_storage::{GroupDescriptor, GroupId, Incarnation, NodeId, ReplicaDescriptor, ReplicaId};

pub use codec::{CATALOG_END, CATALOG_START};
pub use edit::CatalogEdit;
pub use routes::RouteTable;

/// The group that holds the catalog.
pub const CATALOG_GROUP: GroupId = GroupId(0);

/// A node, as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its id.
    pub node: NodeId,
    /// Its data directory; zero until the node has registered it. Another incarnation under the same id is
    /// refused: that node has lost its data and must join under a new id.
    pub incarnation: Incarnation,
    /// Where other nodes reach it.
    pub peer: SocketAddr,
    /// Where Redis clients reach it, if it serves them.
    pub resp: Option<SocketAddr>,
    /// Where operators reach it, if it serves them.
    pub admin: Option<SocketAddr>,
}

/// A group, as the catalog knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRecord {
    /// The newest descriptor that was published here. The group's own state rules.
    pub descriptor: GroupDescriptor,
    /// The descriptor it was born with: what its first replicas' birth snapshot says.
    pub birth: GroupDescriptor,
    /// Replicas that got their id and may be added by a conf change.
    pub joining: Vec<ReplicaDescriptor>,
    /// Replicas whose directory exists or existed. One whose directory is gone has lost its log and is
    /// never created again under its id.
    pub created: BTreeSet<ReplicaId>,
    /// The group is gone for ever.
    pub dropped: bool,
}

/// What a node has to do about one of its replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaOrigin {
    /// It was there when the group was created: it starts from the birth snapshot.
    Birth(ReplicaDescriptor),
    /// It joins later: it starts empty and is seeded by a snapshot of the leader.
    Joining(ReplicaDescriptor),
}

impl ReplicaOrigin {
    /// The replica.
    pub const fn replica(&self) -> &ReplicaDescriptor {
        match self {
            Self::Birth(replica) | Self::Joining(replica) => replica,
        }
    }
}

impl GroupRecord {
    /// A new group with its first replicas.
    pub fn new(descriptor: GroupDescriptor) -> Self {
        Self {
            birth: descriptor.clone(),
            descriptor,
            joining: Vec::new(),
            created: BTreeSet::new(),
            dropped: false,
        }
    }

    /// The replica that `node` should hold, if any. One that joins in the place of another waits until that has left:
    /// while it is a member, a repair that was begun may still be given up.
    pub fn replica_on(&self, node: NodeId) -> Option<ReplicaOrigin> {
        if self.dropped {
            return None;
        }
        let Some(current) = self.descriptor.replica_on(node) else {
            let joining = self.joining.iter().find(|replica| replica.node == node);
            return joining.copied().map(ReplicaOrigin::Joining);
        };
        Some(match self.birth.replica(current.replica) {
            Some(_) => ReplicaOrigin::Birth(*current),
            None => ReplicaOrigin::Joining(*current),
        })
    }
}

/// A decoded catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// Raised by every change; `None` before the first one.
    pub version: Option<u64>,
    /// By id.
    pub nodes: BTreeMap<NodeId, NodeRecord>,
    /// By id, dropped ones included.
    pub groups: BTreeMap<GroupId, GroupRecord>,
    /// The next replica id to hand out.
    pub next_replica: ReplicaId,
    /// The next group id to hand out.
    pub next_group: GroupId,
    routes: RouteTable,
}

impl Catalog {
    /// What a node believes before it has read any version: where the nodes it was configured with are,
    /// and group 0.
    pub fn unread(nodes: impl IntoIterator<Item = NodeRecord>, catalog_group: GroupDescriptor) -> Self {
        Self {
            nodes: nodes.into_iter().map(|node| (node.node, node)).collect(),
            groups: BTreeMap::from([(CATALOG_GROUP, GroupRecord::new(catalog_group))]),
            ..Self::default()
        }
    }

    /// The live group that serves `key`.
    pub fn route(&self, key: &[u8]) -> Option<&GroupRecord> {
        self.routes.find(key).and_then(|group| self.groups.get(&group))
    }

    /// Live groups whose ranges touch `start..end`, in key order.
    pub fn route_range<'a>(
        &'a self,
        start: &'a [u8],
        end: Option<&'a [u8]>,
    ) -> impl DoubleEndedIterator<Item = &'a GroupRecord> {
        self.routes.overlapping(start, end).filter_map(|group| self.groups.get(&group))
    }

    /// Live user groups (all but the catalog's own).
    pub fn user_groups(&self) -> impl Iterator<Item = &GroupRecord> {
        self.groups.values().filter(|record| !record.dropped && record.descriptor.group != CATALOG_GROUP)
    }

    /// Begins a change of this version.
    pub fn edit(&self) -> CatalogEdit {
        CatalogEdit::new(self)
    }

    fn index_routes(&mut self) {
        self.routes = RouteTable::new(
            self.user_groups().map(|record| (record.descriptor.range.clone(), record.descriptor.group)),
        );
    }
}

#[cfg(test)]
mod tests;
