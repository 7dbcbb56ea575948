//! Stand-in for the storage crate's codec of conf changes.
use bytes::{BufMut, Bytes, BytesMut};
use quorate_storage::{
    ConfChange, ConfChangeOp, ConfEpoch, Incarnation, NodeId, ReplicaDescriptor, ReplicaId,
};

pub(super) fn encode(change: &ConfChange) -> Bytes {
    let mut b = BytesMut::new();
    b.put_u64_le(change.expected_epoch.get());
    for op in &change.ops {
        match op {
            ConfChangeOp::AddLearner(r) => {
                b.put_u8(1);
                b.put_u64_le(r.replica.get());
                b.put_u64_le(r.node.get());
                b.put_slice(&r.incarnation.0);
            }
            ConfChangeOp::Promote(r) => {
                b.put_u8(2);
                b.put_u64_le(r.get());
            }
            ConfChangeOp::Remove(r) => {
                b.put_u8(3);
                b.put_u64_le(r.get());
            }
        }
    }
    b.freeze()
}

pub(super) fn decode(bytes: &Bytes) -> quorate_storage::Result<ConfChange> {
    let bad = || quorate_storage::Error::Malformed { what: "conf change" };
    let mut at = 0;
    let mut take = |n: usize| {
        let part = bytes.get(at..at + n).ok_or_else(bad)?;
        at += n;
        Ok::<_, quorate_storage::Error>(part)
    };
    let num = |b: &[u8]| u64::from_le_bytes(std::array::from_fn(|i| b[i]));
    let mut change = ConfChange { expected_epoch: ConfEpoch(num(take(8)?)), ops: Vec::new() };
    while let Ok(tag) = take(1) {
        let tag = tag[0];
        change.ops.push(match tag {
            1 => ConfChangeOp::AddLearner(ReplicaDescriptor {
                replica: ReplicaId(num(take(8)?)),
                node: NodeId(num(take(8)?)),
                incarnation: Incarnation(std::array::from_fn({
                    let b = take(16)?;
                    move |i| b[i]
                })),
            }),
            2 => ConfChangeOp::Promote(ReplicaId(num(take(8)?))),
            3 => ConfChangeOp::Remove(ReplicaId(num(take(8)?))),
            _ => return Err(bad()),
        });
    }
    Ok(change)
}
