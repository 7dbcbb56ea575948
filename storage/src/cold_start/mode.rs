//! What an operator chooses: when to skip, and what to read before.

/// When a store that is as fresh as the newest snapshot is good enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Always: raft replays what is above. Exact, because the floor is seeded.
    #[default]
    Snapshot,
    /// Only when nothing committed is left to replay.
    CommittedTail,
}

/// What of the newest snapshot is read where the start does not restore it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerifyMode {
    /// Nothing: the applied record says what a start has to know, and a scrub reads the file later. (For a state
    /// machine whose record does not say it, the whole file, as with `Eager`.)
    #[default]
    Deferred,
    /// The whole file: its size, its footer against the log's token, and the checksum of everything before the footer.
    Eager,
}

impl Policy {
    /// Its name in configurations and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::CommittedTail => "committed_tail",
        }
    }
}

impl VerifyMode {
    /// Its name in configurations and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deferred => "deferred",
            Self::Eager => "eager",
        }
    }
}
