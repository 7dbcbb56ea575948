//! Membership changes, in our own form. What raft-rs needs is made anew from it at apply.

use crate::descriptor::ReplicaDescriptor;
use crate::ids::{ConfEpoch, ReplicaId};

/// One step of a membership change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfChangeOp {
    /// Adds a replica that follows without a vote, and binds its id to a node and an incarnation.
    AddLearner(ReplicaDescriptor),
    /// Gives a learner a vote.
    Promote(ReplicaId),
    /// Removes a voter or a learner.
    Remove(ReplicaId),
}

/// A membership change, applied as a whole through joint consensus with auto-leave.
/// No ops: leave joint consensus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfChange {
    /// Refused at apply unless the descriptor's epoch still is this one (a leave is not fenced).
    pub expected_epoch: ConfEpoch,
    /// The steps.
    pub ops: Vec<ConfChangeOp>,
}
