//! Records for tests.

use bytes::Bytes;

use crate::descriptor::{GroupDescriptor, KeyRange, ReplicaDescriptor};
use crate::entry::{ConfState, EntryId};
use crate::ids::{
    ConfEpoch, GroupId, GroupUid, Incarnation, Index, NodeId, RangeEpoch, ReplicaId, Term, Timestamp,
};
use crate::state::{AppliedRecord, StateDigest};

/// A record with every field set, applied up to (`term`, `index`).
pub(crate) fn example_record(index: u64, term: u64) -> AppliedRecord {
    let replica = |id: u8| ReplicaDescriptor {
        replica: ReplicaId(id.into()),
        node: NodeId(id.into()),
        incarnation: Incarnation([id; 16]),
    };
    AppliedRecord {
        applied: EntryId { term: Term(term), index: Index(index) },
        conf_state: ConfState {
            voters: vec![ReplicaId(1), ReplicaId(2)],
            learners: vec![ReplicaId(3)],
            ..ConfState::default()
        },
        descriptor: GroupDescriptor {
            group: GroupId(4),
            uid: GroupUid([9; 16]),
            range: KeyRange { start: Bytes::from_static(b"a"), end: Some(Bytes::from_static(b"q")) },
            range_epoch: RangeEpoch(5),
            conf_epoch: ConfEpoch(6),
            replicas: vec![replica(1), replica(2), replica(3)],
        },
        incarnation: Incarnation([1; 16]),
        hlc_ceiling: Timestamp(1 << 20),
        cutover: None,
        wrapped_keys: Bytes::from_static(b"wrapped"),
        digest: StateDigest(1 << 100),
    }
}
