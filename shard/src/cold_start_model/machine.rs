//! What stands between the model's bytes and the code under test: entries, records, and a state machine that counts.

use std::sync::Arc;

use bytes::Bytes;
use quorate_storage::log::LogReader;
use quorate_storage::payload::{Lease, Payload, ProposalId, Tag};
use quorate_storage::snapshot::SnapshotSource;
use quorate_storage::state::{
    AppliedRecord, Command, StateDigest, StateMachine, StateReader, StateView, VolatileEntryClassifier,
};
use quorate_storage::{
    ConfEpoch, ConfState, Entry, EntryKind, Error, GroupDescriptor, GroupId, GroupUid, HardState,
    Incarnation, Index, KeyRange, NodeId, RangeEpoch, ReplicaDescriptor, ReplicaId, Result, Timestamp,
};

use super::state::{Image, Kind, byte, id};

/// What the lease leases.
pub(super) const CEILING: Timestamp = Timestamp(7 << 16);
const RANGE_EPOCH: RangeEpoch = RangeEpoch(1);

/// Where a state machine keeps the ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ability {
    /// In its applied record, as the key-value state machine does.
    Covers,
    /// In memory, and in the header of snapshots.
    Classifies,
}

/// How the second replica comes to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Second {
    /// By the conf change, empty.
    Joins,
    /// It is a founding member; the conf change adds a third, which is not modelled.
    Founds,
}

impl Second {
    /// Members before the conf change.
    fn founders(self) -> usize {
        match self {
            Self::Joins => 1,
            Self::Founds => 2,
        }
    }

    /// Whether the membership of `record` is that behind the conf change.
    pub(super) fn has_changed(self, record: &AppliedRecord) -> bool {
        record.descriptor.replicas.len() > self.founders()
    }

    /// The membership, before or behind the conf change: one voter, the others learn.
    pub(super) fn membership(self, has_changed: bool) -> (ConfState, GroupDescriptor) {
        let members = self.founders() + usize::from(has_changed);
        let mut conf_state = ConfState::of_voters(vec![replica_id(0)]);
        conf_state.learners.extend((1..members).map(replica_id));
        let replicas = (0..members).map(|at| ReplicaDescriptor {
            replica: replica_id(at),
            node: NodeId(at as u64 + 1),
            incarnation: incarnation(at),
        });
        let descriptor = GroupDescriptor {
            group: GroupId(1),
            uid: GroupUid([9; 16]),
            range: KeyRange::all(),
            range_epoch: RANGE_EPOCH,
            conf_epoch: ConfEpoch(u64::from(has_changed)),
            replicas: replicas.collect(),
        };
        (conf_state, descriptor)
    }

    /// The applied record of `image` in the store of `replica`.
    pub(super) fn record(self, image: Image, replica: usize) -> AppliedRecord {
        let (conf_state, descriptor) = self.membership(image.has_changed);
        AppliedRecord {
            applied: id(image.marker),
            conf_state,
            descriptor,
            incarnation: incarnation(replica),
            hlc_ceiling: ceiling(image.has_ceiling),
            cutover: None,
            wrapped_keys: Bytes::new(),
            digest: StateDigest::default(),
        }
    }

    /// What a replica holds that joins: nothing.
    pub(super) fn nothing(self, replica: usize) -> AppliedRecord {
        let empty = self.record(Image::default(), replica);
        let descriptor = GroupDescriptor { replicas: Vec::new(), ..empty.descriptor };
        AppliedRecord { conf_state: ConfState::default(), descriptor, ..empty }
    }
}

pub(super) fn replica_id(replica: usize) -> ReplicaId {
    ReplicaId(replica as u64 + 1)
}

pub(super) fn incarnation(replica: usize) -> Incarnation {
    Incarnation([u8::try_from(replica).expect("two replicas") + 1; 16])
}

fn ceiling(has_ceiling: bool) -> Timestamp {
    if has_ceiling { CEILING } else { Timestamp(0) }
}

pub(super) fn entry(index: u8, kind: Kind) -> Entry {
    let payload = |tag, body| {
        let proposal = ProposalId { stream: 1, sequence: u64::from(index) };
        Payload { tag, range_epoch: RANGE_EPOCH, proposal, body }.encode()
    };
    let (kind, payload) = match kind {
        Kind::Data => (EntryKind::Normal, payload(Tag::Command, Bytes::from_static(b"data"))),
        Kind::Lease => (EntryKind::Normal, payload(Tag::Lease, Lease { ceiling: CEILING }.encode())),
        Kind::Conf => (EntryKind::ConfChange, Bytes::from_static(b"join")),
    };
    let id = id(index);
    Entry { term: id.term, index: id.index, kind, payload }
}

/// Counts what it applies.
#[derive(Debug)]
pub(super) struct Counting {
    pub(super) ability: Ability,
    pub(super) second: Second,
    pub(super) image: Image,
}

fn not_modelled<T>() -> Result<T> {
    Err(Error::Malformed { what: "call that the model does not make" })
}

impl StateMachine for Counting {
    fn check(&self, _body: &Bytes) -> Result<()> {
        Ok(())
    }

    fn apply(&mut self, commands: &[Command], record: &AppliedRecord) -> Result<Vec<Bytes>> {
        for command in commands {
            self.image.content.add(byte(command.id.index));
        }
        self.image.marker = byte(record.applied.index);
        self.image.has_changed = self.second.has_changed(record);
        self.image.has_ceiling = record.hlc_ceiling >= CEILING;
        Ok(vec![Bytes::new(); commands.len()])
    }

    fn reader(&self) -> Arc<dyn StateReader> {
        unreachable!("nobody reads the model's states")
    }

    fn view(&self) -> Result<Box<dyn StateView>> {
        not_modelled()
    }

    fn restore(&mut self, _source: &mut dyn SnapshotSource, _record: &AppliedRecord) -> Result<()> {
        not_modelled()
    }

    fn checkpoint(&mut self) -> Result<Index> {
        not_modelled()
    }

    fn durable_applied(&self) -> Index {
        Index(0)
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }

    fn as_volatile_entry_classifier(&mut self) -> Option<&mut dyn VolatileEntryClassifier> {
        Some(self)
    }
}

impl VolatileEntryClassifier for Counting {
    fn covers_volatile(&self) -> bool {
        self.ability == Ability::Covers
    }

    fn is_volatile(&self, payload: &Payload) -> bool {
        payload.tag == Tag::Lease
    }

    fn apply_volatile(&mut self, payload: &Payload) -> Result<()> {
        self.image.has_ceiling |= Lease::decode(&payload.body)?.ceiling >= CEILING;
        Ok(())
    }
}

/// A log as the volatile walk reads it.
#[derive(Debug)]
pub(super) struct Entries(pub(super) Vec<Entry>);

impl LogReader for Entries {
    fn entries(&self, low: Index, high: Index, _bytes_max: u64) -> Result<Vec<Entry>> {
        let range = low..high;
        Ok(self.0.iter().filter(|entry| range.contains(&entry.index)).cloned().collect())
    }

    fn hard_state(&self) -> HardState {
        HardState::default()
    }

    fn bytes_above(&self, _index: Index) -> u64 {
        0
    }
}
