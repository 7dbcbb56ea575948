//! Waits until a replica has come to rest, and until a scan of it has ended.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::{GroupId, GroupReadiness, Lifecycle, Node, Remedy};
use tokio::time::{Instant, sleep};

use super::instance::{LOOK, PATIENCE};
use super::seen::{ReplicaSeen, look};
use super::trial::Lab;
use crate::corruption::cluster::GROUPS;

/// How long a replica must be out of service before nothing is expected of it any more.
const OUT: Duration = Duration::from_millis(1_500);
/// How long a replica may ask for its entries.
const ASKS: Duration = Duration::from_secs(4);
/// Scans of one replica: the first may find rot, and the one behind the rebuild nothing.
const SCANS_MAX: usize = 8;

impl Lab<'_> {
    /// Waits until every replica of `node` has caught up, or is out of service and stays so.
    pub(super) async fn settle(&self, node: &Node) -> Result<Vec<ReplicaSeen>, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut out_since: BTreeMap<GroupId, Instant> = BTreeMap::new();
        loop {
            let (ends, now) = (look(node), Instant::now());
            let waits_for = ends.iter().find(|end| {
                if end.out_of_service().is_none() {
                    out_since.remove(&end.group);
                }
                let mut is_out_for = |time| now >= *out_since.entry(end.group).or_insert(now) + time;
                !match &end.readiness {
                    GroupReadiness::Lost => true,
                    GroupReadiness::Ready => self.has_caught_up(node, end.group),
                    GroupReadiness::Quarantined(_) => end.remedy == Some(Remedy::Repair) && is_out_for(OUT),
                    GroupReadiness::Repairing(_) => is_out_for(ASKS),
                    GroupReadiness::NoLeader
                    | GroupReadiness::Waiting(_)
                    | GroupReadiness::Restoring
                    | GroupReadiness::Replaying
                    | GroupReadiness::Opening => false,
                }
            });
            match waits_for {
                None if ends.len() == GROUPS.len() => return Ok(ends),
                _ if now < deadline => sleep(LOOK).await,
                Some(end) => return Err(format!("a replica does not come to rest: {end:?}")),
                None => return Err(format!("the node does not know its groups: {ends:?}")),
            }
        }
    }

    pub(super) fn has_caught_up(&self, node: &Node, group: GroupId) -> bool {
        let Some(status) = node.group(group).local_status() else { return false };
        let others = self.peers.iter().filter_map(|peer| peer.group(group).local_status());
        status.lifecycle == Lifecycle::Running
            && others.map(|other| other.last).max().is_some_and(|last| status.applied >= last)
    }

    /// Has `group` scanned until a scan ends that finds the state whole; nothing to do for one that is out of service.
    pub(super) async fn scan(&self, node: &Node, group: GroupId) -> Result<(), String> {
        let ended = || {
            let report = node.group(group).local_report();
            report.map_or([0; 3], |report| {
                [report.scrubs_completed, report.scrubs_rotten, report.scrubs_interrupted]
            })
        };
        let is_running = || {
            let status = node.group(group).local_status();
            status.is_some_and(|status| status.lifecycle == Lifecycle::Running)
        };
        for _ in 0..SCANS_MAX {
            let ends = self.settle(node).await?;
            if ends.iter().any(|end| end.group == group && end.out_of_service().is_some()) {
                return Ok(());
            }
            let (before, deadline) = (ended(), Instant::now() + PATIENCE);
            node.group(group).begin_scrub().map_err(|error| format!("{group}: {error}"))?;
            while ended() == before && is_running() {
                if Instant::now() > deadline {
                    return Err(format!("a scan of {group} does not end"));
                }
                sleep(LOOK).await;
            }
            if ended()[0] > before[0] {
                return Ok(());
            }
        }
        Err(format!("no scan finds the state of {group} whole"))
    }
}
