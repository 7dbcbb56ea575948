//! The groups that run on this node.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use quorate_storage::GroupId;

use crate::actor::GroupHandle;

/// Handles by group. Readers take no lock; changes are rare and copy the map.
#[derive(Debug, Default)]
pub struct Registry {
    groups: ArcSwap<BTreeMap<GroupId, GroupHandle>>,
    changing: Mutex<()>,
}

impl Registry {
    /// The handle of a group that runs here.
    pub fn get(&self, group: GroupId) -> Option<GroupHandle> {
        self.groups.load().get(&group).cloned()
    }

    /// All of them, by id.
    pub fn all(&self) -> Arc<BTreeMap<GroupId, GroupHandle>> {
        self.groups.load_full()
    }

    /// Adds or replaces a group.
    pub fn insert(&self, group: GroupId, handle: GroupHandle) {
        self.change(|groups| {
            groups.insert(group, handle);
        });
    }

    /// Takes a group out.
    pub fn remove(&self, group: GroupId) {
        self.change(|groups| {
            groups.remove(&group);
        });
    }

    fn change(&self, edit: impl FnOnce(&mut BTreeMap<GroupId, GroupHandle>)) {
        let _one_at_a_time = self.changing.lock();
        let mut groups = BTreeMap::clone(&self.groups.load());
        edit(&mut groups);
        self.groups.store(Arc::new(groups));
    }
}
