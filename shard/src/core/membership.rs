//! Membership changes: what a leader refuses before it appends one, and what every replica makes of one when
//! it is applied. The latter is a pure function of (descriptor, membership, change), the same everywhere.

use quorate_storage::conf_change::STEPS_MAX;
use quorate_storage::{ConfChange, ConfChangeOp, ConfState, GroupDescriptor, ReplicaId};
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2};

use crate::error::Error;

/// raft-rs's form. One op is applied in one step; several go through joint consensus with auto-leave, which
/// is what raft-rs makes of them by itself. No ops: leave joint consensus.
pub(super) fn to_raft(change: &ConfChange) -> ConfChangeV2 {
    let single = |id: ReplicaId, kind: ConfChangeType| {
        let mut single = ConfChangeSingle { node_id: id.get(), ..Default::default() };
        single.set_change_type(kind);
        single
    };
    let steps: Vec<_> = change
        .ops
        .iter()
        .map(|op| match op {
            ConfChangeOp::AddLearner(added) => single(added.replica, ConfChangeType::AddLearnerNode),
            ConfChangeOp::Promote(id) => single(*id, ConfChangeType::AddNode),
            ConfChangeOp::Remove(id) => single(*id, ConfChangeType::RemoveNode),
        })
        .collect();
    let mut raw = ConfChangeV2::default();
    raw.set_changes(steps.into());
    raw
}

/// Whether `change` makes sense for this group as it is now.
///
/// # Errors
/// The fence first, then the first step that makes no sense.
pub(super) fn check(
    change: &ConfChange,
    descriptor: &GroupDescriptor,
    conf_state: &ConfState,
) -> Result<(), Error> {
    if change.expected_epoch != descriptor.conf_epoch {
        let (expected, current) = (change.expected_epoch, descriptor.conf_epoch);
        return Err(Error::ConfEpochMismatch { expected, current });
    }
    if conf_state.is_joint() {
        return Err(Error::ConfChangePending { group: descriptor.group });
    }
    if change.ops.len() > STEPS_MAX {
        return Err(Error::ConfChangeRefused("it has too many steps"));
    }
    let mut named = Vec::with_capacity(change.ops.len());
    let mut voters_left = conf_state.voters.len();
    let mut voters_new = 0;
    for op in &change.ops {
        let id = match op {
            ConfChangeOp::AddLearner(added) => {
                check_added(added.replica, descriptor)?;
                added.replica
            }
            ConfChangeOp::Promote(id) => {
                voters_new += 1;
                if !conf_state.learners.contains(id) {
                    return Err(Error::ConfChangeRefused("only a learner can be promoted"));
                }
                *id
            }
            ConfChangeOp::Remove(id) => {
                if !conf_state.contains(*id) {
                    return Err(Error::ConfChangeRefused("the replica is not a member"));
                }
                voters_left -= usize::from(conf_state.voters.contains(id));
                *id
            }
        };
        if named.contains(&id) {
            return Err(Error::ConfChangeRefused("one replica is named twice"));
        }
        named.push(id);
    }
    if voters_left + voters_new == 0 {
        return Err(Error::ConfChangeRefused("the last voter cannot be removed"));
    }
    Ok(())
}

fn check_added(id: ReplicaId, descriptor: &GroupDescriptor) -> Result<(), Error> {
    if id.get() == raft::INVALID_ID || id.get() > quorate_storage::NUMBER_MAX {
        return Err(Error::ConfChangeRefused("not a replica id"));
    }
    if descriptor.replica(id).is_some() {
        return Err(Error::ConfChangeRefused("the replica is a member already"));
    }
    Ok(())
}

/// The descriptor after `change` has led to `conf_state`. A voter that is being removed stays described
/// until joint consensus is left: until then it takes part and has to be reached.
pub(super) fn describe(
    descriptor: &GroupDescriptor,
    change: &ConfChange,
    conf_state: &ConfState,
) -> GroupDescriptor {
    let mut after = descriptor.clone();
    for op in &change.ops {
        if let ConfChangeOp::AddLearner(added) = op {
            after.replicas.push(*added);
        }
    }
    after.replicas.retain(|replica| conf_state.contains(replica.replica));
    after.replicas.sort_unstable_by_key(|replica| replica.replica);
    after.conf_epoch.0 += 1;
    after
}
