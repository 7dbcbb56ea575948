//! The catalog's records, as another node or this node's own group 0 gives them.

use bytes::Bytes;
use quorate_shard::catalog::{Catalog, GroupRecord, NodeRecord};
use quorate_storage::kv::{KeyValue, Op};
use quorate_storage::{GroupId, Incarnation, NUMBER_MAX, NodeId, ReplicaId};

use super::Target;
use super::fixture::{GROUP, descriptor, replica};

pub(super) const TARGETS: &[Target] = &[Target { name: "catalog", what: catalog, seeds: catalog_seeds }];

/// Records: lengths of key and value (2 each), key, value.
fn catalog(bytes: &[u8]) {
    let Some(pairs) = pairs(bytes) else { return };
    let Ok(catalog) = Catalog::decode(&pairs) else { return };
    for group in catalog.user_groups() {
        for key in [&group.descriptor.range.start[..], b"", b"m"] {
            let route = catalog.route(key);
            assert!(route.is_none_or(|route| route.descriptor.range.contains(key) && !route.dropped));
        }
        let _ = group.replica_on(NodeId(1));
    }
    assert!(catalog.route_range(b"", None).count() <= catalog.groups.len());
    if catalog.version.is_some_and(|version| version >= NUMBER_MAX) {
        // The last one that is taken: there is no next.
        return;
    }
    let again = Catalog::decode(&rewritten(&catalog)).expect("what was written is read");
    assert_eq!((&again.nodes, &again.groups), (&catalog.nodes, &catalog.groups));
    assert_eq!(again.next_replica.max(ReplicaId(1)), catalog.next_replica.max(ReplicaId(1)));
}

fn pairs(mut bytes: &[u8]) -> Option<Vec<KeyValue>> {
    let mut pairs = Vec::new();
    while let Some((lengths, rest)) = bytes.split_first_chunk::<4>() {
        let length = |at: usize| usize::from(u16::from_le_bytes([lengths[at], lengths[at + 1]]));
        let (key, rest) = rest.split_at_checked(length(0))?;
        let (value, rest) = rest.split_at_checked(length(2))?;
        pairs.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        bytes = rest;
    }
    Some(pairs)
}

/// The records that the next version of the catalog would have.
fn rewritten(catalog: &Catalog) -> Vec<KeyValue> {
    let mut edit = catalog.edit();
    catalog.nodes.values().for_each(|node| edit.put_node(node));
    catalog.groups.values().for_each(|group| edit.put_group(group));
    let pair = |op| match op {
        Op::Put(key, value) => (key, value),
        other => panic!("a catalog only puts: {other:?}"),
    };
    edit.into_command().ops.into_iter().map(pair).collect()
}

fn catalog_seeds() -> Vec<Vec<u8>> {
    let node = |id: u64| NodeRecord {
        node: NodeId(id),
        incarnation: Incarnation([7; 16]),
        peer: ([127, 0, 0, 1], 7_380).into(),
        resp: Some(([0, 0, 0, 0, 0, 0, 0, 1], 6_380).into()),
        admin: None,
    };
    let mut group = GroupRecord::new(descriptor(3));
    group.joining.push(replica(5));
    group.created.extend([ReplicaId(1), ReplicaId(2)]);
    let mut dropped = GroupRecord::new(descriptor(1));
    dropped.descriptor.group = GroupId(GROUP.get() + 1);
    dropped.dropped = true;
    let mut catalog = Catalog::unread([node(1), node(2)], descriptor(2));
    catalog.groups.insert(GROUP, group);
    catalog.groups.insert(dropped.descriptor.group, dropped);
    let empty = Catalog::default();
    [rewritten(&catalog), rewritten(&empty)].iter().map(|pairs| joined(pairs)).collect()
}

fn joined(pairs: &[KeyValue]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in pairs {
        for part in [key, value] {
            bytes.extend_from_slice(&u16::try_from(part.len()).unwrap_or_default().to_le_bytes());
        }
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
    }
    bytes
}
