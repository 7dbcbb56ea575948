//! Membership changes, in our own form. What raft-rs needs is made anew from it at apply.
//!
//! Bytes: version (1), steps (1), expected conf epoch (8), then each step: tag (1), replica id (8), and for an
//! added learner node id (8) and incarnation (16). Little-endian; nothing follows. Leaving joint consensus has no
//! bytes at all, because raft-rs appends that entry by itself. An entry's own checksum covers them.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::descriptor::ReplicaDescriptor;
use crate::error::{Error, Result};
use crate::ids::{ConfEpoch, Incarnation, NodeId, ReplicaId};

/// Most steps of one change: far more than replacing every replica of a group takes.
pub const STEPS_MAX: usize = 64;

/// Version this release writes, and the only one it reads.
const VERSION: u8 = 1;

const ADD_LEARNER: u8 = 1;
const PROMOTE: u8 = 2;
const REMOVE: u8 = 3;

const HEADER_BYTES: usize = 10;
const STEP_BYTES_MAX: usize = 33;

const _: () = assert!(STEPS_MAX <= u8::MAX as usize, "the number of steps is one byte");

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

impl ConfChangeOp {
    /// The replica it is about.
    pub fn replica(&self) -> ReplicaId {
        match self {
            Self::AddLearner(added) => added.replica,
            Self::Promote(replica) | Self::Remove(replica) => *replica,
        }
    }
}

impl ConfChange {
    /// Whether this leaves joint consensus.
    pub fn is_leave(&self) -> bool {
        self.ops.is_empty()
    }

    /// The bytes that go into an entry.
    ///
    /// # Errors
    /// [`Error::TooLarge`] with more than [`STEPS_MAX`] steps.
    pub fn encode(&self) -> Result<Bytes> {
        if self.is_leave() {
            return Ok(Bytes::new());
        }
        let steps = u8::try_from(self.ops.len()).ok().filter(|&steps| usize::from(steps) <= STEPS_MAX);
        let Some(steps) = steps else {
            let bytes_max = (HEADER_BYTES + STEPS_MAX * STEP_BYTES_MAX) as u64;
            let bytes = (HEADER_BYTES + self.ops.len() * STEP_BYTES_MAX) as u64;
            return Err(Error::TooLarge { what: "conf change", bytes, bytes_max });
        };
        let mut bytes = BytesMut::with_capacity(HEADER_BYTES + self.ops.len() * STEP_BYTES_MAX);
        bytes.put_u8(VERSION);
        bytes.put_u8(steps);
        bytes.put_u64_le(self.expected_epoch.get());
        for op in &self.ops {
            put_step(&mut bytes, op);
        }
        Ok(bytes.freeze())
    }

    /// Reads an entry's payload. Whether the change makes sense for a group is another question.
    ///
    /// # Errors
    /// [`Error::Malformed`] for anything that [`Self::encode`] does not write.
    pub fn decode(payload: &Bytes) -> Result<Self> {
        if payload.is_empty() {
            return Ok(Self::default());
        }
        let mut rest = payload.clone();
        let change = take_change(&mut rest).ok_or(Error::Malformed { what: "conf change" })?;
        if rest.has_remaining() {
            return Err(Error::Malformed { what: "end of a conf change" });
        }
        Ok(change)
    }
}

fn put_step(bytes: &mut BytesMut, op: &ConfChangeOp) {
    bytes.put_u8(match op {
        ConfChangeOp::AddLearner(_) => ADD_LEARNER,
        ConfChangeOp::Promote(_) => PROMOTE,
        ConfChangeOp::Remove(_) => REMOVE,
    });
    bytes.put_u64_le(op.replica().get());
    if let ConfChangeOp::AddLearner(added) = op {
        bytes.put_u64_le(added.node.get());
        bytes.put_slice(&added.incarnation.0);
    }
}

fn take_change(rest: &mut Bytes) -> Option<ConfChange> {
    let version = rest.try_get_u8().ok()?;
    let steps = usize::from(rest.try_get_u8().ok()?);
    if version != VERSION || steps == 0 || steps > STEPS_MAX {
        return None;
    }
    let expected_epoch = ConfEpoch(rest.try_get_u64_le().ok()?);
    let ops = (0..steps).map(|_| take_step(rest)).collect::<Option<_>>()?;
    Some(ConfChange { expected_epoch, ops })
}

fn take_step(rest: &mut Bytes) -> Option<ConfChangeOp> {
    let tag = rest.try_get_u8().ok()?;
    let replica = ReplicaId(rest.try_get_u64_le().ok()?);
    match tag {
        ADD_LEARNER => {
            let node = NodeId(rest.try_get_u64_le().ok()?);
            let mut incarnation = Incarnation::ZERO;
            rest.try_copy_to_slice(&mut incarnation.0).ok()?;
            Some(ConfChangeOp::AddLearner(ReplicaDescriptor { replica, node, incarnation }))
        }
        PROMOTE => Some(ConfChangeOp::Promote(replica)),
        REMOVE => Some(ConfChangeOp::Remove(replica)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn change() -> ConfChange {
        let (replica, node) = (ReplicaId(4), NodeId(2));
        let added = ReplicaDescriptor { replica, node, incarnation: Incarnation([5; 16]) };
        let ops = vec![
            ConfChangeOp::AddLearner(added),
            ConfChangeOp::Promote(ReplicaId(5)),
            ConfChangeOp::Remove(ReplicaId(6)),
        ];
        ConfChange { expected_epoch: ConfEpoch(3), ops }
    }

    #[test]
    fn a_conf_change_reads_back_as_written() {
        assert_eq!(ConfChange::decode(&change().encode().unwrap()).unwrap(), change());
        let leave = ConfChange::default();
        assert!(leave.encode().unwrap().is_empty());
        assert_eq!(ConfChange::decode(&Bytes::new()).unwrap(), leave);
    }

    #[test]
    fn the_layout_is_pinned() {
        let mut expected = vec![1, 3, 3, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([1, 4, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([5; 16]);
        expected.extend([2, 5, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([3, 6, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(change().encode().unwrap(), expected);
    }

    #[test]
    fn a_conf_change_that_is_cut_or_extended_is_malformed() {
        let whole = change().encode().unwrap();
        for cut in 1..whole.len() {
            assert!(ConfChange::decode(&whole.slice(..cut)).is_err(), "cut at {cut}");
        }
        let mut longer = whole.to_vec();
        longer.push(0);
        assert!(ConfChange::decode(&longer.into()).is_err());
    }

    #[test]
    fn the_number_of_steps_is_bounded() {
        let of = |steps| ConfChange { ops: vec![ConfChangeOp::Remove(ReplicaId(1)); steps], ..change() };
        assert_eq!(ConfChange::decode(&of(STEPS_MAX).encode().unwrap()).unwrap(), of(STEPS_MAX));
        for steps in [STEPS_MAX + 1, 256, 257] {
            assert!(matches!(of(steps).encode(), Err(Error::TooLarge { .. })));
        }
    }

    proptest! {
        #[test]
        fn whatever_decodes_encodes_to_the_same_bytes(bytes in proptest::collection::vec(0..4_u8, 0..64)) {
            let bytes = Bytes::from(bytes);
            if let Ok(change) = ConfChange::decode(&bytes) {
                prop_assert_eq!(change.encode().unwrap(), bytes);
            }
        }
    }
}
