//! Replicas added, promoted, removed and replaced while writes go on.

use std::time::Duration;

use quorate::{Config, Error, Group, GroupError, GroupReadiness, Node, NodeId, NotRepairable, ReplicaId};

use crate::cluster::{Cluster, GROUP, PATIENCE, has_applied, replica_on, until};
use crate::writing::Writing;

/// Membership changes wait for catching up, on a machine that does other things too.
fn patient(config: &mut Config) {
    config.deadline = Duration::from_secs(15);
}

/// Four nodes; the only group is on the first three.
async fn of_four() -> Cluster {
    let cluster = Cluster::open(4, patient).await;
    let group = cluster.node(1).group(GROUP);
    assert_eq!(nodes(&group), [1, 2, 3]);
    cluster
}

/// Where the group's replicas are, as the catalog says.
fn nodes(group: &Group) -> Vec<u64> {
    let mut nodes: Vec<u64> =
        group.descriptor().unwrap().replicas.iter().map(|replica| replica.node.get()).collect();
    nodes.sort_unstable();
    nodes
}

async fn catalog_says(cluster: &Cluster, running: &[u64], expected: &[u64]) {
    for &id in running {
        let group = cluster.node(id).group(GROUP);
        until("the new membership", || (nodes(&group) == expected).then_some(())).await;
    }
}

/// Waits until a replica runs on `node` and holds everything that is committed now.
async fn caught_up(cluster: &Cluster, node: u64) {
    let leader = cluster.leader(GROUP).await;
    let committed = cluster.node(leader).group(GROUP).local_status().unwrap();
    until("catching up", || has_applied(cluster.node(node), &committed).then_some(())).await;
}

async fn buried(cluster: &Cluster, node: u64) {
    let group = cluster.data_dir(node).join("groups").join(GROUP.to_string());
    until("the burial", || {
        let stopped = cluster.node(node).group(GROUP).local_status().is_none();
        (stopped && !group.join("wal").exists()).then_some(())
    })
    .await;
}

