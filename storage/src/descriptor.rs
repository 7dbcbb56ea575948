//! What a group is: its identity, its key range and its replicas. The group's own copy lives in its applied
//! record and snapshot header and changes only through its own log; the catalog in group 0 holds a copy for
//! routing.

use bytes::Bytes;

use crate::conf_change::{ConfChange, ConfChangeOp, STEPS_MAX};
use crate::ids::{ConfEpoch, GroupId, GroupUid, Incarnation, NodeId, RangeEpoch, ReplicaId};

/// A range of keys, `start` included, `end` excluded; no `end` means "to the last key".
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyRange {
    /// First key.
    pub start: Bytes,
    /// First key behind the range.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        Self::default()
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_ref() && self.end.as_ref().is_none_or(|end| key < end.as_ref())
    }
}

/// One replica and where it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaDescriptor {
    /// Raft's peer id.
    pub replica: ReplicaId,
    /// The node that holds it.
    pub node: NodeId,
    /// The directory it was created as; zero where it is not known (group 0's first replicas).
    pub incarnation: Incarnation,
}

/// Everything a group knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescriptor {
    /// Its number within the cluster.
    pub group: GroupId,
    /// Its identity for ever.
    pub uid: GroupUid,
    /// The keys it serves.
    pub range: KeyRange,
    /// Raised by every change of `range`.
    pub range_epoch: RangeEpoch,
    /// Raised by every change of `replicas`.
    pub conf_epoch: ConfEpoch,
    /// Its replicas, by ascending replica id.
    pub replicas: Vec<ReplicaDescriptor>,
}

impl GroupDescriptor {
    /// The replica with this id.
    pub fn replica(&self, id: ReplicaId) -> Option<&ReplicaDescriptor> {
        self.replicas.iter().find(|replica| replica.replica == id)
    }

    /// The replica that lives on `node`.
    pub fn replica_on(&self, node: NodeId) -> Option<&ReplicaDescriptor> {
        self.replicas.iter().find(|replica| replica.node == node)
    }
}

/// Why a membership change has no effect on a descriptor. The same on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfChangeRefusal {
    /// Membership changed since the caller looked.
    #[error("the conf epoch is {current}, the change expects {expected}")]
    Stale {
        /// What the change expects.
        expected: ConfEpoch,
        /// What it is.
        current: ConfEpoch,
    },
    /// More than [`STEPS_MAX`] steps.
    #[error("the change has {steps} steps")]
    TooManySteps {
        /// How many.
        steps: usize,
    },
    /// Two steps are about one replica.
    #[error("replica {replica} is named twice")]
    NamedTwice {
        /// Which.
        replica: ReplicaId,
    },
    /// 0 is no replica, and no node.
    #[error("replica {replica} on node {node}: 0 is no identity")]
    NoIdentity {
        /// The replica to add.
        replica: ReplicaId,
        /// Its node.
        node: NodeId,
    },
    /// The id of a new replica is not above all present ones: it may have been one's that is gone.
    #[error("replica id {replica} is not new: {newest} was handed out already")]
    IdNotNew {
        /// The replica to add.
        replica: ReplicaId,
        /// The highest id present.
        newest: ReplicaId,
    },
    /// Nobody of that id is here.
    #[error("replica {replica} is not a member")]
    NotAMember {
        /// Which.
        replica: ReplicaId,
    },
    /// Nobody would be left.
    #[error("the last replica cannot be removed")]
    LastReplica,
}

impl GroupDescriptor {
    /// The descriptor after `change`, which must have been made for this very conf epoch. All steps take effect
    /// together and raise the epoch by one; leaving joint consensus raises it too, and is not fenced. Pure: who
    /// votes is raft's conf state, which is not looked at here.
    ///
    /// # Errors
    /// The fence first, then the first step that makes no sense. Nothing changes then, not even the epoch.
    pub fn apply(&self, change: &ConfChange) -> Result<Self, ConfChangeRefusal> {
        if !change.is_leave() && change.expected_epoch != self.conf_epoch {
            let (expected, current) = (change.expected_epoch, self.conf_epoch);
            return Err(ConfChangeRefusal::Stale { expected, current });
        }
        if change.ops.len() > STEPS_MAX {
            return Err(ConfChangeRefusal::TooManySteps { steps: change.ops.len() });
        }
        let mut after = self.clone();
        for (at, op) in change.ops.iter().enumerate() {
            let replica = op.replica();
            if change.ops[..at].iter().any(|earlier| earlier.replica() == replica) {
                return Err(ConfChangeRefusal::NamedTwice { replica });
            }
            match op {
                ConfChangeOp::AddLearner(added) => after.replicas.push(self.check_added(*added)?),
                ConfChangeOp::Promote(replica) => self.check_member(*replica)?,
                ConfChangeOp::Remove(replica) => {
                    self.check_member(*replica)?;
                    after.replicas.retain(|present| present.replica != *replica);
                }
            }
        }
        if after.replicas.is_empty() {
            return Err(ConfChangeRefusal::LastReplica);
        }
        after.replicas.sort_unstable_by_key(|replica| replica.replica);
        after.conf_epoch = ConfEpoch(self.conf_epoch.get() + 1);
        Ok(after)
    }

