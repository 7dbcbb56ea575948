//! What a handle tells at once, from what the actor last wrote down.

use std::sync::Arc;

use quorate_storage::{GroupDescriptor, ReplicaId};

use crate::actor::handle::GroupHandle;
use crate::core::Role;

impl GroupHandle {
    /// Who leads, as this replica sees it.
    pub fn role(&self) -> Role {
        *self.watch_role().borrow()
    }

    /// The group's descriptor as of the applied index.
    pub fn descriptor(&self) -> Arc<GroupDescriptor> {
        self.status().descriptor
    }

    /// This replica.
    pub fn replica(&self) -> ReplicaId {
        self.status().replica
    }
}
