//! How a request ended, as telemetry tells it apart.

use super::Count;

/// How a proposal or a read ended. A closed set: it is a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Outcome {
    /// Applied (a proposal) or answered (a read).
    Applied,
    /// Refused: another replica leads, or none.
    NotLeader,
    /// Refused for want of room.
    Busy,
    /// It may or may not have been committed.
    Indeterminate,
    /// The group is quarantined.
    Quarantined,
    /// Anything else: deadline, stop, transfer, refusal by a rule.
    Other,
}

impl Outcome {
    /// Every outcome, in the order of the enum.
    pub const ALL: [Self; 6] =
        [Self::Applied, Self::NotLeader, Self::Busy, Self::Indeterminate, Self::Quarantined, Self::Other];

    /// The value of the `outcome` label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::NotLeader => "not_leader",
            Self::Busy => "busy",
            Self::Indeterminate => "indeterminate",
            Self::Quarantined => "quarantined",
            Self::Other => "other",
        }
    }
}

/// One count for each [`Outcome`].
#[derive(Debug, Default)]
pub struct OutcomeCounts([Count; Outcome::ALL.len()]);

impl OutcomeCounts {
    /// The count of `outcome`.
    pub fn of(&self, outcome: Outcome) -> &Count {
        &self.0[outcome as usize]
    }

    /// All outcomes together.
    pub fn total(&self) -> u64 {
        self.0.iter().map(Count::get).sum()
    }
}
