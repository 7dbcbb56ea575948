//! Why a group was taken out of service.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use quorate_storage::Index;
use quorate_storage::identity::Divergence;
use quorate_telemetry::stats::QuarantineReason;

use crate::core::Evidence;

/// The first failure of a group: it is quarantined with it, and the node goes on.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The log could not be written: nothing after it was acknowledged.
    #[error("log write failed: {0}")]
    Log(#[source] quorate_storage::Error),
    /// Entries that are not applied yet have become unreadable: the next start fetches them from other replicas.
    #[error("log entries cannot be read: {0}")]
    LogRead(#[source] quorate_storage::Error),
    /// The state machine answered with an error.
    #[error("state machine failed at {through}: {cause}")]
    Apply {
        /// Last index of the batch.
        through: Index,
        /// Its error.
        #[source]
        cause: quorate_storage::Error,
    },
    /// A committed entry that cannot be understood: corruption, or an entry of a newer release.
    #[error("entry {index} cannot be applied: {cause}")]
    Entry {
        /// The entry.
        index: Index,
        /// What is wrong with it.
        #[source]
        cause: quorate_storage::Error,
    },
    /// A received snapshot could not be restored.
    #[error("restore of the snapshot at {index} failed: {cause}")]
    Restore {
        /// The snapshot's index.
        index: Index,
        /// The cause.
        #[source]
        cause: quorate_storage::Error,
    },
    /// The store does not hold what was written to it.
    #[error("the state store is rotten: {0}")]
    Rotten(#[source] quorate_storage::Error),
    /// The majority of the replicas holds another state at the same index.
    #[error("the state has diverged: {0}")]
    StateDiverged(Divergence),
    /// A message of a rightful leader proves that this replica's log cannot be right.
    #[error(transparent)]
    Evidence(#[from] Evidence),
    /// A panic, caught.
    #[error("panic in the {stage}: {message}")]
    Panic {
        /// Where it was caught: "core", "applier", …
        stage: &'static str,
        /// What it said.
        message: Arc<str>,
    },
    /// The worker pool is gone, so nothing can be made durable any more.
    #[error("the worker pool has stopped")]
    WorkersStopped,
}

/// What brings a quarantined group back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Remedy {
    /// An operator: its files are evidence, and stay as they are.
    #[default]
    Repair,
    /// Room on the disk: then it is started as after a crash.
    Room,
    /// A start that restores its state from snapshot and log: the store, which is only a cache of them, has failed.
    Rebuild,
}

/// That a group is out of service: why, where that was seen, and what brings it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// What it counts as.
    pub reason: QuarantineReason,
    /// The whole story, for people.
    pub text: Arc<str>,
    /// The file or directory it was seen in, if it was seen in one.
    pub file: Option<PathBuf>,
    /// Where in `file`, in bytes, if that is known.
    pub offset: Option<u64>,
    /// What brings the group back.
    pub remedy: Remedy,
}

impl Quarantine {
    /// With `cause`, if a failure of durable state is behind it, telling the place.
    pub(crate) fn new(
        (reason, remedy): (QuarantineReason, Remedy),
        text: &str,
        cause: Option<&quorate_storage::Error>,
    ) -> Self {
        let place = cause.and_then(quorate_storage::Error::location);
        Self {
            reason,
            text: Arc::from(text),
            file: place.map(|(file, _)| file.to_path_buf()),
            offset: place.and_then(|(_, offset)| offset),
            remedy,
        }
    }
}

impl From<&Failure> for Quarantine {
    fn from(failure: &Failure) -> Self {
        Self::new((failure.reason(), failure.remedy()), &failure.to_string(), failure.cause())
    }
}

impl Remedy {
    /// Its name, for scripts. A closed set.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Repair => "repair",
            Self::Room => "room",
            Self::Rebuild => "rebuild",
        }
    }
}

impl Failure {
    /// The failure of durable state behind it, if there is one.
    fn cause(&self) -> Option<&quorate_storage::Error> {
        match self {
            Self::Log(cause)
            | Self::LogRead(cause)
            | Self::Rotten(cause)
            | Self::Apply { cause, .. }
            | Self::Entry { cause, .. }
            | Self::Restore { cause, .. } => Some(cause),
            Self::Evidence(_) | Self::StateDiverged(_) | Self::Panic { .. } | Self::WorkersStopped => None,
        }
    }

    /// What brings the group back after this failure.
    pub(crate) fn remedy(&self) -> Remedy {
        match self {
            // A write that found no room was not synced: whatever was acknowledged is there, and a start finds it.
            Self::Log(cause) | Self::Apply { cause, .. } | Self::Restore { cause, .. }
                if cause.is_disk_full() =>
            {
                Remedy::Room
            }
            Self::Apply { cause, .. } | Self::Restore { cause, .. } if cause.is_store_failure() => {
                Remedy::Rebuild
            }
            Self::Rotten(_) => Remedy::Rebuild,
            // Also of a state that has diverged: its own snapshots hold the same, a restore would change nothing.
            _ => Remedy::Repair,
        }
    }

    /// What it counts as.
    pub(crate) fn reason(&self) -> QuarantineReason {
        match self {
            Self::Log(cause) | Self::LogRead(cause) | Self::Restore { cause, .. } => reason_of(cause),
            // Whatever the state machine or the entry says: the log is intact, the state may be restored.
            Self::Apply { .. } | Self::Entry { .. } => QuarantineReason::StateMachine,
            Self::Evidence(Evidence::Diverged { .. }) => QuarantineReason::Diverged,
            Self::Evidence(Evidence::LogLost { .. }) => QuarantineReason::LogLost,
            Self::Panic { .. } => QuarantineReason::Panic,
            Self::Rotten(_) => QuarantineReason::Corrupt,
            Self::StateDiverged(_) => QuarantineReason::StateDiverged,
            Self::WorkersStopped => QuarantineReason::Refused,
        }
    }

    /// A caught panic.
    pub(crate) fn panic(stage: &'static str, payload: &(dyn Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<&'static str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        Self::Panic { stage, message: Arc::from(message) }
    }
}

/// What a failure of durable state counts as.
pub(crate) fn reason_of(cause: &quorate_storage::Error) -> QuarantineReason {
    use quorate_storage::Error;
    match cause {
        Error::Corrupt { .. } | Error::Malformed { .. } => QuarantineReason::Corrupt,
        Error::LogLost { .. } => QuarantineReason::LogLost,
        Error::Io { .. } | Error::Store { .. } | Error::Missing { .. } => QuarantineReason::Io,
        Error::Closed { cause } => reason_of(cause),
        _ => QuarantineReason::Refused,
    }
}
