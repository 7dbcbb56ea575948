//! Many seeds on a few threads, and what they come to together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::generate::schedule;
use super::report::{Counts, Report};
use super::run::run;
use super::schedule::Schedule;

/// Which seeds to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first.
    pub first_seed: u64,
    /// How many.
    pub seeds: u64,
    /// Simulated seconds under faults of each.
    pub seconds: u64,
    /// How many at a time.
    pub threads: usize,
}

/// A seed that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// What was run.
    pub schedule: Schedule,
    /// What went wrong.
    pub told: String,
}

/// What the seeds of a plan came to.
#[derive(Debug, Default)]
pub struct Summary {
    /// Of all of them.
    pub counts: Counts,
    /// How many passed.
    pub passed: u64,
    /// Those that did not, by seed.
    pub failed: Vec<Failed>,
    /// Simulated time of all.
    pub simulated: Duration,
    /// Fewest faults that fired in one seed.
    pub faults_min: Option<u64>,
}

/// Runs one schedule; a panic of anything is a failure like a broken law.
///
/// # Errors
/// What went wrong.
pub fn attempt(schedule: &Schedule) -> Result<Report, Failed> {
    let failed = |told| Failed { schedule: schedule.clone(), told };
    match catch_unwind(AssertUnwindSafe(|| run(schedule))) {
        Ok(Report { broken: Some(violation), .. }) => Err(failed(violation.to_string())),
        Ok(report) => Ok(report),
        Err(panic) => {
            let told = panic.downcast_ref::<String>().map(String::as_str);
            let told = told.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(failed(format!("panic: {}", told.unwrap_or("of another kind"))))
        }
    }
}

/// Runs a plan. `hears` is told of every seed as it ends.
pub fn run_all(plan: Plan, hears: &(dyn Fn(&Result<Report, Failed>) + Sync)) -> Summary {
    let next = AtomicU64::new(0);
    let summary = Mutex::new(Summary::default());
    std::thread::scope(|scope| {
        for _ in 0..plan.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= plan.seeds {
                        break;
                    }
                    let outcome = attempt(&schedule(plan.first_seed + number, plan.seconds));
                    hears(&outcome);
                    summary.lock().add(outcome);
                }
            });
        }
    });
    let mut summary = summary.into_inner();
    summary.failed.sort_by_key(|failed| failed.schedule.seed);
    summary
}

impl Summary {
    fn add(&mut self, outcome: Result<Report, Failed>) {
        match outcome {
            Ok(report) => {
                self.passed += 1;
                self.simulated += report.simulated;
                let fired = report.counts.faults_fired();
                self.faults_min = Some(self.faults_min.map_or(fired, |least| least.min(fired)));
                self.counts.add(&report.counts);
            }
            Err(failed) => self.failed.push(failed),
        }
    }
}
