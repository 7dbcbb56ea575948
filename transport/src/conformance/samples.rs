//! Messages to send around.

use bytes::Bytes;
use quorate_storage::snapshot::SnapshotLabel;
use quorate_storage::state::{AppliedRecord, StateDigest};
use quorate_storage::{
    ConfEpoch, ConfState, Entry, EntryId, EntryKind, GroupDescriptor, GroupId, GroupUid, Incarnation, Index,
    KeyRange, NodeId, RangeEpoch, ReplicaDescriptor, ReplicaId, Term, Timestamp,
};

use crate::message::{RaftMessage, RaftMessageKind};

/// A message of `kind` in `group` whose `log.index` is `number`.
pub(crate) fn message(kind: RaftMessageKind, group: u64, number: u64) -> RaftMessage {
    RaftMessage {
        group: GroupId(group),
        uid: GroupUid([3; 16]),
        from: ReplicaId(1),
        from_incarnation: Incarnation([1; 16]),
        to: ReplicaId(2),
        to_incarnation: Incarnation([2; 16]),
        kind,
        term: Term(5),
        log: EntryId { term: Term(4), index: Index(number) },
        commit: EntryId::default(),
        entries: Vec::new(),
        snapshot: None,
        request_snapshot: Index(0),
        reject: false,
        reject_hint: Index(0),
        context: Bytes::new(),
        priority: 0,
    }
}

/// An append of one entry of `bytes` bytes.
pub(crate) fn append(number: u64, bytes: usize) -> RaftMessage {
    let entry = Entry {
        term: Term(5),
        index: Index(number + 1),
        kind: EntryKind::Normal,
        payload: Bytes::from(vec![number.to_le_bytes()[0]; bytes]),
    };
    RaftMessage { entries: vec![entry], ..message(RaftMessageKind::Append, 1, number) }
}

/// A message with something in every field.
pub(crate) fn full_message() -> RaftMessage {
    let replica =
        ReplicaDescriptor { replica: ReplicaId(4), node: NodeId(2), incarnation: Incarnation([6; 16]) };
    let descriptor = GroupDescriptor {
        group: GroupId(3),
        uid: GroupUid([3; 16]),
        range: KeyRange { start: Bytes::from_static(b"a"), end: Some(Bytes::from_static(b"z")) },
        range_epoch: RangeEpoch(8),
        conf_epoch: ConfEpoch(9),
        replicas: vec![replica, ReplicaDescriptor { replica: ReplicaId(5), ..replica }],
    };
    let record = AppliedRecord {
        applied: EntryId { term: Term(3), index: Index(77) },
        conf_state: ConfState {
            voters: vec![ReplicaId(1), ReplicaId(2)],
            voters_outgoing: vec![ReplicaId(1)],
            learners: vec![ReplicaId(5)],
            learners_next: vec![ReplicaId(6)],
            auto_leave: true,
        },
        descriptor,
        incarnation: Incarnation([8; 16]),
        hlc_ceiling: Timestamp(1 << 50),
        cutover: Some(Index(12)),
        wrapped_keys: Bytes::from_static(b"keys"),
        digest: StateDigest(u128::MAX - 5),
    };
    RaftMessage {
        commit: EntryId { term: Term(3), index: Index(70) },
        snapshot: Some(Box::new(SnapshotLabel { record })),
        request_snapshot: Index(5),
        reject: true,
        reject_hint: Index(6),
        context: Bytes::from_static(b"context"),
        priority: -3,
        kind: RaftMessageKind::Snapshot,
        ..append(u64::MAX - 1, 1_000)
    }
}
