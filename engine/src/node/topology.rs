//! Who is there and who leads what, in one picture that is made anew when something changes. And the doubt about
//! leaders on nodes that cannot be reached.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quorate_shard::catalog::{Catalog, GroupRecord, NodeRecord};
use quorate_storage::{ClusterId, GroupId, Incarnation, KeyRange, NodeId};
use tokio::sync::watch;

use super::{Core, Node};
use crate::config::{Config, cluster_id};

/// How often the connections are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Changes within this time make one new picture.
const SPACING: Duration = Duration::from_millis(5);

/// The cluster, as one node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The version of the catalog it was made from; `None` before the first.
    pub version: Option<u64>,
    /// By id.
    pub nodes: Vec<TopologyNode>,
    /// The live user groups, by id.
    pub groups: Vec<TopologyGroup>,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyNode {
    /// Its id.
    pub node: NodeId,
    /// Its data directory; zero until it has registered it.
    pub incarnation: Incarnation,
    /// Where other nodes reach it.
    pub peer: SocketAddr,
    /// Where Redis clients reach it, if it serves them.
    pub resp: Option<SocketAddr>,
    /// Where operators reach it, if it serves them.
    pub admin: Option<SocketAddr>,
    /// Whether this node has a connection to it; true for this node.
    pub is_connected: bool,
}

/// A group and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyGroup {
    /// Its id.
    pub group: GroupId,
    /// The keys it serves.
    pub range: KeyRange,
    /// The node that leads it; `None` while that is not known.
    pub leader: Option<NodeId>,
    /// The nodes with its other replicas, ascending.
    pub followers: Vec<NodeId>,
}

/// Where one key is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The group that serves it.
    pub group: GroupId,
    /// The node that leads the group; `None` while that is not known.
    pub leader: Option<NodeId>,
}

impl Topology {
    /// A node of it.
    pub fn node(&self, node: NodeId) -> Option<&TopologyNode> {
        let at = self.nodes.binary_search_by_key(&node, |known| known.node).ok()?;
        Some(&self.nodes[at])
    }

    fn new(core: &Core, catalog: &Catalog) -> Self {
        Self {
            version: catalog.version,
            nodes: catalog.nodes.values().map(|record| describe_node(core, record)).collect(),
            groups: catalog.user_groups().map(|record| describe_group(core, record)).collect(),
        }
    }
}

fn describe_node(core: &Core, record: &NodeRecord) -> TopologyNode {
    TopologyNode {
        node: record.node,
        incarnation: record.incarnation,
        peer: record.peer,
        resp: record.resp,
        admin: record.admin,
        is_connected: core.transport.peer_up(record.node),
    }
}

fn describe_group(core: &Core, record: &GroupRecord) -> TopologyGroup {
    let descriptor = &record.descriptor;
    let leader = core.router.leaders().get(descriptor.group).and_then(|known| known.leader);
    let mut followers: Vec<NodeId> = descriptor.replicas.iter().map(|replica| replica.node).collect();
    followers.retain(|&node| Some(node) != leader);
    followers.sort_unstable();
    TopologyGroup { group: descriptor.group, range: descriptor.range.clone(), leader, followers }
}

