//! Changes of the catalog, as one conditional command each.

use bytes::Bytes;
use quorate_storage::kv::{Condition, KvCommand, Op};
use quorate_storage::{GroupId, ReplicaId};

use super::codec::{self, Counter};
use super::{Catalog, GroupRecord, NodeRecord};

/// A change of one catalog version. Takes effect as a whole, and only if nobody was faster.
#[derive(Debug)]
pub struct CatalogEdit {
    version: Option<u64>,
    next_replica: ReplicaId,
    next_group: GroupId,
    ops: Vec<Op>,
}

impl CatalogEdit {
    pub(super) fn new(base: &Catalog) -> Self {
        Self {
            version: base.version,
            next_replica: base.next_replica,
            next_group: base.next_group,
            ops: Vec::new(),
        }
    }

    /// Hands out replica ids from `first` on, if that is higher than what was set.
    pub fn replicas_from(&mut self, first: ReplicaId) {
        self.next_replica = self.next_replica.max(first);
    }

    /// Hands out group ids from `first` on, if that is higher than what was set.
    pub fn groups_from(&mut self, first: GroupId) {
        self.next_group = self.next_group.max(first);
    }

    /// A replica id that was never used.
    pub fn take_replica(&mut self) -> ReplicaId {
        let id = self.next_replica.max(ReplicaId(1));
        self.next_replica = ReplicaId(id.get() + 1);
        id
    }

    /// A group id that was never used.
    pub fn take_group(&mut self) -> GroupId {
        let id = self.next_group.max(GroupId(1));
        self.next_group = GroupId(id.get() + 1);
        id
    }

    /// Adds or replaces a node.
    pub fn put_node(&mut self, record: &NodeRecord) {
        self.ops.push(Op::Put(codec::node_key(record.node), codec::encode_node(record)));
    }

    /// Adds or replaces a group.
    pub fn put_group(&mut self, record: &GroupRecord) {
        self.ops.push(Op::Put(codec::group_key(record.descriptor.group), codec::encode_group(record)));
    }

    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The command for group 0.
    pub fn into_command(mut self) -> KvCommand {
        let key = codec::counter_key(Counter::Version);
        let condition = match self.version {
            Some(version) => Condition::Equals(key.clone(), number(version)),
            None => Condition::Absent(key.clone()),
        };
        let next = self.version.map_or(0, |version| version + 1);
        self.ops.push(Op::Put(key, number(next)));
        self.ops.push(Op::Put(codec::counter_key(Counter::NextReplica), number(self.next_replica.get())));
        self.ops.push(Op::Put(codec::counter_key(Counter::NextGroup), number(self.next_group.get())));
        KvCommand { conditions: vec![condition], ops: self.ops }
    }
}

fn number(value: u64) -> Bytes {
    Bytes::copy_from_slice(&value.to_le_bytes())
}
