//! Three nodes, one of which stops, dies, comes back, or comes back as somebody else.

use std::time::Duration;

use quorate::{Error, GroupError, GroupReadiness, ReadLevel};

use crate::cluster::{Cluster, GROUP, PATIENCE, has_applied, until};
use crate::writing::Writing;

/// How soon a group whose leader was stopped gracefully serves again: not even an election timeout passes.
const HAND_OVER_MAX: Duration = Duration::from_secs(1);

async fn catches_up(cluster: &Cluster, id: u64) {
    let leader = cluster.leader(GROUP).await;
    let committed = cluster.node(leader).group(GROUP).local_status().unwrap();
    until("catching up", || has_applied(cluster.node(id), &committed).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_shut_down_hands_over_and_writes_go_on() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader(GROUP).await;
    let other = cluster.follower(GROUP).await;
    let writing = Writing::through(cluster.node(other));
    writing.go_on(20).await;
    cluster.take(leader).shutdown().await.unwrap();
    let written = tokio::time::timeout(HAND_OVER_MAX, cluster.node(other).put("after", "1")).await;
    written.expect("somebody leads at once").unwrap();
    assert_ne!(cluster.leader(GROUP).await, leader);
    writing.go_on(20).await;
    cluster.restart(leader).await;
    catches_up(&cluster, leader).await;
    writing.verify(cluster.node(leader)).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_dies_is_replaced_and_catches_up_when_it_is_back() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader(GROUP).await;
    let other = cluster.follower(GROUP).await;
    let writing = Writing::through(cluster.node(other));
    writing.go_on(20).await;
    cluster.kill(leader);
    writing.go_on(20).await;
    assert_ne!(cluster.leader(GROUP).await, leader);
    cluster.restart(leader).await;
    catches_up(&cluster, leader).await;
    writing.go_on(20).await;
    writing.verify(cluster.node(leader)).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_a_write_is_never_acknowledged_and_a_new_one_serves() {
    let mut cluster = Cluster::open(3, |config| config.deadline = Duration::from_millis(1_500)).await;
    cluster.node(1).put("before", "1").await.unwrap();
    cluster.kill(2);
    cluster.kill(3);
    let written = cluster.node(1).put("alone", "1").await;
    assert!(written.is_err(), "{written:?}");
    let read = cluster.node(1).get("before", ReadLevel::Linearizable).await;
    assert!(read.is_err(), "{read:?}");
    let local = cluster.node(1).get("before", ReadLevel::Local).await.unwrap();
    assert_eq!(local.as_deref(), Some(&b"1"[..]));
    cluster.start(2).await;
    cluster.node(2).ready(PATIENCE).await.unwrap();
    until_writable(&cluster, 2).await;
    cluster.restart(3).await;
    cluster.shutdown().await;
}

async fn until_writable(cluster: &Cluster, id: u64) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while let Err(error) = cluster.node(id).put("after", "1").await {
        assert!(tokio::time::Instant::now() < deadline, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_stop_together_and_come_back_with_everything() {
    let mut cluster = Cluster::of_three().await;
    let writing = Writing::through(cluster.node(1));
    writing.go_on(50).await;
    for id in 1..=3 {
        cluster.kill(id);
    }
    // The writer still holds its node; the two others are gone.
    for id in 2..=3 {
        cluster.start(id).await;
    }
    for id in 2..=3 {
        cluster.node(id).ready(PATIENCE).await.unwrap();
    }
    writing.go_on(10).await;
    writing.verify(cluster.node(2)).await;
    cluster.restart(1).await;
    catches_up(&cluster, 1).await;
    cluster.shutdown().await;
}

/// A node is its data directory. One that comes back with another has forgotten its votes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_an_emptied_directory_is_refused_by_its_peers() {
    let mut cluster = Cluster::of_three().await;
    let writing = Writing::through(cluster.node(1));
    writing.go_on(20).await;
    cluster.take(3).shutdown().await.unwrap();
    std::fs::remove_dir_all(cluster.data_dir(3)).unwrap();
    let emptied = cluster.start(3).await;
    let ready = emptied.ready(Duration::from_secs(2)).await;
    assert!(matches!(ready, Err(Error::Group(GroupError::DeadlineExceeded))), "{ready:?}");
    assert_eq!(emptied.catalog().version, None, "nobody tells it anything");
    let knows_leader = |(_, state): &(_, GroupReadiness)| *state == GroupReadiness::Ready;
    assert!(!emptied.readiness().groups.iter().any(knows_leader));
    emptied.shutdown().await.unwrap();
    writing.go_on(20).await;
    writing.verify(cluster.node(2)).await;
    cluster.shutdown().await;
}
