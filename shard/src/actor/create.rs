//! Making a group's replica on this node: everything that stands before its first start.

use std::path::PathBuf;
use std::sync::Arc;

use quorate_storage::disk::Disk;
use quorate_storage::identity::{ReplicaIdentity, ReplicaPaths};
use quorate_storage::log::{LogConfig, LogPlace, SegmentedLog};
use quorate_storage::snapshot::{SnapshotDir, SnapshotToken};
use quorate_storage::{ConfState, Error, GroupDescriptor, Incarnation, ReplicaId};

use crate::actor::spec::GroupDeps;
use crate::actor::start::{StartError, run};

/// Which replica to make.
#[derive(Clone, Debug)]
pub struct CreateSpec {
    /// The group as it is (or, for a new group, will be).
    pub descriptor: GroupDescriptor,
    /// This replica's id.
    pub replica: ReplicaId,
    /// This replica's directory, drawn fresh.
    pub incarnation: Incarnation,
    /// `<data>/groups/<group>`: [`ReplicaPaths::root`]. Its parent must be durable already.
    pub dir: PathBuf,
    /// What it is born with.
    pub birth: Birth,
    /// Sizes of its log's files.
    pub log: LogConfig,
}

/// What a replica is born with.
#[derive(Clone, Debug)]
pub enum Birth {
    /// One of the first members of a new group: it is born with the empty snapshot at index 1, term 1, that all
    /// first members share, and its log starts at 2.
    Founding(ConfState),
    /// Joins a group that exists: it holds nothing, has no vote and waits to be added and seeded by a snapshot.
    Joining,
}

/// Makes the replica's directory: identity file, log and, for a founding member, the first snapshot. Durable on
/// return. A replica that was made half before (no identity file yet) is made anew; one that stands is left as it is.
///
/// # Errors
/// [`StartError::Open`] if the directory belongs to another replica or cannot be written.
pub async fn create_group(deps: Arc<GroupDeps>, spec: CreateSpec) -> Result<(), StartError> {
    let group = spec.descriptor.group;
    let on_worker = Arc::clone(&deps);
    let job = move || create_replica(&on_worker, spec).map_err(|cause| StartError::Open { group, cause });
    run(deps.workers.background.as_ref(), group, job).await
}

/// [`create_group`] on the caller's thread. Blocks.
///
/// # Errors
/// If the directory belongs to another replica or cannot be written.
pub fn create_replica(deps: &GroupDeps, spec: CreateSpec) -> quorate_storage::Result<()> {
    let CreateSpec { descriptor, replica, incarnation, dir, birth, log } = spec;
    let disk = &deps.disk;
    let (group, uid) = (descriptor.group, descriptor.uid);
    let identity = ReplicaIdentity { group, uid, replica, incarnation, tombstone: false };
    let paths = ReplicaPaths::new(dir);
    match ReplicaIdentity::read(disk.as_ref(), &paths.replica_file())? {
        Some(found) if found == identity => return Ok(()),
        // Says whose it is.
        Some(found) if !found.tombstone => {
            return identity.create(disk.as_ref(), &paths.replica_file(), deps.rng.as_ref());
        }
        _ => clear(disk.as_ref(), &paths)?,
    }
    let (owner, rng) = (identity.owner(), deps.rng.stream(deps.rng.next_u64()));
    let snapshots = SnapshotDir::new(Arc::clone(disk), paths.snapshots(), owner);
    snapshots.create()?;
    let base = match birth {
        Birth::Founding(conf_state) => snapshots.publish_empty(conf_state, descriptor, rng.as_ref())?.0,
        Birth::Joining => SnapshotToken::default(),
    };
    let place = LogPlace { disk: Arc::clone(disk), dir: paths.wal(), owner, rng: Arc::clone(&rng) };
    drop(SegmentedLog::create(place, log, base)?);
    // Last: with this file the replica exists.
    identity.create(disk.as_ref(), &paths.replica_file(), rng.as_ref())
}

/// Removes what a creation that was interrupted left, and makes the directory. A tombstone stays.
fn clear(disk: &dyn Disk, paths: &ReplicaPaths) -> quorate_storage::Result<()> {
    for leftover in [paths.wal(), paths.snapshots(), paths.state()] {
        disk.remove_dir_all(&leftover).map_err(|cause| Error::io("remove", &leftover, cause))?;
    }
    let root = paths.root();
    disk.create_dir_all(root).map_err(|cause| Error::io("create", root, cause))?;
    let parent = root.parent().unwrap_or(root);
    disk.sync_dir(parent).map_err(|cause| Error::io("sync", parent, cause))
}
