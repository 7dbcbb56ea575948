//! The first frame of each direction: who speaks, and which protocol.

use bytes::Bytes;
use quorate_storage::{ClusterId, Incarnation, NodeId};
use rkyv::{Archive, Serialize};

use crate::message::Lane;
use crate::wire::WireError;
use crate::wire::rkyv_forms::{access, archive_into};

/// The protocol versions this release speaks. The next release raises `max` and keeps `min`: two releases in
/// a row overlap by one.
pub(crate) const PROTOCOL_VERSIONS: VersionRange = VersionRange { min: 1, max: 1 };

const _: () = assert!(PROTOCOL_VERSIONS.min <= PROTOCOL_VERSIONS.max);

/// Form of a hello. Frozen for all protocol versions: it is read before one is agreed on.
#[derive(Archive, Serialize)]
struct HelloV1 {
    version_min: u16,
    version_max: u16,
    lane: u8,
    cluster: [u8; 16],
    node: u64,
    incarnation: [u8; 16],
    to: u64,
    /// Room to grow: written as 0, ignored when read.
    reserved: u64,
}

/// Form of the answer. Frozen for all protocol versions.
#[derive(Archive, Serialize)]
struct HelloAckV1 {
    version_min: u16,
    version_max: u16,
    version: u16,
    refusal: u8,
    cluster: [u8; 16],
    node: u64,
    incarnation: [u8; 16],
    /// Room to grow: written as 0, ignored when read.
    reserved: u64,
}

const _: () = assert!(size_of::<ArchivedHelloV1>() == 61, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedHelloAckV1>() == 55, "as docs/FORMAT.md has it");

/// Protocol versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VersionRange {
    pub(crate) min: u16,
    pub(crate) max: u16,
}

impl VersionRange {
    /// The newest version both sides speak.
    pub(crate) fn agree(self, other: Self) -> Option<u16> {
        let newest = self.max.min(other.max);
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}

/// What the side that connects says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) versions: VersionRange,
    pub(crate) lane: Lane,
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    /// Whom it believes to speak to.
    pub(crate) to: NodeId,
}

impl Hello {
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        let form = HelloV1 {
            version_min: self.versions.min,
            version_max: self.versions.max,
            lane: lane_code(self.lane),
            cluster: self.cluster.0,
            node: self.node.get(),
            incarnation: self.incarnation.0,
            to: self.to.get(),
            reserved: 0,
        };
        archive_into(&form, buffer);
    }

    pub(crate) fn decode(body: &Bytes) -> Result<Self, WireError> {
        let form = access::<ArchivedHelloV1>(body, "hello")?;
        Ok(Self {
            versions: VersionRange { min: form.version_min.to_native(), max: form.version_max.to_native() },
            lane: lane_from_code(form.lane)?,
            cluster: ClusterId(form.cluster),
            node: NodeId(form.node.to_native()),
            incarnation: Incarnation(form.incarnation),
            to: NodeId(form.to.to_native()),
        })
    }
}

/// Why a hello was refused, as it travels. The codes are part of the format; a later release may add some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalCode {
    OtherCluster,
    OtherVersion,
    UnexpectedNode,
    OwnNode,
    PeerRefused,
    /// A code this release does not know: refused all the same.
    Unknown,
}

impl RefusalCode {
    const fn code(this: Option<Self>) -> u8 {
        match this {
            None => 0,
            Some(Self::OtherCluster) => 1,
            Some(Self::OtherVersion) => 2,
            Some(Self::UnexpectedNode) => 3,
            Some(Self::OwnNode) => 4,
            Some(Self::PeerRefused) => 5,
            Some(Self::Unknown) => u8::MAX,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => None,
            1 => Some(Self::OtherCluster),
            2 => Some(Self::OtherVersion),
            3 => Some(Self::UnexpectedNode),
            4 => Some(Self::OwnNode),
            5 => Some(Self::PeerRefused),
            _ => Some(Self::Unknown),
        }
    }
}

/// The answer to a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HelloAck {
    pub(crate) versions: VersionRange,
    /// The version agreed on; 0 in a refusal.
    pub(crate) version: u16,
    pub(crate) refusal: Option<RefusalCode>,
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
}

impl HelloAck {
    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        let form = HelloAckV1 {
            version_min: self.versions.min,
            version_max: self.versions.max,
            version: self.version,
            refusal: RefusalCode::code(self.refusal),
            cluster: self.cluster.0,
            node: self.node.get(),
            incarnation: self.incarnation.0,
            reserved: 0,
        };
        archive_into(&form, buffer);
    }

    pub(crate) fn decode(body: &Bytes) -> Result<Self, WireError> {
        let form = access::<ArchivedHelloAckV1>(body, "hello answer")?;
        Ok(Self {
            versions: VersionRange { min: form.version_min.to_native(), max: form.version_max.to_native() },
            version: form.version.to_native(),
            refusal: RefusalCode::from_code(form.refusal),
            cluster: ClusterId(form.cluster),
            node: NodeId(form.node.to_native()),
            incarnation: Incarnation(form.incarnation),
        })
    }
}

const fn lane_code(lane: Lane) -> u8 {
    match lane {
        Lane::Control => 0,
        Lane::Bulk => 1,
    }
}

const fn lane_from_code(code: u8) -> Result<Lane, WireError> {
    match code {
        0 => Ok(Lane::Control),
        1 => Ok(Lane::Bulk),
        _ => Err(WireError::Malformed { what: "lane of a hello" }),
    }
}
