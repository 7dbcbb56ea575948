//! Whether a node is alive, whether it is ready, and why not.
//!
//! *Alive* is for who restarts processes, *ready* for who sends requests. A quarantined group makes neither false: one
//! group's failure stays one group's failure.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use serde::Serialize;

/// At most so many groups are listed by name in a [`HealthReport`]; the counts are always complete.
pub const LISTED_GROUPS_MAX: usize = 100;

/// Why a node takes no requests. A closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unready {
    /// It is starting: its listeners or its catalog are not there yet.
    Starting,
    /// It is stopping.
    Stopping,
    /// A log write has not returned for two election timeouts.
    LogStalled,
    /// The reserve of the disk is used up: writes are refused.
    DiskFull,
    /// Its clock is too far from that of its peers.
    ClockSkewed,
}

/// Why a process should be restarted. A closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Dead {
    /// A store has made no progress for so long that nothing inside the process can free it.
    StoreHung,
    /// A task that the node cannot do without has ended.
    TaskEnded,
}

/// How far a group is on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum GroupHealth {
    /// It is being opened.
    Opening,
    /// It serves.
    Ready,
    /// It is out of service until repaired.
    Quarantined {
        /// For a human; never a label.
        reason: String,
    },
}

/// The health of one node, shared by everything that can tell something about it. A node is born `Starting`.
#[derive(Debug)]
pub struct Health(Mutex<State>);

#[derive(Debug)]
struct State {
    dead: BTreeSet<Dead>,
    unready: BTreeSet<Unready>,
    groups: BTreeMap<u64, GroupHealth>,
}

impl Health {
    /// A node that is alive and not ready, because it is starting.
    pub fn new() -> Self {
        let unready = BTreeSet::from([Unready::Starting]);
        Self(Mutex::new(State { dead: BTreeSet::new(), unready, groups: BTreeMap::new() }))
    }

    /// The node is not ready because of `why`, until that is cleared.
    pub fn set_unready(&self, why: Unready) {
        self.0.lock().unready.insert(why);
    }

    /// `why` holds no longer.
    pub fn clear_unready(&self, why: Unready) {
        self.0.lock().unready.remove(&why);
    }

    /// The process should be restarted because of `why`. There is no way back.
    pub fn set_dead(&self, why: Dead) {
        self.0.lock().dead.insert(why);
    }

    /// Tells how far `group` is.
    pub fn set_group(&self, group: u64, health: GroupHealth) {
        self.0.lock().groups.insert(group, health);
    }

    /// `group` has left this node.
    pub fn remove_group(&self, group: u64) {
        self.0.lock().groups.remove(&group);
    }

    /// Whether the process is worth keeping.
    pub fn is_live(&self) -> bool {
        self.0.lock().dead.is_empty()
    }

    /// Whether requests should be sent here. Each group is ready when *it* is ready, so those that are still being
    /// opened do not count here.
    pub fn is_ready(&self) -> bool {
        self.0.lock().is_ready()
    }

    /// Everything, for the health pages.
    pub fn report(&self) -> HealthReport {
        let state = self.0.lock();
        let mut counts = GroupCounts::default();
        for health in state.groups.values() {
            match health {
                GroupHealth::Opening => counts.opening += 1,
                GroupHealth::Ready => counts.ready += 1,
                GroupHealth::Quarantined { .. } => counts.quarantined += 1,
            }
        }
        HealthReport {
            live: state.dead.is_empty(),
            ready: state.is_ready(),
            dead_reasons: state.dead.iter().copied().collect(),
            unready_reasons: state.unready.iter().copied().collect(),
            groups: counts,
            not_ready_groups: state.listed(),
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn is_ready(&self) -> bool {
        self.dead.is_empty() && self.unready.is_empty()
    }

    /// Quarantined groups first: they need somebody.
    fn listed(&self) -> Vec<ListedGroup> {
        let quarantined = |health: &GroupHealth| matches!(health, GroupHealth::Quarantined { .. });
        let first = self.groups.iter().filter(|(_, health)| quarantined(health));
        let then = self.groups.iter().filter(|(_, health)| **health == GroupHealth::Opening);
        let listed = first.chain(then).take(LISTED_GROUPS_MAX);
        listed.map(|(&group, health)| ListedGroup { group, health: health.clone() }).collect()
    }
}

/// What [`Health`] said at one moment: the body of `/healthz` and of `/readyz?verbose`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// Whether the process is worth keeping.
    pub live: bool,
    /// Whether requests should be sent here.
    pub ready: bool,
    /// Why it is not live.
    pub dead_reasons: Vec<Dead>,
    /// Why it is not ready, other than by not being live.
    pub unready_reasons: Vec<Unready>,
    /// How many groups are how far.
    pub groups: GroupCounts,
    /// The groups that do not serve, quarantined ones first, [`LISTED_GROUPS_MAX`] at most.
    pub not_ready_groups: Vec<ListedGroup>,
}

/// How many groups are how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GroupCounts {
    /// Being opened.
    pub opening: usize,
    /// Serving.
    pub ready: usize,
    /// Out of service until repaired.
    pub quarantined: usize,
}

/// One group that does not serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedGroup {
    /// Its number.
    pub group: u64,
    /// How far it is.
    #[serde(flatten)]
    pub health: GroupHealth,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_when_no_reason_is_left() {
        let health = Health::new();
        assert!(health.is_live() && !health.is_ready());
        health.set_unready(Unready::DiskFull);
        health.clear_unready(Unready::Starting);
        assert!(!health.is_ready());
        health.clear_unready(Unready::DiskFull);
        assert!(health.is_ready());
    }

    #[test]
    fn a_dead_node_is_neither_live_nor_ready() {
        let health = Health::new();
        health.clear_unready(Unready::Starting);
        health.set_dead(Dead::StoreHung);
        assert!(!health.is_live() && !health.is_ready());
    }

    #[test]
    fn a_quarantined_group_is_told_and_takes_nothing_down() {
        let health = Health::new();
        health.clear_unready(Unready::Starting);
        health.set_group(1, GroupHealth::Ready);
        health.set_group(2, GroupHealth::Opening);
        health.set_group(3, GroupHealth::Quarantined { reason: "bad record".to_owned() });
        let report = health.report();
        assert!(report.live && report.ready);
        assert_eq!(report.groups, GroupCounts { opening: 1, ready: 1, quarantined: 1 });
        let json = serde_json::to_value(&report.not_ready_groups).unwrap();
        let expected = serde_json::json!([
            { "group": 3, "state": "quarantined", "reason": "bad record" },
            { "group": 2, "state": "opening" },
        ]);
        assert_eq!(json, expected);
        health.remove_group(3);
        assert_eq!(health.report().groups.quarantined, 0);
    }

    #[test]
    fn a_node_with_many_opening_groups_still_has_a_short_report() {
        let health = Health::new();
        for group in 0..5_000 {
            health.set_group(group, GroupHealth::Opening);
        }
        health.set_group(5_000, GroupHealth::Quarantined { reason: String::new() });
        let report = health.report();
        assert_eq!(report.groups.opening, 5_000);
        assert_eq!(report.not_ready_groups.len(), LISTED_GROUPS_MAX);
        assert_eq!(report.not_ready_groups[0].group, 5_000);
    }
}
