//! The engine as [`Operator`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate::storage::Index;
use quorate::{
    Condition, Error, GroupError, GroupId, GroupReadiness, Lifecycle, Node, NotRepairable, Readiness,
    RepairStep, Room,
};

use super::EngineBackend;
use crate::backend::BoxFuture;
use crate::operator::{
    Consistency, DiskStatus, GroupLine, NodeStatus, Operator, OperatorCode, OperatorError, OtherReplica,
    OutOfService, RepairPlan, Repaired, SnapshotTaken,
};

impl Operator for EngineBackend {
    fn status(&self) -> NodeStatus {
        let node = &self.node;
        let readiness = node.readiness();
        let disk = node.disk_room();
        let groups = known_groups(node, &readiness);
        NodeStatus {
            node: node.id().get(),
            cluster: node.cluster().to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            catalog_version: node.catalog().version,
            is_ready: readiness.is_ready(),
            groups_led: node.local_groups().iter().filter(|status| status.role.is_leader).count() as u64,
            disk: DiskStatus {
                room: room_name(disk.room).to_owned(),
                free_bytes: disk.free_bytes,
                needed_bytes: disk.needed_bytes,
            },
            groups: groups.iter().map(|(group, is)| group_line(node, *group, is)).collect(),
            out_of_service: groups
                .iter()
                .filter_map(|(group, is)| out_of_service(node, *group, is))
                .collect(),
        }
    }

    fn publish_snapshot(
        &self,
        group: u64,
        at_least: Option<u64>,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<SnapshotTaken, OperatorError>> {
        Box::pin(async move {
            let here = self.node.group(GroupId(group));
            let at_least = at_least.map(Index).or_else(|| here.local_status().map(|status| status.applied));
            // Without a replica there is none to give either.
            let published = here.snapshot_of(at_least.unwrap_or_default(), timeout).await;
            let token = published.map_err(|error| OperatorError {
                at_least: at_least.map(Index::get),
                ..refused(&self.node, group, error)
            })?;
            let (index, term) = (token.id.index.get(), token.id.term.get());
            Ok(SnapshotTaken { group, index, term, bytes: token.bytes, crc: token.crc })
        })
    }

    fn check_consistency(
        &self,
        group: u64,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Consistency, OperatorError>> {
        Box::pin(async move {
            let checked = tokio::time::timeout(timeout, self.node.check_consistency(GroupId(group))).await;
            let report = checked.unwrap_or(Err(Error::Group(GroupError::DeadlineExceeded)));
            report.map(|report| (&report).into()).map_err(|error| refused(&self.node, group, error))
        })
    }

    fn plan_repair(&self, group: u64) -> Result<RepairPlan, OperatorError> {
        let node = &self.node;
        let plan = node.repair_plan(GroupId(group)).map_err(|error| refused(node, group, error))?;
        let (step, old_replica, new_replica) = match &plan.step {
            RepairStep::Replace { old, .. } => ("replace", Some(old.get()), None),
            RepairStep::Join { new } => ("join", None, Some(new.get())),
            RepairStep::Promote { new } => ("promote", None, Some(new.get())),
        };
        let condition = match &plan.step {
            RepairStep::Replace { condition, .. } => Some(condition_text(condition)),
            RepairStep::Join { .. } | RepairStep::Promote { .. } => None,
        };
        let (condition, text) = condition.unzip();
        let catalog = node.catalog();
        let other = |replica: &quorate::storage::ReplicaDescriptor| OtherReplica {
            replica: replica.replica.get(),
            node: replica.node.get(),
            admin: catalog
                .nodes
                .get(&replica.node)
                .and_then(|node| node.admin)
                .map(|admin| format!("http://{admin}")),
        };
        Ok(RepairPlan {
            group,
            node: plan.node.get(),
            step: step.to_owned(),
            old_replica,
            new_replica,
            condition: condition.map(str::to_owned),
            text,
            evidence: plan.evidence,
            others: plan.others.iter().map(other).collect(),
        })
    }

    fn repair(&self, group: u64, timeout: Duration) -> BoxFuture<'_, Result<Repaired, OperatorError>> {
        Box::pin(async move {
            let repaired = self.node.repair(GroupId(group), timeout).await;
            let replica = repaired.map_err(|error| refused(&self.node, group, error))?;
            Ok(Repaired { group, node: self.node.id().get(), replica: replica.get() })
        })
    }
}

/// The groups that the catalog has here, and those that are here: while group 0 is out of service, nobody knows the
/// catalog.
fn known_groups(node: &Node, readiness: &Readiness) -> Vec<(GroupId, GroupReadiness)> {
    let mut groups: BTreeMap<GroupId, GroupReadiness> = node
        .local_groups()
        .into_iter()
        .map(|status| {
            let is = match status.lifecycle {
                Lifecycle::Quarantined(text) => GroupReadiness::Quarantined(text.to_string()),
                Lifecycle::Repairing(text) => GroupReadiness::Repairing(text.to_string()),
                _ => GroupReadiness::Ready,
            };
            (status.group, is)
        })
        .collect();
    groups.extend(readiness.groups.iter().cloned());
    groups.into_iter().collect()
}

fn room_name(room: Room) -> &'static str {
    match room {
        Room::Ample => "ample",
        Room::Short => "short",
        Room::Exhausted => "exhausted",
    }
}

fn condition_text(condition: &Condition) -> (&'static str, String) {
    match condition {
        Condition::Lost => ("lost", LOST.to_owned()),
        Condition::Quarantined(text) => ("quarantined", text.clone()),
        Condition::Repairing(text) => ("repairing", text.clone()),
        Condition::Waiting(text) => ("waiting", text.clone()),
    }
}

