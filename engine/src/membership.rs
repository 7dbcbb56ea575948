//! Changing who replicates a group: each step is one command of the group or of the catalog, and any node
//! may run it; a step that was interrupted can be run again.

use std::time::Duration;

use quorate_shard::actor::ReadLevel;
use quorate_shard::catalog::GroupRecord;
use quorate_shard::router::Target;
use quorate_shard::rpc::Call;
use quorate_storage::{ConfChange, ConfChangeOp, GroupId, Incarnation, NodeId, ReplicaDescriptor, ReplicaId};

use crate::error::{Error, Result};
use crate::node::Core;

/// Pause between two attempts to promote a learner that still lags.
pub(crate) const CATCH_UP_PAUSE: Duration = Duration::from_millis(50);

/// Adds a replica of `group` on `node`, without a vote. Returns when it has its place in the group and the
/// catalog says so; it may still be catching up.
pub(crate) async fn add_learner(
    core: &Core,
    group: GroupId,
    node: NodeId,
    timeout: Duration,
) -> Result<ReplicaId> {
    let deadline = core.deadline(timeout);
    let replica = reserve(core, group, node, (None, timeout)).await?;
    // The directory must exist before the group counts on it.
    core.copy
        .wait_for(core.left(deadline)?, |catalog| {
            let record = catalog.groups.get(&group)?;
            record.created.contains(&replica.replica).then_some(())
        })
        .await?;
    change(core, group, vec![ConfChangeOp::AddLearner(replica)], core.left(deadline)?).await?;
    Ok(replica.replica)
}

/// Gives a learner a vote, waiting until it has caught up.
pub(crate) async fn promote(
    core: &Core,
    group: GroupId,
    replica: ReplicaId,
    timeout: Duration,
) -> Result<()> {
    change_caught_up(core, group, &[ConfChangeOp::Promote(replica)], timeout).await
}

/// Takes a replica out of its group. A leader hands over first.
pub(crate) async fn remove(core: &Core, group: GroupId, replica: ReplicaId, timeout: Duration) -> Result<()> {
    let deadline = core.deadline(timeout);
    hand_over(core, group, replica, timeout).await?;
    change(core, group, vec![ConfChangeOp::Remove(replica)], core.left(deadline)?).await
}

/// Puts a new replica on `node` in the place of `old`, which stays a voter until the new one has caught up:
/// both change in one step. A node holds one replica of a group at most: on `old`'s own node, where it has lost
/// its directory, `old` goes first.
pub(crate) async fn replace_replica(
    core: &Core,
    group: GroupId,
    old: ReplicaId,
    node: NodeId,
    timeout: Duration,
) -> Result<ReplicaId> {
    let deadline = core.deadline(timeout);
    if node_of(core, group, old)? == Some(node) {
        reserve(core, group, node, (Some(old), timeout)).await?;
        remove(core, group, old, core.left(deadline)?).await?;
        let new = add_learner(core, group, node, core.left(deadline)?).await?;
        promote(core, group, new, core.left(deadline)?).await?;
        return Ok(new);
    }
    let new = add_learner(core, group, node, core.left(deadline)?).await?;
    hand_over(core, group, old, core.left(deadline)?).await?;
    let ops = [ConfChangeOp::Promote(new), ConfChangeOp::Remove(old)];
    change_caught_up(core, group, &ops, core.left(deadline)?).await?;
    Ok(new)
}

/// Gives a replica of `group` on `node` its id, in the catalog. If `leaving` still is the group's replica there, the node
/// makes the new one once it has left: so what follows may be interrupted at any point and goes on with the same id.
pub(crate) async fn reserve(
    core: &Core,
    group: GroupId,
    node: NodeId,
    (leaving, timeout): (Option<ReplicaId>, Duration),
) -> Result<ReplicaDescriptor> {
    let incarnation = Incarnation(core.seams.rng.next_id());
    let reserved = core
        .catalog
        .update(timeout, |catalog| {
            if !catalog.nodes.contains_key(&node) {
                return Err(Error::NoSuchNode(node));
            }
            let mut record = live(catalog.groups.get(&group), group)?.clone();
            // A former attempt got its id already.
            if record.joining.iter().any(|joining| joining.node == node) {
                return Ok(None);
            }
            if record.descriptor.replica_on(node).is_some_and(|present| Some(present.replica) != leaving) {
                return Err(refused("the node has a replica of the group already"));
            }
            let mut edit = catalog.edit();
            let replica = ReplicaDescriptor { replica: edit.take_replica(), node, incarnation };
            record.joining.push(replica);
            edit.put_group(&record);
            Ok(Some((edit, replica)))
        })
        .await?;
    match reserved {
        Some(replica) => Ok(replica),
        None => joining_on(core, group, node),
    }
}

