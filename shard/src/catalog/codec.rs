//! The catalog's records in group 0, and back.
//!
//! Keys: `c/` then `v` (version), `r` (next replica id), `i` (next group id), `n` + node id or `g` + group id,
//! big-endian so that they sort. Values: counters are eight little-endian bytes, records are rkyv forms whose
//! integrity the store's checksums and the log's vouch for; they are bytechecked all the same.

use std::net::SocketAddr;

use bytes::Bytes;
use quorate_storage::kv::KeyValue;
use quorate_storage::{
    Error, GroupDescriptor, GroupId, Incarnation, NUMBER_MAX, NodeId, ReplicaDescriptor, ReplicaId, Result,
};
use rkyv::rancor;

use super::{Catalog, GroupRecord, NodeRecord};

/// First key of the catalog.
pub const CATALOG_START: &[u8] = b"c/";
/// First key behind the catalog.
pub const CATALOG_END: &[u8] = b"c0";

/// The catalog's counters.
#[derive(Clone, Copy, Debug)]
pub(super) enum Counter {
    Version,
    NextReplica,
    NextGroup,
}

/// A node, archived. Frozen: a change is a new type.
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct NodeV1 {
    node: u64,
    incarnation: [u8; 16],
    peer: String,
    resp: Option<String>,
    admin: Option<String>,
}

/// A replica, archived. Frozen: a change is a new type.
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct ReplicaV1 {
    replica: u64,
    node: u64,
    incarnation: [u8; 16],
}

/// A group, archived. Frozen: a change is a new type.
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct GroupV1 {
    descriptor: Vec<u8>,
    birth: Vec<u8>,
    joining: Vec<ReplicaV1>,
    created: Vec<u64>,
    dropped: bool,
}

const _: () = assert!(size_of::<ArchivedNodeV1>() == 50, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedReplicaV1>() == 32, "as docs/FORMAT.md has it");
const _: () = assert!(size_of::<ArchivedGroupV1>() == 33, "as docs/FORMAT.md has it");

pub(super) fn counter_key(counter: Counter) -> Bytes {
    Bytes::from_static(match counter {
        Counter::Version => b"c/v",
        Counter::NextReplica => b"c/r",
        Counter::NextGroup => b"c/i",
    })
}

pub(super) fn node_key(node: NodeId) -> Bytes {
    record_key(b'n', node.get())
}

pub(super) fn group_key(group: GroupId) -> Bytes {
    record_key(b'g', group.get())
}

fn record_key(kind: u8, id: u64) -> Bytes {
    let mut key = CATALOG_START.to_vec();
    key.push(kind);
    key.extend_from_slice(&id.to_be_bytes());
    key.into()
}

pub(super) fn encode_node(record: &NodeRecord) -> Bytes {
    encode(&NodeV1 {
        node: record.node.get(),
        incarnation: record.incarnation.0,
        peer: record.peer.to_string(),
        resp: record.resp.map(|addr| addr.to_string()),
        admin: record.admin.map(|addr| addr.to_string()),
    })
}

pub(super) fn encode_group(record: &GroupRecord) -> Bytes {
    encode(&GroupV1 {
        descriptor: record.descriptor.encode().into(),
        birth: record.birth.encode().into(),
        joining: record.joining.iter().map(encode_replica).collect(),
        created: record.created.iter().map(|id| id.get()).collect(),
        dropped: record.dropped,
    })
}

fn encode(
    value: &impl for<'a> rkyv::Serialize<
        rkyv::api::high::HighSerializer<
            rkyv::util::AlignedVec,
            rkyv::ser::allocator::ArenaHandle<'a>,
            rancor::Error,
        >,
    >,
) -> Bytes {
    let bytes = rkyv::to_bytes::<rancor::Error>(value).expect("serializing into memory does not fail");
    Bytes::copy_from_slice(&bytes)
}

impl Catalog {
    /// Key of the catalog's version.
    pub fn version_key() -> Bytes {
        counter_key(Counter::Version)
    }

    /// Reads the value of [`Catalog::version_key`].
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is none of ours.
    pub fn decode_version(value: &[u8]) -> Result<u64> {
        number(value)
    }

    /// Decodes the records of [`CATALOG_START`]`..`[`CATALOG_END`].
    ///
    /// # Errors
    /// [`Error::Malformed`] for a record that is none of ours.
    pub fn decode(pairs: &[KeyValue]) -> Result<Self> {
        let mut catalog = Self::default();
        for (key, value) in pairs {
            catalog.decode_record(key, value)?;
        }
        catalog.index_routes();
        Ok(catalog)
    }

    fn decode_record(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match key.strip_prefix(CATALOG_START) {
            Some(b"v") => self.version = Some(number(value)?),
            Some(b"r") => self.next_replica = ReplicaId(number(value)?),
            Some(b"i") => self.next_group = GroupId(number(value)?),
            Some([b'n', ..]) => {
                let node = decode_node(value)?;
                check_key(key, &node_key(node.node))?;
                self.nodes.insert(node.node, node);
            }
            Some([b'g', ..]) => {
                let group = decode_group(value)?;
                check_key(key, &group_key(group.descriptor.group))?;
                self.groups.insert(group.descriptor.group, group);
            }
            _ => return Err(Error::Malformed { what: "catalog key" }),
        }
        Ok(())
    }
}

fn decode_node(value: &[u8]) -> Result<NodeRecord> {
    const BAD: Error = Error::Malformed { what: "catalog node record" };
    let node = rkyv::from_bytes::<NodeV1, rancor::Error>(value).map_err(|_| BAD)?;
    let addr = |text: &str| text.parse::<SocketAddr>().map_err(|_| BAD);
    Ok(NodeRecord {
        node: NodeId(node.node),
        incarnation: Incarnation(node.incarnation),
        peer: addr(&node.peer)?,
        resp: node.resp.as_deref().map(addr).transpose()?,
        admin: node.admin.as_deref().map(addr).transpose()?,
    })
}

fn decode_group(value: &[u8]) -> Result<GroupRecord> {
    const BAD: Error = Error::Malformed { what: "catalog group record" };
    let group = rkyv::from_bytes::<GroupV1, rancor::Error>(value).map_err(|_| BAD)?;
    Ok(GroupRecord {
        descriptor: GroupDescriptor::decode(&group.descriptor)?,
        birth: GroupDescriptor::decode(&group.birth)?,
        joining: group.joining.iter().map(decode_replica).collect(),
        created: group.created.into_iter().map(ReplicaId).collect(),
        dropped: group.dropped,
    })
}

fn encode_replica(replica: &ReplicaDescriptor) -> ReplicaV1 {
    ReplicaV1 { replica: replica.replica.get(), node: replica.node.get(), incarnation: replica.incarnation.0 }
}

fn decode_replica(form: &ReplicaV1) -> ReplicaDescriptor {
    ReplicaDescriptor {
        replica: ReplicaId(form.replica),
        node: NodeId(form.node),
        incarnation: Incarnation(form.incarnation),
    }
}

/// A record under another one's key would stand for both.
fn check_key(key: &[u8], own: &[u8]) -> Result<()> {
    if key == own { Ok(()) } else { Err(Error::Malformed { what: "catalog key" }) }
}

fn number(value: &[u8]) -> Result<u64> {
    let number = value.try_into().map(u64::from_le_bytes).ok().filter(|number| *number <= NUMBER_MAX);
    number.ok_or(Error::Malformed { what: "catalog counter" })
}
