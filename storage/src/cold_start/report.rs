//! What a start tells of itself once the chosen path has succeeded.

use std::fmt;
use std::time::Duration;

use quorate_telemetry::stats::ColdStartOutcome;

use crate::cold_start::{Decision, Outcome};
use crate::ids::{GroupId, Index};

/// One start of one group that succeeded.
#[derive(Clone, Debug)]
pub struct ColdStartReport {
    /// The decision.
    pub decision: Decision,
    /// `H`: the applied index the store reported; `None` if it reported none of this incarnation.
    pub held: Option<Index>,
    /// `S`: index of the newest usable snapshot; 0 without one. Whatever the policy asked for, gaps are measured from it.
    pub snapshot: Index,
    /// `C`: commit index of the hard state.
    pub commit: Index,
    /// From the first read of this group's files until its raft node was made.
    pub total: Duration,
    /// The part of it in which the store opened.
    pub store_open: Duration,
    /// The part of it in which the decision was carried out: a restore, a verification, a volatile replay.
    pub restore: Duration,
    /// Bytes read of snapshots, and of the log for a volatile replay.
    pub bytes_read: u64,
    /// Entries at or below the floor that were dropped.
    pub duplicates_dropped: u64,
    /// Entries at or below the floor that were applied for their in-memory effect.
    pub volatile_replayed: u64,
}

impl ColdStartReport {
    /// A report of `decision` about a start that found these positions; the rest is zero.
    pub fn new(decision: Decision, held: Option<Index>, snapshot: Index, commit: Index) -> Self {
        Self {
            decision,
            held,
            snapshot,
            commit,
            total: Duration::ZERO,
            store_open: Duration::ZERO,
            restore: Duration::ZERO,
            bytes_read: 0,
            duplicates_dropped: 0,
            volatile_replayed: 0,
        }
    }

    /// The outcome as telemetry counts it.
    pub fn outcome(&self) -> ColdStartOutcome {
        self.decision.outcome.kind()
    }

    /// |H − S|, in entries: for a skip or an executed restore only.
    pub fn gap_to_snapshot(&self) -> Option<u64> {
        let is_measured = matches!(self.decision.outcome, Outcome::Skipped | Outcome::Executed);
        self.held.filter(|_| is_measured).map(|held| held.get().abs_diff(self.snapshot.get()))
    }

    /// |H − C|, in entries, whatever the outcome.
    pub fn gap_to_commit(&self) -> Option<u64> {
        self.held.map(|held| held.get().abs_diff(self.commit.get()))
    }
}

/// Hears of every start that succeeded, once; of refused and failed ones never. Called on the task that starts the
/// group, before anybody is served: it must not block. What it panics with is logged and harms nobody.
pub trait ColdStartObserver: fmt::Debug + Send + Sync + 'static {
    /// `group` was started.
    fn started(&self, group: GroupId, report: &ColdStartReport);
}
