//! What the seeds are made of.

use std::path::Path;

use bytes::Bytes;
use quorate_storage::disk::{Disk, OpenMode, SimDisk};
use quorate_storage::identity::FileOwner;
use quorate_storage::kv::{KvCommand, Op};
use quorate_storage::payload::{Lease, Payload, ProposalId, Tag};
use quorate_storage::state::{AppliedRecord, StateDigest};
use quorate_storage::{
    ConfChange, ConfChangeOp, ConfEpoch, ConfState, Entry, EntryId, EntryKind, GroupDescriptor, GroupId,
    GroupUid, Incarnation, Index, KeyRange, NodeId, RangeEpoch, ReplicaDescriptor, ReplicaId, Term,
    Timestamp,
};

/// Where a group is born.
pub(super) const BORN: EntryId = EntryId { term: Term(1), index: Index(1) };

/// The replica whose files these are, and that cores run as.
pub(super) const OWN: ReplicaId = ReplicaId(1);

/// Voters of the group.
pub(super) const VOTERS: u64 = 3;

pub(super) const GROUP: GroupId = GroupId(4);
pub(super) const UID: GroupUid = GroupUid([9; 16]);

pub(super) fn replica(id: u64) -> ReplicaDescriptor {
    let incarnation = Incarnation([id.to_le_bytes()[0].max(1); 16]);
    ReplicaDescriptor { replica: ReplicaId(id), node: NodeId(id.max(1)), incarnation }
}

pub(super) fn owner() -> FileOwner {
    FileOwner { group: UID, replica: OWN, incarnation: replica(OWN.get()).incarnation }
}

pub(super) fn descriptor(voters: u64) -> GroupDescriptor {
    GroupDescriptor {
        group: GROUP,
        uid: UID,
        range: KeyRange { start: Bytes::from_static(b"a"), end: Some(Bytes::from_static(b"q")) },
        range_epoch: RangeEpoch(5),
        conf_epoch: ConfEpoch(6),
        replicas: (1..=voters).map(replica).collect(),
    }
}

/// The state at `applied`, of a group of so many voters.
pub(super) fn record(applied: EntryId, voters: u64) -> AppliedRecord {
    AppliedRecord {
        applied,
        conf_state: ConfState::of_voters((1..=voters).map(ReplicaId).collect()),
        descriptor: descriptor(voters),
        incarnation: replica(OWN.get()).incarnation,
        hlc_ceiling: Timestamp(1 << 20),
        cutover: None,
        wrapped_keys: Bytes::new(),
        digest: StateDigest::default(),
    }
}

/// A record with something in every field.
pub(super) fn full_record() -> AppliedRecord {
    let ids = |ids: &[u64]| ids.iter().copied().map(ReplicaId).collect();
    AppliedRecord {
        conf_state: ConfState {
            voters: ids(&[1, 2]),
            voters_outgoing: ids(&[1, 3]),
            learners: ids(&[4]),
            learners_next: ids(&[3]),
            auto_leave: true,
        },
        descriptor: descriptor(4),
        cutover: Some(Index(12)),
        wrapped_keys: Bytes::from_static(b"wrapped"),
        digest: StateDigest(1 << 100),
        ..record(EntryId { term: Term(2), index: Index(9) }, 3)
    }
}

/// The payload of a command.
pub(super) fn command_payload(body: Bytes) -> Payload {
    Payload {
        tag: Tag::Command,
        range_epoch: RangeEpoch(5),
        proposal: ProposalId { stream: 1 << 63, sequence: 9 },
        body,
    }
}

pub(super) fn lease_payload() -> Payload {
    Payload { tag: Tag::Lease, ..command_payload(Lease { ceiling: Timestamp(1 << 21) }.encode()) }
}

pub(super) fn conf_change() -> ConfChange {
    let ops = vec![
        ConfChangeOp::AddLearner(replica(5)),
        ConfChangeOp::Promote(ReplicaId(4)),
        ConfChangeOp::Remove(ReplicaId(2)),
    ];
    ConfChange { expected_epoch: ConfEpoch(6), ops }
}

/// The entry that stands at `id` in every log of the corpus: one position has one entry.
pub(super) fn entry(id: EntryId) -> Entry {
    let EntryId { term, index } = id;
    let (kind, payload) = match index.get() % 6 {
        // A new leader's.
        2 => (EntryKind::Normal, Bytes::new()),
        4 => (EntryKind::ConfChange, encoded(conf_change().encode())),
        5 => (EntryKind::Normal, lease_payload().encode()),
        _ => {
            let key = Bytes::from(format!("k{index}"));
            let value = Bytes::from(format!("{term}.{index}"));
            let command = KvCommand { conditions: Vec::new(), ops: vec![Op::Put(key, value)] };
            (EntryKind::Normal, command_payload(encoded(command.encode())).encode())
        }
    };
    Entry { term, index, kind, payload }
}

/// The entries behind `base` up to `last`, of one term.
pub(super) fn entries(base: Index, last: Index, term: Term) -> Vec<Entry> {
    (base.get() + 1..=last.get()).map(|index| entry(EntryId { term, index: Index(index) })).collect()
}

/// What is within all limits is written.
pub(super) fn encoded(bytes: quorate_storage::Result<Bytes>) -> Bytes {
    bytes.expect("it is within the limits")
}

/// A disk with one file; directories above it are made.
pub(super) fn disk_with(path: &Path, bytes: &[u8]) -> SimDisk {
    let disk = SimDisk::new();
    write(&disk, path, bytes);
    disk
}

/// Writes a new file; directories above it are made.
pub(super) fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) {
    const HEALTHY: &str = "a simulated disk fails only when it is told to";
    if let Some(parent) = path.parent() {
        disk.create_dir_all(parent).expect(HEALTHY);
    }
    let file = disk.open(path, OpenMode::Create).expect(HEALTHY);
    file.write_all_at(bytes, 0).expect(HEALTHY);
}

/// The whole of a file.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> Vec<u8> {
    const THERE: &str = "it was just written";
    let file = disk.open(path, OpenMode::Read).expect(THERE);
    let mut bytes = vec![0; usize::try_from(file.len().expect(THERE)).expect(THERE)];
    file.read_exact_at(&mut bytes, 0).expect(THERE);
    bytes
}
