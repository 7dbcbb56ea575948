//! What the replicas of this node see of who leads goes into the leader table at once.

use std::sync::Arc;

use quorate_shard::core::Role;
use quorate_shard::registry::Registry;
use quorate_shard::router::{LeaderTable, Leadership};
use quorate_storage::{GroupId, NodeId};
use tokio::sync::watch;

use super::Core;

/// Follows one replica's view until it is gone or the node stops. Holds no handle: that would keep the replica.
pub(super) fn follow(core: &Core, group: GroupId, mut roles: watch::Receiver<Role>) {
    let observer = Observer {
        node: core.config.node,
        group,
        registry: Arc::clone(&core.registry),
        leaders: Arc::clone(core.router.leaders()),
    };
    let stopping = core.stopping.clone();
    core.tasks.lock().spawn(async move {
        loop {
            observer.note(*roles.borrow_and_update());
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                changed = roles.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    });
}

struct Observer {
    node: NodeId,
    group: GroupId,
    registry: Arc<Registry>,
    leaders: Arc<LeaderTable>,
}

impl Observer {
    fn note(&self, role: Role) {
        let Some(handle) = self.registry.get(self.group) else { return };
        let descriptor = handle.descriptor();
        if descriptor.uid.is_zero() {
            // It was never opened and knows nothing.
            return;
        }
        let leader = match role.leader {
            _ if role.is_leader => Some(self.node),
            Some(leader) => descriptor.replica(leader).map(|replica| replica.node),
            None => None,
        };
        let seen = Leadership { uid: descriptor.uid, term: role.term, leader };
        self.leaders.observe(self.group, seen);
    }
}