    fn check_member(&self, replica: ReplicaId) -> Result<(), ConfChangeRefusal> {
        self.replica(replica).map(|_| ()).ok_or(ConfChangeRefusal::NotAMember { replica })
    }

    fn check_added(&self, added: ReplicaDescriptor) -> Result<ReplicaDescriptor, ConfChangeRefusal> {
        let ReplicaDescriptor { replica, node, .. } = added;
        if replica.get() == 0 || node.get() == 0 {
            return Err(ConfChangeRefusal::NoIdentity { replica, node });
        }
        match self.replicas.iter().map(|present| present.replica).max() {
            Some(newest) if replica <= newest => Err(ConfChangeRefusal::IdNotNew { replica, newest }),
            _ => Ok(added),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(id: u64) -> ReplicaDescriptor {
        ReplicaDescriptor { replica: ReplicaId(id), node: NodeId(id), incarnation: Incarnation([9; 16]) }
    }

    fn descriptor() -> GroupDescriptor {
        GroupDescriptor {
            group: GroupId(1),
            uid: GroupUid([1; 16]),
            range: KeyRange::all(),
            range_epoch: RangeEpoch(1),
            conf_epoch: ConfEpoch(5),
            replicas: vec![replica(2), replica(4)],
        }
    }

    fn apply(ops: Vec<ConfChangeOp>) -> Result<GroupDescriptor, ConfChangeRefusal> {
        descriptor().apply(&ConfChange { expected_epoch: ConfEpoch(5), ops })
    }

    #[test]
    fn steps_take_effect_together_and_raise_the_epoch_once() {
        let promote = ConfChangeOp::Promote(ReplicaId(4));
        let ops = vec![ConfChangeOp::AddLearner(replica(7)), ConfChangeOp::Remove(ReplicaId(2)), promote];
        let after = apply(ops).unwrap();
        let expected = GroupDescriptor {
            conf_epoch: ConfEpoch(6),
            replicas: vec![replica(4), replica(7)],
            ..descriptor()
        };
        assert_eq!(after, expected);
    }

    #[test]
    fn a_change_is_fenced_by_the_epoch_and_a_leave_is_not() {
        let change = |ops| ConfChange { expected_epoch: ConfEpoch(4), ops };
        let stale = ConfChangeRefusal::Stale { expected: ConfEpoch(4), current: ConfEpoch(5) };
        let refused = descriptor().apply(&change(vec![ConfChangeOp::Remove(ReplicaId(2))]));
        assert_eq!(refused, Err(stale));
        let left = descriptor().apply(&change(vec![])).unwrap();
        assert_eq!(left, GroupDescriptor { conf_epoch: ConfEpoch(6), ..descriptor() });
    }

    #[test]
    fn an_id_at_or_below_a_present_one_is_never_added() {
        for id in [1, 2, 3, 4] {
            let refused = ConfChangeRefusal::IdNotNew { replica: ReplicaId(id), newest: ReplicaId(4) };
            assert_eq!(apply(vec![ConfChangeOp::AddLearner(replica(id))]), Err(refused));
        }
        let none = apply(vec![ConfChangeOp::AddLearner(replica(0))]);
        assert_eq!(none, Err(ConfChangeRefusal::NoIdentity { replica: ReplicaId(0), node: NodeId(0) }));
    }

    #[test]
    fn steps_that_make_no_sense_are_refused() {
        let (two, three) = (ReplicaId(2), ReplicaId(3));
        let remove = ConfChangeOp::Remove;
        assert_eq!(apply(vec![remove(three)]), Err(ConfChangeRefusal::NotAMember { replica: three }));
        let promoted = apply(vec![ConfChangeOp::Promote(three)]);
        assert_eq!(promoted, Err(ConfChangeRefusal::NotAMember { replica: three }));
        let twice = apply(vec![remove(two), ConfChangeOp::Promote(two)]);
        assert_eq!(twice, Err(ConfChangeRefusal::NamedTwice { replica: two }));
        assert_eq!(apply(vec![remove(two), remove(ReplicaId(4))]), Err(ConfChangeRefusal::LastReplica));
        let steps = STEPS_MAX + 1;
        assert_eq!(apply(vec![remove(two); steps]), Err(ConfChangeRefusal::TooManySteps { steps }));
    }
}
