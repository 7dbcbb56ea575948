//! Makes a failing schedule smaller: leaves faults out as long as it still fails.

use super::schedule::Schedule;
use super::suite::{Failed, attempt};

/// Most runs that are spent on it.
const RUNS_MAX: usize = 200;

/// A smaller schedule that fails, too, and how; `None` if `schedule` does not fail.
pub fn shrink(schedule: &Schedule) -> Option<Failed> {
    let mut smallest = attempt(schedule).err()?;
    let mut runs = 1;
    let mut piece = schedule.faults.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < smallest.schedule.faults.len() && runs < RUNS_MAX {
            let mut candidate = smallest.schedule.clone();
            let end = (at + piece).min(candidate.faults.len());
            candidate.faults.drain(at..end);
            runs += 1;
            match attempt(&candidate) {
                Err(failed) => smallest = failed,
                Ok(_) => at += piece,
            }
        }
        piece /= 2;
    }
    Some(smallest)
}
