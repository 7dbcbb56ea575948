//! A node's status as text.

use std::fmt;

use crate::operator::{GroupLine, NodeStatus, OutOfService};

/// [`NodeStatus`] for people.
pub(super) struct Text<'a>(pub(super) &'a NodeStatus);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0;
        let ready = if status.is_ready { "ready" } else { "not ready" };
        writeln!(
            f,
            "node {} of cluster {}, quorate {}: {ready}",
            status.node, status.cluster, status.version
        )?;
        let disk = &status.disk;
        writeln!(
            f,
            "disk: {}, {} MiB free, {} MiB needed",
            disk.room,
            disk.free_bytes >> 20,
            disk.needed_bytes >> 20
        )?;
        let (groups, led) = (status.groups.len(), status.groups_led);
        writeln!(f, "groups: {groups}, {led} led here, {} out of service", status.out_of_service.len())?;
        writeln!(
            f,
            "{:<8} {:<12} {:<8} {:<12} {:<12} SNAPSHOT",
            "GROUP", "STATE", "LEADER", "APPLIED", "COMMIT"
        )?;
        status.groups.iter().try_for_each(|group| line(f, group))?;
        status.out_of_service.iter().try_for_each(|out| story(f, out))
    }
}

fn line(f: &mut fmt::Formatter<'_>, group: &GroupLine) -> fmt::Result {
    let or_dash = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let (leader, snapshot) = (or_dash(group.leader_node), or_dash(group.snapshot_index));
    let GroupLine { group, state, applied_index, commit_index, .. } = group;
    writeln!(f, "{group:<8} {state:<12} {leader:<8} {applied_index:<12} {commit_index:<12} {snapshot}")
}

fn story(f: &mut fmt::Formatter<'_>, out: &OutOfService) -> fmt::Result {
    let reason = out.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    writeln!(f, "group {} is {}{reason}: {}", out.group, out.state, out.text)?;
    let help = match out.remedy.as_str() {
        "repair" => "brought back by: quorate repair --node URL GROUP",
        "room" => "brought back by: room on the disk",
        "rebuild" => "the node rebuilds its state from snapshot and log",
        "wait" => "the node waits for other nodes",
        other => other,
    };
    writeln!(f, "  {help}")
}
