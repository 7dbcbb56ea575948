//! The cold-start gate: decides what a restarting replica must restore. Pure; the shell reads the inputs, does
//! what the decision says and reports it.
//!
//! The rule behind every row: over-restoring is always safer than a wrong skip. So every uncertainty about the
//! store ends in a restore, and only a contradiction with the log is refused, to be repaired on purpose.

mod header;
mod mode;
mod outcome;
mod report;
#[cfg(test)]
mod tests;
mod volatile;

pub use header::{apply_header, needs_header};
pub use mode::{Policy, VerifyMode};
pub use outcome::{FallbackReason, Outcome, RefusalReason};
pub use report::{ColdStartObserver, ColdStartReport};
pub use volatile::{Duplicate, Opening, VolatileWalk, WalkEnd, Walked};

use crate::entry::EntryId;
use crate::error::Result;
use crate::ids::{Incarnation, Index};
use crate::log::{LogSkeleton, LogState};
use crate::planted::{self, Planted};
use crate::snapshot::{SnapshotDir, SnapshotToken};
use crate::state::AppliedRecord;

/// What the state machine said of its applied record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It cannot report.
    NotReader,
    /// Reading failed, or the store did not open. The cause is logged by who reads.
    Failed,
    /// There is no record, or one of an older format.
    Missing,
    /// The record parses and checks.
    Record(AppliedMark),
}

/// The part of an applied record that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppliedMark {
    /// The last entry applied.
    pub applied: EntryId,
    /// The directory the store belongs to.
    pub incarnation: Incarnation,
}

impl From<&AppliedRecord> for AppliedMark {
    fn from(record: &AppliedRecord) -> Self {
        Self { applied: record.applied, incarnation: record.incarnation }
    }
}

/// What is known of the store beside its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreCondition {
    /// What it holds can be counted on.
    #[default]
    Trusted,
    /// It does not survive a power cut, and one cannot be excluded.
    UncleanBoot,
    /// Known to be damaged.
    Rotten,
}

/// Everything the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// `S`: the newest usable snapshot (see [`usable_snapshots`]). `None` only for a replica that waits to be
    /// seeded, or that lost its snapshots.
    pub snapshot: Option<SnapshotToken>,
    /// `C`: the commit index of the hard state.
    pub commit: Index,
    /// Bounds and terms of the log.
    pub log: &'a LogSkeleton,
    /// What the state machine said.
    pub reading: Reading,
    /// What else is known of the store.
    pub store: StoreCondition,
    /// This replica's directory.
    pub incarnation: Incarnation,
    /// When to skip.
    pub policy: Policy,
}

/// What a start must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What it is, for the report.
    pub outcome: Outcome,
    /// The position up to which the replica counts as applied. Zero if the start is refused.
    pub floor: EntryId,
    /// The snapshot to restore the whole state from, before anything else. `None`: the state stays as it is
    /// (a replica without a snapshot has none).
    pub restore_from: Option<SnapshotToken>,
}

impl Decision {
    /// Whether the replica may start.
    pub fn is_start(&self) -> bool {
        !matches!(self.outcome, Outcome::Refused(_))
    }

    /// This decision, after the volatile replay of a skip found an entry missing.
    pub fn after_volatile_gap(inputs: &Inputs<'_>) -> Self {
        inputs.check_gap(inputs.restore(Outcome::Fallback(FallbackReason::VolatileGap)))
    }
}

/// The decision. Rows as in the table of `docs/COLD_START.md`, tried from the top.
pub fn decide(inputs: &Inputs<'_>) -> Decision {
    match inputs.contradiction() {
        Some(reason) if !inputs.hides(reason) => Decision::refused(reason),
        _ => inputs.check_gap(inputs.choose()),
    }
}

/// The commit index raft is given, where the hard state says `commit`: a commit that only moved is not synced, and
/// raft must never see applied above it.
pub fn start_commit(commit: Index, floor: Index) -> Index {
    if planted::is(Planted::CommitWithoutFloor) { commit } else { commit.max(floor) }
}

