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

    /// Forgets that `node` leads `group`; what is known of another leader stays.
    pub fn forget(&self, group: GroupId, node: NodeId) {
        if self.get(group) != Some(node) {
            return;
        }
        let mut leaders = self.leaders.write();
        // Looked at again under the write lock: a newer leader may have been set meanwhile.
        if leaders.get(&group) == Some(&node) {
            leaders.remove(&group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgetting_an_old_leader_keeps_the_new_one() {
        let leaders = LeaderCache::default();
        leaders.set(GroupId(1), NodeId(1));
        leaders.set(GroupId(1), NodeId(2));
        leaders.forget(GroupId(1), NodeId(1));
        assert_eq!(leaders.get(GroupId(1)), Some(NodeId(2)));
        leaders.forget(GroupId(1), NodeId(2));
        assert_eq!(leaders.get(GroupId(1)), None);
        assert_eq!(leaders.get(GroupId(2)), None);
    }
}
