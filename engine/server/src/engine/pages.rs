//! What a node tells its operators.

use quorate::{GroupReadiness, Node, Room, StartProgress};
use serde_json::{Value, json};

use super::EngineBackend;
use crate::backend::{Backend as _, Check, InfoSection};
use crate::operator::Consistency;

/// Most reasons to wait that one log line names.
const WAITS_TOLD_MAX: usize = 8;

pub(super) fn info(node: &Node) -> Vec<InfoSection> {
    let catalog = node.catalog();
    let led = node.local_groups().iter().filter(|status| status.role.is_leader).count();
    let number = |name, value: u64| (name, value.to_string());
    vec![InfoSection {
        title: "Quorate",
        fields: vec![
            number("node_id", node.id().get()),
            number("catalog_version", catalog.version.unwrap_or(0)),
            number("nodes", catalog.nodes.len() as u64),
            number("groups", catalog.user_groups().count() as u64),
            number("groups_led_here", led as u64),
        ],
    }]
}

/// A quarantined group is no reason to restart the process: one group's failure stays one group's failure.
pub(super) fn health(_node: &Node) -> Vec<Check> {
    vec![Check { name: "process".to_owned(), problem: None }]
}

pub(super) fn readiness(node: &Node) -> Vec<Check> {
    let readiness = node.readiness();
    let check = |name: &str, problem: Option<&str>| Check {
        name: name.to_owned(),
        problem: problem.map(str::to_owned),
    };
    let mut checks = vec![
        check("catalog", (!readiness.has_catalog).then_some("not read yet")),
        check("running", readiness.is_stopping.then_some("stopping")),
        check(
            "disk room",
            (readiness.room != Room::Ample).then_some("full: writes are refused, deletes go on"),
        ),
        check("disk progress", (!readiness.stalled.is_empty()).then_some("a write hangs")),
    ];
    let StartProgress { opening, restoring, replaying, ready, .. } = readiness.progress();
    let counts =
        format!("groups: {opening} opening, {restoring} restoring, {replaying} replaying, {ready} ready");
    checks.push(check(&counts, None));
    checks.extend(readiness.groups.iter().map(|(group, readiness)| {
        let problem = match readiness {
            GroupReadiness::NoLeader => Some("no leader"),
            GroupReadiness::Opening => Some("opening"),
            GroupReadiness::Restoring => Some("restoring"),
            GroupReadiness::Replaying => Some("replaying"),
            // Told in the groups' pages; it does not take the node out of service.
            GroupReadiness::Ready
            | GroupReadiness::Lost
            | GroupReadiness::Repairing(_)
            | GroupReadiness::Waiting(_)
            | GroupReadiness::Quarantined(_) => None,
        };
        check(&format!("group {group}"), problem)
    }));
    checks
}

/// What a node that is not ready waits for, in one line.
pub(super) fn waits_for(backend: &EngineBackend) -> String {
    let topology = backend.topology();
    let absent = topology.nodes.iter().filter(|node| !node.is_connected);
    let absent = absent.map(|node| format!("node {} at {}: not connected", node.node, node.peer));
    let checks = backend.readiness();
    let problems =
        checks.iter().filter_map(|check| Some(format!("{}: {}", check.name, check.problem.as_ref()?)));
    let all: Vec<String> = absent.chain(problems).collect();
    let more = all.len().saturating_sub(WAITS_TOLD_MAX);
    let told = all.iter().take(WAITS_TOLD_MAX).map(String::as_str).collect::<Vec<_>>().join("; ");
    if more == 0 { told } else { format!("{told}; and {more} more") }
}

pub(super) fn groups(node: &Node) -> Vec<Value> {
    node.local_groups().iter().map(|status| group_json(node, status)).collect()
}

pub(super) fn group(node: &Node, id: u64) -> Option<Value> {
    let status = node.group(quorate::GroupId(id)).local_status()?;
    Some(group_json(node, &status))
}

fn group_json(node: &Node, status: &quorate::GroupStatus) -> Value {
    let descriptor = &status.descriptor;
    let replicas: Vec<Value> = descriptor
        .replicas
        .iter()
        .map(|replica| {
            json!({
                "replica": replica.replica.get(),
                "node": replica.node.get(),
                "incarnation": replica.incarnation.to_string(),
            })
        })
        .collect();
    let lifecycle = match &status.lifecycle {
        quorate::Lifecycle::Running => json!({ "state": "running" }),
        quorate::Lifecycle::Stopping => json!({ "state": "stopping" }),
        quorate::Lifecycle::Stopped => json!({ "state": "stopped" }),
        quorate::Lifecycle::Repairing(reason) => {
            json!({ "state": "repairing", "reason": reason.to_string() })
        }
        quorate::Lifecycle::Waiting(reason) => {
            json!({ "state": "waiting", "reason": reason.to_string() })
        }
        quorate::Lifecycle::Quarantined(reason) => {
            json!({ "state": "quarantined", "reason": reason.to_string() })
        }
    };
    json!({
        "group": status.group.get(),
        "uid": descriptor.uid.to_string(),
        "replica": status.replica.get(),
        "incarnation": status.incarnation.to_string(),
        "lifecycle": lifecycle,
        "is_leader": status.role.is_leader,
        "is_serving": status.role.is_serving,
        "leader_replica": status.role.leader.map(quorate::ReplicaId::get),
        "leader_node": node.group(status.group).leader().map(quorate::NodeId::get),
        "term": status.role.term.get(),
        "first_index": status.first.get(),
        "applied_index": status.applied.get(),
        "commit_index": status.commit.get(),
        "last_index": status.last.get(),
        "snapshot_index": status.snapshot.map(|snapshot| snapshot.index.get()),
        "range_start": hex(&descriptor.range.start),
        "range_end": descriptor.range.end.as_deref().map(hex),
        "range_epoch": descriptor.range_epoch.get(),
        "conf_epoch": descriptor.conf_epoch.get(),
        "replicas": replicas,
        "quarantine": node.group(status.group).local_quarantine().as_ref().map(quarantine_json),
        "is_log_stalled": status.is_log_stalled,
        "last_scrub": status.last_scrub.as_ref().map(scrub_json),
        "last_consistency_check": status.last_check.as_deref().map(Consistency::from),
        "report": node.group(status.group).local_report(),
    })
}

fn quarantine_json(quarantine: &quorate::Quarantine) -> Value {
    json!({
        "reason": quarantine.reason.label(),
        "text": quarantine.text.to_string(),
        "file": quarantine.file.as_ref().map(|file| file.display().to_string()),
        "offset": quarantine.offset,
        "remedy": quarantine.remedy.label(),
    })
}

fn scrub_json(scrubbed: &quorate::Scrubbed) -> Value {
    json!({
        "at_unix_ms": millis(scrubbed.at),
        "took_ms": millis(scrubbed.took),
        "applied_index": scrubbed.applied.get(),
        "records": scrubbed.records,
        "bytes": scrubbed.bytes,
        "snapshots": scrubbed.snapshots,
        "corrupt_snapshots": scrubbed.corrupt_snapshots,
    })
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Keys are bytes; pages are text.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
