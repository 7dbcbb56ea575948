//! What must hold at every moment, as far as nodes show it.

use std::collections::BTreeMap;

use quorate::{GroupStatus, Lifecycle, NodeId, ReplicaId};
use quorate_telemetry::stats::GroupReport;

use super::world::World;

/// One process, and one group's replica in it. (A group may be started more than once in it.)
type Life = (usize, u64, u64, ReplicaId);

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Who led, by group and term.
    leaders: BTreeMap<(u64, u64), ReplicaId>,
    /// The last look at each replica.
    last: BTreeMap<Life, Seen>,
    /// Starts by what the gate came to and why.
    pub(super) gate_rows: BTreeMap<(String, String), u64>,
    /// What all replicas have counted, each until its process ended.
    pub(super) totals: Totals,
    reports: BTreeMap<Life, GroupReport>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    term: u64,
    applied: u64,
    commit: u64,
    ceiling: u64,
}

/// Sums over all processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Leaders that were seen.
    pub leaders: u64,
    /// Snapshots published.
    pub published: u64,
    /// Snapshots installed.
    pub installed: u64,
    /// Log entries fetched from others.
    pub repaired_entries: u64,
    /// Torn batches found at starts.
    pub torn_batches: u64,
    /// Comparisons of replicas.
    pub comparisons: u64,
}

impl Watch {
    /// Looks at every replica; gives what is wrong. `has_rot`: a replica may rightly be proven wrong.
    pub(super) fn look(&mut self, world: &World, has_rot: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        for (at, node) in world.running() {
            let start = world.hosts[at].starts;
            for status in node.local_groups() {
                let life = (at, start, status.group.get(), status.replica);
                let Some(report) = node.group(status.group).local_report() else { continue };
                if self.count(life, report, has_rot, &mut wrong) {
                    self.last.remove(&life);
                }
                if status.lifecycle == Lifecycle::Running {
                    self.look_at(life, &status, node.id(), &mut wrong);
                }
            }
        }
        wrong
    }

    fn look_at(&mut self, life: Life, status: &GroupStatus, node: NodeId, wrong: &mut Vec<String>) {
        let (group, term) = (status.group.get(), status.role.term.get());
        if status.role.is_leader {
            let leader = *self.leaders.entry((group, term)).or_insert(status.replica);
            if leader != status.replica {
                wrong.push(format!(
                    "election safety (Raft 5.2): replicas {leader} and {} of group {group} led in term {term}",
                    status.replica
                ));
            }
        }
        let now = Seen {
            term,
            applied: status.applied.get(),
            commit: status.commit.get(),
            ceiling: status.hlc_ceiling.0,
        };
        let order = [status.applied, status.commit, status.last];
        if !order.is_sorted() {
            wrong.push(format!("applied, commit, last (DESIGN 3) of group {group} on {node}: {order:?}"));
        }
        let before = self.last.insert(life, now).unwrap_or_default();
        let goes_back = [
            ("term (Raft 5.1)", before.term > now.term),
            ("applied (DESIGN 5)", before.applied > now.applied),
            ("commit (Raft 5.3)", before.commit > now.commit),
            ("ceiling (DESIGN 8)", before.ceiling > now.ceiling),
        ];
        for (what, _) in goes_back.iter().filter(|(_, goes_back)| *goes_back) {
            wrong.push(format!("{what} of group {group} on {node} went back: {before:?}, then {now:?}"));
        }
    }

    /// Whether it was started again since the last look.
    fn count(&mut self, life: Life, report: GroupReport, has_rot: bool, wrong: &mut Vec<String>) -> bool {
        if !has_rot && report.consistency_diverged + report.consistency_divided > 0 {
            wrong.push(format!(
                "state machine safety (Raft 5.4.3): replicas of group {} differ",
                report.group
            ));
        }
        let starts = |report: &GroupReport| report.cold_starts.iter().map(|start| start.count).sum::<u64>();
        let now = starts(&report);
        let before = self.reports.insert(life, report);
        before.is_some_and(|before| starts(&before) < now)
    }

    /// Sums up.
    pub(super) fn finish(&mut self) {
        for start in self.reports.values().flat_map(|report| &report.cold_starts) {
            let row = (start.outcome.label().to_owned(), start.reason.to_owned());
            *self.gate_rows.entry(row).or_default() += start.count;
        }
        let sum = |what: fn(&GroupReport) -> u64| self.reports.values().map(what).sum();
        self.totals = Totals {
            leaders: self.leaders.len() as u64,
            published: sum(|report| report.snapshots_published),
            installed: sum(|report| report.snapshots_installed),
            repaired_entries: sum(|report| report.repaired_entries),
            torn_batches: sum(|report| report.log_torn_batches),
            comparisons: sum(|report| report.consistency_checks),
        };
    }
}
