//! The closed sets a start's outcome and reason come from: they are metric labels.

use quorate_telemetry::stats::ColdStartOutcome;

/// What the gate came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The state on disk is fresh enough: nothing is restored.
    Skipped,
    /// The state is behind: it is restored.
    Executed,
    /// Freshness could not be proven: it is restored.
    Fallback(FallbackReason),
    /// The start is refused: the group is quarantined until someone repairs it on purpose.
    Refused(RefusalReason),
}

/// Why freshness could not be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FallbackReason {
    /// The state machine cannot report.
    NotReader,
    /// Reading the record failed, or the store did not open.
    ReadErr,
    /// There is no record, or one of an older format.
    MissingMeta,
    /// The record is of another incarnation.
    Incarnation,
    /// The store does not survive a power cut, and one cannot be excluded.
    UncleanBoot,
    /// The store is known to be damaged.
    Rotten,
    /// The log lacks an entry that the volatile replay of a skip needs.
    VolatileGap,
}

/// Why a start is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// Committed entries are not in the log.
    LogLost,
    /// The store holds what the log does not: acknowledged log is gone.
    AheadOfLog,
    /// Store and log disagree on the term at the same index.
    Diverged,
    /// The log starts above what can be restored.
    Gap,
}

impl Outcome {
    /// The value of the `outcome` label.
    pub const fn as_str(self) -> &'static str {
        self.kind().label()
    }

    /// The value of the reason label; `"none"` where there is nothing to give a reason for.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Skipped | Self::Executed => "none",
            Self::Fallback(reason) => reason.as_str(),
            Self::Refused(reason) => reason.as_str(),
        }
    }

    /// The outcome as telemetry counts it.
    pub const fn kind(self) -> ColdStartOutcome {
        match self {
            Self::Skipped => ColdStartOutcome::Skipped,
            Self::Executed => ColdStartOutcome::Executed,
            Self::Fallback(_) => ColdStartOutcome::Fallback,
            Self::Refused(_) => ColdStartOutcome::Refused,
        }
    }
}

impl FallbackReason {
    /// The value of the reason label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotReader => "not_reader",
            Self::ReadErr => "read_err",
            Self::MissingMeta => "missing_meta",
            Self::Incarnation => "incarnation",
            Self::UncleanBoot => "unclean_boot",
            Self::Rotten => "rotten",
            Self::VolatileGap => "volatile_gap",
        }
    }
}

impl RefusalReason {
    /// The value of the reason label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LogLost => "log_lost",
            Self::AheadOfLog => "ahead_of_log",
            Self::Diverged => "diverged",
            Self::Gap => "gap",
        }
    }
}
