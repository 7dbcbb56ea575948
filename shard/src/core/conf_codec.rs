//! The bytes of a conf change in an entry: version (1), steps (1), expected conf epoch (8), then each step as
//! tag (1) and its fields; little-endian. Leaving joint consensus has no bytes at all, because raft-rs appends
//! that entry by itself.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_storage::{
    ConfChange, ConfChangeOp, ConfEpoch, Error, Incarnation, NodeId, ReplicaDescriptor, ReplicaId,
};

const VERSION: u8 = 1;
/// Steps of one change: far more than replacing every replica of a group takes.
pub(super) const STEPS_MAX: usize = 64;

const ADD_LEARNER: u8 = 1;
const PROMOTE: u8 = 2;
const REMOVE: u8 = 3;

/// The payload of a conf change's entry. At most [`STEPS_MAX`] steps, checked before.
pub(crate) fn encode(change: &ConfChange) -> Bytes {
    if change.ops.is_empty() {
        return Bytes::new();
    }
    let mut bytes = BytesMut::with_capacity(10 + change.ops.len() * 33);
    bytes.put_u8(VERSION);
    bytes.put_u8(u8::try_from(change.ops.len()).unwrap_or(u8::MAX));
    bytes.put_u64_le(change.expected_epoch.get());
    for op in &change.ops {
        match op {
            ConfChangeOp::AddLearner(added) => {
                bytes.put_u8(ADD_LEARNER);
                bytes.put_u64_le(added.replica.get());
                bytes.put_u64_le(added.node.get());
                bytes.put_slice(&added.incarnation.0);
            }
            ConfChangeOp::Promote(replica) => {
                bytes.put_u8(PROMOTE);
                bytes.put_u64_le(replica.get());
            }
            ConfChangeOp::Remove(replica) => {
                bytes.put_u8(REMOVE);
                bytes.put_u64_le(replica.get());
            }
        }
    }
    bytes.freeze()
}

/// # Errors
/// [`Error::Malformed`] for anything that [`encode`] does not write.
pub(crate) fn decode(payload: &Bytes) -> Result<ConfChange, Error> {
    if payload.is_empty() {
        return Ok(ConfChange::default());
    }
    let mut rest = payload.clone();
    let change = steps(&mut rest).ok_or(Error::Malformed { what: "conf change" })?;
    if rest.has_remaining() { Err(Error::Malformed { what: "end of a conf change" }) } else { Ok(change) }
}

fn steps(rest: &mut Bytes) -> Option<ConfChange> {
    let version = rest.try_get_u8().ok()?;
    let count = usize::from(rest.try_get_u8().ok()?);
    if version != VERSION || count == 0 || count > STEPS_MAX {
        return None;
    }
    let expected_epoch = ConfEpoch(rest.try_get_u64_le().ok()?);
    let ops = (0..count).map(|_| step(rest)).collect::<Option<Vec<_>>>()?;
    Some(ConfChange { expected_epoch, ops })
}

fn step(rest: &mut Bytes) -> Option<ConfChangeOp> {
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
    use super::*;

    fn change() -> ConfChange {
        let incarnation = Incarnation([5; 16]);
        ConfChange {
            expected_epoch: ConfEpoch(3),
            ops: vec![
                ConfChangeOp::AddLearner(ReplicaDescriptor {
                    replica: ReplicaId(4),
                    node: NodeId(2),
                    incarnation,
                }),
                ConfChangeOp::Promote(ReplicaId(5)),
                ConfChangeOp::Remove(ReplicaId(6)),
            ],
        }
    }

    #[test]
    fn a_conf_change_reads_back_as_written() {
        assert_eq!(decode(&encode(&change())).unwrap(), change());
        assert_eq!(decode(&Bytes::new()).unwrap(), ConfChange::default());
        assert!(encode(&ConfChange::default()).is_empty());
    }

    #[test]
    fn a_conf_change_that_is_cut_or_extended_is_malformed() {
        let whole = encode(&change());
        for cut in 1..whole.len() {
            assert!(decode(&whole.slice(..cut)).is_err(), "cut at {cut}");
        }
        let mut longer = whole.to_vec();
        longer.push(0);
        assert!(decode(&longer.into()).is_err());
    }
}
