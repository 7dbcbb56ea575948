//! Why a group is out of service, as telemetry tells it apart.

use std::sync::atomic::{AtomicU8, Ordering};

use serde::Serialize;

/// What took a group out of service. A closed set: it is a label. The text with file and offset stands in the log and on
/// the admin pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum QuarantineReason {
    /// A file is corrupt: log, snapshot, state or identity.
    Corrupt,
    /// Acknowledged log is gone: the replica has to be replaced.
    LogLost,
    /// Log and state, or log and leader, contradict each other.
    Diverged,
    /// The majority of the replicas holds another state.
    StateDiverged,
    /// The disk refused: a write, a sync or a read failed.
    Io,
    /// The state machine, or an entry it was given, halted the group.
    StateMachine,
    /// A panic was caught.
    Panic,
    /// Anything else: another owner, a newer format, a rule of raft.
    Refused,
}

impl QuarantineReason {
    /// Every reason, in the order of the enum.
    pub const ALL: [Self; 8] = [
        Self::Corrupt,
        Self::LogLost,
        Self::Diverged,
        Self::StateDiverged,
        Self::Io,
        Self::StateMachine,
        Self::Panic,
        Self::Refused,
    ];

    /// The value of the `reason` label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::LogLost => "log_lost",
            Self::Diverged => "diverged",
            Self::StateDiverged => "state_diverged",
            Self::Io => "io",
            Self::StateMachine => "state_machine",
            Self::Panic => "panic",
            Self::Refused => "refused",
        }
    }
}

/// The last [`QuarantineReason`] that was told, if any; any thread may set and read it.
#[derive(Debug, Default)]
pub(super) struct ReasonCell(AtomicU8);

impl ReasonCell {
    pub(super) fn set(&self, reason: QuarantineReason) {
        self.0.store(reason as u8 + 1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Option<QuarantineReason> {
        let at = usize::from(self.0.load(Ordering::Relaxed)).checked_sub(1)?;
        QuarantineReason::ALL.get(at).copied()
    }
}
