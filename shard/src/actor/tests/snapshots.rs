//! Snapshots between replicas, and what is kept behind them.

use std::time::Duration;

use bytes::Bytes;
use quorate_storage::disk::Disk;
use quorate_storage::snapshot::{SnapshotChunks, SnapshotToken};
use quorate_storage::{ConfChange, ConfChangeOp, NodeId, ReplicaDescriptor, ReplicaId};

use super::kv::{kv_cluster, put_kv};
use super::network::Network;
use super::node::{
    DEADLINE, GROUP, TestNode, UID, cluster, config, incarnation, leader, put_anyhow, snapshot_path,
};
use crate::actor::outbound::SNAPSHOT_CHUNK;
use crate::actor::snapshot_chunk::{ChunkReply, ChunkRequest};
use crate::actor::{GroupConfig, Lifecycle, ReadLevel};
use crate::error::Error;

/// Small pieces, so that a small state takes many.
fn short_logs() -> GroupConfig {
    let mut config = config();
    config.snapshots.entries = Some(40);
    config.snapshots.trailing_entries = 5;
    config.snapshots.trailing_bytes = 256 << 10;
    config.snapshots.follower_grace = Duration::from_secs(1);
    config.snapshots.chunk_bytes = 4 << 10;
    config
}

/// Writes `count` keys of 500 bytes each.
async fn fill(nodes: &[TestNode], prefix: &str, count: u64) {
    for i in 0..count {
        put_anyhow(nodes, &format!("{prefix}{i}={}", "v".repeat(500))).await;
    }
}

fn newest(node: &TestNode) -> SnapshotToken {
    node.log().snapshots.last().copied().unwrap()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still not so after a minute: {what}");
}

/// Adds replica 4, which has nothing, while writes go on.
async fn join(nodes: &[TestNode], network: &Network) -> TestNode {
    let joining = TestNode::joining(4, 3, &nodes[0].config, network).await;
    let learner = ReplicaDescriptor { replica: ReplicaId(4), node: NodeId(4), incarnation: incarnation(4) };
    let lead = leader(nodes).await;
    let expected_epoch = lead.handle.status().descriptor.conf_epoch;
    let change = ConfChange { expected_epoch, ops: vec![ConfChangeOp::AddLearner(learner)] };
    lead.handle.change_conf(change, DEADLINE).await.unwrap();
    joining
}

