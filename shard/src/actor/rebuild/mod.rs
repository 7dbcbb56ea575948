//! Bloated stores: one whose files take far more room than what it holds is built anew, while it is used.
//!
//! Each replica looks at the size of its store now and then, if anything was applied since. A bloated one is built anew
//! by a [`job::RebuildJob`]: one on a node at a time, at the node's rate for snapshots, on background workers. The
//! applier is asked for a view, and at the end lends its state for the switch. A build that comes to nothing leaves the
//! state as it was; a store that turns out rotten on the way is rebuilt from snapshot and log, like one that the scan finds.

mod bloat;
mod job;

use std::sync::Arc;

use quorate_storage::state::StateSize;

pub(crate) use bloat::Bloat;

use self::job::RebuildJob;
use crate::actor::mailbox::Event;
use crate::actor::quarantine::Failure;
use crate::actor::run::Actor;

/// How a look at the store ended.
#[derive(Debug)]
pub(crate) enum LookedAt {
    /// It takes no more room than it may; or nobody can tell.
    Lean,
    /// It was built anew.
    Rebuilt { before: StateSize, after: StateSize },
    /// More was applied meanwhile than is kept.
    Overtaken,
    /// The new store could not be written, or did not give back what was written.
    Failed(quorate_storage::Error),
    /// The store in use gave something else than was written to it.
    Rotten(quorate_storage::Error),
    /// Nothing is known: the state was replaced, or the group ends.
    Interrupted,
}

impl Actor {
    pub(crate) fn look_at_store_if_due(&mut self) {
        let (now, applied) = (self.deps.clock.monotonic(), *self.shared.applied.borrow());
        let may_look = self.stopping.is_none() && self.waiting.is_none();
        if !may_look || !self.upkeep.bloat.is_due(now, applied) {
            return;
        }
        self.upkeep.bloat.begin(applied);
        let job = RebuildJob {
            shared: Arc::clone(&self.shared),
            applier: self.applier.clone(),
            deps: Arc::clone(&self.deps),
            limit: self.upkeep.bloat.limit(),
            reserve_bytes: self.config.snapshots.reserve_bytes,
        };
        let events = self.events.clone();
        self.tasks.spawn(async move { drop(events.send(Event::StoreLookedAt(job.run().await))) });
    }

    pub(crate) fn on_store_looked_at(&mut self, looked_at: LookedAt) {
        let (group, stats) = (self.shared.group, &self.shared.stats.store);
        let now = self.deps.clock.monotonic();
        self.upkeep.bloat.done(now, self.rng.as_ref(), &looked_at);
        match looked_at {
            LookedAt::Lean | LookedAt::Interrupted => {}
            LookedAt::Rebuilt { before, after } => {
                stats.rebuilt.increment();
                tracing::info!(%group, before.disk_bytes, after.disk_bytes, after.live_bytes, "store built anew");
            }
            LookedAt::Overtaken => {
                stats.rebuilds_overtaken.increment();
                tracing::info!(%group, "the bloated store was not built anew: too much was written meanwhile");
            }
            LookedAt::Failed(error) => {
                stats.rebuilds_failed.increment();
                tracing::warn!(%group, %error, "the bloated store was not built anew");
            }
            LookedAt::Rotten(error) => self.quarantine(&Failure::Rotten(error)),
        }
    }
}
