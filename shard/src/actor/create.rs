//! Making a group's replica on this node: everything that stands before its first start.

use std::path::PathBuf;
use std::sync::Arc;

use quorate_storage::identity::FileOwner;
use quorate_storage::log::{LogConfig, SegmentedLog};
use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::{ConfState, Error, GroupDescriptor, Incarnation, ReplicaId};

use crate::actor::replica_dir::ReplicaDir;
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
    /// `<data>/groups/<group>`.
    pub dir: PathBuf,
    /// What it is born with.
    pub birth: Birth,
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
    let job = move || create(&on_worker, spec).map_err(|cause| StartError::Open { group, cause });
    run(&deps, group, job).await
}

fn create(deps: &GroupDeps, spec: CreateSpec) -> quorate_storage::Result<()> {
    let CreateSpec { descriptor, replica, incarnation, dir, birth } = spec;
    let owner = FileOwner { group: descriptor.uid, replica, incarnation };
    let place = ReplicaDir::new(Arc::clone(&deps.disk), dir);
    match place.owner() {
        Ok(found) => return place.check_owner(found, owner),
        Err(Error::Missing { .. }) => place.clear()?,
        Err(error) => return Err(error),
    }
    let rng = deps.rng.stream(deps.rng.next_u64());
    let snapshots = place.snapshots(owner);
    snapshots.create()?;
    let base = match birth {
        Birth::Founding(conf_state) => snapshots.publish_empty(conf_state, descriptor, rng.as_ref())?.0,
        Birth::Joining => SnapshotToken::default(),
    };
    drop(SegmentedLog::create(place.log(owner, Arc::clone(&rng)), LogConfig::default(), base)?);
    // Last: with this file the replica exists.
    place.write_owner(owner, rng.as_ref())
}
