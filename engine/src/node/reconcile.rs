//! Makes this node be what the catalog says: replicas created, started and removed, descriptors published.
//! Every step is idempotent; one that fails is tried again in the next round.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_shard::actor::Lifecycle;
use quorate_shard::catalog::{CATALOG_GROUP, Catalog, GroupRecord, NodeRecord, ReplicaOrigin};
use quorate_shard::core::Role;
use quorate_storage::{GroupDescriptor, GroupId, Incarnation, ReplicaId};

use super::{Core, bootstrap, peers, replicas};
use crate::config::NodeAddress;
use crate::error::{Error, Result};

/// Pause between rounds while there is no catalog yet.
const PAUSE_BOOTSTRAP: Duration = Duration::from_millis(10);
/// Pause between rounds otherwise, unless something changes.
const PAUSE: Duration = Duration::from_secs(1);
/// The replica of a handle that stands in for one that could not be opened.
const NOT_OPENED: ReplicaId = ReplicaId(0);
/// How long one change of the catalog may take.
const CATALOG_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs until the node stops.
pub(super) async fn run(core: Arc<Core>, nodes: Vec<NodeAddress>) {
    loop {
        if let Err(error) = round(&core, &nodes).await {
            tracing::debug!(node = core.config.node.get(), %error, "reconciling again");
        }
        let is_bootstrapped = core.copy.load().version.is_some();
        let pause = if is_bootstrapped { PAUSE } else { PAUSE_BOOTSTRAP };
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            () = core.changed.notified() => {}
            () = tokio::time::sleep(pause) => core.copy.stale.notify_one(),
        }
    }
}

/// Reads the catalog again when somebody found this node's copy to be old, until the node stops. A task of its own:
/// a round waits for newer versions itself.
pub(super) async fn follow(core: Arc<Core>) {
    loop {
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            () = core.copy.stale.notified() => {}
        }
        let before = core.copy.load().version;
        refresh(&core).await;
        if core.copy.load().version != before {
            core.changed.notify_one();
        }
    }
}

/// Gets a newer catalog, if this node does not follow group 0's log itself.
async fn refresh(core: &Core) {
    let handle = core.registry.get(CATALOG_GROUP);
    if handle.is_some_and(|handle| follows(&handle.status().lifecycle, handle.role())) {
        return;
    }
    if let Err(error) = core.copy.ask(&core.transport, core.seams.rng.as_ref()).await {
        tracing::warn!(node = core.config.node.get(), %error, "a catalog could not be read");
    }
}

/// Whether a replica of group 0 learns of new versions from its log. One that hears no leader may never have: it was made
/// for a change of membership that was broken off.
fn follows(lifecycle: &Lifecycle, role: Role) -> bool {
    matches!(lifecycle, Lifecycle::Running | Lifecycle::Stopping) && role.leader.is_some()
}

pub(super) async fn round(core: &Core, nodes: &[NodeAddress]) -> Result<()> {
    // Before there is a catalog, too: group 0 may be among them.
    replicas::start_repaired(core).await?;
    let catalog = core.copy.load();
    if catalog.version.is_none() {
        return write_first_version(core, nodes).await;
    }
    if !register(core, &catalog).await? {
        return Ok(());
    }
    peers::remember(core, &catalog).await?;
    // What fails for one replica, or for want of a leader of group 0, leaves the others alone.
    let created = create_missing(core, &catalog).await;
    start_stopped(core, &catalog).await;
    remove_unwanted(core, &catalog).await;
    created?;
    publish_descriptors(core, &catalog).await
}

/// One replica's failure: the next round tries again.
fn report(group: GroupId, error: &Error) {
    tracing::warn!(group = group.get(), %error, "the replica is not yet what the catalog says");
}

async fn write_first_version(core: &Core, nodes: &[NodeAddress]) -> Result<()> {
    let leads = core.registry.get(CATALOG_GROUP).is_some_and(|handle| handle.role().is_serving);
    if !leads {
        return Ok(());
    }
    core.catalog
        .write(CATALOG_TIMEOUT, |catalog| {
            if catalog.version.is_some() {
                return Ok(None);
            }
            let rng = core.seams.rng.as_ref();
            let edit = bootstrap::first_version(core.config.cluster, nodes, &core.config.bootstrap, rng);
            Ok(Some((edit, ())))
        })
        .await?;
    core.changed.notify_one();
    Ok(())
}