impl Node {
    /// The cluster as this node knows it now. Cheap: made when something changes, not when it is asked for.
    pub fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.core.topology.borrow())
    }

    /// Follows [`Node::topology`]. It changes with the catalog, the leaders and the connections, some milliseconds
    /// behind them.
    pub fn watch_topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.core.topology.subscribe()
    }

    /// Where `key` is served, as far as this node knows; `None` if no group serves it. Neither waits nor allocates.
    pub fn placement(&self, key: &[u8]) -> Option<Placement> {
        let group = self.core.router.group_of(key)?;
        Some(Placement { group, leader: self.core.router.leader_of(group) })
    }

    /// Like [`Node::placement`], but waits up to `patience` while the group's leader is not known.
    pub async fn await_leader(&self, key: &[u8], patience: Duration) -> Option<Placement> {
        let mut leaders = self.core.router.leaders().changes();
        let mut catalogs = self.core.copy.changes();
        let wait = async {
            loop {
                leaders.mark_seen();
                catalogs.mark_seen();
                match self.placement(key) {
                    Some(Placement { leader: None, .. }) => {}
                    found => return found,
                }
                tokio::select! {
                    biased;
                    () = self.core.stopping.cancelled() => return self.placement(key),
                    () = leaders.changed() => {}
                    () = catalogs.changed() => {}
                }
            }
        };
        tokio::time::timeout(patience, wait).await.unwrap_or_else(|_| self.placement(key))
    }

    /// The longest an election timeout of this node's groups is drawn.
    pub fn election_timeout_max(&self) -> Duration {
        self.core.config.raft.election_timeout_max()
    }

    /// The cluster it belongs to.
    pub fn cluster(&self) -> ClusterId {
        self.core.config.cluster
    }

    /// The name that its id is made of, if the configuration has it.
    pub fn cluster_name(&self) -> Option<&str> {
        let Config { cluster, cluster_name, .. } = &self.core.config;
        cluster_name.as_deref().filter(|name| cluster_id(name) == *cluster)
    }
}

/// Runs until the node stops.
pub(super) async fn run(core: Arc<Core>) {
    let mut leaders = core.router.leaders().changes();
    let mut catalogs = core.copy.changes();
    let mut connections = Connections::default();
    let mut is_changed = true;
    loop {
        let catalog = core.copy.load();
        is_changed |= connections.look(&core, &catalog);
        if is_changed {
            leaders.mark_seen();
            catalogs.mark_seen();
            forget_gone(&core, &catalog);
            publish(&core);
            tokio::time::sleep(SPACING).await;
        }
        is_changed = tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            () = leaders.changed() => true,
            () = catalogs.changed() => true,
            () = tokio::time::sleep(LOOK_INTERVAL) => false,
        };
    }
}

fn publish(core: &Core) {
    let next = Topology::new(core, &core.copy.load());
    core.topology.send_if_modified(|current| {
        let is_news = **current != next;
        if is_news {
            *current = Arc::new(next);
        }
        is_news
    });
}

/// Leaderships of groups that are gone, or are another group by now, are forgotten.
fn forget_gone(core: &Core, catalog: &Catalog) {
    if catalog.version.is_some() {
        core.router.leaders().retain(|group, uid| {
            let record = catalog.groups.get(&group);
            record.is_some_and(|record| !record.dropped && record.descriptor.uid == uid)
        });
    }
}

/// Which other nodes are connected, and since when the others are not.
#[derive(Debug, Default)]
struct Connections {
    /// When it was first found down, on the monotonic clock; `None`: it is up.
    down_since: BTreeMap<NodeId, Option<Duration>>,
}

impl Connections {
    /// Looks at all of them. Whether something has changed. A node that is down for an election timeout leads
    /// nothing any more, as far as anybody can tell: its clients wait for the next leader.
    fn look(&mut self, core: &Core, catalog: &Catalog) -> bool {
        let now = core.seams.clock.monotonic();
        let patience = core.config.raft.election_timeout_max();
        let mut is_changed = false;
        for &node in catalog.nodes.keys().filter(|&&node| node != core.config.node) {
            let is_up = core.transport.peer_up(node);
            let before = self.down_since.get(&node).copied();
            let since = match before {
                _ if is_up => None,
                Some(Some(since)) => Some(since),
                _ => Some(now),
            };
            is_changed |= before != Some(since);
            self.down_since.insert(node, since);
            if since.is_some_and(|since| now.saturating_sub(since) >= patience) {
                core.router.leaders().doubt(node);
            }
        }
        self.down_since.retain(|node, _| catalog.nodes.contains_key(node));
        is_changed
    }
}
