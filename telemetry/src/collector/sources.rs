//! Which number of the stats goes to which metric: tables.

use crate::names::{self, Metric};
use crate::stats::{GroupState, GroupStats, Outcome, QuarantineReason};

/// A counter of a group, its metric for the node's total and its metric for the group.
pub(super) struct CounterSource {
    pub(super) node: Option<&'static Metric>,
    pub(super) group: Option<&'static Metric>,
    pub(super) outcome: Option<Outcome>,
    /// Whether it tells how busy the group is.
    is_load: bool,
    read: fn(&GroupStats) -> u64,
}

/// A gauge of a group.
pub(super) struct GaugeSource {
    pub(super) metric: &'static Metric,
    /// Whether a sum over groups means anything.
    pub(super) is_summed: bool,
    pub(super) read: fn(&GroupStats) -> u64,
}

const fn both(node: &'static Metric, group: &'static Metric, read: fn(&GroupStats) -> u64) -> CounterSource {
    CounterSource { node: Some(node), group: Some(group), outcome: None, is_load: false, read }
}

const fn node_only(node: &'static Metric, read: fn(&GroupStats) -> u64) -> CounterSource {
    CounterSource { node: Some(node), group: None, outcome: None, is_load: false, read }
}

const fn proposals(outcome: Outcome, read: fn(&GroupStats) -> u64) -> CounterSource {
    let (node, group) = (Some(&names::PROPOSALS), Some(&names::GROUP_PROPOSALS));
    CounterSource { node, group, outcome: Some(outcome), is_load: true, read }
}

const fn reads(outcome: Outcome, read: fn(&GroupStats) -> u64) -> CounterSource {
    CounterSource { node: Some(&names::READS), group: None, outcome: Some(outcome), is_load: true, read }
}

pub(super) static COUNTERS: [CounterSource; 48] = [
    proposals(Outcome::Applied, |s| s.requests.proposals.of(Outcome::Applied).get()),
    proposals(Outcome::NotLeader, |s| s.requests.proposals.of(Outcome::NotLeader).get()),
    proposals(Outcome::Busy, |s| s.requests.proposals.of(Outcome::Busy).get()),
    proposals(Outcome::Indeterminate, |s| s.requests.proposals.of(Outcome::Indeterminate).get()),
    proposals(Outcome::Quarantined, |s| s.requests.proposals.of(Outcome::Quarantined).get()),
    proposals(Outcome::Other, |s| s.requests.proposals.of(Outcome::Other).get()),
    reads(Outcome::Applied, |s| s.requests.reads.of(Outcome::Applied).get()),
    reads(Outcome::NotLeader, |s| s.requests.reads.of(Outcome::NotLeader).get()),
    reads(Outcome::Busy, |s| s.requests.reads.of(Outcome::Busy).get()),
    reads(Outcome::Indeterminate, |s| s.requests.reads.of(Outcome::Indeterminate).get()),
    reads(Outcome::Quarantined, |s| s.requests.reads.of(Outcome::Quarantined).get()),
    reads(Outcome::Other, |s| s.requests.reads.of(Outcome::Other).get()),
    CounterSource {
        node: None,
        group: Some(&names::GROUP_READS),
        outcome: None,
        is_load: false,
        read: |s| s.requests.reads.total(),
    },
    both(&names::LEADER_CHANGES, &names::GROUP_LEADER_CHANGES, |s| s.raft.leader_changes.get()),
    both(&names::LOG_WRITTEN_BYTES, &names::GROUP_LOG_WRITTEN_BYTES, |s| s.log.written_bytes.get()),
    CounterSource {
        is_load: true,
        ..both(&names::APPENDED_ENTRIES, &names::GROUP_APPENDED_ENTRIES, |s| s.log.appended_entries.get())
    },
    CounterSource {
        is_load: true,
        ..both(&names::APPLIED_ENTRIES, &names::GROUP_APPLIED_ENTRIES, |s| s.apply.entries.get())
    },
    node_only(&names::TIMESTAMPS, |s| s.requests.timestamps.get()),
    node_only(&names::TIMESTAMPS_REFUSED, |s| s.requests.timestamps_refused.get()),
    node_only(&names::LEASES, |s| s.raft.leases.get()),
    node_only(&names::LOG_BATCHES, |s| s.log.batches.get()),
    node_only(&names::LOG_TORN_BATCHES, |s| s.log.torn_batches.get()),
    node_only(&names::LOG_REPAIRED_ENTRIES, |s| s.log.repaired_entries.get()),
    node_only(&names::LOG_DROPPED_ENTRIES, |s| s.log.dropped_entries.get()),
    node_only(&names::APPLIED_BATCHES, |s| s.apply.batches.get()),
    node_only(&names::COLD_START_READ_BYTES, |s| s.cold_starts.read_bytes()),
    node_only(&names::DUPLICATES_DROPPED, |s| s.apply.duplicates_dropped.get()),
    node_only(&names::VOLATILE_REPLAYED, |s| s.apply.volatile_replayed.get()),
    node_only(&names::SNAPSHOTS_PUBLISHED, |s| s.snapshots.published.get()),
    node_only(&names::SNAPSHOTS_INSTALLED, |s| s.snapshots.installed.get()),
    node_only(&names::SNAPSHOTS_FAILED, |s| s.snapshots.failed.get()),
    node_only(&names::SNAPSHOTS_CORRUPT, |s| s.snapshots.corrupt.get()),
    node_only(&names::SNAPSHOTS_REFUSED, |s| s.snapshots.refused.get()),
    node_only(&names::SNAPSHOT_SENT_BYTES, |s| s.snapshots.sent_bytes.get()),
    node_only(&names::SNAPSHOT_RECEIVED_BYTES, |s| s.snapshots.received_bytes.get()),
    node_only(&names::SNAPSHOTS_RESUMED, |s| s.snapshots.resumed.get()),
    node_only(&names::SNAPSHOT_WAITS, |s| s.snapshots.waits.get()),
    node_only(&names::SCRUBS, |s| s.scrub.completed.get()),
    node_only(&names::SCRUBS_INTERRUPTED, |s| s.scrub.interrupted.get()),
    node_only(&names::SCRUBS_ROTTEN, |s| s.scrub.rotten.get()),
    node_only(&names::SCRUB_READ_BYTES, |s| s.scrub.bytes.get()),
    node_only(&names::STORES_REBUILT, |s| s.store.rebuilt.get()),
    node_only(&names::STORE_REBUILDS_OVERTAKEN, |s| s.store.rebuilds_overtaken.get()),
    node_only(&names::STORE_REBUILDS_FAILED, |s| s.store.rebuilds_failed.get()),
    node_only(&names::CONSISTENCY_CHECKS, |s| s.consistency.checks.get()),
    node_only(&names::CONSISTENCY_UNVERIFIED, |s| s.consistency.unverified.get()),
    node_only(&names::CONSISTENCY_DIVERGED, |s| s.consistency.diverged.get()),
    node_only(&names::CONSISTENCY_DIVIDED, |s| s.consistency.divided.get()),
];

