//! Groups at run time: created, dropped, and each node's part of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quorate_shard::actor::{
    Birth, CreateSpec, GroupDeps, GroupHandle, Lifecycle, ReadLevel, StartError, StartSpec, StopMode,
    create_group as create_replica, start_group,
};
use quorate_shard::catalog::{CATALOG_GROUP, ReplicaOrigin};
use quorate_shard::repair::{Damage, Repair, Repaired};
use quorate_storage::{ConfState, GroupDescriptor, GroupId, KeyRange, NodeId};

use super::bootstrap::{new_group, place};
use super::{Core, catalog, observe};
use crate::error::{Error, Result};

/// Puts a new group into the catalog and waits until it serves.
pub(crate) async fn create_group(
    core: &Core,
    range: &KeyRange,
    replication: usize,
    timeout: Duration,
) -> Result<GroupId> {
    let deadline = core.deadline(timeout);
    let created = core
        .catalog
        .update(timeout, |catalog| {
            if let Some(taken) = catalog.route_range(&range.start, range.end.as_deref()).next() {
                return Err(Error::RangeTaken(taken.descriptor.group));
            }
            let nodes: Vec<NodeId> = catalog.nodes.keys().copied().collect();
            let mut edit = catalog.edit();
            let placed = place(&nodes, catalog.groups.len(), replication.max(1));
            let record = new_group(&mut edit, range.clone(), &placed, core.seams.rng.as_ref());
            edit.put_group(&record);
            Ok(Some((edit, record.descriptor.group)))
        })
        .await?;
    let group = created.expect("creating a group always is a change");
    let probe = quorate_shard::rpc::Call::Get { level: ReadLevel::Linearizable, keys: Vec::new() };
    let target = quorate_shard::router::Target::Group(group);
    core.router.call(target, probe, core.left(deadline)?).await?;
    Ok(group)
}

