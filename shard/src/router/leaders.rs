//! Who led a group when somebody last looked. A hint: wrong entries cost a round trip, nothing else.

use std::collections::BTreeMap;

use parking_lot::RwLock;
use quorate_storage::{GroupId, NodeId};

/// Leader hints by group.
#[derive(Debug, Default)]
pub struct LeaderCache {
    leaders: RwLock<BTreeMap<GroupId, NodeId>>,
}

impl LeaderCache {
    /// The node that was last seen leading `group`.
    pub fn get(&self, group: GroupId) -> Option<NodeId> {
        self.leaders.read().get(&group).copied()
    }

    /// Remembers that `node` leads `group`. Takes the write lock only when that is news.
    pub fn set(&self, group: GroupId, node: NodeId) {
        if self.get(group) != Some(node) {
            self.leaders.write().insert(group, node);
        }
    }

    /// Forgets that `node` leads `group`.
    pub fn forget(&self, group: GroupId, node: NodeId) {
        if self.get(group) == Some(node) {
            self.leaders.write().remove(&group);
        }
    }
}
