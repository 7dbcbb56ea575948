//! The label of a snapshot, as a [`crate::RaftMessageKind::Snapshot`] carries it.

use bytes::Bytes;
use quorate_storage::snapshot::SnapshotLabel;
use quorate_storage::state::{AppliedRecord, StateDigest};
use quorate_storage::{
    ConfEpoch, ConfState, EntryId, GroupDescriptor, GroupId, GroupUid, Incarnation, Index, KeyRange, NodeId,
    RangeEpoch, ReplicaDescriptor, ReplicaId, Term, Timestamp,
};
use rkyv::rend::unaligned::u64_ule;
use rkyv::vec::ArchivedVec;
use rkyv::{Archive, Serialize};

use crate::wire::rkyv_forms::{AsVec, share};

/// Form of a label. Frozen.
#[derive(Archive, Serialize)]
pub(crate) struct SnapshotLabelV1 {
    applied_term: u64,
    applied_index: u64,
    conf_state: ConfStateV1,
    descriptor: DescriptorV1,
    incarnation: [u8; 16],
    hlc_ceiling: u64,
    cutover: Option<u64>,
    #[rkyv(with = AsVec)]
    wrapped_keys: Bytes,
    digest: [u8; 16],
}

/// Form of a membership. Frozen.
#[derive(Archive, Serialize)]
struct ConfStateV1 {
    voters: Vec<u64>,
    voters_outgoing: Vec<u64>,
    learners: Vec<u64>,
    learners_next: Vec<u64>,
    auto_leave: bool,
}

/// Form of a group's descriptor. Frozen.
#[derive(Archive, Serialize)]
struct DescriptorV1 {
    group: u64,
    uid: [u8; 16],
    #[rkyv(with = AsVec)]
    range_start: Bytes,
    range_bounded: bool,
    /// Empty unless `range_bounded`.
    #[rkyv(with = AsVec)]
    range_end: Bytes,
    range_epoch: u64,
    conf_epoch: u64,
    replicas: Vec<ReplicaV1>,
}

/// Form of a replica's place. Frozen.
#[derive(Archive, Serialize)]
struct ReplicaV1 {
    replica: u64,
    node: u64,
    incarnation: [u8; 16],
}

impl SnapshotLabelV1 {
    pub(crate) fn of(label: &SnapshotLabel) -> Self {
        let record = &label.record;
        Self {
            applied_term: record.applied.term.get(),
            applied_index: record.applied.index.get(),
            conf_state: ConfStateV1::of(&record.conf_state),
            descriptor: DescriptorV1::of(&record.descriptor),
            incarnation: record.incarnation.0,
            hlc_ceiling: record.hlc_ceiling.get(),
            cutover: record.cutover.map(Index::get),
            wrapped_keys: record.wrapped_keys.clone(),
            digest: record.digest.0.to_le_bytes(),
        }
    }
}

impl ConfStateV1 {
    fn of(state: &ConfState) -> Self {
        let numbers = |replicas: &[ReplicaId]| replicas.iter().map(|replica| replica.get()).collect();
        Self {
            voters: numbers(&state.voters),
            voters_outgoing: numbers(&state.voters_outgoing),
            learners: numbers(&state.learners),
            learners_next: numbers(&state.learners_next),
            auto_leave: state.auto_leave,
        }
    }
}

impl DescriptorV1 {
    fn of(descriptor: &GroupDescriptor) -> Self {
        let replicas = descriptor.replicas.iter().map(|replica| ReplicaV1 {
            replica: replica.replica.get(),
            node: replica.node.get(),
            incarnation: replica.incarnation.0,
        });
        Self {
            group: descriptor.group.get(),
            uid: descriptor.uid.0,
            range_start: descriptor.range.start.clone(),
            range_bounded: descriptor.range.end.is_some(),
            range_end: descriptor.range.end.clone().unwrap_or_default(),
            range_epoch: descriptor.range_epoch.get(),
            conf_epoch: descriptor.conf_epoch.get(),
            replicas: replicas.collect(),
        }
    }
}

impl ArchivedSnapshotLabelV1 {
    /// The plain struct; what it says is checked by whoever installs the snapshot.
    pub(crate) fn to_label(&self, body: &Bytes) -> SnapshotLabel {
        let id = EntryId {
            term: Term(self.applied_term.to_native()),
            index: Index(self.applied_index.to_native()),
        };
        let record = AppliedRecord {
            applied: id,
            conf_state: self.conf_state.to_conf_state(),
            descriptor: self.descriptor.to_descriptor(body),
            incarnation: Incarnation(self.incarnation),
            hlc_ceiling: Timestamp(self.hlc_ceiling.to_native()),
            cutover: self.cutover.as_ref().map(|index| Index(index.to_native())),
            wrapped_keys: share(body, &self.wrapped_keys),
            digest: StateDigest(u128::from_le_bytes(self.digest)),
        };
        SnapshotLabel { record }
    }
}

impl ArchivedConfStateV1 {
    fn to_conf_state(&self) -> ConfState {
        let replicas = |numbers: &ArchivedVec<u64_ule>| {
            numbers.iter().map(|number| ReplicaId(number.to_native())).collect()
        };
        ConfState {
            voters: replicas(&self.voters),
            voters_outgoing: replicas(&self.voters_outgoing),
            learners: replicas(&self.learners),
            learners_next: replicas(&self.learners_next),
            auto_leave: self.auto_leave,
        }
    }
}

impl ArchivedDescriptorV1 {
    fn to_descriptor(&self, body: &Bytes) -> GroupDescriptor {
        let replicas = self.replicas.iter().map(|replica| ReplicaDescriptor {
            replica: ReplicaId(replica.replica.to_native()),
            node: NodeId(replica.node.to_native()),
            incarnation: Incarnation(replica.incarnation),
        });
        let end = self.range_bounded.then(|| share(body, &self.range_end));
        GroupDescriptor {
            group: GroupId(self.group.to_native()),
            uid: GroupUid(self.uid),
            range: KeyRange { start: share(body, &self.range_start), end },
            range_epoch: RangeEpoch(self.range_epoch.to_native()),
            conf_epoch: ConfEpoch(self.conf_epoch.to_native()),
            replicas: replicas.collect(),
        }
    }
}

/// An upper bound of what `label` takes in a frame.
pub(crate) fn label_bytes(label: &SnapshotLabel) -> usize {
    let record = &label.record;
    let conf = &record.conf_state;
    let members =
        conf.voters.len() + conf.voters_outgoing.len() + conf.learners.len() + conf.learners_next.len();
    let range = &record.descriptor.range;
    size_of::<ArchivedSnapshotLabelV1>()
        + members * size_of::<u64>()
        + record.descriptor.replicas.len() * size_of::<ArchivedReplicaV1>()
        + range.start.len()
        + range.end.as_ref().map_or(0, Bytes::len)
        + record.wrapped_keys.len()
}