#[tokio::test(start_paused = true)]
async fn a_new_replica_is_seeded_over_a_connection_that_breaks_while_writes_go_on() {
    let mut config = short_logs();
    // Enough for what is written while the snapshot is on its way: so one is enough.
    config.snapshots.trailing_bytes = 64 << 20;
    let (network, nodes) = cluster(3, &config).await;
    fill(&nodes, "a", 400).await;
    let size = leader(&nodes).await.handle.publish_snapshot(DEADLINE).await.unwrap().bytes;
    assert!(size > 40 * (4 << 10), "{size} bytes are no test");
    let lead = leader(&nodes).await;
    // In the middle nothing passes for a while, either before or after it has been carried out.
    network.break_requests(30..40);
    let joining = join(&nodes, &network).await;
    let mut i = 0;
    while joining.handle.stats().snapshots.installed.get() == 0 {
        put_anyhow(&nodes, &format!("b{i}=w")).await;
        i += 1;
    }
    let last = put_anyhow(&nodes, "c=1").await;
    joining.applies(last.id.index).await;
    assert!(i > 10, "{i} writes went on");
    let stats = &lead.handle.stats().snapshots;
    assert!(stats.resumed.get() > 0, "it never went on from where it was");
    let sent = stats.sent_bytes.get();
    assert!(sent >= size && sent < 2 * size, "{sent} bytes sent for {size}");
    assert!(joining.handle.stats().snapshots.received_bytes.get() >= size);
    for key in ["a0", "a399", &format!("b{}", i - 1), "c"] {
        assert!(!joining.get(key, ReadLevel::Local).await.unwrap().is_empty(), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_snapshot_is_published_while_one_is_on_its_way() {
    let (network, nodes) = cluster(3, &short_logs()).await;
    fill(&nodes, "a", 400).await;
    let lead = leader(&nodes).await;
    let first = lead.handle.publish_snapshot(DEADLINE).await.unwrap();
    // In the middle of it nothing passes.
    network.break_requests(30..u64::MAX);
    let joining = join(&nodes, &network).await;
    let received = &joining.handle.stats().snapshots.received_bytes;
    until("a part of the first", || received.get() > 0).await;
    fill(&nodes, "b", 20).await;
    let second = lead.handle.publish_snapshot(DEADLINE).await.unwrap();
    assert!(second.id.index > first.id.index);
    assert_eq!(joining.handle.stats().snapshots.installed.get(), 0, "the first one was there already");
    network.break_requests(0..0);
    let last = put_anyhow(&nodes, "c=1").await;
    joining.applies(last.id.index).await;
    assert!(matches!(joining.handle.status().lifecycle, Lifecycle::Running));
    for key in ["a0", "a399", "b19", "c"] {
        assert!(!joining.get(key, ReadLevel::Local).await.unwrap().is_empty(), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_was_away_past_the_compacted_log_is_caught_up() {
    let (network, mut nodes) = cluster(3, &short_logs()).await;
    fill(&nodes, "a", 10).await;
    let at = (leader(&nodes).await.id % 3) as usize;
    let mut away = nodes.remove(at);
    away.kill().await;
    let had = away.log().skeleton.last;
    fill(&nodes, "b", 200).await;
    let lead = leader(&nodes).await;
    until("compacted beyond its log", || lead.handle.status().first > had.next()).await;
    network.break_requests(10..20);
    away.restart().await;
    fill(&nodes, "c", 50).await;
    let last = put_anyhow(&nodes, "d=1").await;
    away.applies(last.id.index).await;
    assert_eq!(away.handle.stats().snapshots.installed.get(), 1);
    for key in ["a0", "b199", "c49"] {
        assert_eq!(away.get(key, ReadLevel::Local).await.unwrap().len(), 500, "{key}");
    }
    // It is a full member again: with it and one other the group goes on.
    nodes.push(away);
    let gone = nodes.remove(0);
    gone.kill().await;
    put_anyhow(&nodes, "e=1").await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_rots_while_it_is_sent_is_put_aside_and_replaced() {
    let (network, nodes) = cluster(3, &short_logs()).await;
    fill(&nodes, "a", 100).await;
    let lead = leader(&nodes).await;
    // The one that knows of the new replica is written while that is out of reach.
    network.cut(4);
    let joining = join(&nodes, &network).await;
    let token = lead.handle.publish_snapshot(DEADLINE).await.unwrap();
    // It was read back: time passes only while nothing is left to do.
    tokio::time::sleep(Duration::from_millis(500)).await;
    lead.disk.flip(&snapshot_path(token.id), token.bytes / 2, 0xff).unwrap();
    network.heal(4);
    let last = put_anyhow(&nodes, "c=1").await;
    joining.applies(last.id.index).await;
    assert_eq!(joining.get("a99", ReadLevel::Local).await.unwrap().len(), 500);
    let (sender, receiver) = (&lead.handle.stats().snapshots, &joining.handle.stats().snapshots);
    assert!(sender.corrupt.get() > 0 && receiver.corrupt.get() > 0, "an alarm on both sides");
    let aside = snapshot_path(token.id).with_extension("snap.bad");
    assert!(lead.disk.files().iter().any(|(path, _)| *path == aside), "the evidence is kept");
    assert_eq!(lead.handle.status().lifecycle, Lifecycle::Running);
    assert!(newest(lead).id.index > token.id.index);
}

#[tokio::test(start_paused = true)]
async fn the_log_stays_until_the_newest_snapshot_was_read_back_from_the_device() {
    let mut config = short_logs();
    config.snapshots.entries = None;
    let (_network, nodes) = cluster(1, &config).await;
    nodes[0].serves().await;
    fill(&nodes, "a", 50).await;
    let first = nodes[0].handle.publish_snapshot(DEADLINE).await.unwrap();
    fill(&nodes, "b", 50).await;
    // The second is cut short on the device as soon as it has its name.
    let disk = nodes[0].disk.clone();
    let spoil = tokio::spawn(async move {
        loop {
            let files = disk.files();
            let fresh = files.iter().find(|(path, _)| {
                path.extension().is_some_and(|end| end == "snap") && *path > snapshot_path(first.id)
            });
            if let Some((path, bytes)) = fresh {
                return disk.flip(path, bytes / 2, 1).unwrap();
            }
            tokio::time::sleep(Duration::from_micros(50)).await;
        }
    });
    let second = nodes[0].handle.publish_snapshot(DEADLINE).await.unwrap();
    spoil.await.unwrap();
    until("found", || nodes[0].handle.stats().snapshots.corrupt.get() == 1).await;
    assert!(nodes[0].handle.status().first <= first.id.index.next(), "the fallback is still reached");
    let aside = snapshot_path(second.id).with_extension("snap.bad");
    assert!(nodes[0].disk.files().iter().any(|(path, _)| *path == aside));
    // Another one follows by itself, and then the log is shortened.
    until("replaced", || nodes[0].handle.status().first > first.id.index).await;
    assert!(newest(&nodes[0]).id.index >= second.id.index);
}

#[tokio::test(start_paused = true)]
async fn without_room_no_snapshot_is_begun_and_it_is_tried_again() {
    let mut config = short_logs();
    config.snapshots.entries = None;
    let (_network, nodes) = cluster(1, &config).await;
    nodes[0].serves().await;
    fill(&nodes, "a", 50).await;
    let used: u64 = nodes[0].disk.files().iter().map(|(_, bytes)| bytes).sum();
    nodes[0].disk.set_capacity(Some(used + config.snapshots.reserve_bytes));
    let written = nodes[0].disk.bytes_written();
    let error = nodes[0].handle.publish_snapshot(DEADLINE).await.unwrap_err();
    let Error::Read(quorate_storage::Error::NoRoom { .. }) = error else { panic!("{error:?}") };
    assert!(nodes[0].disk.bytes_written() - written < 20_000, "a file was begun");
    assert_eq!(nodes[0].handle.stats().snapshots.refused.get(), 1);
    nodes[0].disk.set_capacity(None);
    put_anyhow(&nodes, "b=1").await;
    nodes[0].handle.publish_snapshot(DEADLINE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_restart_counts_the_log_that_was_there() {
    let mut config = short_logs();
    config.snapshots.entries = None;
    config.snapshots.log_bytes_min = 1 << 20;
    let (_network, mut nodes) = cluster(1, &config).await;
    nodes[0].serves().await;
    // Each write takes a page of 4 KiB: three quarters of what makes one due.
    fill(&nodes, "a", 190).await;
    assert_eq!(nodes[0].handle.stats().snapshots.published.get(), 0);
    let node = &mut nodes[0];
    node.kill().await;
    node.restart().await;
    fill(&nodes, "b", 130).await;
    until("published", || nodes[0].handle.stats().snapshots.published.get() > 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_follower_holds_the_log_for_its_grace_and_not_longer() {
    let mut config = short_logs();
    config.snapshots.follower_grace = Duration::from_secs(30);
    config.snapshots.trailing_bytes = 64 << 20;
    let (_network, mut nodes) = cluster(3, &config).await;
    fill(&nodes, "a", 10).await;
    let at = (leader(&nodes).await.id % 3) as usize;
    let away = nodes.remove(at);
    away.kill().await;
    let had = away.log().skeleton.last;
    fill(&nodes, "b", 200).await;
    let lead = leader(&nodes).await;
    assert!(lead.handle.stats().snapshots.published.get() > 2);
    assert!(lead.handle.status().first <= had.next(), "it may be back soon");
    tokio::time::sleep(Duration::from_secs(31)).await;
    fill(&nodes, "c", 100).await;
    until("let go", || lead.handle.status().first > had.next()).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_receives_no_more_snapshots_at_a_time_than_it_may() {
    let (network, nodes) = cluster(3, &short_logs()).await;
    fill(&nodes, "a", 100).await;
    leader(&nodes).await.handle.publish_snapshot(DEADLINE).await.unwrap();
    let joining = TestNode::joining(4, 3, &nodes[0].config, &network).await;
    let taken: Vec<_> =
        std::iter::repeat_with(|| joining.budget.receive()).take_while(Option::is_some).collect();
    assert!(!taken.is_empty());
    let learner = ReplicaDescriptor { replica: ReplicaId(4), node: NodeId(4), incarnation: incarnation(4) };
    let lead = leader(&nodes).await;
    let expected_epoch = lead.handle.status().descriptor.conf_epoch;
    let change = ConfChange { expected_epoch, ops: vec![ConfChangeOp::AddLearner(learner)] };
    lead.handle.change_conf(change, DEADLINE).await.unwrap();
    until("refused", || joining.handle.stats().snapshots.refused.get() > 2).await;
    assert_eq!(joining.handle.stats().snapshots.received_bytes.get(), 0);
    drop(taken);
    let last = put_anyhow(&nodes, "b=1").await;
    joining.applies(last.id.index).await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_sends_any_more_is_dropped() {
    let (network, nodes) = cluster(3, &short_logs()).await;
    fill(&nodes, "a", 200).await;
    leader(&nodes).await.handle.publish_snapshot(DEADLINE).await.unwrap();
    let joining = join(&nodes, &network).await;
    until("half of it", || joining.handle.stats().snapshots.received_bytes.get() > 20_000).await;
    network.cut(4);
    let is_part = |(path, _): &(std::path::PathBuf, u64)| path.extension().is_some_and(|end| end == "part");
    assert!(joining.disk.files().iter().any(is_part));
    tokio::time::sleep(nodes[0].config.snapshots.send_deadline * 2).await;
    assert!(!joining.disk.files().iter().any(is_part), "{:?}", joining.disk.files());
    network.heal(4);
    let last = put_anyhow(&nodes, "b=1").await;
    joining.applies(last.id.index).await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_is_gone_keeps_no_place_although_another_one_asks_for_it() {
    let (network, nodes) = cluster(3, &short_logs()).await;
    fill(&nodes, "a", 200).await;
    let sent = leader(&nodes).await.handle.publish_snapshot(DEADLINE).await.unwrap();
    let joining = join(&nodes, &network).await;
    until("half of it", || joining.handle.stats().snapshots.received_bytes.get() > 20_000).await;
    network.cut(4);
    // The next leader's own: of the same position, and other bytes.
    let token = SnapshotToken { crc: !sent.crc, ..sent };
    let (to, bytes) = (incarnation(4), Bytes::new());
    let request = ChunkRequest { group: GROUP, uid: UID, to, token, offset: 0, crc: 0, bytes }.encode();
    let mut replies = Vec::new();
    for _ in 0..15 {
        let reply = joining.handle.serve_group(NodeId(2), SNAPSHOT_CHUNK, request.clone()).await;
        replies.extend(ChunkReply::decode(&reply));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(replies.first(), Some(&ChunkReply::Busy), "{replies:?}");
    assert!(replies.contains(&ChunkReply::GoOn { received: 0 }), "{replies:?}");
}

/// The file that an earlier leader sent is in place when the next one comes with its own of the same position.
#[tokio::test(start_paused = true)]
async fn a_received_snapshot_serves_also_for_another_leaders_of_the_same_position() {
    let mut config = short_logs();
    config.snapshots.entries = None;
    let (network, mut nodes) = cluster(3, &config).await;
    fill(&nodes, "a", 10).await;
    let mut away = nodes.remove((leader(&nodes).await.id % 3) as usize);
    away.kill().await;
    let had = away.log().skeleton.last;
    for prefix in ["b", "c"] {
        fill(&nodes, prefix, 40).await;
        let last = put_anyhow(&nodes, "d=1").await;
        for node in &nodes {
            node.applies(last.id.index).await;
            node.handle.publish_snapshot(DEADLINE).await.unwrap();
        }
    }
    let lead = leader(&nodes).await;
    until("compacted beyond its log", || lead.handle.status().first > had.next()).await;
    let other = nodes.iter().find(|node| node.id != lead.id).unwrap();
    let (token, led) = (newest(other), newest(lead));
    assert!(token.id == led.id && token != led, "{token:?} and {led:?}");

    network.cut(away.id);
    away.restart().await;
    let file = SnapshotChunks::open(&other.disk, &snapshot_path(token.id), &token).unwrap();
    let ask = async |offset, (crc, bytes)| {
        let to = incarnation(away.id);
        let request = ChunkRequest { group: GROUP, uid: UID, to, token, offset, crc, bytes }.encode();
        let reply = away.handle.serve_group(NodeId(other.id), SNAPSHOT_CHUNK, request).await;
        ChunkReply::decode(&reply)
    };
    let mut offset = 0;
    while let Some(chunk) = file.read_chunk(offset, 4 << 10).unwrap() {
        ask(offset, (chunk.crc, chunk.bytes.clone())).await.unwrap();
        offset += chunk.bytes.len() as u64;
    }
    while ask(offset, (0, Bytes::new())).await != Some(ChunkReply::Complete) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(away.handle.stats().snapshots.installed.get(), 0);

    network.heal(away.id);
    let last = put_anyhow(&nodes, "e=1").await;
    away.applies(last.id.index).await;
    assert_eq!(newest(&away), token, "what the earlier leader sent");
    assert_eq!(away.get("c39", ReadLevel::Local).await.unwrap().len(), 500);
    away.kill().await;
    away.restart().await;
    away.applies(last.id.index).await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_takes_longer_than_a_request_is_given_to_who_asks_again_under_writes() {
    let mut config = config();
    // None is due by itself.
    config.snapshots.log_bytes_min = 1 << 40;
    let (_network, nodes, _) = kv_cluster(1, &config).await;
    let node = &nodes[0];
    // At the node's rate that takes half a second to write, and as long to read back.
    for i in 0..32 {
        put_kv(node, &format!("k{i}"), &i.to_string().repeat(1 << 19)).await.unwrap();
    }
    let published = &node.handle.stats().snapshots.published;
    let (wanted, before) = (node.handle.status().applied, published.get());
    let ahead = node.handle.snapshot_of(wanted.next(), DEADLINE).await;
    assert!(matches!(ahead, Err(Error::Busy { .. })), "{ahead:?}");
    let writer = node.clone();
    let writing = tokio::spawn(async move {
        for i in 0_u64.. {
            put_kv(&writer, "w", &i.to_string()).await.unwrap();
        }
    });
    let mut late = 0;
    let token = loop {
        match node.handle.snapshot_of(wanted, Duration::from_millis(50)).await {
            Ok(token) => break token,
            Err(Error::DeadlineExceeded) => late += 1,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(late > 2 && token.id.index >= wanted, "{late} requests were late, {token:?}");
    assert_eq!(published.get(), before + 1, "one snapshot is enough");
    assert_eq!(node.handle.snapshot_of(wanted, DEADLINE).await.unwrap(), token, "it is asked for once more");
    writing.abort();
    assert!(node.handle.status().applied > token.id.index, "nothing was written meanwhile");
}
