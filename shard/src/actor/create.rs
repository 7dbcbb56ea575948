//! Making a group's replica on this node: everything that stands before its first start.

use std::path::PathBuf;
use std::sync::Arc;

use quorate_storage::{ConfState, GroupDescriptor, Incarnation, ReplicaId};

use crate::actor::spec::GroupDeps;
use crate::actor::start::StartError;

/// Which replica to make.
#[derive(Clone, Debug)]
pub struct CreateSpec {
    /// The group as it is (or, for a new group, will be): its replicas say where messages go.
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
pub async fn create_group(_deps: Arc<GroupDeps>, spec: CreateSpec) -> Result<(), StartError> {
    Err(StartError::WorkerGone { group: spec.descriptor.group })
}
