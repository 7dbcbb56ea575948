//! A repair of a stopped node: a group's only voter adopts its state.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use quorate::GroupId;
use quorate::storage::Error;
use quorate::storage::offline::repair::{AdoptionPlan, Consent, Progress as Tell, RepairPlan, RepairRefusal};
use quorate::storage::offline::{LookOptions, plan_repair, repair};
use quorate_telemetry::Rng;
use quorate_telemetry::clock::SystemClock;
use quorate_telemetry::rng::SystemRng;
use serde_json::{Value, json};

use crate::cli::print;
use crate::cli::progress::Progress;
use crate::cli::stopped::{lock, print_json};
use crate::exit::{self, StartError};

/// What is asked for.
pub(super) struct OfflineRepair {
    pub(super) dir: PathBuf,
    pub(super) group: u64,
    pub(super) consent: Consent,
    pub(super) scratch: PathBuf,
    pub(super) yes: bool,
    pub(super) json: bool,
}

impl OfflineRepair {
    /// Prints what it will do, and does it if it may.
    pub(super) fn run(self) -> Result<(), StartError> {
        let dir = lock(&self.dir)?;
        let group = GroupId(self.group);
        let consent = self.consent;
        let options =
            LookOptions { group: Some(group), clock: Arc::new(SystemClock::new()), scratch: self.scratch };
        let plan = with_bar(&options, &mut |tell| plan_repair(&dir, group, (consent, &options), tell))?;
        if !self.yes {
            if self.json {
                print_json(&plan_json(&plan))?;
            } else {
                print(format_args!("{}", describe(&plan)))?;
            }
            let _ = writeln!(io::stderr(), "quorate: nothing was done; --yes does it");
            return Err(StartError::Reported { exit_code: exit::UNCONFIRMED });
        }
        let _ = write!(io::stderr(), "{}", describe(&plan));
        let rng: Arc<dyn Rng> = Arc::new(SystemRng::new());
        let adopted = with_bar(&options, &mut |tell| repair(&dir, group, (consent, &options), &rng, tell))?;
        let (replica, uid) = (adopted.replica.get(), adopted.uid.to_string());
        if self.json {
            return print_json(&json!({ "group": self.group, "replica": replica, "uid": uid }));
        }
        print(format_args!("group {group}: replica {replica} is its only voter, under the new uid {uid}\n"))
    }
}

/// Does `work`, and shows how far it is.
fn with_bar<T>(
    options: &LookOptions,
    work: &mut dyn FnMut(&mut Tell<'_>) -> Result<T, RepairRefusal>,
) -> Result<T, StartError> {
    let mut progress = Progress::new(Arc::clone(&options.clock), "read");
    let done = work(&mut |now| progress.tell(now.bytes, Some(now.bytes_total), &String::new));
    progress.finish();
    done.map_err(refused)
}

fn refused(refusal: RepairRefusal) -> StartError {
    match refusal {
        RepairRefusal::Unreadable(ref cause) if cause.is_corruption() => {
            StartError::Corrupt { source: Arc::new(refusal) }
        }
        RepairRefusal::HasOthers(_) | RepairRefusal::MayHaveOthers(_) | RepairRefusal::Diverged { .. } => {
            let problem = format!("{refusal}: repair it online, or give them up with --abandon-others");
            StartError::Failed { source: Arc::new(Unconsented(problem)) }
        }
        RepairRefusal::NotTrusted { .. } => {
            let problem = format!("{refusal}: --trust-store believes it");
            StartError::Failed { source: Arc::new(Unconsented(problem)) }
        }
        RepairRefusal::Storage(Error::Locked { path }) => StartError::Locked { path },
        other => StartError::Failed { source: Arc::new(other) },
    }
}

/// A refusal that an option lifts.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unconsented(String);

fn describe(plan: &RepairPlan) -> String {
    let plan = match plan {
        RepairPlan::Complete(group) => {
            return format!("group {group}: a repair was interrupted in its last step, which is done now\n");
        }
        RepairPlan::Adopt(plan) => plan,
    };
    let AdoptionPlan { group, replica, why, records, bytes, applied, last, .. } = &**plan;
    let mut lines = vec![
        format!("group {group}: replica {replica} does not start: {why}"),
        format!(
            "  its state at entry {} becomes a snapshot: {records} records, {bytes} bytes",
            applied.index
        ),
        match last.get().saturating_sub(applied.index.get()) {
            0 => "  no entries of the log behind it are kept".to_owned(),
            count => format!("  {count} entries of the log behind it are kept"),
        },
    ];
    lines.push(match plan.log_last {
        None => "  the log cannot be read: what it had behind that is lost".to_owned(),
        Some(log_last) if log_last > *last => format!("  entries {} to {log_last} are lost", last.next()),
        Some(_) => "  nothing that is known of is lost".to_owned(),
    });
    lines.push("  the group gets a new uid, with this replica as its only voter".to_owned());
    for other in &plan.others {
        let (replica, node) = (other.replica, other.node);
        lines.push(format!("  replica {replica} on node {node} is given up: its node removes it"));
    }
    lines.push(format!("  the old files are kept: {}", plan.evidence.display()));
    lines.join("\n") + "\n"
}

fn plan_json(plan: &RepairPlan) -> Value {
    let plan = match plan {
        RepairPlan::Complete(group) => return json!({ "group": group.get(), "step": "complete" }),
        RepairPlan::Adopt(plan) => plan,
    };
    let other = |other: &quorate::storage::ReplicaDescriptor| json!({ "replica": other.replica.get(), "node": other.node.get() });
    json!({
        "group": plan.group.get(),
        "step": "adopt",
        "replica": plan.replica.get(),
        "text": plan.why,
        "applied_index": plan.applied.index.get(),
        "records": plan.records,
        "record_bytes": plan.bytes,
        "last_index": plan.last.get(),
        "log_last_index": plan.log_last.map(quorate::storage::Index::get),
        "abandoned": plan.others.iter().map(other).collect::<Vec<_>>(),
        "evidence": plan.evidence.display().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use quorate::storage::{EntryId, Index, ReplicaId, Term};

    use super::*;

    #[test]
    fn a_plan_says_what_is_adopted_kept_and_lost() {
        let plan = RepairPlan::Adopt(Box::new(AdoptionPlan {
            group: GroupId(3),
            replica: ReplicaId(7),
            why: "its start is refused: log_lost".to_owned(),
            applied: EntryId { term: Term(2), index: Index(40) },
            records: 11,
            bytes: 900,
            last: Index(42),
            log_last: Some(Index(50)),
            others: Vec::new(),
            evidence: PathBuf::from("d/groups/3.quarantined-ab"),
        }));
        let expected = "group 3: replica 7 does not start: its start is refused: log_lost\n  \
                        its state at entry 40 becomes a snapshot: 11 records, 900 bytes\n  \
                        2 entries of the log behind it are kept\n  \
                        entries 43 to 50 are lost\n  \
                        the group gets a new uid, with this replica as its only voter\n  \
                        the old files are kept: d/groups/3.quarantined-ab\n";
        assert_eq!(describe(&plan), expected);
    }
}
