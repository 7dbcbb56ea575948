//! Tells what became of a group's start, once it is known: to telemetry, to the log, and to who watches.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use quorate_storage::Index;
use quorate_storage::cold_start::ColdStartReport;
use quorate_telemetry::stats::{ColdStart, ColdStartOutcome};

use crate::actor::spec::StartSpec;
use crate::actor::start::StartError;

/// The start succeeded: the raft node is made, and nobody is served yet.
pub(crate) fn succeeded(spec: &StartSpec, report: &ColdStartReport) {
    let (outcome, reason) = (report.outcome(), report.decision.outcome.reason());
    spec.stats.cold_starts.record(ColdStart {
        outcome,
        reason,
        gap_entries: report.gap_to_snapshot(),
        read_bytes: report.bytes_read,
        took: report.total,
    });
    spec.stats.apply.duplicates_dropped.add(report.duplicates_dropped);
    spec.stats.apply.volatile_replayed.add(report.volatile_replayed);
    tracing::info!(
        group = %spec.group,
        outcome = outcome.label(),
        reason,
        policy = spec.config.cold_start.policy.as_str(),
        verify = spec.config.cold_start.verify.as_str(),
        held = report.held.map(Index::get),
        snapshot = %report.snapshot,
        commit = %report.commit,
        gap_to_snapshot = report.gap_to_snapshot(),
        gap_to_commit = report.gap_to_commit(),
        read_bytes = report.bytes_read,
        duplicates_dropped = report.duplicates_dropped,
        volatile_replayed = report.volatile_replayed,
        store_open_us = report.store_open.as_micros(),
        restore_us = report.restore.as_micros(),
        total_us = report.total.as_micros(),
        "cold start"
    );
    let Some(observer) = &spec.config.cold_start.observer else { return };
    let heard = catch_unwind(AssertUnwindSafe(|| observer.started(spec.group, report)));
    if heard.is_err() {
        tracing::error!(group = %spec.group, "the observer of cold starts panicked");
    }
}

/// No snapshot could be used: the replica runs, and waits for one of another replica. As a start it has failed.
pub(crate) fn waits(spec: &StartSpec, took: Duration) {
    let (outcome, reason) = (ColdStartOutcome::Failed, "waiting");
    let (gap_entries, read_bytes) = (None, 0);
    spec.stats.cold_starts.record(ColdStart { outcome, reason, gap_entries, read_bytes, took });
}

/// The start was refused, or failed, after `took`. A log that is repaired first has not been started yet.
pub(crate) fn failed(spec: &StartSpec, failure: &StartError, took: Duration) {
    let (outcome, reason) = match failure {
        StartError::Unreadable { .. } => return,
        StartError::Refused { reason, .. } => (ColdStartOutcome::Refused, *reason),
        StartError::StateDiverged { .. } => (ColdStartOutcome::Refused, failure.reason().label()),
        StartError::Open { .. } | StartError::Core { .. } | StartError::WorkerGone { .. } => {
            (ColdStartOutcome::Failed, failure.reason().label())
        }
    };
    let (gap_entries, read_bytes) = (None, 0);
    spec.stats.cold_starts.record(ColdStart { outcome, reason, gap_entries, read_bytes, took });
    tracing::warn!(
        group = %spec.group,
        outcome = outcome.label(),
        reason,
        error = %failure,
        total_us = took.as_micros(),
        "cold start"
    );
}
