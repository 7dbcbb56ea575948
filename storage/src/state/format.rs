//! The archived forms of what a state machine's record is made of. Frozen: a change is a new `...V2` under a
//! new format version. Converting back checks every relation the in-memory type promises.

use bytes::Bytes;
use rkyv::{Archive, Deserialize, Serialize};

use crate::descriptor::{GroupDescriptor, KeyRange, ReplicaDescriptor};
use crate::entry::{ConfState, EntryId};
use crate::error::{Error, Result};
use crate::ids::{
    ConfEpoch, GroupId, GroupUid, Incarnation, Index, NodeId, RangeEpoch, ReplicaId, Term, Timestamp,
};
use crate::state::{AppliedRecord, StateDigest};

/// [`ConfState`], first form.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfStateV1 {
    pub(crate) voters: Vec<u64>,
    pub(crate) voters_outgoing: Vec<u64>,
    pub(crate) learners: Vec<u64>,
    pub(crate) learners_next: Vec<u64>,
    pub(crate) auto_leave: bool,
}

/// [`ReplicaDescriptor`], first form.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaDescriptorV1 {
    pub(crate) replica: u64,
    pub(crate) node: u64,
    pub(crate) incarnation: [u8; 16],
}

/// [`GroupDescriptor`], first form.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupDescriptorV1 {
    pub(crate) group: u64,
    pub(crate) uid: [u8; 16],
    pub(crate) range_start: Vec<u8>,
    pub(crate) range_end: Option<Vec<u8>>,
    pub(crate) range_epoch: u64,
    pub(crate) conf_epoch: u64,
    pub(crate) replicas: Vec<ReplicaDescriptorV1>,
}

/// [`AppliedRecord`], first form. The digest is little-endian.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppliedRecordV1 {
    pub(crate) term: u64,
    pub(crate) index: u64,
    pub(crate) conf_state: ConfStateV1,
    pub(crate) descriptor: GroupDescriptorV1,
    pub(crate) incarnation: [u8; 16],
    pub(crate) hlc_ceiling: u64,
    pub(crate) cutover: Option<u64>,
    pub(crate) wrapped_keys: Vec<u8>,
    pub(crate) digest: [u8; 16],
}

const _: () = assert!(size_of::<ArchivedConfStateV1>() == 33, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedReplicaDescriptorV1>() == 32, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedGroupDescriptorV1>() == 65, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedAppliedRecordV1>() == 171, "as docs/FORMAT.md has it");

impl GroupDescriptor {
    /// The descriptor's bytes, for whatever carries one: the first archived form, without checksum.
    pub fn encode(&self) -> Bytes {
        let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&GroupDescriptorV1::from(self));
        Bytes::from_owner(bytes.expect("serializing into memory does not fail"))
    }

    /// Reads [`GroupDescriptor::encode`]'s bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        rkyv::from_bytes::<GroupDescriptorV1, rkyv::rancor::Error>(bytes)
            .map_err(|_| Error::Malformed { what: "group descriptor" })?
            .try_into()
    }
}

impl From<&ConfState> for ConfStateV1 {
    fn from(conf_state: &ConfState) -> Self {
        let numbers = |set: &[ReplicaId]| set.iter().map(|id| id.get()).collect();
        Self {
            voters: numbers(&conf_state.voters),
            voters_outgoing: numbers(&conf_state.voters_outgoing),
            learners: numbers(&conf_state.learners),
            learners_next: numbers(&conf_state.learners_next),
            auto_leave: conf_state.auto_leave,
        }
    }
}

impl TryFrom<ConfStateV1> for ConfState {
    type Error = Error;

    /// # Errors
    /// [`Error::Malformed`] for a replica id of 0 or one that stands twice in the same set.
    fn try_from(form: ConfStateV1) -> Result<Self> {
        Ok(Self {
            voters: replica_ids(&form.voters)?,
            voters_outgoing: replica_ids(&form.voters_outgoing)?,
            learners: replica_ids(&form.learners)?,
            learners_next: replica_ids(&form.learners_next)?,
            auto_leave: form.auto_leave,
        })
    }
}

