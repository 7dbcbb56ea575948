//! Key ranges as slots, and the engine's topology in the frontends' words.

use std::sync::Arc;

use parking_lot::Mutex;
use quorate::storage::ids::hash_128;
use quorate::storage::{ClusterId, KeyRange};
use quorate::{Node, NodeId};

use crate::backend::{SlotRange, Topology, TopologyNode};
use crate::key::{SLOT_BYTES, SLOTS};

/// Bytes of a node's name.
const NAME_BYTES: usize = 20;

/// The topology of the last call, kept while the engine's is the same.
#[derive(Debug, Default)]
pub(super) struct TopologyCache {
    last: Mutex<Option<(Arc<quorate::Topology>, Arc<Topology>)>>,
}

impl TopologyCache {
    pub(super) fn get(&self, node: &Node) -> Arc<Topology> {
        let engine = node.topology();
        let mut last = self.last.lock();
        match &*last {
            Some((of, made)) if Arc::ptr_eq(of, &engine) => Arc::clone(made),
            _ => {
                let made = Arc::new(topology(&engine, node.id(), node.cluster()));
                *last = Some((engine, Arc::clone(&made)));
                made
            }
        }
    }
}

fn topology(engine: &quorate::Topology, own: NodeId, cluster: ClusterId) -> Topology {
    let nodes = engine.nodes.iter().map(|node| TopologyNode {
        node: node.node.get(),
        name: name(cluster, node),
        resp: node.resp,
        peer: node.peer,
        is_connected: node.is_connected,
    });
    let ranges = engine.groups.iter().filter_map(|group| {
        let (first, last) = slots(&group.range)?;
        Some(SlotRange {
            first,
            last,
            group: group.group.get(),
            leader: group.leader.map(NodeId::get),
            followers: group.followers.iter().map(|node| node.get()).collect(),
        })
    });
    let mut ranges: Vec<SlotRange> = ranges.collect();
    ranges.sort_unstable_by_key(|range| range.first);
    Topology { version: engine.version.unwrap_or(0), own_node: own.get(), nodes: nodes.collect(), ranges }
}

/// 40 digits out of the cluster, the node and its data directory: every node derives the same ones.
fn name(cluster: ClusterId, node: &quorate::TopologyNode) -> String {
    let mut identity = Vec::with_capacity(41);
    identity.extend_from_slice(&cluster.0);
    identity.extend_from_slice(&node.node.get().to_be_bytes());
    identity.extend_from_slice(&node.incarnation.0);
    let parts = ["quorate node name, first part", "quorate node name, second part"];
    let bytes = parts.into_iter().flat_map(|part| hash_128(part, &identity));
    super::pages::hex(&bytes.take(NAME_BYTES).collect::<Vec<u8>>())
}

/// First and last of the slots whose first key is in `range`; `None` if there are none. A slot that a bound cuts
/// counts for the range it begins in.
fn slots(range: &KeyRange) -> Option<(u16, u16)> {
    let first = first_slot_from(&range.start);
    let behind = range.end.as_deref().map_or(SLOTS, first_slot_from);
    (first < behind).then(|| (first, behind - 1))
}

/// The first slot that does not begin before `key`; [`SLOTS`] if there is none.
fn first_slot_from(key: &[u8]) -> u16 {
    let byte = |at: usize| key.get(at).copied().unwrap_or(0);
    let slot = u16::from_be_bytes([byte(0), byte(1)]);
    let is_within = key.len() > SLOT_BYTES;
    slot.saturating_add(u16::from(is_within)).min(SLOTS)
}

#[cfg(test)]
mod tests {
    use quorate::GroupId;
    use quorate::config::{cluster_id, slot_ranges, uniform_ranges};
    use quorate::storage::Incarnation;
    use quorate::{TopologyGroup, TopologyNode as EngineNode};

    use super::*;

    fn of_ranges(ranges: Vec<KeyRange>) -> Topology {
        // Groups are by id, and ids need not ascend with the ranges.
        let groups = (1..).zip(ranges.into_iter().rev()).map(|(id, range)| TopologyGroup {
            group: GroupId(id),
            range,
            leader: Some(NodeId(2)),
            followers: vec![NodeId(1), NodeId(3)],
        });
        let engine = quorate::Topology { version: Some(7), nodes: Vec::new(), groups: groups.collect() };
        topology(&engine, NodeId(1), cluster_id("c"))
    }

    fn assert_covers_every_slot(ranges: &[SlotRange]) {
        let mut next = 0;
        for range in ranges {
            assert_eq!(range.first, next);
            assert!(range.last >= range.first);
            next = range.last + 1;
        }
        assert_eq!(next, SLOTS);
    }

    #[test]
    fn groups_of_slot_ranges_cover_every_slot_exactly_once() {
        for groups in [1, 3, 8, 64, 1000] {
            let topology = of_ranges(slot_ranges(groups));
            assert_eq!(topology.ranges.len(), usize::from(groups));
            assert_covers_every_slot(&topology.ranges);
        }
    }

    #[test]
    fn a_range_without_slots_is_left_out() {
        let topology = of_ranges(uniform_ranges(4));
        assert_eq!(topology.ranges.len(), 1, "three of them begin behind the last slot");
        assert_covers_every_slot(&topology.ranges);
    }

    #[test]
    fn a_slot_that_a_bound_cuts_belongs_to_the_range_it_begins_in() {
        let bound = bytes::Bytes::from_static(b"\x10\x01user");
        let ranges = vec![
            KeyRange { start: bytes::Bytes::new(), end: Some(bound.clone()) },
            KeyRange { start: bound, end: None },
        ];
        let topology = of_ranges(ranges);
        assert_covers_every_slot(&topology.ranges);
        assert_eq!(topology.ranges[0].last, 0x1001);
    }

    #[test]
    fn a_short_bound_stands_before_every_slot_that_begins_with_it() {
        assert_eq!(first_slot_from(b""), 0);
        assert_eq!(first_slot_from(b"\x01"), 0x100);
        assert_eq!(first_slot_from(b"\x01\x00"), 0x100);
        assert_eq!(first_slot_from(b"\x01\x00\x00"), 0x101);
        assert_eq!(first_slot_from(b"\xff\xff\xff"), SLOTS);
    }

    #[test]
    fn a_name_is_40_digits_of_cluster_node_and_directory() {
        let node = |id, incarnation| EngineNode {
            node: NodeId(id),
            incarnation: Incarnation([incarnation; 16]),
            peer: ([127, 0, 0, 1], 1).into(),
            resp: None,
            admin: None,
            is_connected: true,
        };
        let own = name(cluster_id("c"), &node(1, 1));
        assert_eq!(own.len(), 40);
        assert!(own.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)));
        assert_eq!(own, name(cluster_id("c"), &EngineNode { is_connected: false, ..node(1, 1) }));
        for other in [(cluster_id("d"), 1, 1), (cluster_id("c"), 2, 1), (cluster_id("c"), 1, 2)] {
            assert_ne!(own, name(other.0, &node(other.1, other.2)));
        }
    }
}