/// Hands leadership of `group` to the replica `to`.
pub(crate) async fn transfer(core: &Core, group: GroupId, to: ReplicaId, timeout: Duration) -> Result<()> {
    core.router.call(Target::Group(group), Call::Transfer(to), timeout).await?;
    Ok(())
}

/// If `leaving` leads the group, makes another voter lead it.
async fn hand_over(core: &Core, group: GroupId, leaving: ReplicaId, timeout: Duration) -> Result<()> {
    let Some(node) = node_of(core, group, leaving)? else { return Ok(()) };
    let catalog = core.copy.load();
    let record = live(catalog.groups.get(&group), group)?;
    let barrier = Call::Scan {
        level: ReadLevel::Linearizable,
        scan: quorate_shard::rpc::Scan {
            start: bytes::Bytes::new(),
            end: Some(bytes::Bytes::new()),
            reverse: false,
            limit: 1,
            bytes_max: 1,
        },
    };
    // Whoever answers a linearizable read is, or follows, the leader; the router then knows its node.
    core.router.call(Target::Group(group), barrier, timeout).await?;
    if core.router.leader_of(group) != Some(node) {
        return Ok(());
    }
    let others = record.descriptor.replicas.iter().filter(|replica| replica.replica != leaving);
    let mut outcome = Err(refused("the only replica cannot be removed"));
    for to in others {
        outcome = transfer(core, group, to.replica, timeout).await;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

async fn change_caught_up(
    core: &Core,
    group: GroupId,
    ops: &[ConfChangeOp],
    timeout: Duration,
) -> Result<()> {
    let deadline = core.deadline(timeout);
    loop {
        match change(core, group, ops.to_vec(), core.left(deadline)?).await {
            Err(Error::Group(
                quorate_shard::Error::Lagging { .. } | quorate_shard::Error::ConfChangePending { .. },
            )) => tokio::time::sleep(CATCH_UP_PAUSE).await,
            outcome => return outcome,
        }
    }
}

/// One membership change, fenced by the conf epoch the catalog knows; returns when the catalog holds the
/// result.
async fn change(core: &Core, group: GroupId, ops: Vec<ConfChangeOp>, timeout: Duration) -> Result<()> {
    let catalog = core.copy.load();
    let expected_epoch = live(catalog.groups.get(&group), group)?.descriptor.conf_epoch;
    let call = Call::ChangeConf(ConfChange { expected_epoch, ops });
    core.router.call(Target::Group(group), call, timeout).await?;
    core.copy
        .wait_for(timeout, |catalog| {
            let record = catalog.groups.get(&group)?;
            (record.descriptor.conf_epoch > expected_epoch).then_some(())
        })
        .await
}

fn joining_on(core: &Core, group: GroupId, node: NodeId) -> Result<ReplicaDescriptor> {
    let catalog = core.copy.load();
    let record = live(catalog.groups.get(&group), group)?;
    let joining = record.joining.iter().find(|replica| replica.node == node);
    joining.copied().ok_or_else(|| refused("the node has a replica of the group already"))
}

/// Where a replica lives, if the group has it.
fn node_of(core: &Core, group: GroupId, replica: ReplicaId) -> Result<Option<NodeId>> {
    let catalog = core.copy.load();
    let record = live(catalog.groups.get(&group), group)?;
    Ok(record.descriptor.replica(replica).map(|found| found.node))
}

pub(crate) fn live(record: Option<&GroupRecord>, group: GroupId) -> Result<&GroupRecord> {
    record.filter(|record| !record.dropped).ok_or(Error::Group(quorate_shard::Error::NoSuchGroup { group }))
}

fn refused(why: &'static str) -> Error {
    Error::Group(quorate_shard::Error::ConfChangeRefused(why))
}
