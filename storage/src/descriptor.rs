//! What a group is: its identity, its key range and its replicas. The group's own copy lives in its applied
//! record and snapshot header and changes only through its own log; the catalog in group 0 holds a copy for
//! routing.

use bytes::Bytes;

use crate::ids::{ConfEpoch, GroupId, GroupUid, Incarnation, NodeId, RangeEpoch, ReplicaId};

/// A range of keys, `start` included, `end` excluded; no `end` means "to the last key".
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyRange {
    /// First key.
    pub start: Bytes,
    /// First key behind the range.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        Self::default()
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_ref() && self.end.as_ref().is_none_or(|end| key < end.as_ref())
    }
}

/// One replica and where it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaDescriptor {
    /// Raft's peer id.
    pub replica: ReplicaId,
    /// The node that holds it.
    pub node: NodeId,
    /// The directory it was created as; zero where it is not known (group 0's first replicas).
    pub incarnation: Incarnation,
}

/// Everything a group knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescriptor {
    /// Its number within the cluster.
    pub group: GroupId,
    /// Its identity for ever.
    pub uid: GroupUid,
    /// The keys it serves.
    pub range: KeyRange,
    /// Raised by every change of `range`.
    pub range_epoch: RangeEpoch,
    /// Raised by every change of `replicas`.
    pub conf_epoch: ConfEpoch,
    /// Its replicas, by ascending replica id.
    pub replicas: Vec<ReplicaDescriptor>,
}

impl GroupDescriptor {
    /// The replica with this id.
    pub fn replica(&self, id: ReplicaId) -> Option<&ReplicaDescriptor> {
        self.replicas.iter().find(|replica| replica.replica == id)
    }

    /// The replica that lives on `node`.
    pub fn replica_on(&self, node: NodeId) -> Option<&ReplicaDescriptor> {
        self.replicas.iter().find(|replica| replica.node == node)
    }
}
