//! The engine's outcomes in the frontend's words. What may have taken effect is never called a failure.

use std::io;
use std::sync::Arc;

use quorate::{Error, GroupError, TransportError};

use crate::backend::BackendError;
use crate::exit::StartError;
use crate::listen::ListenError;

/// For an operation that has no effect, whatever happened to it.
pub(super) fn of_read(error: Error) -> BackendError {
    match error {
        Error::Group(GroupError::DeadlineExceeded) => BackendError::DeadlineExceeded,
        Error::Group(GroupError::Indeterminate { .. }) => BackendError::NoLeader,
        other => of_either(other),
    }
}

/// For an operation that may have taken effect.
pub(super) fn of_write(error: Error) -> BackendError {
    if error.is_maybe_committed() { BackendError::Indeterminate } else { of_either(error) }
}

fn of_either(error: Error) -> BackendError {
    match error {
        Error::Group(group) => of_group(group),
        Error::NoRoute => BackendError::NoLeader,
        Error::Stopped => BackendError::Stopped,
        other => BackendError::Engine { source: Arc::new(other) },
    }
}

fn of_group(error: GroupError) -> BackendError {
    match error {
        GroupError::NotLeader { .. }
        | GroupError::Transferring { .. }
        | GroupError::NoSuchGroup { .. }
        | GroupError::StaleRange { .. } => BackendError::NoLeader,
        GroupError::DiskFull { free_bytes, needed_bytes, .. } => {
            BackendError::DiskFull { free_bytes, needed_bytes }
        }
        GroupError::Busy { retry_after, .. } => BackendError::Busy { retry_after },
        GroupError::Quarantined { group, reason, .. } => {
            BackendError::Quarantined { group: group.get(), reason: reason.to_string() }
        }
        GroupError::Stopped { .. } => BackendError::Stopped,
        GroupError::Invalid(quorate::storage::Error::TooLarge { what, bytes, bytes_max }) => {
            let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
            BackendError::TooLarge { what, bytes: size(bytes), bytes_max: size(bytes_max) }
        }
        other => BackendError::Engine { source: Arc::new(other) },
    }
}

/// A start that failed, by what the operator can do about it.
pub(crate) fn of_start(error: Error) -> StartError {
    use quorate::storage::Error as Storage;
    match error {
        Error::Storage(Storage::Locked { path }) => StartError::Locked { path },
        Error::Storage(cause) if cause.is_corruption() => StartError::Corrupt { source: Arc::new(cause) },
        Error::Config { .. }
        | Error::SameCluster(_)
        | Error::Storage(
            Storage::Foreign { .. }
            | Storage::NewerFormat { .. }
            | Storage::Occupied { .. }
            | Storage::Unfinished { .. },
        ) => StartError::Config { source: Arc::new(error) },
        Error::Transport(TransportError::Listen { addr: address, source }) => {
            let source = io::Error::new(source.kind(), source);
            StartError::Listen(ListenError::Bind { listener: "peer", address, source })
        }
        other => StartError::Engine { source: Arc::new(other) },
    }
}
