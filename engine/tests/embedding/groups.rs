//! Groups created and dropped while nodes run.

use std::path::Path;

use bytes::Bytes;
use quorate::disk::RealDisk;
use quorate::storage::identity::{ReplicaIdentity, ReplicaPaths};
use quorate::{Builder, Config, Error, GroupError, GroupId, KeyRange, Node, ReadLevel};

use crate::cluster::{Cluster, PATIENCE, until};

const READ: ReadLevel = ReadLevel::Linearizable;

fn range(start: &'static str, end: &'static str) -> KeyRange {
    KeyRange { start: Bytes::from_static(start.as_bytes()), end: Some(Bytes::from_static(end.as_bytes())) }
}

fn config(dir: &Path) -> Config {
    let mut config = Config::new(dir);
    config.bootstrap.ranges = vec![range("a", "h")];
    config
}

/// Whether nothing is left of a group here but the note that it was.
fn is_tombstone(data_dir: &Path, group: GroupId) -> bool {
    let paths = ReplicaPaths::new(data_dir.join("groups").join(group.to_string()));
    let Ok(found) = ReplicaIdentity::read(&RealDisk::new(), &paths.replica_file()) else { return false };
    let entries = std::fs::read_dir(paths.root()).unwrap().count();
    found.is_some_and(|found| found.tombstone) && entries == 1
}

async fn no_such_group(node: &Node, key: &'static str) {
    let read = node.get(key, READ).await;
    assert!(matches!(read, Err(Error::Group(GroupError::NoSuchGroup { .. }))), "{read:?}");
    let written = node.put(key, "1").await;
    assert!(matches!(written, Err(Error::Group(GroupError::NoSuchGroup { .. }))), "{written:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_serves_its_range_from_its_creation_on() {
    let dir = tempfile::tempdir().unwrap();
    let node = Builder::from_config(config(dir.path())).open().await.unwrap();
    no_such_group(&node, "n").await;
    let created = node.create_group(range("m", "p"), 3).await.unwrap();
    assert_eq!(node.group_of(b"n").unwrap().id(), created.id());
    node.put("n", "1").await.unwrap();
    no_such_group(&node, "p").await;
    for taken in [range("a", "b"), range("g", "m")] {
        let refused = node.create_group(taken, 1).await;
        assert!(matches!(refused, Err(Error::RangeTaken(GroupId(1)))), "{refused:?}");
    }
    let refused = node.create_group(range("o", "z"), 1).await;
    assert!(matches!(refused, Err(Error::RangeTaken(id)) if id == created.id()), "{refused:?}");
    node.create_group(range("h", "m"), 1).await.unwrap();
    node.shutdown().await.unwrap();

    let node = Builder::from_config(config(dir.path())).open().await.unwrap();
    assert_eq!(node.get("n", READ).await.unwrap(), Some(Bytes::from_static(b"1")));
    assert_eq!(node.catalog().user_groups().count(), 3);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_group_leaves_a_tombstone_and_its_id_is_never_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let node = Builder::from_config(config(dir.path())).open().await.unwrap();
    node.put("b", "1").await.unwrap();
    let dropped = node.group_of(b"b").unwrap();
    node.drop_group(dropped.id()).await.unwrap();
    until("the tombstone", || is_tombstone(dir.path(), dropped.id()).then_some(())).await;
    assert!(dropped.local_status().is_none());
    no_such_group(&node, "b").await;
    let refused = dropped.query(Bytes::new(), READ).await;
    assert!(matches!(refused, Err(Error::Group(GroupError::NoSuchGroup { .. }))), "{refused:?}");
    node.drop_group(dropped.id()).await.unwrap();
    let unknown = node.drop_group(GroupId(77)).await;
    let is_unknown = |error: &Error| matches!(error, Error::Group(GroupError::NoSuchGroup { group }) if *group == GroupId(77));
    assert!(unknown.as_ref().is_err_and(is_unknown), "{unknown:?}");
    assert!(node.drop_group(GroupId(0)).await.is_err(), "the catalog stays");

    let successor = node.create_group(range("a", "h"), 1).await.unwrap();
    assert!(successor.id() > dropped.id());
    assert_eq!(node.get("b", READ).await.unwrap(), None, "the keys went with their group");
    node.put("b", "2").await.unwrap();
    node.shutdown().await.unwrap();

    let node = Builder::from_config(config(dir.path())).open().await.unwrap();
    assert_eq!(node.get("b", READ).await.unwrap(), Some(Bytes::from_static(b"2")));
    assert!(is_tombstone(dir.path(), dropped.id()));
    assert_eq!(node.groups().len(), 2);
    let third = node.create_group(range("x", "y"), 1).await.unwrap();
    assert!(third.id() > successor.id());
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_follow_what_one_of_them_creates_and_drops() {
    let mut cluster = Cluster::open(3, |config| config.bootstrap.ranges = vec![range("a", "h")]).await;
    let created = cluster.node(2).create_group(range("m", "p"), 3).await.unwrap().id();
    cluster.node(3).put("n", "1").await.unwrap();
    assert_eq!(cluster.node(1).get("n", READ).await.unwrap(), Some(Bytes::from_static(b"1")));
    cluster.kill(3);
    cluster.node(1).drop_group(created).await.unwrap();
    cluster.start(3).await;
    // The one that was away hears of it when it is back.
    for id in 1..=3 {
        let dir = cluster.data_dir(id);
        until("the tombstone", || is_tombstone(&dir, created).then_some(())).await;
    }
    cluster.node(3).ready(PATIENCE).await.unwrap();
    no_such_group(cluster.node(3), "n").await;
    cluster.shutdown().await;
}