fn replica_ids(numbers: &[u64]) -> Result<Vec<ReplicaId>> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let is_set = sorted.first() != Some(&0) && sorted.windows(2).all(|pair| pair[0] < pair[1]);
    if !is_set {
        return Err(Error::Malformed { what: "conf state" });
    }
    Ok(numbers.iter().copied().map(ReplicaId).collect())
}

impl From<&ReplicaDescriptor> for ReplicaDescriptorV1 {
    fn from(descriptor: &ReplicaDescriptor) -> Self {
        Self {
            replica: descriptor.replica.get(),
            node: descriptor.node.get(),
            incarnation: descriptor.incarnation.0,
        }
    }
}

impl TryFrom<ReplicaDescriptorV1> for ReplicaDescriptor {
    type Error = Error;

    /// # Errors
    /// [`Error::Malformed`] for a replica or node id of 0.
    fn try_from(form: ReplicaDescriptorV1) -> Result<Self> {
        if form.replica == 0 || form.node == 0 {
            return Err(Error::Malformed { what: "replica descriptor" });
        }
        Ok(Self {
            replica: ReplicaId(form.replica),
            node: NodeId(form.node),
            incarnation: Incarnation(form.incarnation),
        })
    }
}

impl From<&GroupDescriptor> for GroupDescriptorV1 {
    fn from(descriptor: &GroupDescriptor) -> Self {
        Self {
            group: descriptor.group.get(),
            uid: descriptor.uid.0,
            range_start: descriptor.range.start.to_vec(),
            range_end: descriptor.range.end.as_ref().map(|end| end.to_vec()),
            range_epoch: descriptor.range_epoch.get(),
            conf_epoch: descriptor.conf_epoch.get(),
            replicas: descriptor.replicas.iter().map(ReplicaDescriptorV1::from).collect(),
        }
    }
}

impl TryFrom<GroupDescriptorV1> for GroupDescriptor {
    type Error = Error;

    /// # Errors
    /// [`Error::Malformed`] for a range that ends before it starts, or replicas out of order.
    fn try_from(form: GroupDescriptorV1) -> Result<Self> {
        let is_range = form.range_end.as_ref().is_none_or(|end| form.range_start <= *end);
        let is_ascending = form.replicas.windows(2).all(|pair| pair[0].replica < pair[1].replica);
        if !is_range || !is_ascending {
            return Err(Error::Malformed { what: "group descriptor" });
        }
        Ok(Self {
            group: GroupId(form.group),
            uid: GroupUid(form.uid),
            range: KeyRange { start: Bytes::from(form.range_start), end: form.range_end.map(Bytes::from) },
            range_epoch: RangeEpoch(form.range_epoch),
            conf_epoch: ConfEpoch(form.conf_epoch),
            replicas: form.replicas.into_iter().map(ReplicaDescriptor::try_from).collect::<Result<_>>()?,
        })
    }
}

impl From<&AppliedRecord> for AppliedRecordV1 {
    fn from(record: &AppliedRecord) -> Self {
        Self {
            term: record.applied.term.get(),
            index: record.applied.index.get(),
            conf_state: ConfStateV1::from(&record.conf_state),
            descriptor: GroupDescriptorV1::from(&record.descriptor),
            incarnation: record.incarnation.0,
            hlc_ceiling: record.hlc_ceiling.get(),
            cutover: record.cutover.map(Index::get),
            wrapped_keys: record.wrapped_keys.to_vec(),
            digest: record.digest.0.to_le_bytes(),
        }
    }
}

impl TryFrom<AppliedRecordV1> for AppliedRecord {
    type Error = Error;

    /// # Errors
    /// [`Error::Malformed`] if the conf state or the descriptor is.
    fn try_from(form: AppliedRecordV1) -> Result<Self> {
        Ok(Self {
            applied: EntryId { term: Term(form.term), index: Index(form.index) },
            conf_state: form.conf_state.try_into()?,
            descriptor: form.descriptor.try_into()?,
            incarnation: Incarnation(form.incarnation),
            hlc_ceiling: Timestamp(form.hlc_ceiling),
            cutover: form.cutover.map(Index),
            wrapped_keys: Bytes::from(form.wrapped_keys),
            digest: StateDigest(u128::from_le_bytes(form.digest)),
        })
    }
}
