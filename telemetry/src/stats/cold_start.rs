//! How the starts of a group went.

use std::collections::BTreeMap;
use std::time::Duration;

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

/// Starts of one group whose times are kept until the collector takes them. It does so each second: more never gather
/// unless nobody collects.
const UNPUBLISHED_MAX: usize = 16;

/// One start of one group, ended one way or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColdStart {
    /// What the gate came to.
    pub outcome: ColdStartOutcome,
    /// A name out of a closed set, `"none"` where there is nothing to give a reason for.
    pub reason: &'static str,
    /// Distance between the applied index and the snapshot's, where it means something.
    pub gap_entries: Option<u64>,
    /// Bytes read of snapshots, and of the log for a volatile replay.
    pub read_bytes: u64,
    /// From the first read of the group's files to the end.
    pub took: Duration,
}

/// The starts of one group in this process: a handful, so they stand behind a lock.
#[derive(Debug, Default)]
pub struct ColdStarts(Mutex<Starts>);

#[derive(Debug, Default)]
struct Starts {
    counts: BTreeMap<(ColdStartOutcome, &'static str), u64>,
    last_gap: Option<(ColdStartOutcome, u64)>,
    read_bytes: u64,
    /// Oldest first; at most [`UNPUBLISHED_MAX`].
    unpublished: Vec<(ColdStartOutcome, Duration)>,
}

impl ColdStarts {
    /// Counts one start.
    pub fn record(&self, start: ColdStart) {
        let mut starts = self.0.lock();
        *starts.counts.entry((start.outcome, start.reason)).or_default() += 1;
        starts.last_gap = start.gap_entries.map(|gap| (start.outcome, gap));
        starts.read_bytes += start.read_bytes;
        if starts.unpublished.len() == UNPUBLISHED_MAX {
            starts.unpublished.remove(0);
        }
        starts.unpublished.push((start.outcome, start.took));
    }

    /// Bytes that all starts together have read.
    pub fn read_bytes(&self) -> u64 {
        self.0.lock().read_bytes
    }

    /// How long the starts took that nobody has asked about yet.
    pub(crate) fn take_times(&self) -> Vec<(ColdStartOutcome, Duration)> {
        std::mem::take(&mut self.0.lock().unpublished)
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
