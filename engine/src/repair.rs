//! A replica that is out of service, replaced by a new one on the same node: what that takes, and doing it.
//!
//! Each step is one command of the catalog or of the group, and is made so that the next attempt sees from the
//! catalog, and from the replica here, how far the last one came: the new replica gets its id; the old one leaves the
//! group, whereupon its node puts its files aside and makes the new one's directory; the new one is added without a
//! vote; it gets the vote when it has caught up. So a repair that was interrupted is called again.

use std::time::Duration;

use quorate_shard::actor::{GroupHandle, Lifecycle};
use quorate_storage::{GroupId, Incarnation, Index, NodeId, ReplicaDescriptor, ReplicaId};
use quorate_telemetry::stats::GroupState;

use crate::error::{Error, Result};
use crate::membership::{self, CATCH_UP_PAUSE, live};
use crate::node::Core;

/// What a repair would do, as things are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairPlan {
    /// The group.
    pub group: GroupId,
    /// The node whose replica is out of service.
    pub node: NodeId,
    /// What is done next.
    pub step: RepairStep,
    /// The group's other replicas: a majority of the voters among them must serve.
    pub others: Vec<ReplicaDescriptor>,
    /// Where the old replica's files are kept, in the data directory; `None` if there are none.
    pub evidence: Option<String>,
}

/// How far a repair is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairStep {
    /// Nothing was done yet: `old` leaves the group, and a new replica takes its place.
    Replace {
        /// The replica that is out of service.
        old: ReplicaId,
        /// In what way.
        condition: Condition,
    },
    /// The old replica has left; `new` is made, and joins.
    Join {
        /// Its id.
        new: ReplicaId,
    },
    /// `new` is a member and gets its vote once it has caught up.
    Promote {
        /// Its id.
        new: ReplicaId,
    },
}

/// In what way a replica is out of service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Its directory is gone.
    Lost,
    /// A failure of its own has stopped it; the text says which.
    Quarantined(String),
    /// Entries of its log are unreadable, and no other replica has given them yet; the text says which.
    Repairing(String),
    /// It has no intact snapshot that its log reaches, and no other replica has given it one yet; the text says why.
    Waiting(String),
}

/// Why there is nothing to repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRepairable {
    /// The replica here serves.
    #[error("the replica here is in service")]
    InService,
    /// This node has none and is to have none.
    #[error("this node has no replica of it")]
    NoReplica,
    /// Nobody is left to seed a new one: `quorate_storage::offline::repair` may help.
    #[error("it is the group's only replica, so no other can seed a new one")]
    OnlyReplica,
}

/// What a repair of the replica on this node would do. A look at the catalog as this node knows it.
pub(crate) fn plan(core: &Core, group: GroupId) -> Result<RepairPlan> {
    let node = core.config.node;
    let catalog = core.copy.load();
    let record = live(catalog.groups.get(&group), group)?;
    let refused = |reason| Error::NotRepairable { group, reason };
    let others: Vec<ReplicaDescriptor> =
        record.descriptor.replicas.iter().filter(|replica| replica.node != node).copied().collect();
    let is_alone = others.is_empty();
    let plan = |step, evidence| Ok(RepairPlan { group, node, step, others, evidence });
    let Some(own) = record.descriptor.replica_on(node).copied() else {
        let joining = record.joining.iter().find(|joining| joining.node == node);
        let new = joining.ok_or(refused(NotRepairable::NoReplica))?.replica;
        return plan(RepairStep::Join { new }, None);
    };
    let old = own.replica;
    let handle = core.registry.get(group);
    let is_lost = core.lost.lock().contains(&group);
    let condition = if is_lost { Some(Condition::Lost) } else { handle.as_ref().and_then(condition_of) };
    match condition {
        Some(_) if is_alone => Err(refused(NotRepairable::OnlyReplica)),
        Some(condition) => {
            let has_files = condition != Condition::Lost;
            let evidence = has_files.then(|| evidence(group, handle.as_ref(), own.incarnation));
            plan(RepairStep::Replace { old, condition }, evidence)
        }
        None if handle.as_ref().is_none_or(has_no_vote_yet) => plan(RepairStep::Promote { new: old }, None),
        None => Err(refused(NotRepairable::InService)),
    }
}

/// Puts a new replica in the place of the one on this node, which is out of service.
pub(crate) async fn repair(core: &Core, group: GroupId, timeout: Duration) -> Result<ReplicaId> {
    let deadline = core.deadline(timeout);
    loop {
        match attempt(core, group, deadline).await {
            // The catalog is behind the group by a step of a former attempt, or of somebody else.
            Err(Error::Group(
                quorate_shard::Error::ConfEpochMismatch { .. }
                | quorate_shard::Error::ConfChangePending { .. },
            )) => {
                core.left(deadline)?;
                tokio::time::sleep(CATCH_UP_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

async fn attempt(core: &Core, group: GroupId, deadline: Duration) -> Result<ReplicaId> {
    let node = core.config.node;
    match plan(core, group)?.step {
        RepairStep::Replace { old, .. } => {
            membership::replace_replica(core, group, old, node, core.left(deadline)?).await
        }
        RepairStep::Join { .. } => {
            let new = membership::add_learner(core, group, node, core.left(deadline)?).await?;
            membership::promote(core, group, new, core.left(deadline)?).await?;
            Ok(new)
        }
        RepairStep::Promote { new } => {
            membership::promote(core, group, new, core.left(deadline)?).await?;
            Ok(new)
        }
    }
}

fn condition_of(handle: &GroupHandle) -> Option<Condition> {
    match handle.status().lifecycle {
        Lifecycle::Quarantined(reason) => Some(Condition::Quarantined(reason.to_string())),
        Lifecycle::Repairing(reason) => Some(Condition::Repairing(reason.to_string())),
        Lifecycle::Waiting(reason) => Some(Condition::Waiting(reason.to_string())),
        _ => None,
    }
}

/// Whether a replica that is no more out of service than others may still wait to be given a vote.
fn has_no_vote_yet(handle: &GroupHandle) -> bool {
    matches!(handle.stats().state(), GroupState::Opening | GroupState::Learner)
        || handle.status().applied == Index(0)
}

/// Where the node will keep the files of the replica that leaves: [`quorate_storage::identity::DataDir::set_aside`].
fn evidence(group: GroupId, handle: Option<&GroupHandle>, known: Incarnation) -> String {
    let own = handle.map_or(Incarnation::ZERO, |handle| handle.status().incarnation);
    match if own.is_zero() { known } else { own } {
        // A first replica of group 0 that did not start: its file would say.
        unknown if unknown.is_zero() => format!("groups/{group}.quarantined-*"),
        incarnation => format!("groups/{group}.quarantined-{incarnation}"),
    }
}
