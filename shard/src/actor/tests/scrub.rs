//! The background scan of a replica.

use std::time::Duration;

use quorate_storage::disk::{Disk, OpenMode};

use super::kv::{kv_cluster, put_kv};
use super::node::{DEADLINE, TestNode, config, leader, snapshot_path};
use crate::actor::{GroupConfig, Lifecycle};

const INTERVAL: Duration = Duration::from_secs(600);

fn scrubbing() -> GroupConfig {
    let mut config = config();
    config.background.scrub_interval = INTERVAL;
    config.background.consistency_interval = Duration::ZERO;
    config
}

async fn fill(nodes: &[TestNode], count: u64) {
    for i in 0..count {
        put_kv(leader(nodes).await, &format!("k{i}"), "value").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn every_replica_is_scanned_once_an_interval() {
    let (_network, nodes, _) = kv_cluster(3, &scrubbing()).await;
    fill(&nodes, 100).await;
    tokio::time::sleep(INTERVAL).await;
    for node in &nodes {
        let status = node.handle.status();
        let scrubbed = status.last_scrub.expect("it was scanned");
        assert_eq!((scrubbed.records, scrubbed.corrupt_snapshots), (100, 0));
        assert_eq!(scrubbed.applied, status.applied);
        assert!(scrubbed.snapshots >= 1 && scrubbed.bytes > 700, "{scrubbed:?}");
    }
    tokio::time::sleep(INTERVAL * 4).await;
    for node in &nodes {
        let stats = &node.handle.stats().scrub;
        assert!((4..=5).contains(&stats.completed.get()), "{}", stats.completed.get());
        assert_eq!((stats.interrupted.get(), stats.rotten.get()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_scan_that_is_asked_for_begins_at_once_and_comes_once() {
    let mut config = scrubbing();
    config.background.scrub_interval = Duration::ZERO;
    let (_network, nodes, _) = kv_cluster(1, &config).await;
    fill(&nodes, 10).await;
    tokio::time::sleep(INTERVAL).await;
    assert!(nodes[0].handle.status().last_scrub.is_none(), "nobody has asked");
    nodes[0].handle.begin_scrub();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(nodes[0].handle.status().last_scrub.unwrap().records, 10);
    tokio::time::sleep(INTERVAL).await;
    assert_eq!(nodes[0].handle.stats().scrub.completed.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_rots_is_put_aside_and_a_fresh_one_is_published() {
    let (_network, nodes, _) = kv_cluster(1, &scrubbing()).await;
    fill(&nodes, 50).await;
    let node = &nodes[0];
    let token = node.handle.publish_snapshot(DEADLINE).await.unwrap();
    fill(&nodes, 5).await;
    let path = snapshot_path(token.id);
    let file = node.disk.open(&path, OpenMode::Write).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, token.bytes / 2).unwrap();
    file.write_all_at(&[byte[0] ^ 1], token.bytes / 2).unwrap();
    tokio::time::sleep(INTERVAL + Duration::from_secs(60)).await;
    let stats = node.handle.stats();
    assert_eq!(stats.snapshots.corrupt.get(), 1);
    let mut aside = path.clone().into_os_string();
    aside.push(".bad");
    assert!(node.disk.size(aside.as_ref()).unwrap().is_some(), "it can be looked at");
    assert_eq!(node.disk.size(&path).unwrap(), None);
    let status = node.handle.status();
    assert_eq!(status.lifecycle, Lifecycle::Running);
    let newest = status.snapshot.unwrap();
    assert!(newest.index > token.id.index, "{newest:?} is not newer than {token:?}");
    assert!(node.disk.size(&snapshot_path(newest)).unwrap().is_some());
    assert_eq!(status.last_scrub.unwrap().corrupt_snapshots, 1);
}
