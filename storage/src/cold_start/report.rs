//! What a start tells of itself once the chosen path has ended.

use std::fmt;
use std::time::Duration;

use quorate_telemetry::stats::ColdStartOutcome;

use crate::cold_start::{Decision, Outcome};
use crate::error::Error;
use crate::ids::{GroupId, Index};

/// One start of one group. Made after the decision was carried out, or after that failed.
#[derive(Clone, Debug)]
pub struct ColdStartReport {
    /// The decision.
    pub decision: Decision,
    /// Why carrying it out failed, if it did.
    pub failure: Option<Error>,
    /// `H`: the applied index the store reported; `None` if it reported none of this incarnation.
    pub held: Option<Index>,
    /// `S`: index of the newest usable snapshot; 0 without one.
    pub snapshot: Index,
    /// `C`: commit index of the hard state.
    pub commit: Index,
    /// From the first read of this group's files to the end of the chosen path.
    pub total: Duration,
    /// The part of it that restored the state, or replayed volatile entries.
    pub restore: Duration,
    /// Bytes read of snapshot and log.
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
            failure: None,
            held,
            snapshot,
            commit,
            total: Duration::ZERO,
            restore: Duration::ZERO,
            bytes_read: 0,
            duplicates_dropped: 0,
            volatile_replayed: 0,
        }
    }

    /// The outcome as telemetry counts it.
    pub fn outcome(&self) -> ColdStartOutcome {
        if self.failure.is_some() { ColdStartOutcome::Failed } else { self.decision.outcome.kind() }
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

/// Hears of every start. Called on the thread that starts the group: it must not block, and a panic in it is
/// the group's.
pub trait ColdStartObserver: fmt::Debug + Send + Sync + 'static {
    /// A start of `group` ended, one way or the other.
    fn started(&self, group: GroupId, report: &ColdStartReport);
}
