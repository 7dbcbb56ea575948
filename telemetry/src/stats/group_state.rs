//! The one state a group is in, as telemetry tells it.

use std::sync::atomic::{AtomicU8, Ordering};

use serde::Serialize;

/// What a group's replica on this node is doing. A closed set: it is a label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum GroupState {
    /// It is being opened, or waits for its turn: nothing is known of it yet, or the gate decides.
    #[default]
    Opening,
    /// The gate restores its state, or reads a snapshot for another reason.
    Restoring,
    /// It takes part, and applies what its log had when it was started.
    Replaying,
    /// It leads.
    Leader,
    /// It follows a leader it knows.
    Follower,
    /// It follows without a vote.
    Learner,
    /// It knows no leader, or campaigns.
    NoLeader,
    /// It is out of service until repaired.
    Quarantined,
    /// Entries of its log are unreadable: it fetches them from other replicas, and takes no part meanwhile.
    Repairing,
    /// It has no intact snapshot that its log reaches: it votes and appends, and waits for one of another replica.
    Waiting,
}

impl GroupState {
    /// Every state, in the order of the enum.
    pub const ALL: [Self; 10] = [
        Self::Opening,
        Self::Restoring,
        Self::Replaying,
        Self::Leader,
        Self::Follower,
        Self::Learner,
        Self::NoLeader,
        Self::Quarantined,
        Self::Repairing,
        Self::Waiting,
    ];

    /// The value of the `state` label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Restoring => "restoring",
            Self::Replaying => "replaying",
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Learner => "learner",
            Self::NoLeader => "no_leader",
            Self::Quarantined => "quarantined",
            Self::Repairing => "repairing",
            Self::Waiting => "waiting",
        }
    }

    /// Whether somebody should look at it if it stays so.
    pub const fn is_unhealthy(self) -> bool {
        match self {
            Self::Leader | Self::Follower | Self::Learner => false,
            Self::Opening
            | Self::Restoring
            | Self::Replaying
            | Self::NoLeader
            | Self::Quarantined
            | Self::Repairing
            | Self::Waiting => true,
        }
    }
}

/// A [`GroupState`] that any thread may set and read.
#[derive(Debug, Default)]
pub(super) struct StateCell(AtomicU8);

impl StateCell {
    pub(super) fn set(&self, state: GroupState) {
        self.0.store(state as u8, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> GroupState {
        GroupState::ALL[usize::from(self.0.load(Ordering::Relaxed))]
    }
}
