//! What can be seen of the damaged node while it runs.

use quorate::{GroupId, GroupReadiness, Node, Remedy};
use quorate_telemetry::stats::{ColdStartOutcome, GroupReport};

use crate::corruption::verdict::Outcome;

/// What a replica says of itself.
#[derive(Clone, Debug)]
pub(super) struct ReplicaSeen {
    pub(super) group: GroupId,
    pub(super) readiness: GroupReadiness,
    /// What brings it back, if it is quarantined.
    pub(super) remedy: Option<Remedy>,
    pub(super) report: Option<GroupReport>,
}

/// All replicas of `node` that its catalog knows.
pub(super) fn look(node: &Node) -> Vec<ReplicaSeen> {
    let groups = node.readiness().groups.into_iter();
    groups
        .map(|(group, readiness)| {
            let here = node.group(group);
            let remedy = here.local_quarantine().map(|quarantine| quarantine.remedy);
            ReplicaSeen { group, readiness, remedy, report: here.local_report() }
        })
        .collect()
}

impl ReplicaSeen {
    /// What took it out of service, if something did.
    pub(super) fn out_of_service(&self) -> Option<&str> {
        match &self.readiness {
            GroupReadiness::Quarantined(why) | GroupReadiness::Repairing(why) => Some(why),
            GroupReadiness::Lost => Some("its directory is gone"),
            GroupReadiness::Ready
            | GroupReadiness::NoLeader
            | GroupReadiness::Waiting(_)
            | GroupReadiness::Restoring
            | GroupReadiness::Replaying
            | GroupReadiness::Opening => None,
        }
    }

    /// What shows that it has met damage, and got over it. `first` is where its log began before.
    pub(super) fn evidence(&self, first: u64) -> Vec<(Outcome, &'static str)> {
        let Some(report) = &self.report else { return Vec::new() };
        let is_restored =
            |outcome| matches!(outcome, ColdStartOutcome::Fallback | ColdStartOutcome::Executed);
        let restored = report.cold_starts.iter().any(|start| is_restored(start.outcome) && start.count > 0);
        let signs = [
            (report.repaired_entries > 0, Outcome::Repaired, "entries fetched"),
            (report.dropped_entries > 0, Outcome::Repaired, "entries dropped"),
            (report.log_torn_batches > 0, Outcome::Repaired, "torn tail cut"),
            (report.first > first, Outcome::Repaired, "entries given up"),
            (report.snapshot_waits > 0, Outcome::Rebuilt, "snapshot of the leader installed"),
            (report.snapshots_corrupt > 0, Outcome::Rebuilt, "snapshot put aside"),
            (restored || report.scrubs_rotten > 0, Outcome::Rebuilt, "state restored"),
        ];
        let seen = signs.into_iter().filter(|(is_seen, ..)| *is_seen);
        seen.map(|(_, outcome, what)| (outcome, what)).collect()
    }
}
