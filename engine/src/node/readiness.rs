//! Whether a node should be given requests.

use quorate_shard::actor::{GroupHandle, Lifecycle};
use quorate_shard::disk_space::Room;
use quorate_storage::GroupId;
use quorate_telemetry::stats::GroupState;

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
    /// Its state is being restored from a snapshot, or a snapshot is read whole.
    Restoring,
    /// It runs, and applies what its log had when it was started.
    Replaying,
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

/// How far the groups of a node are, on the way to being ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartProgress {
    /// Not opened yet.
    pub opening: usize,
    /// Their state is being restored.
    pub restoring: usize,
    /// They run and catch up with their own logs.
    pub replaying: usize,
    /// They have caught up and wait for a leader.
    pub leaderless: usize,
    /// They can serve.
    pub ready: usize,
    /// Out of service by a failure of their own: nothing is waited for.
    pub out_of_service: usize,
}

impl StartProgress {
    /// The groups of two nodes.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            opening: self.opening + other.opening,
            restoring: self.restoring + other.restoring,
            replaying: self.replaying + other.replaying,
            leaderless: self.leaderless + other.leaderless,
            ready: self.ready + other.ready,
            out_of_service: self.out_of_service + other.out_of_service,
        }
    }

    /// All groups of the node.
    pub fn total(&self) -> usize {
        let Self { opening, restoring, replaying, leaderless, ready, out_of_service } = *self;
        opening + restoring + replaying + leaderless + ready + out_of_service
    }
}

impl Readiness {
    /// How many groups have come how far.
    pub fn progress(&self) -> StartProgress {
        let mut progress = StartProgress::default();
        for (_, readiness) in &self.groups {
            *match readiness {
                GroupReadiness::Opening => &mut progress.opening,
                GroupReadiness::Restoring => &mut progress.restoring,
                GroupReadiness::Replaying => &mut progress.replaying,
                GroupReadiness::NoLeader => &mut progress.leaderless,
                GroupReadiness::Ready => &mut progress.ready,
                GroupReadiness::Lost
                | GroupReadiness::Repairing(_)
                | GroupReadiness::Waiting(_)
                | GroupReadiness::Quarantined(_) => &mut progress.out_of_service,
            } += 1;
        }
        progress
    }

    /// Whether requests should come here: a catalog is known, and every group that is not out of service by
    /// a failure of its own has a leader. A full or hanging disk does not count here: its node serves what it can.
    pub fn is_ready(&self) -> bool {
        let serves = |readiness: &GroupReadiness| match readiness {
            GroupReadiness::Opening
            | GroupReadiness::Restoring
            | GroupReadiness::Replaying
            | GroupReadiness::NoLeader => false,
            GroupReadiness::Ready
            | GroupReadiness::Lost
            | GroupReadiness::Repairing(_)
            | GroupReadiness::Waiting(_)
            | GroupReadiness::Quarantined(_) => true,
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

    /// Of a group that takes no part yet.
    fn opening(&self, group: GroupId) -> GroupReadiness {
        match self.core.collector.report_group(group.get()).map(|report| report.state) {
            Some(GroupState::Restoring) => GroupReadiness::Restoring,
            _ => GroupReadiness::Opening,
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
        let Some(handle) = self.core.registry.get(group) else { return self.opening(group) };
        let status = handle.status();
        match status.lifecycle {
            Lifecycle::Repairing(reason) => GroupReadiness::Repairing(reason.to_string()),
            Lifecycle::Waiting(reason) => GroupReadiness::Waiting(reason.to_string()),
            Lifecycle::Quarantined(reason) => GroupReadiness::Quarantined(reason.to_string()),
            _ if status.is_replaying() => GroupReadiness::Replaying,
            _ if status.role.leader.is_some() => GroupReadiness::Ready,
            _ => GroupReadiness::NoLeader,
        }
    }
}
