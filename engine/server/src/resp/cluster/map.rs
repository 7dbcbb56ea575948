//! The topology, resolved: ranges with their nodes, nodes with the addresses that clients use.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::net::SocketAddr;

use crate::backend::{SlotRange, Topology, TopologyNode};

/// The name of this node as long as the catalog does not know it yet.
const NAME_UNKNOWN: &str = "0000000000000000000000000000000000000000";

/// A node that clients can reach.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    pub(super) name: &'a str,
    pub(super) resp: SocketAddr,
    pub(super) peer_port: u16,
    pub(super) is_connected: bool,
    pub(super) is_own: bool,
}

impl<'a> Node<'a> {
    /// Who listens knows where: this node is reachable even if the catalog has no address of it yet.
    fn new(node: &'a TopologyNode, own_node: u64, local_addr: SocketAddr) -> Option<Self> {
        let is_own = node.node == own_node;
        let resp = if is_own { Some(node.resp.unwrap_or(local_addr)) } else { node.resp };
        Some(Self {
            name: &node.name,
            resp: resp?,
            peer_port: node.peer.port(),
            is_connected: node.is_connected,
            is_own,
        })
    }
}

/// A range of slots, and who to ask for them.
#[derive(Debug)]
pub(super) struct Range<'a> {
    pub(super) first: u16,
    pub(super) last: u16,
    /// The leader, or who stands in for it.
    pub(super) master: Node<'a>,
    pub(super) followers: Vec<Node<'a>>,
}

impl<'a> Range<'a> {
    /// While there is no leader, the first connected replica stands in for it, the same on all nodes that see the same
    /// others. Redis, too, lists a failed master until another has taken over: a client that read a map without these
    /// slots would fail at once, or keep the gap until it has a reason to ask again. A replica holds the request
    /// until there is a leader, then says where, or says `CLUSTERDOWN`.
    fn new(range: &SlotRange, nodes: &BTreeMap<u64, Node<'a>>) -> Option<Self> {
        let mut replicas: Vec<Node<'a>> =
            range.leader.iter().chain(&range.followers).filter_map(|node| nodes.get(node).copied()).collect();
        let has_leader = range.leader.is_some_and(|leader| nodes.contains_key(&leader));
        let stands_in = replicas.iter().position(|node| has_leader || node.is_connected).unwrap_or(0);
        if replicas.is_empty() {
            return None;
        }
        let master = replicas.remove(stands_in);
        Some(Self { first: range.first, last: range.last, master, followers: replicas })
    }

    /// The master, then the followers.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node<'a>> {
        iter::once(&self.master).chain(&self.followers)
    }
}

/// How many slots there are of which kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotCounts {
    /// Of some group.
    pub(super) assigned: u16,
    /// Of a group with a leader.
    pub(super) served: u16,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Map<'a> {
    topology: &'a Topology,
    nodes: Vec<Node<'a>>,
    ranges: Vec<Range<'a>>,
}

impl<'a> Map<'a> {
    /// The topology as it is told by the node that listens at `local_addr`.
    pub(super) fn new(topology: &'a Topology, local_addr: SocketAddr) -> Self {
        let own_node = topology.own_node;
        let unknown =
            Node { name: NAME_UNKNOWN, resp: local_addr, peer_port: 0, is_connected: true, is_own: true };
        let mut nodes = BTreeMap::from([(own_node, unknown)]);
        nodes.extend(
            topology
                .nodes
                .iter()
                .filter_map(|node| Some((node.node, Node::new(node, own_node, local_addr)?))),
        );
        let ranges = topology.ranges.iter().filter_map(|range| Range::new(range, &nodes)).collect();
        Self { topology, nodes: nodes.into_values().collect(), ranges }
    }

    pub(super) fn version(&self) -> u64 {
        self.topology.version
    }

    /// By ascending id.
    pub(super) fn nodes(&self) -> &[Node<'a>] {
        &self.nodes
    }

    /// By ascending slot.
    pub(super) fn ranges(&self) -> &[Range<'a>] {
        &self.ranges
    }

    /// The name of the node that was asked.
    pub(super) fn own_name(&self) -> &'a str {
        self.nodes.iter().find(|node| node.is_own).map_or(NAME_UNKNOWN, |node| node.name)
    }

    pub(super) fn slot_counts(&self) -> SlotCounts {
        let slots = |ranges: &mut dyn Iterator<Item = &SlotRange>| {
            ranges.map(|range| range.last - range.first + 1).sum()
        };
        let ranges = &self.topology.ranges;
        SlotCounts {
            assigned: slots(&mut ranges.iter()),
            served: slots(&mut ranges.iter().filter(|range| range.leader.is_some())),
        }
    }

    /// How many nodes lead a group.
    pub(super) fn leader_count(&self) -> usize {
        self.topology.ranges.iter().filter_map(|range| range.leader).collect::<BTreeSet<_>>().len()
    }
}
