//! What a replica does now and then without being asked, and when.

use std::sync::Arc;
use std::time::Duration;

use quorate_telemetry::Rng;

use crate::actor::consistency::{Askers, DigestServer};
use crate::actor::periodic::Periodic;
use crate::actor::rebuild::Bloat;
use crate::actor::spec::BackgroundConfig;

/// A replica's upkeep.
#[derive(Debug)]
pub(crate) struct Upkeep {
    /// The background scan.
    pub(crate) scrub: Periodic,
    /// The comparison of the replicas.
    pub(crate) consistency: Periodic,
    /// Looks at the room that the store takes.
    pub(crate) bloat: Bloat,
    /// Who waits for such a comparison.
    pub(crate) askers: Askers,
    /// This replica's own part in one.
    pub(crate) digests: Arc<DigestServer>,
}

impl Upkeep {
    /// As of `now`, on the monotonic clock.
    pub(crate) fn new(
        config: BackgroundConfig,
        digests: Arc<DigestServer>,
        now: Duration,
        rng: &dyn Rng,
    ) -> Self {
        Self {
            scrub: Periodic::new(config.scrub_interval, now, rng),
            consistency: Periodic::new(config.consistency_interval, now, rng),
            bloat: Bloat::new(config.bloat, now, rng),
            askers: Askers::default(),
            digests,
        }
    }
}
