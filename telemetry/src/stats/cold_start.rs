//! How the starts of a group went.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::Serialize;

/// What the cold-start gate came to. A closed set: it is a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(usize)]
pub enum ColdStartOutcome {
    /// The state on disk was fresh enough: nothing was restored.
    Skipped,
    /// The state was behind the snapshot: it was restored.
    Executed,
    /// Freshness could not be proven: it was restored.
    Fallback,
    /// The start was refused: the group is quarantined.
    Refused,
    /// The chosen path failed.
    Failed,
}

impl ColdStartOutcome {
    /// Every outcome, in the order of the enum.
    pub const ALL: [Self; 5] = [Self::Skipped, Self::Executed, Self::Fallback, Self::Refused, Self::Failed];

    /// The value of the `outcome` label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Executed => "executed",
            Self::Fallback => "fallback",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// How many starts ended in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ColdStartCount {
    /// How they ended.
    pub outcome: ColdStartOutcome,
    /// Why; `"none"` where there is no reason.
    pub reason: &'static str,
    /// Starts.
    pub count: u64,
}

/// The starts of one group in this process: a handful, so they stand behind a lock.
#[derive(Debug, Default)]
pub struct ColdStarts(Mutex<Starts>);

#[derive(Debug, Default)]
struct Starts {
    counts: BTreeMap<(ColdStartOutcome, &'static str), u64>,
    last_gap: Option<(ColdStartOutcome, u64)>,
}

impl ColdStarts {
    /// Counts one start. `reason` is a name out of a closed set, `"none"` where there is nothing to give a reason for.
    /// `gap_entries` is the distance between the applied index and the snapshot's, where both were known.
    pub fn record(&self, outcome: ColdStartOutcome, reason: &'static str, gap_entries: Option<u64>) {
        let mut starts = self.0.lock();
        *starts.counts.entry((outcome, reason)).or_default() += 1;
        starts.last_gap = gap_entries.map(|gap| (outcome, gap));
    }

    /// How many starts there were of each outcome and reason.
    pub fn counts(&self) -> Vec<(ColdStartOutcome, &'static str, u64)> {
        let starts = self.0.lock();
        starts.counts.iter().map(|(&(outcome, reason), &count)| (outcome, reason, count)).collect()
    }

    /// [`ColdStarts::counts`], for reports.
    pub(super) fn report(&self) -> Vec<ColdStartCount> {
        let counts = self.counts().into_iter();
        counts.map(|(outcome, reason, count)| ColdStartCount { outcome, reason, count }).collect()
    }

    /// The gap of the latest start, if it had one.
    pub fn last_gap(&self) -> Option<(ColdStartOutcome, u64)> {
        self.0.lock().last_gap
    }
}