/// What is said of a replica without a directory.
const LOST: &str = "the replica's directory is gone";

fn group_line(node: &Node, group: GroupId, readiness: &GroupReadiness) -> GroupLine {
    let here = node.group(group);
    let status = here.local_status();
    let index = |of: fn(&quorate::GroupStatus) -> u64| status.as_ref().map_or(0, of);
    let state = match (readiness, here.local_report()) {
        (GroupReadiness::Lost, _) => "lost",
        (_, Some(report)) => report.state.label(),
        (_, None) => "opening",
    };
    GroupLine {
        group: group.get(),
        replica: status.as_ref().map(|status| status.replica.get()).filter(|replica| *replica > 0),
        state: state.to_owned(),
        leader_node: here.leader().map(quorate::NodeId::get),
        term: index(|status| status.role.term.get()),
        applied_index: index(|status| status.applied.get()),
        commit_index: index(|status| status.commit.get()),
        snapshot_index: status.and_then(|status| status.snapshot).map(|snapshot| snapshot.index.get()),
    }
}

fn out_of_service(node: &Node, group: GroupId, readiness: &GroupReadiness) -> Option<OutOfService> {
    let out = |state: &str, text: &str, remedy: &str| OutOfService {
        group: group.get(),
        state: state.to_owned(),
        reason: None,
        text: text.to_owned(),
        file: None,
        offset: None,
        remedy: remedy.to_owned(),
    };
    match readiness {
        GroupReadiness::Ready
        | GroupReadiness::NoLeader
        | GroupReadiness::Opening
        | GroupReadiness::Restoring
        | GroupReadiness::Replaying => None,
        GroupReadiness::Lost => Some(out("lost", LOST, "repair")),
        GroupReadiness::Repairing(text) => Some(out("repairing", text, "wait")),
        GroupReadiness::Waiting(text) => Some(out("waiting", text, "wait")),
        GroupReadiness::Quarantined(text) => {
            let quarantine = node.group(group).local_quarantine();
            let remedy = quarantine.as_ref().map_or("repair", |quarantine| quarantine.remedy.label());
            let base = out("quarantined", text, remedy);
            let Some(quarantine) = quarantine else { return Some(base) };
            Some(OutOfService {
                reason: Some(quarantine.reason.label().to_owned()),
                file: quarantine.file.map(|file| file.display().to_string()),
                offset: quarantine.offset,
                ..base
            })
        }
    }
}

/// What went wrong with `group`, in the operator's words; where else to ask, if this is the wrong node.
pub(super) fn refused(node: &Node, group: u64, error: Error) -> OperatorError {
    let code = match &error {
        Error::NotRepairable { reason: NotRepairable::InService, .. } => OperatorCode::InService,
        Error::NotRepairable { reason: NotRepairable::OnlyReplica, .. } => OperatorCode::OnlyReplica,
        Error::NotRepairable { reason: NotRepairable::NoReplica, .. } => OperatorCode::NoReplica,
        Error::Stopped => OperatorCode::Stopped,
        Error::CatalogContended => OperatorCode::Busy,
        Error::Group(error) => code_of(node, group, error),
        _ => OperatorCode::Failed,
    };
    let elsewhere = match code {
        OperatorCode::InService | OperatorCode::NoReplica => elsewhere(node, group),
        _ => String::new(),
    };
    OperatorError { code, at_least: None, source: Arc::new(Refusal { error, elsewhere }) }
}

/// An error of the engine, and which other nodes to ask.
#[derive(Debug, thiserror::Error)]
#[error("{error}{elsewhere}")]
struct Refusal {
    #[source]
    error: Error,
    elsewhere: String,
}

fn code_of(node: &Node, group: u64, error: &GroupError) -> OperatorCode {
    match error {
        GroupError::NoSuchGroup { .. } => {
            let catalog = node.catalog();
            let is_known = catalog.groups.get(&GroupId(group)).is_some_and(|record| !record.dropped);
            if is_known { OperatorCode::NoReplica } else { OperatorCode::NoSuchGroup }
        }
        GroupError::NotLeader { .. }
        | GroupError::Busy { .. }
        | GroupError::Transferring { .. }
        | GroupError::ConfChangePending { .. }
        | GroupError::ConfEpochMismatch { .. }
        | GroupError::Lagging { .. }
        | GroupError::Indeterminate { .. } => OperatorCode::Busy,
        GroupError::DeadlineExceeded => OperatorCode::Deadline,
        GroupError::Quarantined { .. } => OperatorCode::Quarantined,
        GroupError::Stopped { .. } => OperatorCode::Stopped,
        GroupError::ConfChangeRefused(_) => OperatorCode::Refused,
        GroupError::DiskFull { .. } | GroupError::Read(quorate::storage::Error::NoRoom { .. }) => {
            OperatorCode::NoRoom
        }
        _ => OperatorCode::Failed,
    }
}

/// The nodes with other replicas of the group: one of them may be the one that is out of service.
fn elsewhere(node: &Node, group: u64) -> String {
    let catalog = node.catalog();
    let Some(record) = catalog.groups.get(&GroupId(group)) else { return String::new() };
    let others = record.descriptor.replicas.iter().filter(|replica| replica.node != node.id());
    let places: Vec<String> = others
        .map(|replica| match catalog.nodes.get(&replica.node).and_then(|node| node.admin) {
            Some(admin) => format!("node {} (http://{admin})", replica.node),
            None => format!("node {}", replica.node),
        })
        .collect();
    if places.is_empty() {
        String::new()
    } else {
        format!("; its other replicas are on {}", places.join(", "))
    }
}
