//! A snapshot that travels over connections that break.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use quorate::config::NodeAddress;
use quorate::storage::Index;
use quorate::{Config, Node, NodeId, Seams, open_with_seams};
use quorate_transport::net::MemoryNetwork;

use crate::cluster::{GROUP, PATIENCE, has_applied, until};
use crate::writing::Writing;

const NODES: u8 = 3;
/// The state is this many values of [`VALUE_BYTES`].
const VALUES: u32 = 100;
const VALUE_BYTES: usize = 64 << 10;

fn ip(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

fn address(number: u8) -> NodeAddress {
    let peer = SocketAddr::new(ip(number), 7_000);
    NodeAddress { node: NodeId(number.into()), peer, resp: None, admin: None }
}

async fn start(network: &MemoryNetwork, dir: &Path, number: u8) -> Node {
    let mut config = Config::new(dir.join(number.to_string()));
    config.node = NodeId(number.into());
    config.listen = Some(address(number).peer);
    config.bootstrap.nodes = (1..=NODES).map(address).collect();
    config.snapshots.entries = Some(50);
    config.snapshots.trailing_entries = 10;
    config.snapshots.follower_grace = std::time::Duration::ZERO;
    // Slow enough to be in the middle of it for a while.
    config.snapshots.bytes_per_second = 4 << 20;
    let seams = Seams { net: Arc::new(network.numbered(number)), ..Seams::production(&config).unwrap() };
    open_with_seams(config, seams).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_goes_on_where_its_connection_broke_while_writes_go_on() {
    let (network, dir) = (MemoryNetwork::new(), tempfile::tempdir().unwrap());
    let mut nodes = Vec::new();
    for number in 1..=NODES {
        nodes.push(start(&network, dir.path(), number).await);
    }
    for node in &nodes {
        node.ready(PATIENCE).await.unwrap();
    }
    let leads = |node: &Node| node.group(GROUP).local_status().is_some_and(|status| status.role.is_serving);
    let at = until("a leader", || nodes.iter().position(leads)).await;
    let away = u8::try_from((at + 1) % nodes.len()).unwrap();
    let lost = nodes.remove(away.into());
    let had = lost.group(GROUP).local_status().unwrap();
    lost.shutdown_together().await.unwrap();
    drop(lost);
    for i in 0..VALUES {
        nodes[0].put(format!("large-{i}"), vec![7; VALUE_BYTES]).await.unwrap();
    }
    let leader = until("a leader", || nodes.iter().find(|node| leads(node))).await.clone();
    until("a compacted log", || {
        let status = leader.group(GROUP).local_status()?;
        (status.first > Index(had.last.get() + 20)).then_some(())
    })
    .await;
    let writing = Writing::through(&leader);
    let back = start(&network, dir.path(), away + 1).await;
    let report = |node: &Node| node.group(GROUP).local_report();
    for part in 1..=2 {
        until("a part of it", || (report(&back)?.snapshot_received_bytes > part << 20).then_some(())).await;
        // Most of the time the sender waits for its rate: a break counts only if it meets a piece under way.
        until("a broken piece", || {
            (1..=NODES).for_each(|number| network.reset(ip(number), ip(away + 1)));
            (report(&leader)?.snapshots_resumed >= part).then_some(())
        })
        .await;
    }
    until("an installed snapshot", || (report(&back)?.snapshots_installed > 0).then_some(())).await;
    writing.go_on(20).await;
    let committed = leader.group(GROUP).local_status().unwrap();
    until("catching up", || has_applied(&back, &committed).then_some(())).await;
    let (sent, bytes) = (report(&leader).unwrap(), u64::from(VALUES) * VALUE_BYTES as u64);
    assert!(sent.snapshot_sent_bytes < 2 * bytes, "{} bytes sent for {bytes}", sent.snapshot_sent_bytes);
    writing.verify(&back).await;
    for node in nodes.iter().chain([&back]) {
        node.shutdown_together().await.unwrap();
    }
}
