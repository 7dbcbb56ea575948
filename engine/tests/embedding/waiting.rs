//! A node whose snapshots have all rotted and whose state is gone.

use std::fs;
use std::path::Path;
use std::time::Duration;

use quorate::{Config, GroupReadiness};

use crate::cluster::{Cluster, GROUP, has_applied, until};
use crate::writing::Writing;

fn short_logs(config: &mut Config) {
    config.snapshots.entries = Some(50);
    config.snapshots.trailing_entries = 10;
    config.snapshots.follower_grace = Duration::ZERO;
}

/// Damages every snapshot of the group in `dir`, at every page, and removes its state.
fn ruin(dir: &Path) {
    let group = dir.join("groups").join(GROUP.to_string());
    let mut ruined = 0;
    for entry in fs::read_dir(group.join("snapshots")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x55);
        fs::write(&path, bytes).unwrap();
        ruined += 1;
    }
    assert!(ruined > 0, "no snapshot to ruin");
    fs::remove_dir_all(group.join("state")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_snapshots_and_state_comes_back_by_itself_under_load() {
    let mut cluster = Cluster::open(3, short_logs).await;
    let away = cluster.follower(GROUP).await;
    let leader = cluster.leader(GROUP).await;
    let writing = Writing::through(cluster.node(leader));
    until("a compacted log", || {
        (cluster.node(away).group(GROUP).local_status()?.first.get() > 100).then_some(())
    })
    .await;
    cluster.kill(away);
    ruin(&cluster.data_dir(away));
    let node = cluster.start(away).await;
    until("a replica that waits", || {
        let waits = node.group(GROUP).local_report()?.snapshot_waits;
        (waits > 0).then_some(())
    })
    .await;
    until("a replica that serves again", || {
        let groups = node.readiness().groups;
        groups.contains(&(GROUP, GroupReadiness::Ready)).then_some(())
    })
    .await;
    writing.go_on(50).await;
    let leader = cluster.leader(GROUP).await;
    let committed = cluster.node(leader).group(GROUP).local_status().unwrap();
    until("catching up", || has_applied(&node, &committed).then_some(())).await;
    // Whoever is left needs the one that waited.
    let other = (1..=3).find(|&id| id != away && id != leader).unwrap();
    writing.verify(&node).await;
    cluster.kill(other);
    let writing = Writing::through(&node);
    writing.go_on(20).await;
    writing.verify(&node).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_nobody_to_ask_stays_quarantined_and_says_why() {
    let mut cluster = Cluster::open(1, short_logs).await;
    let writing = Writing::through(cluster.node(1));
    until("a compacted log", || {
        (cluster.node(1).group(GROUP).local_status()?.first.get() > 100).then_some(())
    })
    .await;
    writing.verify(cluster.node(1)).await;
    cluster.kill(1);
    ruin(&cluster.data_dir(1));
    let node = cluster.start(1).await;
    let reason = until("a quarantined replica", || {
        node.readiness().groups.into_iter().find_map(|(group, readiness)| match readiness {
            GroupReadiness::Quarantined(reason) if group == GROUP => Some(reason),
            _ => None,
        })
    })
    .await;
    assert!(reason.contains("snapshot"), "{reason}");
    assert_eq!(node.group(GROUP).local_report().unwrap().snapshot_waits, 0);
}
