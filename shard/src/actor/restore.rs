//! Carries out the restore of an installed snapshot, step by step, at the node's rate.

use std::sync::Arc;

use quorate_storage::GroupId;
use tokio::sync::oneshot;

use crate::actor::on_worker::STEP_BYTES;
use crate::actor::run::Actor;
use crate::actor::spec::GroupDeps;
use crate::applier::Restoration;

impl Actor {
    /// On a task of its own, which ends with the actor: then the state goes back to the applier, to be closed.
    pub(crate) fn restore(&mut self, restoration: Restoration) {
        self.tasks.spawn(carry_out(restoration, self.shared.group, Arc::clone(&self.deps)));
    }
}

/// What a restored byte counts: it is read, and hashed, and written by the store.
const COST: u64 = 2;

/// Building a store is work for a background worker: between two steps it has time for others, and the disk for logs.
async fn carry_out(mut restoration: Restoration, group: GroupId, deps: Arc<GroupDeps>) {
    loop {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move || drop(reply.send(restoration.step())));
        // A pool that has stopped drops the job, and what it restores.
        let _ = deps.workers.background.submit(group.get(), job);
        let Ok(Some(stepped)) = answer.await else { return };
        restoration = stepped;
        deps.snapshots.take_bytes(COST * STEP_BYTES).await;
    }
}
