//! Why a replica is taken out of service.

use quorate_shard::core::{Evidence, StartRefused};
use quorate_shard::shell::Halted;

/// The first failure of a replica.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The core does not start on what is there.
    #[error(transparent)]
    Start(StartRefused),
    /// The log cannot be written, or what is to be applied cannot be read of it.
    #[error("log: {0}")]
    Log(#[source] quorate_storage::Error),
    /// The state machine failed, or could not be restored for want of a disk.
    #[error("state machine: {0}")]
    State(#[source] quorate_storage::Error),
    /// A committed entry cannot be understood.
    #[error(transparent)]
    Entry(#[from] Halted),
    /// Another replica's message proves this log wrong.
    #[error(transparent)]
    Evidence(Evidence),
    /// Not a failure: it has restored the snapshot it waited for, and is to be started anew.
    #[error("restored")]
    Restart,
}

impl Failure {
    /// Whether it is over when the disk has room again.
    pub(crate) fn is_disk_full(&self) -> bool {
        match self {
            Self::Log(cause) | Self::State(cause) => cause.is_disk_full(),
            _ => false,
        }
    }
}
