//! What a run came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::schedule::{Kind, Schedule};
use super::watch::Totals;
use crate::sim::TraceSum;

/// A run that was as it must be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Simulated time, all phases.
    pub simulated: Duration,
    /// Operations that were acknowledged.
    pub acknowledged: u64,
    /// Operations that were judged, and how many of them stayed open-ended.
    pub judged: (usize, usize),
    /// Timestamps that were given.
    pub timestamps: u64,
    /// Faults that struck, by kind.
    pub fired: BTreeMap<Kind, u64>,
    /// Starts of groups, by the gate's outcome and reason.
    #[serde(skip)]
    pub gate_rows: BTreeMap<(String, String), u64>,
    /// Sums over all replicas.
    pub totals: Totals,
    /// What another run of the same seed must have in common with it.
    pub trace: TraceSum,
}

/// How a run, or a part of it, ended.
pub type Outcome<T> = Result<T, Box<Failure>>;

/// A run that was not.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What was wrong.
    pub what: Vec<String>,
    /// The faults of the run.
    pub schedule: Schedule,
    /// When it ended.
    pub simulated: Duration,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {} failed after {:.3} simulated seconds:",
            self.seed,
            self.simulated.as_secs_f64()
        )?;
        for what in &self.what {
            writeln!(f, "  {what}")?;
        }
        let schedule = serde_json::to_string(&self.schedule).unwrap_or_default();
        write!(f, "  schedule: {schedule}")
    }
}
