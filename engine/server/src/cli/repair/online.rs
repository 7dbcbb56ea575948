//! A repair through a running node.

use std::io::{self, Write as _};

use clap::Args;

use crate::cli::admin::{Target, Waiting, failed, parse};
use crate::cli::print;
use crate::cli::stopped::print_json;
use crate::client::AdminClient;
use crate::exit::{self, StartError};
use crate::operator::{RepairPlan, Repaired};

/// A repair through a running node.
#[derive(Debug, Args)]
pub(in crate::cli) struct OnlineRepair {
    /// The group.
    pub(super) group: u64,
    #[command(flatten)]
    pub(super) target: Target,
    #[command(flatten)]
    pub(super) waiting: Waiting,
    /// Does it. Without it, what would be done is printed, and the exit code is 6.
    #[arg(long)]
    pub(super) yes: bool,
}

impl OnlineRepair {
    /// Prints what it will do, and does it if it may.
    pub(in crate::cli) fn run(self) -> Result<(), StartError> {
        let client = self.target.client()?;
        let answer = client.get(&self.path()).map_err(failed)?;
        let plan: RepairPlan = parse(&self.target, answer.clone())?;
        if !self.yes {
            if self.target.json {
                print_json(&answer)?;
            } else {
                print(format_args!("{}", describe(&plan)))?;
            }
            let _ = writeln!(io::stderr(), "quorate: nothing was done; --yes does it");
            return Err(StartError::Reported { exit_code: exit::UNCONFIRMED });
        }
        let _ = write!(io::stderr(), "{}", describe(&plan));
        let answer = self.waiting.ask(&client, &self.path(), || self.progress(&client))?;
        if self.target.json {
            return print_json(&answer);
        }
        let Repaired { group, node, replica } = parse(&self.target, answer)?;
        print(format_args!("group {group}: replica {replica} on node {node} votes\n"))
    }

    fn path(&self) -> String {
        format!("/groups/{}/repair", self.group)
    }

    /// How far it is, as the plan of what is left tells.
    fn progress(&self, client: &AdminClient) -> String {
        let group = self.group;
        let plan = client.get(&self.path()).ok().and_then(|answer| serde_json::from_value(answer).ok());
        let Some(RepairPlan { step, .. }) = plan else { return format!("group {group}: under way") };
        let doing = match step.as_str() {
            "replace" => "the old replica leaves",
            "join" => "the new replica joins",
            "promote" => "the new replica catches up",
            _ => "under way",
        };
        format!("group {group}: {doing}")
    }
}

/// A plan for people.
fn describe(plan: &RepairPlan) -> String {
    let RepairPlan { group, node, .. } = plan;
    let mut lines = Vec::new();
    if let (Some(old), Some(condition)) = (plan.old_replica, &plan.condition) {
        let text = plan.text.as_deref().unwrap_or_default();
        lines.push(format!("group {group}: replica {old} on node {node} is {condition}: {text}"));
        lines.push(format!("  replica {old} leaves the group"));
        lines.push(match &plan.evidence {
            Some(kept) => format!("  its files are kept on node {node}: {kept} in the data directory"),
            None => "  nothing is kept of it: there are no files".to_owned(),
        });
        lines.push(format!("  node {node} gets a new replica, which gets its vote when it has caught up"));
    } else {
        let new = plan.new_replica.map_or_else(String::new, |new| format!(" {new}"));
        lines.push(format!("group {group}: a repair of node {node} was begun and goes on"));
        lines.push(match plan.step.as_str() {
            "join" => format!("  the new replica{new} joins, and gets its vote when it has caught up"),
            _ => format!("  the new replica{new} gets its vote when it has caught up"),
        });
    }
    let others: Vec<String> =
        plan.others.iter().map(|other| format!("{} on node {}", other.replica, other.node)).collect();
    lines.push(format!("  it is seeded by the group's other replicas: {}", others.join(", ")));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_which_replica_goes_what_is_kept_and_who_gets_a_new_one() {
        let plan = RepairPlan {
            group: 3,
            node: 2,
            step: "replace".to_owned(),
            old_replica: Some(8),
            new_replica: None,
            condition: Some("quarantined".to_owned()),
            text: Some("log lost".to_owned()),
            evidence: Some("groups/3.quarantined-ab".to_owned()),
            others: vec![crate::operator::OtherReplica { replica: 7, node: 1, admin: None }],
        };
        let expected = "group 3: replica 8 on node 2 is quarantined: log lost\n  \
                        replica 8 leaves the group\n  \
                        its files are kept on node 2: groups/3.quarantined-ab in the data directory\n  \
                        node 2 gets a new replica, which gets its vote when it has caught up\n  \
                        it is seeded by the group's other replicas: 7 on node 1\n";
        assert_eq!(describe(&plan), expected);
    }
}
