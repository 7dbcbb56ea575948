//! Descriptors that groups have told, newer than the catalog's: kept until the catalog has caught up.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use quorate_storage::{GroupDescriptor, GroupId};

/// Most descriptors remembered. One more pushes out the one of the lowest group id: it is told again when it
/// is needed.
const TOLD_MAX: usize = 1024;

/// The newest descriptor each group has told.
#[derive(Debug, Default)]
pub(super) struct Told {
    groups: RwLock<BTreeMap<GroupId, Arc<GroupDescriptor>>>,
}

impl Told {
    /// What `group` has told, if that is still news.
    pub(super) fn get(&self, group: GroupId) -> Option<Arc<GroupDescriptor>> {
        self.groups.read().get(&group).cloned()
    }

    /// A group that has told it serves `key`.
    pub(super) fn serving(&self, key: &[u8]) -> Option<GroupId> {
        let groups = self.groups.read();
        groups.values().find(|descriptor| descriptor.range.contains(key)).map(|descriptor| descriptor.group)
    }

    /// Remembers what a group says of itself, unless something newer is known.
    pub(super) fn learn(&self, descriptor: &GroupDescriptor) {
        let mut groups = self.groups.write();
        if groups.get(&descriptor.group).is_some_and(|known| !is_newer(descriptor, known)) {
            return;
        }
        if groups.len() >= TOLD_MAX && !groups.contains_key(&descriptor.group) {
            groups.pop_first();
        }
        groups.insert(descriptor.group, Arc::new(descriptor.clone()));
    }

    /// Forgets what `group` has told: the catalog knows as much, or the group is gone.
    pub(super) fn forget(&self, group: GroupId) {
        self.groups.write().remove(&group);
    }
}

/// Whether `a` is a newer state of the group than `b`. Epochs only rise.
pub(super) fn is_newer(a: &GroupDescriptor, b: &GroupDescriptor) -> bool {
    (a.range_epoch, a.conf_epoch) > (b.range_epoch, b.conf_epoch)
}

#[cfg(test)]
mod tests {
    use quorate_storage::{ConfEpoch, GroupUid, KeyRange, RangeEpoch};

    use super::*;

    fn descriptor(group: u64, epoch: u64) -> GroupDescriptor {
        GroupDescriptor {
            group: GroupId(group),
            uid: GroupUid([1; 16]),
            range: KeyRange {
                start: format!("{group:08}").into(),
                end: Some(format!("{:08}", group + 1).into()),
            },
            range_epoch: RangeEpoch(epoch),
            conf_epoch: ConfEpoch(1),
            replicas: Vec::new(),
        }
    }

    #[test]
    fn an_older_descriptor_never_replaces_a_newer_one() {
        let told = Told::default();
        told.learn(&descriptor(1, 3));
        told.learn(&descriptor(1, 2));
        assert_eq!(told.get(GroupId(1)).map(|known| known.range_epoch), Some(RangeEpoch(3)));
        assert_eq!(told.serving(b"000000010"), Some(GroupId(1)));
        told.forget(GroupId(1));
        assert_eq!(told.get(GroupId(1)), None);
        assert_eq!(told.serving(b"000000010"), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let told = Told::default();
        let last = 2 * TOLD_MAX as u64;
        for group in 1..=last {
            told.learn(&descriptor(group, 1));
        }
        assert_eq!(told.groups.read().len(), TOLD_MAX);
        assert!(told.get(GroupId(last)).is_some(), "the newest stays");
    }
}