/// Binds this node's id to its data directory, and says where it is to be reached now. Whether this is the
/// directory the cluster knows.
async fn register(core: &Core, catalog: &Catalog) -> Result<bool> {
    let node = core.config.node;
    let mine = core.data()?.incarnation();
    let Some(record) = catalog.nodes.get(&node) else { return Ok(true) };
    if !record.incarnation.is_zero() && record.incarnation != mine {
        tracing::error!(
            node = node.get(),
            registered = %record.incarnation,
            here = %mine,
            "this data directory is not the one the cluster knows: join under a new node id"
        );
        return Ok(false);
    }
    let address = core.config.bootstrap.nodes.iter().find(|address| address.node == node);
    if registered(record, mine, address) == *record {
        return Ok(true);
    }
    core.catalog
        .update(CATALOG_TIMEOUT, |catalog| {
            let Some(record) = catalog.nodes.get(&node) else { return Ok(None) };
            let is_mine = record.incarnation.is_zero() || record.incarnation == mine;
            let next = registered(record, mine, address);
            if !is_mine || next == *record {
                return Ok(None);
            }
            let mut edit = catalog.edit();
            edit.put_node(&next);
            Ok(Some((edit, ())))
        })
        .await?;
    let catalog = core.copy.load();
    Ok(catalog.nodes.get(&node).is_some_and(|record| record.incarnation == mine))
}

/// A node's record as it should be. Addresses that the configuration does not name stay as they are.
fn registered(record: &NodeRecord, incarnation: Incarnation, address: Option<&NodeAddress>) -> NodeRecord {
    let node = record.node;
    match address {
        Some(&NodeAddress { peer, resp, admin, .. }) => NodeRecord { node, incarnation, peer, resp, admin },
        None => NodeRecord { incarnation, ..record.clone() },
    }
}

/// Creates the directories of replicas that were never here, and says so in the catalog: from then on a
/// missing directory is a lost one.
async fn create_missing(core: &Core, catalog: &Catalog) -> Result<()> {
    if wanted(core, catalog).all(|(_, record, origin)| is_marked(record, &origin)) {
        for (group, record, origin) in wanted(core, catalog) {
            ensure_created(core, (group, record), &origin)
                .await
                .map_or_else(|error| report(group, &error), drop);
        }
        return Ok(());
    }
    // A copy that is behind may not show yet that a replica was here, and was lost since.
    let catalog = core.catalog.newest(CATALOG_TIMEOUT).await?;
    let mut created: BTreeMap<GroupId, ReplicaOrigin> = BTreeMap::new();
    for (group, record, origin) in wanted(core, &catalog) {
        match ensure_created(core, (group, record), &origin).await {
            Ok(true) if !is_marked(record, &origin) => drop(created.insert(group, origin)),
            Ok(_) => {}
            Err(error) => report(group, &error),
        }
    }
    mark_created(core, &created).await?;
    for (group, origin) in created {
        let campaigns = first_of_birth(catalog.groups.get(&group)) == Some(origin.replica().replica);
        replicas::start(core, group, campaigns).await?;
    }
    Ok(())
}

/// Creates the replica's directory if it never was there. Whether it is there now.
async fn ensure_created(
    core: &Core,
    (group, record): (GroupId, &GroupRecord),
    origin: &ReplicaOrigin,
) -> Result<bool> {
    let replica = origin.replica().replica;
    let is_marked = is_marked(record, origin);
    if is_marked && core.registry.get(group).is_some() {
        return Ok(true);
    }
    let found = core.data()?.replica(group)?.filter(|found| !found.tombstone);
    match found {
        Some(found) if found.replica == replica => {
            core.lost.lock().remove(&group);
            Ok(true)
        }
        // An older replica of this group is still here; it is removed first.
        Some(_) => Ok(false),
        None if is_marked => {
            if core.lost.lock().insert(group) {
                let replica = replica.get();
                tracing::error!(
                    group = group.get(),
                    replica,
                    "the replica's directory is gone: replace the replica"
                );
            }
            Ok(false)
        }
        None => {
            // A group that began anew has another uid than it was born with.
            let descriptor = match origin {
                ReplicaOrigin::Birth(_) => &record.birth,
                ReplicaOrigin::Joining(_) => &record.descriptor,
            };
            replicas::create(core, descriptor, origin).await?;
            // Whichever replica was lost here: this one is in its place.
            core.lost.lock().remove(&group);
            Ok(true)
        }
    }
}

async fn mark_created(core: &Core, created: &BTreeMap<GroupId, ReplicaOrigin>) -> Result<()> {
    if created.is_empty() {
        return Ok(());
    }
    core.catalog
        .update(CATALOG_TIMEOUT, |catalog| {
            let mut edit = catalog.edit();
            for (group, origin) in created {
                let Some(record) = catalog.groups.get(group) else { continue };
                if is_marked(record, origin) {
                    continue;
                }
                let mut record = record.clone();
                record.created.insert(origin.replica().replica);
                edit.put_group(&record);
            }
            Ok((!edit.is_empty()).then_some((edit, ())))
        })
        .await?;
    Ok(())
}

