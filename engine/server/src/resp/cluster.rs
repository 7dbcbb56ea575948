//! `CLUSTER`: the topology, as clients of Redis Cluster expect to read it.
//!
//! A node leads some groups and follows others, which Redis has no word for: so every node is a master, perhaps
//! without slots, and is listed as a replica where slots are listed. Nodes that do not serve the Redis protocol are
//! left out.

mod map;

use std::fmt::Write as _;

use bytes::Bytes;

use super::arguments;
use super::command::Cluster;
use super::pipeline::Plan;
use super::reply::{self, Reply};
use super::server::Frontend;
use super::walk::{self, Walk};
use crate::key;
use map::{Map, Node, Range};

/// What `command` asks for. `args` are as many as it takes.
///
/// # Errors
/// The reply to send instead.
pub(super) fn plan(command: Cluster, args: &[Bytes], frontend: &Frontend) -> Result<Plan, Reply> {
    let topology = frontend.backend.topology();
    let map = || Map::new(&topology, frontend.local_addr);
    Ok(Plan::Reply(match command {
        Cluster::Slots => slots(&map()),
        Cluster::Shards => shards(&map()),
        Cluster::Nodes => Reply::Verbatim(nodes(&map())),
        Cluster::Info => Reply::Verbatim(info(&map())),
        Cluster::Myid => reply::text(map().own_name()),
        Cluster::Keyslot => Reply::Integer(i64::from(key::slot_of(&arguments::key(&args[0])?))),
        Cluster::Countkeysinslot => return Ok(Plan::Walk(Walk::CountOfSlot(walk::parse_slot(&args[0])?))),
        Cluster::Getkeysinslot => {
            let invalid = || reply::error("ERR Invalid slot or number of keys");
            let keys_max = usize::try_from(arguments::integer(&args[1])?).map_err(|_| invalid())?;
            let slot = walk::parse_slot(&args[0]).map_err(|_| invalid())?;
            return Ok(Plan::Walk(Walk::KeysOfSlot { slot, keys_max }));
        }
    }))
}

/// Each range with its leader and then its followers.
fn slots(map: &Map<'_>) -> Reply {
    let entry = |range: &Range<'_>| {
        let mut fields = vec![slot(range.first), slot(range.last)];
        fields.extend(range.nodes().map(|node| {
            let (ip, port) = address(node);
            Reply::Array(vec![ip, port, reply::text(node.name), Reply::Map(Vec::new())])
        }));
        Reply::Array(fields)
    };
    Reply::Array(map.ranges().iter().map(entry).collect())
}

/// Each range as a shard.
fn shards(map: &Map<'_>) -> Reply {
    let node = |node: &Node<'_>, role: &'static str| {
        let (ip, port) = address(node);
        let health = if node.is_connected { "online" } else { "failed" };
        let fields = [
            ("id", reply::text(node.name)),
            ("port", port),
            ("ip", ip.clone()),
            ("endpoint", ip),
            ("role", reply::word(role)),
            ("replication-offset", Reply::Integer(0)),
            ("health", reply::word(health)),
        ];
        Reply::Map(fields.into_iter().map(|(name, value)| (reply::word(name), value)).collect())
    };
    let shard = |range: &Range<'_>| {
        let followers = range.followers.iter().map(|follower| node(follower, "replica"));
        let nodes = std::iter::once(node(&range.master, "master")).chain(followers).collect();
        let slots = vec![slot(range.first), slot(range.last)];
        Reply::Map(vec![
            (reply::word("slots"), Reply::Array(slots)),
            (reply::word("nodes"), Reply::Array(nodes)),
        ])
    };
    Reply::Array(map.ranges().iter().map(shard).collect())
}

/// A line for each node: name, `ip:port@peer-port`, flags, no master, no pings (the transport knows of none), the
/// epoch, the state of the connection, and the ranges it leads.
fn nodes(map: &Map<'_>) -> String {
    let mut lines = String::new();
    for node in map.nodes() {
        let flags = if node.is_own { "myself,master" } else { "master" };
        let link = if node.is_connected { "connected" } else { "disconnected" };
        let Node { name, resp, peer_port, .. } = node;
        let (ip, port, epoch) = (resp.ip(), resp.port(), map.version());
        let _ = write!(lines, "{name} {ip}:{port}@{peer_port} {flags} - 0 0 {epoch} {link}");
        for range in map.ranges().iter().filter(|range| range.master.name == node.name) {
            let _ = match (range.first, range.last) {
                (first, last) if first == last => write!(lines, " {first}"),
                (first, last) => write!(lines, " {first}-{last}"),
            };
        }
        lines.push('\n');
    }
    lines
}

/// The state is `ok` when every slot has a leader.
fn info(map: &Map<'_>) -> String {
    let counts = map.slot_counts();
    let state = if counts.served == key::SLOTS { "ok" } else { "fail" };
    let fields = [
        ("cluster_slots_assigned", u64::from(counts.assigned)),
        ("cluster_slots_ok", u64::from(counts.served)),
        ("cluster_slots_pfail", 0),
        ("cluster_slots_fail", u64::from(counts.assigned - counts.served)),
        ("cluster_known_nodes", map.nodes().len() as u64),
        ("cluster_size", map.leader_count() as u64),
        ("cluster_current_epoch", map.version()),
        ("cluster_my_epoch", map.version()),
        ("cluster_stats_messages_sent", 0),
        ("cluster_stats_messages_received", 0),
        ("total_cluster_links_buffer_limit_exceeded", 0),
    ];
    let mut lines = format!("cluster_state:{state}\r\n");
    for (name, value) in fields {
        let _ = write!(lines, "{name}:{value}\r\n");
    }
    lines
}

fn slot(slot: u16) -> Reply {
    Reply::Integer(i64::from(slot))
}

fn address(node: &Node<'_>) -> (Reply, Reply) {
    (reply::text(node.resp.ip().to_string()), Reply::Integer(i64::from(node.resp.port())))
}