fn is_voter(node: &Node, replica: ReplicaId) -> bool {
    let status = node.group(GROUP).local_status().unwrap();
    status.peers.iter().any(|peer| peer.replica == replica && peer.is_voter)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_joins_is_promoted_and_a_follower_is_removed_under_load() {
    let cluster = of_four().await;
    let writing = Writing::through(cluster.node(1));
    writing.go_on(50).await;
    // Asked of a node that has no replica of the group.
    let group = cluster.node(4).group(GROUP);
    let joined = group.add_learner(NodeId(4)).await.unwrap();
    catalog_says(&cluster, &[1, 2, 3, 4], &[1, 2, 3, 4]).await;
    let leader = cluster.leader(GROUP).await;
    assert!(!is_voter(cluster.node(leader), joined));
    group.promote(joined).await.unwrap();
    let leader = cluster.leader(GROUP).await;
    until("a vote", || is_voter(cluster.node(leader), joined).then_some(())).await;

    let follower = cluster.follower(GROUP).await;
    group.remove(replica_on(&group, follower).unwrap()).await.unwrap();
    let left: Vec<u64> = (1..=4).filter(|&id| id != follower).collect();
    catalog_says(&cluster, &[1, 2, 3, 4], &left).await;
    buried(&cluster, follower).await;
    writing.go_on(50).await;
    for id in left {
        caught_up(&cluster, id).await;
    }
    writing.verify(cluster.node(follower)).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_removed_hands_over_first() {
    let cluster = of_four().await;
    let writing = Writing::through(cluster.node(4));
    writing.go_on(20).await;
    let leader = cluster.leader(GROUP).await;
    let group = cluster.node(1).group(GROUP);
    group.remove(replica_on(&group, leader).unwrap()).await.unwrap();
    let left: Vec<u64> = (1..=3).filter(|&id| id != leader).collect();
    catalog_says(&cluster, &[1, 2, 3, 4], &left).await;
    buried(&cluster, leader).await;
    writing.go_on(20).await;
    writing.verify(cluster.node(leader)).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_replaced_while_writes_go_on() {
    let cluster = of_four().await;
    let writing = Writing::through(cluster.node(1));
    writing.go_on(50).await;
    let leader = cluster.leader(GROUP).await;
    let group = cluster.node(2).group(GROUP);
    let old = replica_on(&group, leader).unwrap();
    let new = group.replace_replica(old, NodeId(4)).await.unwrap();
    let left: Vec<u64> = (1..=4).filter(|&id| id != leader).collect();
    catalog_says(&cluster, &[1, 2, 3, 4], &left).await;
    assert_eq!(replica_on(&group, 4), Some(new));
    buried(&cluster, leader).await;
    writing.go_on(50).await;
    caught_up(&cluster, 4).await;
    writing.verify(cluster.node(4)).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_make_no_sense_are_refused() {
    let cluster = of_four().await;
    let group = cluster.node(1).group(GROUP);
    let unknown = group.add_learner(NodeId(9)).await;
    assert!(matches!(unknown, Err(Error::NoSuchNode(NodeId(9)))), "{unknown:?}");
    let twice = group.add_learner(NodeId(2)).await;
    assert!(matches!(twice, Err(Error::Group(GroupError::ConfChangeRefused(_)))), "{twice:?}");
    let stranger = group.remove(ReplicaId(1_000)).await;
    assert!(matches!(stranger, Err(Error::Group(GroupError::ConfChangeRefused(_)))), "{stranger:?}");
    let voter = group.promote(replica_on(&group, 2).unwrap()).await;
    assert!(matches!(voter, Err(Error::Group(GroupError::ConfChangeRefused(_)))), "{voter:?}");
    assert_eq!(nodes(&group), [1, 2, 3]);
    cluster.shutdown().await;
}

/// A replica whose directory is gone has forgotten its votes: it must not come back as the one it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lost_its_directory_comes_back_only_under_a_new_id() {
    let mut cluster = Cluster::open(3, patient).await;
    let writing = Writing::through(cluster.node(1));
    writing.go_on(20).await;
    let old = replica_on(&cluster.node(1).group(GROUP), 3).unwrap();
    cluster.take(3).shutdown().await.unwrap();
    std::fs::remove_dir_all(cluster.data_dir(3).join("groups").join(GROUP.to_string())).unwrap();
    cluster.start(3).await;
    let lost = (GROUP, GroupReadiness::Lost);
    until("a lost replica", || cluster.node(3).readiness().groups.contains(&lost).then_some(())).await;
    cluster.node(3).ready(PATIENCE).await.unwrap();
    assert!(cluster.node(3).group(GROUP).local_status().is_none());
    writing.go_on(20).await;

    let new = cluster.node(3).group(GROUP).replace_replica(old, NodeId(3)).await.unwrap();
    assert!(new > old);
    let ready = (GROUP, GroupReadiness::Ready);
    until("a replica", || cluster.node(3).readiness().groups.contains(&ready).then_some(())).await;
    caught_up(&cluster, 3).await;
    assert_eq!(cluster.node(3).group(GROUP).local_status().unwrap().replica, new);
    writing.go_on(20).await;
    writing.verify(cluster.node(3)).await;
    cluster.shutdown().await;
}

/// Damages everything in the newest segments of a stopped replica's log but their heads: both tables of its batches.
fn lose_log(cluster: &Cluster, id: u64) {
    let wal = cluster.data_dir(id).join("groups").join(GROUP.to_string()).join("wal");
    for file in std::fs::read_dir(wal).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.len().min(12 << 10);
        for byte in &mut bytes[4 << 10..end] {
            *byte ^= 0x5a;
        }
        std::fs::write(path, bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarantined_replica_is_repaired_and_its_files_are_kept() {
    let mut cluster = Cluster::open(3, patient).await;
    let writing = Writing::through(cluster.node(1));
    writing.go_on(20).await;
    let old = replica_on(&cluster.node(1).group(GROUP), 3).unwrap();
    let healthy = cluster.node(3).repair(GROUP, PATIENCE).await;
    let in_service = NotRepairable::InService;
    assert!(
        matches!(healthy, Err(Error::NotRepairable { reason, .. }) if reason == in_service),
        "{healthy:?}"
    );
    cluster.take(3).shutdown().await.unwrap();
    lose_log(&cluster, 3);
    cluster.start(3).await;
    until("a quarantine", || {
        let groups = cluster.node(3).readiness().groups;
        groups
            .iter()
            .any(|(group, is)| *group == GROUP && matches!(is, GroupReadiness::Quarantined(_)))
            .then_some(())
    })
    .await;
    writing.go_on(20).await;

    until("a catalog", || cluster.node(3).catalog().version).await;
    let new = cluster.node(3).repair(GROUP, PATIENCE).await.unwrap();
    assert!(new > old);
    caught_up(&cluster, 3).await;
    assert_eq!(cluster.node(3).group(GROUP).local_status().unwrap().replica, new);
    let names = std::fs::read_dir(cluster.data_dir(3).join("groups")).unwrap();
    let kept: Vec<_> = names
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{GROUP}.quarantined-")))
        .collect();
    assert_eq!(kept.len(), 1);
    assert!(kept[0].path().join("wal").exists() && kept[0].path().join("replica").exists());
    writing.go_on(20).await;
    writing.verify(cluster.node(3)).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_that_is_interrupted_again_and_again_is_finished_by_calling_it_again() {
    let mut cluster = Cluster::open(3, patient).await;
    let writing = Writing::through(cluster.node(1));
    writing.go_on(20).await;
    let old = replica_on(&cluster.node(1).group(GROUP), 3).unwrap();
    cluster.take(3).shutdown().await.unwrap();
    lose_log(&cluster, 3);
    cluster.start(3).await;
    until("a catalog", || cluster.node(3).catalog().version).await;
    until("a quarantine", || cluster.node(3).group(GROUP).local_quarantine()).await;

    // Each time a little longer: so it ends in every step.
    let mut interruptions = 0;
    for attempt in 1..=200 {
        match cluster.node(3).repair(GROUP, Duration::from_millis(attempt)).await {
            Ok(_) => break,
            Err(Error::NotRepairable { reason: NotRepairable::InService, .. }) if interruptions > 0 => break,
            Err(Error::Group(_) | Error::CatalogContended) => interruptions += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(interruptions > 0);
    let new =
        until("a new replica", || replica_on(&cluster.node(1).group(GROUP), 3).filter(|now| *now != old))
            .await;
    let leader = cluster.leader(GROUP).await;
    until("its vote", || is_voter(cluster.node(leader), new).then_some(())).await;
    caught_up(&cluster, 3).await;
    writing.go_on(20).await;
    writing.verify(cluster.node(3)).await;
    cluster.shutdown().await;
}
