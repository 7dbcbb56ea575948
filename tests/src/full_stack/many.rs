//! Many seeds, on several threads, and what they came to together.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::report::{Outcome, Report};
use super::run::{Options, run};
use super::schedule::Kind;

/// Sums over many runs.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Seeds that were as they must be.
    pub passed: u64,
    /// Those that were not.
    pub failed: Vec<u64>,
    /// Simulated time of those that passed.
    pub simulated: Duration,
    /// Acknowledged operations.
    pub acknowledged: u64,
    /// Snapshots that were installed.
    pub installed: u64,
    /// Faults that struck, by kind.
    pub fired: BTreeMap<Kind, u64>,
    /// Starts of groups, by the gate's outcome and reason.
    pub gate_rows: BTreeMap<(String, String), u64>,
}

/// Is told a seed and how it ended, from any of the threads.
pub type Told<'a> = &'a (dyn Fn(u64, &Outcome<Report>) + Sync);

/// Runs every seed, on so many threads; each end is told as it comes.
pub fn run_seeds(seeds: Range<u64>, options: &Options, threads: NonZeroUsize, told: Told<'_>) -> Summary {
    let (next, summary) = (AtomicU64::new(seeds.start), Mutex::new(Summary::default()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let outcome = run(seed, options);
            told(seed, &outcome);
            summary.lock().add(seed, outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(work);
        }
    });
    summary.into_inner()
}

impl Summary {
    fn add(&mut self, seed: u64, outcome: Outcome<Report>) {
        let Ok(report) = outcome else { return self.failed.push(seed) };
        self.passed += 1;
        self.simulated += report.simulated;
        self.acknowledged += report.acknowledged;
        self.installed += report.totals.installed;
        for (kind, count) in report.fired {
            *self.fired.entry(kind).or_default() += count;
        }
        for (row, count) in report.gate_rows {
            *self.gate_rows.entry(row).or_default() += count;
        }
    }
}
