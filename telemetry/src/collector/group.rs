//! What the collector keeps of one group.

use std::sync::Arc;

use super::series::GroupSeries;
use super::sources::Reading;
use crate::stats::{GroupState, GroupStats};

/// How much of a group's load the last second decides; the rest is its past.
const LOAD_NEWEST_SHARE: f64 = 0.2;

#[derive(Default)]
pub(super) struct Group {
    pub(super) stats: Arc<GroupStats>,
    last: Reading,
    /// Requests and entries per publication, smoothed.
    pub(super) load: f64,
    /// None while the group is over the budget.
    pub(super) series: Option<GroupSeries>,
}

impl Group {
    /// Reads the counters; what came since the last reading.
    pub(super) fn read(&mut self) -> Reading {
        let now = Reading::of(&self.stats);
        let delta = now.since(&self.last);
        self.load += (delta.load() as f64 - self.load) * LOAD_NEWEST_SHARE;
        self.last = now;
        delta
    }

    /// The counters as they were last read.
    pub(super) fn last(&self) -> &Reading {
        &self.last
    }

    /// The group is on this node again.
    pub(super) fn returned(self) -> Self {
        self.stats.set_state(GroupState::Opening);
        self.stats.requests.pending_proposals.set(0);
        self
    }
}
