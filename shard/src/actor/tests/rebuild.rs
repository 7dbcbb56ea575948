//! A bloated store that is built anew.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quorate_storage::disk::{Disk, DiskFault};

use super::kv::{kv_cluster, put_kv, read_kv};
use super::node::{DEADLINE, DIR, TestNode, config};
use crate::actor::{BloatConfig, GroupConfig, Lifecycle, Remedy, StopMode};

/// Most writes until a store is bloated, looked at and built anew.
const WRITES_MAX: usize = 2_000;
const MIB: usize = 1 << 20;

fn looking() -> GroupConfig {
    let mut config = config();
    config.background.bloat =
        BloatConfig { interval: Duration::from_secs(1), factor: 4, slack_bytes: 64 << 10 };
    config.background.consistency_interval = Duration::ZERO;
    // The in-memory store keeps every overwrite in its file until a checkpoint.
    config.snapshots.log_bytes_min = 1 << 40;
    config
}

fn generations(node: &TestNode) -> Vec<String> {
    let entries = node.disk.list(&Path::new(DIR).join("state")).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

/// A value of so many bytes, another one each round.
fn filled(round: usize, bytes: usize) -> String {
    assert!(round < 10);
    round.to_string().repeat(bytes)
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come");
}

/// Fills the store with `mib` MiB, overwrites it until it is bloated, and waits until it is being built anew.
async fn building(node: &TestNode, mib: usize) {
    for round in 0..6 {
        for key in 0..mib {
            put_kv(node, &format!("k{key}"), &filled(round, MIB)).await.unwrap();
        }
    }
    for _ in 0..WRITES_MAX {
        if generations(node).contains(&"2.part".to_owned()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("nothing is built anew: {:?}", node.handle.stats().store);
}

#[tokio::test(start_paused = true)]
async fn a_bloated_store_is_built_anew_while_writes_go_on() {
    let (_network, nodes, _) = kv_cluster(1, &looking()).await;
    let mut node = nodes.into_iter().next().unwrap();
    let stats = node.handle.stats();
    let value = |written: usize| format!("{written:-<1000}");
    let mut written = 0;
    while stats.store.rebuilt.get() == 0 {
        assert!(written < WRITES_MAX, "{:?}", stats.store);
        put_kv(&node, &format!("k{}", written % 10), &value(written)).await.unwrap();
        written += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let last = put_kv(&node, "last", "1").await.unwrap();
    let room = (stats.store.disk_bytes.get(), stats.store.live_bytes.get());
    assert!(room.0 <= 4 * room.1 + (64 << 10), "it did not shrink: {room:?}");
    assert_eq!(node.handle.status().lifecycle, Lifecycle::Running);
    assert_eq!(generations(&node), ["2"]);
    let is_durable = stats.apply.durable.get();
    assert!(is_durable > 0 && is_durable <= last.id.index.get(), "{is_durable}");
    for restarts in [false, true] {
        if restarts {
            node.kill().await;
            node.restart().await;
            node.serves().await;
        }
        assert_eq!(read_kv(&node, "last").await.as_deref(), Some(b"1".as_slice()));
        for i in written - 10..written {
            let found = read_kv(&node, &format!("k{}", i % 10)).await;
            assert_eq!(found.as_deref(), Some(value(i).as_bytes()), "restarted: {restarts}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_leaves_the_store_as_it_was() {
    for mode in [StopMode::Now, StopMode::Graceful { deadline: DEADLINE }] {
        let (_network, mut nodes, _) = kv_cluster(1, &looking()).await;
        let node = &mut nodes[0];
        building(node, 8).await;
        node.handle.stop(mode).await;
        assert_eq!(generations(node), ["1"], "{mode:?}");
        node.restart().await;
        node.serves().await;
        assert_eq!(read_kv(node, "k7").await.as_deref(), Some(filled(5, MIB).as_bytes()), "{mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_quarantine_in_the_middle_leaves_the_store_as_it_was() {
    let (_network, mut nodes, _) = kv_cluster(1, &looking()).await;
    let node = &mut nodes[0];
    building(node, 8).await;
    node.disk.fail_once("/wal/", DiskFault::FailedWrites);
    put_kv(node, "lost", "1").await.unwrap_err();
    until("a quarantine", || node.handle.quarantine().is_some()).await;
    node.handle.stop(StopMode::Now).await;
    assert_eq!(generations(node), ["1"]);
    node.restart().await;
    node.serves().await;
    assert_eq!(read_kv(node, "k7").await.as_deref(), Some(filled(5, MIB).as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn a_new_store_that_cannot_be_written_is_given_up_and_counted() {
    let (_network, nodes, _) = kv_cluster(1, &looking()).await;
    let node = &nodes[0];
    building(node, 8).await;
    node.disk.fail("2.part/batches", DiskFault::FailedWrites);
    let stats = &node.handle.stats().store;
    until("a failure", || stats.rebuilds_failed.get() > 0).await;
    assert_eq!(
        (generations(node), node.handle.status().lifecycle),
        (vec!["1".to_owned()], Lifecycle::Running)
    );
    node.disk.heal();
    until("a rebuild", || stats.rebuilt.get() > 0).await;
    assert_eq!(read_kv(node, "k7").await.as_deref(), Some(filled(5, MIB).as_bytes()));
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_fails_halfway_takes_the_group_out_of_service_and_a_start_restores_it() {
    let (_network, mut nodes, _) = kv_cluster(1, &looking()).await;
    let node = &mut nodes[0];
    building(node, 2).await;
    // It has been renamed, and does not open.
    node.disk.fail_once("state/2/", DiskFault::FailedReads);
    let handle = node.handle.clone();
    until("a quarantine", || handle.quarantine().is_some()).await;
    assert_eq!(handle.quarantine().map(|quarantine| quarantine.remedy), Some(Remedy::Rebuild));
    node.kill().await;
    node.store_is_rotten = true;
    node.restart().await;
    node.serves().await;
    assert_eq!(read_kv(node, "k1").await.as_deref(), Some(filled(5, MIB).as_bytes()));
    assert_eq!(generations(node).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rebuild_that_writes_overtake_is_given_up_and_counted() {
    let (_network, nodes, _) = kv_cluster(1, &looking()).await;
    let node = &nodes[0];
    building(node, 8).await;
    let large = 8 * MIB - 1_000;
    for round in 0..5 {
        put_kv(node, "large", &filled(round, large)).await.unwrap();
    }
    let stats = &node.handle.stats().store;
    until("an end of it", || stats.rebuilds_overtaken.get() + stats.rebuilt.get() > 0).await;
    assert_eq!(stats.rebuilt.get(), 0, "40 MiB were applied meanwhile");
    assert_eq!(node.handle.status().lifecycle, Lifecycle::Running);
    assert_eq!(read_kv(node, "large").await.map(|value| value[0]), Some(b'4'));
    // In quieter times it succeeds.
    until("a rebuild", || stats.rebuilt.get() > 0).await;
    assert_eq!((stats.rebuilds_failed.get(), generations(node).len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_found_rotten_while_it_is_copied_is_quarantined_to_be_restored() {
    let (_network, nodes, defects) = kv_cluster(1, &looking()).await;
    let node = &nodes[0];
    defects[0].rots.store(true, Ordering::Relaxed);
    for written in 0..200 {
        put_kv(node, "k", &format!("{written:-<1000}")).await.unwrap();
    }
    until("a quarantine", || node.handle.quarantine().is_some()).await;
    let quarantine = node.handle.quarantine().unwrap();
    assert_eq!(quarantine.remedy, Remedy::Rebuild, "{quarantine:?}");
    assert_eq!(node.handle.stats().store.rebuilt.get(), 0);
}