/// Starts replicas that are here but do not run.
async fn start_stopped(core: &Core, catalog: &Catalog) {
    for (group, _, origin) in wanted(core, catalog) {
        if core.registry.get(group).is_some() || core.lost.lock().contains(&group) {
            continue;
        }
        if let Err(error) = start_found(core, group, origin.replica().replica).await {
            report(group, &error);
        }
    }
}

async fn start_found(core: &Core, group: GroupId, replica: ReplicaId) -> Result<()> {
    let found = core.data()?.replica(group)?;
    if found.is_some_and(|found| !found.tombstone && found.replica == replica) {
        replicas::start(core, group, false).await?;
    }
    Ok(())
}

/// Removes replicas that the group has let go. A replica is only removed if this very version of the catalog
/// is known to be newer than the replica: its id was handed out before.
async fn remove_unwanted(core: &Core, catalog: &Catalog) {
    for (&group, handle) in core.registry.all().iter() {
        let record = catalog.groups.get(&group);
        let wanted = record.and_then(|record| record.replica_on(core.config.node));
        if wanted.is_some_and(|wanted| wanted.replica().replica == handle.replica()) {
            continue;
        }
        if let Err(error) = remove_if_unwanted(core, catalog, (group, handle.replica()), wanted).await {
            report(group, &error);
        }
    }
}

async fn remove_if_unwanted(
    core: &Core,
    catalog: &Catalog,
    (group, running): (GroupId, ReplicaId),
    wanted: Option<ReplicaOrigin>,
) -> Result<()> {
    let here = if running == NOT_OPENED { core.data()?.occupant(group)? } else { Some(running) };
    let is_wanted = here == wanted.map(|wanted| wanted.replica().replica);
    match here {
        Some(here) if !is_wanted && here < catalog.next_replica => replicas::destroy(core, group).await,
        _ => Ok(()),
    }
}

/// A group's leader tells the catalog what the group has decided about itself.
async fn publish_descriptors(core: &Core, catalog: &Catalog) -> Result<()> {
    for (&group, handle) in core.registry.all().iter() {
        if !handle.role().is_serving {
            continue;
        }
        let own = handle.descriptor();
        if is_newer(catalog.groups.get(&group), &own) {
            core.catalog.update(CATALOG_TIMEOUT, |catalog| Ok(publish(catalog, &own))).await?;
        }
    }
    Ok(())
}

fn publish(catalog: &Catalog, own: &GroupDescriptor) -> Option<(quorate_shard::catalog::CatalogEdit, ())> {
    let record = catalog.groups.get(&own.group);
    if !is_newer(record, own) {
        return None;
    }
    let mut record = record?.clone();
    if record.descriptor.uid != own.uid {
        // The group began anew: what was made to join before is of no use to it.
        record.joining.clear();
    }
    record.descriptor = own.clone();
    record.joining.retain(|joining| own.replica(joining.replica).is_none());
    let mut edit = catalog.edit();
    edit.put_group(&record);
    Some((edit, ()))
}

fn is_newer(record: Option<&GroupRecord>, own: &GroupDescriptor) -> bool {
    record.is_some_and(|record| {
        !record.dropped
            && (own.conf_epoch > record.descriptor.conf_epoch
                || own.range_epoch > record.descriptor.range_epoch)
    })
}

fn wanted<'a>(
    core: &'a Core,
    catalog: &'a Catalog,
) -> impl Iterator<Item = (GroupId, &'a GroupRecord, ReplicaOrigin)> {
    catalog.groups.iter().filter_map(|(&group, record)| {
        record.replica_on(core.config.node).map(|origin| (group, record, origin))
    })
}

fn is_marked(record: &GroupRecord, origin: &ReplicaOrigin) -> bool {
    record.created.contains(&origin.replica().replica)
}

fn first_of_birth(record: Option<&GroupRecord>) -> Option<ReplicaId> {
    record?.birth.replicas.first().map(|replica| replica.replica)
}

#[cfg(test)]
mod tests {
    use quorate_storage::Term;

    use super::*;

    #[test]
    fn a_replica_of_group_0_that_hears_no_leader_does_not_keep_a_node_from_asking_others() {
        let role = |leader| Role { is_leader: false, is_serving: false, leader, term: Term(6) };
        assert!(follows(&Lifecycle::Running, role(Some(ReplicaId(2)))));
        assert!(!follows(&Lifecycle::Running, role(None)));
        assert!(!follows(&Lifecycle::Waiting("no snapshot".into()), role(Some(ReplicaId(2)))));
    }
}
