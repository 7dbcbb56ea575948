//! Which row of the cold-start gate's table a start has taken.

use quorate_shard::actor::StartError;
use quorate_shard::shell::Opened;
use quorate_storage::cold_start::{ColdStartReport, FallbackReason, Outcome, RefusalReason};

/// The rows, as in the table of DESIGN 6. The eighth has two reasons.
pub const ROWS: [&str; 13] = [
    "1 log_lost",
    "2 ahead_of_log",
    "3 diverged",
    "4 not_reader",
    "5 read_err",
    "6 missing_meta",
    "7 incarnation",
    "8 unclean_boot",
    "8 rotten",
    "9 executed",
    "10 executed",
    "11 skipped",
    "12 gap",
];

/// The row of a start that succeeded, or waits; `None` if its reason is no row.
pub(crate) fn row_of(opened: &Opened) -> Option<&'static str> {
    let Some(report) = &opened.report else { return Some("12 gap") };
    row_of_outcome(report)
}

/// The row of a start that was refused.
pub(crate) fn row_of_error(error: &StartError) -> Option<&'static str> {
    let StartError::Refused { reason, .. } = error else { return None };
    let rows = [
        (RefusalReason::LogLost, "1 log_lost"),
        (RefusalReason::AheadOfLog, "2 ahead_of_log"),
        (RefusalReason::Diverged, "3 diverged"),
        (RefusalReason::Gap, "12 gap"),
    ];
    rows.iter().find(|(refusal, _)| refusal.as_str() == *reason).map(|(_, row)| *row)
}

fn row_of_outcome(report: &ColdStartReport) -> Option<&'static str> {
    Some(match report.decision.outcome {
        Outcome::Skipped => "11 skipped",
        Outcome::Executed if report.held.is_some_and(|held| held < report.snapshot) => "9 executed",
        Outcome::Executed => "10 executed",
        Outcome::Fallback(reason) => match reason {
            FallbackReason::NotReader => "4 not_reader",
            FallbackReason::ReadErr => "5 read_err",
            FallbackReason::MissingMeta => "6 missing_meta",
            FallbackReason::Incarnation => "7 incarnation",
            FallbackReason::UncleanBoot => "8 unclean_boot",
            FallbackReason::Rotten => "8 rotten",
            FallbackReason::VolatileGap => return None,
        },
        Outcome::Refused(_) => return None,
    })
}
