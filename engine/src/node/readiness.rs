//! Whether a node should be given requests.

use quorate_shard::actor::{GroupHandle, Lifecycle};
use quorate_shard::disk_space::Room;
use quorate_storage::GroupId;

use super::Node;

/// One group's part in its node's readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupReadiness {
    /// It runs and knows its leader.
    Ready,
    /// It runs and waits for a leader.
    NoLeader,
    /// Its replica here has not been opened yet.
    Opening,
    /// Its directory is gone: the replica must be replaced.
    Lost,
    /// Entries of its log are unreadable and are being fetched from other nodes.
    Repairing(String),
    /// It has no intact snapshot that its log reaches, and waits for one of another node: it votes, and serves nothing.
    Waiting(String),
    /// A failure of its own has stopped it.
    Quarantined(String),
}

/// A node's readiness, group by group.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// Whether the node knows a catalog.
    pub has_catalog: bool,
    /// Whether it is being stopped.
    pub is_stopping: bool,
    /// The room on its disk: below [`Room::Ample`] leaders here refuse writes.
    pub room: Room,
    /// Groups whose log writer or applier here has hung for two election timeouts.
    pub stalled: Vec<GroupId>,
    /// Groups that should have a replica here.
    pub groups: Vec<(GroupId, GroupReadiness)>,
}

impl Readiness {
    /// Whether requests should come here: a catalog is known, and every group that is not out of service by
    /// a failure of its own has a leader. A full or hanging disk does not count here: its node serves what it can.
    pub fn is_ready(&self) -> bool {
        let serves = |readiness: &GroupReadiness| {
            !matches!(readiness, GroupReadiness::NoLeader | GroupReadiness::Opening)
        };
        self.has_catalog && !self.is_stopping && self.groups.iter().all(|(_, group)| serves(group))
    }
}

impl Node {
    /// How ready this node is now.
    pub fn readiness(&self) -> Readiness {
        let core = &self.core;
        let catalog = core.copy.load();
        let here = catalog.groups.iter().filter(|(_, record)| record.replica_on(core.config.node).is_some());
        Readiness {
            has_catalog: catalog.version.is_some(),
            room: core.space.room(),
            stalled: self.stalled(),
            is_stopping: core.stopping.is_cancelled(),
            groups: here.map(|(&group, _)| (group, self.group_readiness(group))).collect(),
        }
    }

    fn stalled(&self) -> Vec<GroupId> {
        let is_stalled = |handle: &GroupHandle| {
            let status = handle.status();
            status.lifecycle == Lifecycle::Running && (status.is_log_stalled || status.is_apply_stalled)
        };
        let groups = self.core.registry.all();
        groups.iter().filter(|(_, handle)| is_stalled(handle)).map(|(&group, _)| group).collect()
    }

    fn group_readiness(&self, group: GroupId) -> GroupReadiness {
        if self.core.lost.lock().contains(&group) {
            return GroupReadiness::Lost;
        }
        let Some(handle) = self.core.registry.get(group) else { return GroupReadiness::Opening };
        let status = handle.status();
        match status.lifecycle {
            Lifecycle::Repairing(reason) => GroupReadiness::Repairing(reason.to_string()),
            Lifecycle::Waiting(reason) => GroupReadiness::Waiting(reason.to_string()),
            Lifecycle::Quarantined(reason) => GroupReadiness::Quarantined(reason.to_string()),
            _ if status.role.leader.is_some() => GroupReadiness::Ready,
            _ => GroupReadiness::NoLeader,
        }
    }
}
