//! One voter, opened again after every kind of stop, on every store.

use bytes::Bytes;
use quorate::config::uniform_ranges;
use quorate::{Builder, Config, Error, Node, Op, ReadLevel, StoreKind, WriteBatch};

use crate::cluster::{PATIENCE, start_unlocked};

/// Keys of each round, spread over all groups.
const KEYS: u8 = 40;
/// Overwritten in each round; in the group of the lowest keys.
const COUNTER: &[u8] = &[0, 0xff];

async fn write_round(node: &Node, round: u8) {
    let ops: Vec<Op> = (0..KEYS)
        .map(|at| Op::Put(Bytes::from(vec![at * 6, round]), Bytes::from(vec![round; 100])))
        .collect();
    for written in node.write_each(&ops).await {
        written.unwrap();
    }
    node.write(WriteBatch::new().put(COUNTER, vec![round]).delete(vec![0, round])).await.unwrap();
}

async fn check_rounds(node: &Node, rounds: u8) {
    for round in 0..rounds {
        let keys: Vec<Bytes> = (0..KEYS).map(|at| Bytes::from(vec![at * 6, round])).collect();
        let found = node.get_many(&keys, ReadLevel::Linearizable).await.unwrap();
        assert_eq!(found[0], None, "deleted in round {round}");
        for value in &found[1..] {
            assert_eq!(value.as_deref(), Some(&[round; 100][..]), "written in round {round}");
        }
    }
    let counter = node.get(COUNTER, ReadLevel::Linearizable).await.unwrap();
    assert_eq!(counter.as_deref(), Some(&[rounds - 1][..]));
}

/// Stops cleanly and by dropping in turns; snapshots are taken on the way.
async fn everything_survives(store: StoreKind) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.store = store;
    config.bootstrap.ranges = uniform_ranges(4);
    config.snapshots.entries = Some(5);
    for round in 0..8u8 {
        let node = start_unlocked(config.clone()).await;
        node.ready(PATIENCE).await.unwrap();
        if round > 0 {
            check_rounds(&node, round).await;
        }
        write_round(&node, round).await;
        if round % 2 == 0 {
            node.shutdown().await.unwrap();
            let stopped = node.get(COUNTER, ReadLevel::Local).await;
            assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
        }
    }
    let node = start_unlocked(config).await;
    node.ready(PATIENCE).await.unwrap();
    check_rounds(&node, 8).await;
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_survives_stops_and_drops_on_lsm() {
    everything_survives(StoreKind::Lsm).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_survives_stops_and_drops_on_sled() {
    everything_survives(StoreKind::Sled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_survives_stops_and_drops_in_memory() {
    everything_survives(StoreKind::Memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_needs_no_repair_and_is_done_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = Builder::new(dir.path()).open().await.unwrap();
    node.put("a", "1").await.unwrap();
    node.shutdown().await.unwrap();
    node.shutdown().await.unwrap();
    assert!(matches!(node.shutdown_together().await, Ok(())));
    let again = Builder::new(dir.path()).open().await.unwrap();
    for group in again.groups() {
        let report = group.local_report().unwrap();
        assert_eq!(report.log_torn_batches, 0, "group {}", group.id());
    }
    assert!(matches!(node.put("a", "2").await, Err(Error::Stopped)));
    again.shutdown().await.unwrap();
}

/// A handle of a group does not keep its node alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_node_serves_nobody_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let node = Builder::new(dir.path()).open().await.unwrap();
    let group = node.group_of(b"a").unwrap();
    drop(node);
    let again = start_unlocked(Config::new(dir.path())).await;
    assert!(group.local_status().is_none());
    again.ready(PATIENCE).await.unwrap();
    again.shutdown().await.unwrap();
}
