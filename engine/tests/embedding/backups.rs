//! A backup of a node that is alone, and clusters that are made of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quorate::backup::{Backup, BackupProgress, Manifest, restore};
use quorate::config::{cluster_id, uniform_ranges};
use quorate::storage::Error as StorageError;
use quorate::storage::offline::verify_backup;
use quorate::{Config, Error, GroupId, Node, NodeId, ReadLevel, Seams};

use crate::cluster::{PATIENCE, free_addresses};

const GROUPS: u16 = 4;
const KEYS: u8 = 250;

fn config(dir: &Path) -> Config {
    let mut config = Config::new(dir);
    config.bootstrap.ranges = uniform_ranges(GROUPS);
    config
}

/// Does not wait for leaders: the other nodes may have to be opened first.
async fn open(config: Config) -> Node {
    let seams = Seams::production(&config).unwrap();
    quorate::open_with_seams(config, seams).await.unwrap()
}

async fn write(node: &Node, round: u8) {
    for first in 0..KEYS {
        node.put(vec![first], vec![round, first]).await.unwrap();
    }
}

/// Every key has the value of `round`, or of a later one.
async fn check(node: &Node, round: u8) {
    for first in 0..KEYS {
        let value = node.get(vec![first], ReadLevel::Linearizable).await.unwrap();
        let value = value.unwrap_or_else(|| panic!("key {first} is gone"));
        assert!(value[0] >= round && value[1] == first, "key {first}: {value:?}");
    }
}

/// The digests of a node's user groups cannot be compared with a backup's, which are keyed by other uids: their counts can.
fn records(manifest: &Manifest) -> u64 {
    manifest.groups.iter().filter(|group| group.group != GroupId(0)).map(|group| group.records).sum()
}

fn make(backup: &Path, config: &Config) -> quorate::Result<quorate::backup::Restored> {
    let seams = Seams::production(config).unwrap();
    let backup = Backup::open(Arc::clone(&seams.disk), backup).unwrap();
    restore((&seams.disk, &seams.rng), &backup, config, &mut |_| {})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_under_writes_becomes_a_new_cluster_of_one_or_of_three() {
    let dir = tempfile::tempdir().unwrap();
    let old = open(config(&dir.path().join("old"))).await;
    old.ready(PATIENCE).await.unwrap();
    write(&old, 1).await;
    let (stop, writing) = (Arc::new(AtomicBool::new(false)), old.clone());
    let stopped = Arc::clone(&stop);
    let writer = tokio::spawn(async move {
        let mut round = 1;
        while !stopped.load(Ordering::Relaxed) && round < u8::MAX {
            round += 1;
            write(&writing, round).await;
        }
    });
    let (target, mut told) = (dir.path().join("backup"), BackupProgress::default());
    let manifest = old.backup(&target, PATIENCE, |now| told = *now).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    assert_eq!((told.groups, told.groups_total), (usize::from(GROUPS) + 1, usize::from(GROUPS) + 1));
    assert_eq!((told.bytes, records(&manifest)), (manifest.bytes(), u64::from(KEYS)));
    let again = old.backup(&target, PATIENCE, |_| {}).await.unwrap_err();
    assert!(matches!(again, Error::Storage(StorageError::Occupied { .. })), "{again}");
    let refused = make(&target, &config(&dir.path().join("same"))).unwrap_err();
    assert!(matches!(refused, Error::SameCluster(_)), "{refused}");
    // Both live on side by side.
    for nodes in [1, 3] {
        let addresses = free_addresses(nodes);
        let config = |id: u64| {
            let mut config = config(&dir.path().join(format!("new-{nodes}-{id}")));
            config.cluster = cluster_id("new");
            config.node = NodeId(id);
            config.bootstrap.nodes.clone_from(&addresses);
            config.listen = addresses.iter().find(|known| known.node == config.node).map(|known| known.peer);
            config
        };
        for id in 1..=nodes {
            let restored = make(&target, &config(id)).unwrap();
            assert_eq!(restored.groups.len(), usize::from(GROUPS) + 1);
        }
        for restart in 0..2 {
            let mut running = Vec::new();
            for id in 1..=nodes {
                running.push(open(config(id)).await);
            }
            for node in &running {
                node.ready(PATIENCE).await.unwrap();
                check(node, 1).await;
            }
            if restart == 0 {
                let again = running[0].backup(dir.path().join(format!("second-{nodes}")), PATIENCE, |_| {});
                if nodes == 1 {
                    let second = again.await.unwrap();
                    assert_eq!(records(&second), records(&manifest));
                }
            }
            write(&running[0], 200 + restart).await;
            for node in &running {
                check(node, 200 + restart).await;
            }
            for node in running {
                node.shutdown_together().await.unwrap();
            }
        }
    }
    check(&old, 1).await;
    old.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_group_that_is_led_elsewhere_names_it_and_leaves_nothing() {
    let cluster = crate::cluster::Cluster::of_three().await;
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("backup");
    let mut refused = 0;
    for id in 1..=3 {
        match cluster.node(id).backup(&target, PATIENCE, |_| {}).await {
            // It happens to lead both groups.
            Ok(_) => std::fs::remove_dir_all(&target).unwrap(),
            Err(Error::Backup { cause, .. }) => {
                assert!(matches!(*cause, Error::Group(quorate::GroupError::NotLeader { .. })), "{cause}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
    assert!(refused >= 2, "one node leads at most");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_verifies_and_a_node_that_was_forgotten_in_the_restore_serves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let old = open(config(&dir.path().join("old"))).await;
    old.ready(PATIENCE).await.unwrap();
    write(&old, 1).await;
    let target = dir.path().join("backup");
    old.backup(&target, PATIENCE, |_| {}).await.unwrap();
    old.shutdown().await.unwrap();
    let seams = Seams::production(&config(dir.path())).unwrap();
    let report = verify_backup(&seams.disk, &target, None, &mut |_| {});
    assert_eq!(report.findings, []);
    let addresses = free_addresses(3);
    let config = |id: u64| {
        let mut config = config(&dir.path().join(format!("new-{id}")));
        config.cluster = cluster_id("new");
        config.node = NodeId(id);
        config.bootstrap.nodes.clone_from(&addresses);
        config.listen = addresses.iter().find(|known| known.node == config.node).map(|known| known.peer);
        config
    };
    for id in 1..=2 {
        make(&target, &config(id)).unwrap();
    }
    let mut running = Vec::new();
    for id in 1..=3 {
        running.push(open(config(id)).await);
    }
    for node in &running[..2] {
        node.ready(PATIENCE).await.unwrap();
        check(node, 1).await;
    }
    // The third has no data and holds no replica of any user group. It may not know; it never says that there is nothing.
    assert!(running[2].local_groups().iter().all(|group| group.group == GroupId(0)));
    match running[2].get(vec![7], ReadLevel::Linearizable).await {
        Ok(value) => assert_eq!(value.as_deref(), Some(&[1, 7][..])),
        Err(error) => assert!(error.is_retryable(), "{error}"),
    }
    for node in running {
        node.shutdown_together().await.unwrap();
    }
}
