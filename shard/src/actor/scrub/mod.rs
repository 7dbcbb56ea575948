//! The background scan of a replica: reads everything that it keeps and may not have looked at for long, before it is
//! needed.
//!
//! First the state: every value of a consistent view against its checksum, all together against the applied record. A
//! store that fails is rotten: the group is quarantined, so that another replica leads, and comes back restored. Then the
//! snapshots: one that has rotten is put aside, and a fresh one published from the state that was just found whole.
//!
//! One replica of a node at a time, at the node's rate, on background workers in short steps: the applier is asked for
//! the view and nothing else.

mod budget;
mod job;

use std::sync::Arc;
use std::time::Duration;

use quorate_storage::Index;
use quorate_storage::snapshot::SnapshotToken;

pub use budget::ScrubBudget;
pub(crate) use job::Interrupted;

use self::job::ScrubJob;
use crate::actor::quarantine::Failure;
use crate::actor::run::Actor;

/// A scan that found the state whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// When it ended, since the Unix epoch.
    pub at: Duration,
    /// How long it took, waiting for its turn not counted.
    pub took: Duration,
    /// The state that was scanned.
    pub applied: Index,
    /// Its records.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Snapshot files that were read.
    pub snapshots: u64,
    /// Those of them that were corrupt, and put aside.
    pub corrupt_snapshots: u64,
}

/// How a scan ended.
#[derive(Debug)]
pub(crate) enum ScrubOutcome {
    Whole(Scrubbed),
    /// The store gave something else than was written to it.
    Rotten(quorate_storage::Error),
    /// Nothing is known: the state was replaced, or the node stops.
    Interrupted(Interrupted),
}

impl Actor {
    pub(crate) fn scrub_if_due(&mut self) {
        let now = self.deps.clock.monotonic();
        if self.stopping.is_some() || !self.upkeep.scrub.is_due(now) {
            return;
        }
        self.upkeep.scrub.begin();
        let job = ScrubJob {
            shared: Arc::clone(&self.shared),
            applier: self.applier.clone(),
            deps: Arc::clone(&self.deps),
            dir: self.publisher.dir.clone(),
        };
        self.tasks.spawn(job.run(self.events.clone()));
    }

    pub(crate) fn on_scrubbed(&mut self, outcome: ScrubOutcome) {
        let (group, now) = (self.shared.group, self.deps.clock.monotonic());
        let stats = &self.shared.stats.scrub;
        match outcome {
            ScrubOutcome::Whole(scrubbed) => {
                stats.completed.increment();
                stats.completed_at_seconds.set(scrubbed.at.as_secs());
                self.upkeep.scrub.done(now, self.rng.as_ref());
                let Scrubbed { records, bytes, snapshots, corrupt_snapshots, .. } = scrubbed;
                let took_ms = scrubbed.took.as_millis();
                tracing::info!(%group, records, bytes, snapshots, corrupt_snapshots, took_ms, "scrubbed");
                self.shared.update_status(|status| status.last_scrub = Some(scrubbed));
            }
            ScrubOutcome::Rotten(error) => {
                stats.rotten.increment();
                self.quarantine(&Failure::Rotten(error));
            }
            ScrubOutcome::Interrupted(why) => {
                stats.interrupted.increment();
                self.upkeep.scrub.failed(now);
                tracing::info!(%group, %why, "a scan of the state was broken off");
            }
        }
    }

    /// The file has been put aside. Nothing needs it: the state is whole, and a fresh one is published.
    pub(crate) fn on_rotten_snapshot(&mut self, token: SnapshotToken, error: &quorate_storage::Error) {
        self.distrust(token, error);
        self.publisher.trigger.force();
    }
}
