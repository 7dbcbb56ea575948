//! The distributions of one node.
//!
//! What a node merely counts is counted by whoever does it (the transport, the disk), and read from there by
//! [`Collector::watch_counter`](crate::Collector::watch_counter).

use std::fmt;

use metrics::{Histogram, Key, Label};

use super::ColdStartOutcome;
use crate::SharedRecorder;
use crate::names::{self, METADATA, Metric};

/// Distributions, per node and never per group. Each is a handle of the recorder, so a record costs about 50 ns and no
/// lock: once per *batch* and stage, never per entry.
///
/// The default drops everything.
pub struct NodeStats {
    /// Seconds until a batch was written to the log and synced; now and then with the change to a new file.
    pub log_append_seconds: Histogram,
    /// Bytes of the commands in one log batch.
    pub log_batch_bytes: Histogram,
    /// Seconds one batch took to be applied.
    pub apply_seconds: Histogram,
    /// Entries in one applied batch.
    pub apply_batch_entries: Histogram,
    /// Seconds from taking the oldest proposal of a batch until the batch was applied; recorded by the leader.
    pub propose_to_apply_seconds: Histogram,
    cold_start_seconds: [Histogram; ColdStartOutcome::ALL.len()],
}

impl NodeStats {
    /// Registers the distributions of node `node` with `recorder`.
    pub fn new(recorder: &SharedRecorder, node: &str) -> Self {
        let register = |metric: &'static Metric, outcome: Option<ColdStartOutcome>| {
            let mut labels = vec![Label::new(names::NODE_LABEL, node.to_owned())];
            labels.extend(outcome.map(|outcome| Label::new(names::OUTCOME_LABEL, outcome.label())));
            recorder.register_histogram(&Key::from_parts(metric.name, labels), &METADATA)
        };
        Self {
            log_append_seconds: register(&names::LOG_APPEND_SECONDS, None),
            log_batch_bytes: register(&names::LOG_BATCH_BYTES, None),
            apply_seconds: register(&names::APPLY_SECONDS, None),
            apply_batch_entries: register(&names::APPLY_BATCH_ENTRIES, None),
            propose_to_apply_seconds: register(&names::PROPOSE_TO_APPLY_SECONDS, None),
            cold_start_seconds: ColdStartOutcome::ALL
                .map(|outcome| register(&names::COLD_START_SECONDS, Some(outcome))),
        }
    }

    /// Seconds a group's start took, by what the gate came to.
    pub fn cold_start_seconds(&self, outcome: ColdStartOutcome) -> &Histogram {
        &self.cold_start_seconds[outcome as usize]
    }
}

impl Default for NodeStats {
    fn default() -> Self {
        Self {
            log_append_seconds: Histogram::noop(),
            log_batch_bytes: Histogram::noop(),
            apply_seconds: Histogram::noop(),
            apply_batch_entries: Histogram::noop(),
            propose_to_apply_seconds: Histogram::noop(),
            cold_start_seconds: ColdStartOutcome::ALL.map(|_| Histogram::noop()),
        }
    }
}

impl fmt::Debug for NodeStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeStats").finish_non_exhaustive()
    }
}