/// Marks a group as dropped and waits until the replica here is gone.
pub(crate) async fn drop_group(core: &Core, group: GroupId, timeout: Duration) -> Result<()> {
    if group == CATALOG_GROUP {
        return Err(Error::Group(quorate_shard::Error::ConfChangeRefused("group 0 cannot be dropped")));
    }
    let deadline = core.deadline(timeout);
    core.catalog
        .update(timeout, |catalog| {
            let record = catalog.groups.get(&group);
            let mut record = record.ok_or(Error::Group(quorate_shard::Error::NoSuchGroup { group }))?.clone();
            if record.dropped {
                return Ok(None);
            }
            record.dropped = true;
            let mut edit = catalog.edit();
            edit.put_group(&record);
            Ok(Some((edit, ())))
        })
        .await?;
    while core.registry.get(group).is_some() {
        core.left(deadline)?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Makes the directory of a replica: from the birth snapshot, or empty and waiting to be seeded. Durable on
/// return.
pub(super) async fn create(core: &Core, descriptor: &GroupDescriptor, origin: &ReplicaOrigin) -> Result<()> {
    let voters = descriptor.replicas.iter().map(|replica| replica.replica).collect();
    let replica = origin.replica();
    let spec = CreateSpec {
        descriptor: descriptor.clone(),
        replica: replica.replica,
        incarnation: replica.incarnation,
        dir: core.data()?.group(descriptor.group).root().to_path_buf(),
        birth: match origin {
            ReplicaOrigin::Birth(_) => Birth::Founding(ConfState::of_voters(voters)),
            ReplicaOrigin::Joining(_) => Birth::Joining,
        },
        log: core.config.log,
    };
    Ok(create_replica(Arc::clone(deps_of(core, descriptor.group)), spec).await?)
}

/// Starts the replica whose directory is there, unless it runs or is being opened already. One that cannot be opened
/// is registered all the same, as quarantined: whoever asks for it is told why.
pub(super) async fn start(core: &Core, group: GroupId, campaigns_at_once: bool) -> Result<()> {
    match Opening::begin(core, group) {
        Some(opening) => start_claimed(core, opening, campaigns_at_once).await,
        None => Ok(()),
    }
}

/// Starts a replica that is quarantined, or that has got the snapshot it waited for, again, once its last disk write has ended; with `store_is_rotten` its state is
/// restored from snapshot and log. Nothing happens if somebody else opens or removes it.
pub(super) async fn restart(core: &Core, group: GroupId, store_is_rotten: bool) -> Result<()> {
    let Some(opening) = Opening::again(core, group) else { return Ok(()) };
    let Some(old) = core.registry.get(group) else { return Ok(()) };
    old.stop(StopMode::Now).await;
    open_claimed(core, opening, StartSpec { store_is_rotten, ..spec(core, group)? }).await;
    Ok(())
}

/// [`start`], by whoever has the right to it.
pub(super) async fn start_claimed(core: &Core, opening: Opening, campaigns_at_once: bool) -> Result<()> {
    let spec = StartSpec { campaigns_at_once, ..spec(core, opening.group)? };
    open_claimed(core, opening, spec).await;
    Ok(())
}

fn spec(core: &Core, group: GroupId) -> Result<StartSpec> {
    Ok(StartSpec {
        group,
        dir: core.data()?.group(group).root().to_path_buf(),
        config: super::open::group_config(&core.config),
        campaigns_at_once: false,
        stats: core.collector.register(group.get()),
        listener: (group == CATALOG_GROUP).then(|| catalog::follower(&core.copy, &core.changed)),
        is_alone: is_alone(core, group),
        store_is_rotten: false,
    })
}

/// Whether the group has no other replica, as far as this node knows. Before the catalog is read: whether there is no
/// other node.
fn is_alone(core: &Core, group: GroupId) -> bool {
    let (catalog, own) = (core.copy.load(), core.config.node);
    if let Some(record) = catalog.groups.get(&group).filter(|_| catalog.version.is_some()) {
        return record.descriptor.replicas.iter().all(|replica| replica.node == own);
    }
    let remembered = core.remembered.lock();
    let configured = core.config.bootstrap.nodes.iter().map(|configured| configured.node);
    remembered.keys().copied().chain(configured).all(|node| node == own)
}

async fn open_claimed(core: &Core, opening: Opening, spec: StartSpec) {
    let group = opening.group;
    let deps = deps_of(core, group);
    let handle = match start_group(Arc::clone(deps), spec.clone()).await {
        Ok(handle) => handle,
        Err(StartError::Unreadable { damage, .. }) => {
            return begin_repair(core, spec, *damage);
        }
        Err(failure) => {
            tracing::error!(group = group.get(), error = %failure, "group quarantined: it did not start");
            GroupHandle::quarantined(deps, &spec, &failure)
        }
    };
    let roles = handle.watch_role();
    core.registry.insert(group, handle);
    observe::follow(core, group, roles);
}

/// Repairs a replica's log with the help of the other nodes. A round of reconciling then starts it.
fn begin_repair(core: &Core, spec: StartSpec, damage: Damage) {
    let group = spec.group;
    let catalog = core.copy.load();
    let known = catalog.groups.get(&group).map(|record| record.descriptor.replicas.as_slice());
    let deps = Arc::clone(deps_of(core, group));
    let (handle, repair) = Repair::begin(deps, spec, damage, known.unwrap_or_default());
    core.registry.insert(group, handle);
    let (registry, repaired) = (Arc::clone(&core.registry), Arc::clone(&core.repaired));
    let changed = Arc::clone(&core.changed);
    // Not one of the node's tasks: it ends when its handle is stopped, with its disk writes.
    tokio::spawn(async move {
        if let Repaired::Whole = repair.run().await {
            registry.remove(group);
            repaired.lock().insert(group);
            changed.notify_one();
        }
    });
}

/// Starts the replicas whose logs have been repaired.
pub(super) async fn start_repaired(core: &Core) -> Result<()> {
    let repaired = std::mem::take(&mut *core.repaired.lock());
    for group in repaired {
        start(core, group, false).await?;
    }
    Ok(())
}

/// The right to open a replica's directory.
pub(super) struct Opening {
    opening: Arc<Mutex<BTreeSet<GroupId>>>,
    group: GroupId,
}

impl Opening {
    /// `None` if somebody else opens it, it runs, or the node stops.
    pub(super) fn begin(core: &Core, group: GroupId) -> Option<Self> {
        let mut opening = core.opening.lock();
        if core.stopping.is_cancelled() || core.registry.get(group).is_some() || !opening.insert(group) {
            return None;
        }
        Some(Self { opening: Arc::clone(&core.opening), group })
    }

    /// The right to whatever is done to the directory of a replica that runs, or ran. `None` if somebody else has it,
    /// or the node stops.
    fn again(core: &Core, group: GroupId) -> Option<Self> {
        let mut opening = core.opening.lock();
        if core.stopping.is_cancelled() || !opening.insert(group) {
            return None;
        }
        Some(Self { opening: Arc::clone(&core.opening), group })
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.opening.lock().remove(&self.group);
    }
}

/// Stops a replica that is no longer wanted here and removes its data, leaving a tombstone.
pub(super) async fn destroy(core: &Core, group: GroupId) -> Result<()> {
    // One that is just being started again is removed by the next round.
    let Some(_claim) = Opening::again(core, group) else { return Ok(()) };
    let mut is_evidence = false;
    if let Some(handle) = core.registry.get(group) {
        is_evidence = matches!(
            handle.status().lifecycle,
            Lifecycle::Quarantined(_) | Lifecycle::Repairing(_) | Lifecycle::Waiting(_)
        );
        handle.stop(StopMode::Now).await;
    }
    let data = core.data()?;
    if is_evidence {
        let aside = super::open::blocking(core, group, move || data.set_aside(group)).await??;
        tracing::warn!(group = group.get(), path = %aside.display(), "the quarantined replica's files are kept");
    } else {
        super::open::blocking(core, group, move || data.bury(group)).await??;
    }
    // Only now: what is registered is not started again, and is removed again if its burial failed.
    core.registry.remove(group);
    core.collector.forget(group.get());
    tracing::info!(group = group.get(), "replica removed");
    Ok(())
}

fn deps_of(core: &Core, group: GroupId) -> &Arc<GroupDeps> {
    if group == CATALOG_GROUP { &core.catalog_deps } else { &core.deps }
}
