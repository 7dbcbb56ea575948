//! What must hold whatever happens, one law to a file. Laws are checked when something happens that they are about; what
//! they know, they know from outside: no replica could tell it.

mod acknowledged;
mod applied;
mod ceiling;
mod compaction;
mod election;
mod floor;
mod leader_completeness;
mod log_matching;
mod marker;
mod outcomes;
mod promises;
mod reads;
mod snapshot_label;
mod state_machine;
#[cfg(test)]
mod tests;

pub(crate) use state_machine::States;

use std::fmt;

use quorate_storage::{GroupId, ReplicaId};

/// A law, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// At most one leader in a term, and one vote of a replica.
    ElectionSafety,
    /// Votes and acknowledgements are on the disk before they are sent.
    PromisesAreDurable,
    /// Two logs that have an entry of one index and term have the same up to it.
    LogMatching,
    /// Whoever leads has everything that was committed before its term.
    LeaderCompleteness,
    /// No two replicas apply different entries at an index, nor come to different results.
    StateMachineSafety,
    /// What is applied only moves on, a start does not fall behind what was durable, nor does that fall behind a snapshot.
    AppliedMonotonic,
    /// The store's record is what was applied.
    MarkerEqualsApplied,
    /// A snapshot holds what its label says.
    SnapshotLabel,
    /// The log goes back to the second newest snapshot.
    LogReachesSnapshot,
    /// Timestamps are below an applied ceiling, never given twice, and larger in a later term.
    CeilingAboveTimestamps,
    /// What was acknowledged stays.
    NoAcknowledgedWriteLost,
    /// A linearizable read sees everything that was acknowledged before it was asked for.
    NoStaleRead,
    /// One copy of the data could have given all answers.
    Linearizable,
    /// A start counts as applied only what is committed.
    FloorNotAboveCommit,
    /// What is said to have had no effect has none.
    RefusedHasNoEffect,
    /// Once all faults are over, everything comes to its end.
    Liveness,
}

/// Every law with its section: of the Raft paper (Ongaro and Ousterhout 2014, extended version) or of DESIGN.
pub const TABLE: [(Law, &str); 16] = [
    (Law::ElectionSafety, "Raft 5.2, figure 3"),
    (Law::PromisesAreDurable, "Raft figure 2 (persistent state); DESIGN 3"),
    (Law::LogMatching, "Raft 5.3, figure 3"),
    (Law::LeaderCompleteness, "Raft 5.4, figure 3; across a change of membership: 6"),
    (Law::StateMachineSafety, "Raft 5.4.3, figure 3"),
    (Law::AppliedMonotonic, "Raft figure 2 (lastApplied increases monotonically); DESIGN 6"),
    (Law::MarkerEqualsApplied, "DESIGN 5"),
    (Law::SnapshotLabel, "Raft 7; DESIGN 9"),
    (Law::LogReachesSnapshot, "Raft 7; DESIGN 9 (publish, then compact)"),
    (Law::CeilingAboveTimestamps, "DESIGN 8"),
    (Law::NoAcknowledgedWriteLost, "Raft 8; DESIGN 3"),
    (Law::NoStaleRead, "Raft 8 (read-only operations)"),
    (Law::Linearizable, "Raft 8; the checker of quorate_tests::checker"),
    (Law::FloorNotAboveCommit, "Raft 7; DESIGN 6"),
    (Law::RefusedHasNoEffect, "DESIGN 3 (outcomes are typed)"),
    (Law::Liveness, "Raft 5.6; the issue's third phase"),
];

/// A law that was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub law: Law,
    /// How.
    pub told: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = TABLE.iter().find(|(law, _)| *law == self.law).map_or("", |(_, source)| source);
        write!(f, "{:?} ({source}): {}", self.law, self.told)
    }
}

/// The end of a check.
pub(crate) type Checked = Result<(), Violation>;

/// What a broken law is told as.
pub(crate) fn broken(law: Law, told: impl fmt::Display) -> Checked {
    Err(Violation { law, told: told.to_string() })
}

/// A replica, for what laws remember.
pub(crate) type Who = (GroupId, ReplicaId);

/// All laws, and what they have seen.
#[derive(Debug, Default)]
pub(crate) struct Laws {
    pub(crate) election: election::Elections,
    pub(crate) logs: log_matching::Logs,
    pub(crate) completeness: leader_completeness::Completeness,
    pub(crate) states: States,
    pub(crate) applied: applied::Applied,
    pub(crate) ceiling: ceiling::Ceilings,
    pub(crate) acknowledged: acknowledged::Acknowledged,
    pub(crate) outcomes: outcomes::Outcomes,
}