const fn summed(metric: &'static Metric, read: fn(&GroupStats) -> u64) -> GaugeSource {
    GaugeSource { metric, is_summed: true, read }
}

const fn alone(metric: &'static Metric, read: fn(&GroupStats) -> u64) -> GaugeSource {
    GaugeSource { metric, is_summed: false, read }
}

pub(super) static GAUGES: [GaugeSource; 14] = [
    summed(&names::GROUP_IS_LEADER, |s| u64::from(s.is_leader())),
    summed(&names::GROUP_QUARANTINED, |s| u64::from(s.is_quarantined())),
    summed(&names::GROUP_PENDING_PROPOSALS, |s| s.requests.pending_proposals.get()),
    summed(&names::GROUP_LOG_BYTES, |s| s.log.bytes.get()),
    alone(&names::GROUP_TERM, |s| s.raft.term.get()),
    alone(&names::GROUP_COMMIT_INDEX, |s| s.raft.commit.get()),
    alone(&names::GROUP_APPLIED_INDEX, |s| s.apply.applied.get()),
    alone(&names::GROUP_FIRST_INDEX, |s| s.raft.first.get()),
    alone(&names::GROUP_LAST_INDEX, |s| s.raft.last.get()),
    alone(&names::GROUP_SNAPSHOT_INDEX, |s| s.snapshots.index.get()),
    summed(&names::GROUP_STORE_DISK_BYTES, |s| s.store.disk_bytes.get()),
    summed(&names::GROUP_STORE_LIVE_BYTES, |s| s.store.live_bytes.get()),
    alone(&names::GROUP_HLC_CEILING, |s| s.apply.hlc_ceiling_seconds()),
    alone(&names::GROUP_SCRUBBED, |s| s.scrub.completed_at_seconds.get()),
];

/// One value for each of [`COUNTERS`].
pub(super) struct Reading([u64; COUNTERS.len()]);

impl Default for Reading {
    fn default() -> Self {
        Self([0; COUNTERS.len()])
    }
}

impl Reading {
    pub(super) fn of(stats: &GroupStats) -> Self {
        Self(std::array::from_fn(|at| (COUNTERS[at].read)(stats)))
    }

    /// The value of `COUNTERS[at]`.
    pub(super) fn at(&self, at: usize) -> u64 {
        self.0[at]
    }

    /// What came since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at].saturating_sub(earlier.0[at])))
    }

    pub(super) fn add(&mut self, delta: &Self) {
        for (value, delta) in self.0.iter_mut().zip(delta.0) {
            *value += delta;
        }
    }

    /// Requests and entries, all together.
    pub(super) fn load(&self) -> u64 {
        COUNTERS.iter().zip(self.0).filter(|(source, _)| source.is_load).map(|(_, value)| value).sum()
    }
}

/// What the node shows of all its groups together.
#[derive(Default)]
pub(super) struct Summary {
    pub(super) states: [u64; GroupState::ALL.len()],
    pub(super) quarantined: [u64; QuarantineReason::ALL.len()],
    pub(super) apply_lag_max: u64,
    pub(super) pending_proposals: u64,
    pub(super) log_bytes: u64,
    pub(super) dropped: u64,
}

impl Summary {
    pub(super) fn add(&mut self, stats: &GroupStats, is_shown: bool) {
        self.states[stats.state() as usize] += 1;
        if let Some(reason) = stats.quarantine_reason() {
            self.quarantined[reason as usize] += 1;
        }
        self.apply_lag_max = self.apply_lag_max.max(stats.apply_lag());
        self.pending_proposals += stats.requests.pending_proposals.get();
        self.log_bytes += stats.log.bytes.get();
        self.dropped += u64::from(!is_shown);
    }
}