/// The snapshots of `state` (what a start found in the log) that can be used, oldest first: recorded in the
/// log, and the file is there with the token's size. A `stat` each.
///
/// # Errors
/// [`crate::Error::Io`].
pub fn usable_snapshots(state: &LogState, dir: &SnapshotDir) -> Result<Vec<SnapshotToken>> {
    dir.usable(&state.snapshots)
}

impl Decision {
    fn refused(reason: RefusalReason) -> Self {
        Self { outcome: Outcome::Refused(reason), floor: EntryId::default(), restore_from: None }
    }
}

impl Inputs<'_> {
    /// Position of the newest usable snapshot; zero without one.
    fn snapshot_id(&self) -> EntryId {
        self.snapshot.map_or(EntryId::default(), |token| token.id)
    }

    /// `R`: the record, if it is of this incarnation, whether or not the store is trusted.
    fn record(&self) -> Option<EntryId> {
        match self.reading {
            Reading::Record(mark) if mark.incarnation == self.incarnation => Some(mark.applied),
            _ => None,
        }
    }

    /// Rows 1 to 3: raft's own preconditions, which the store or the log contradicts.
    fn contradiction(&self) -> Option<RefusalReason> {
        if self.commit > self.log.last {
            return Some(RefusalReason::LogLost);
        }
        let held = self.record()?;
        if held.index > self.log.last {
            return Some(RefusalReason::AheadOfLog);
        }
        let snapshot = self.snapshot_id();
        let by_token = (self.snapshot.is_some() && held.index == snapshot.index).then_some(snapshot.term);
        let known = [self.log.term(held.index), by_token];
        let is_diverged = known.into_iter().flatten().any(|term| term != held.term);
        is_diverged.then_some(RefusalReason::Diverged)
    }

    /// Rows 4 to 11.
    fn choose(&self) -> Decision {
        let fallback = |reason| self.restore(Outcome::Fallback(reason));
        let held = match self.reading {
            Reading::NotReader => return fallback(FallbackReason::NotReader),
            Reading::Failed => return fallback(FallbackReason::ReadErr),
            Reading::Missing => return fallback(FallbackReason::MissingMeta),
            Reading::Record(mark) if mark.incarnation != self.incarnation => {
                return fallback(FallbackReason::Incarnation);
            }
            Reading::Record(mark) => mark.applied,
        };
        match self.store {
            StoreCondition::Trusted => {}
            StoreCondition::UncleanBoot => return fallback(FallbackReason::UncleanBoot),
            StoreCondition::Rotten => return fallback(FallbackReason::Rotten),
        }
        let snapshot = self.snapshot_id().index;
        let wanted = match self.policy {
            Policy::Snapshot => snapshot,
            Policy::CommittedTail => snapshot.max(self.commit),
        };
        if held.index < wanted {
            return self.restore(Outcome::Executed);
        }
        Decision { outcome: Outcome::Skipped, floor: self.skipped_to(held), restore_from: None }
    }

    /// The floor of a skip: what the store holds.
    fn skipped_to(&self, held: EntryId) -> EntryId {
        if planted::is(Planted::FloorNotSeeded) {
            return self.snapshot_id();
        }
        if planted::is(Planted::FloorAtLogEnd) {
            let index = self.log.last;
            return EntryId { term: self.log.term(index).unwrap_or(held.term), index };
        }
        held
    }

    fn hides(&self, reason: RefusalReason) -> bool {
        let is_of_end = matches!(reason, RefusalReason::LogLost | RefusalReason::AheadOfLog);
        planted::is(Planted::LostLogHidden)
            && is_of_end
            && matches!(self.choose().outcome, Outcome::Fallback(_))
    }

    fn restore(&self, outcome: Outcome) -> Decision {
        Decision { outcome, floor: self.snapshot_id(), restore_from: self.snapshot }
    }

    /// Row 12: the log must go on right behind the floor, or overlap it.
    fn check_gap(&self, decision: Decision) -> Decision {
        if self.log.first() > decision.floor.index.next() {
            return Decision::refused(RefusalReason::Gap);
        }
        decision
    }
}
