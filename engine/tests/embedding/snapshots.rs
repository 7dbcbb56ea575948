//! Followers that were away for longer than the log reaches back.

use std::time::Duration;

use quorate::Config;
use quorate::storage::Index;

use crate::cluster::{Cluster, GROUP, has_applied, until};
use crate::writing::Writing;

fn short_logs(config: &mut Config) {
    config.snapshots.entries = Some(50);
    config.snapshots.trailing_entries = 10;
    // Whoever is away holds nothing.
    config.snapshots.follower_grace = Duration::ZERO;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_behind_the_compacted_log_is_caught_up_by_a_snapshot_under_load() {
    let mut cluster = Cluster::open(3, short_logs).await;
    let away = cluster.follower(GROUP).await;
    let leader = cluster.leader(GROUP).await;
    let writing = Writing::through(cluster.node(leader));
    writing.go_on(20).await;
    let had = cluster.node(away).group(GROUP).local_status().unwrap();
    cluster.kill(away);
    until("a compacted log", || {
        let status = cluster.node(leader).group(GROUP).local_status()?;
        (status.first > Index(had.last.get() + 100)).then_some(())
    })
    .await;
    let node = cluster.restart(away).await;
    until("an installed snapshot", || {
        (node.group(GROUP).local_report()?.snapshots_installed > 0).then_some(())
    })
    .await;
    writing.go_on(50).await;
    let leader = cluster.leader(GROUP).await;
    let committed = cluster.node(leader).group(GROUP).local_status().unwrap();
    until("catching up", || has_applied(&node, &committed).then_some(())).await;
    // Whoever is left needs the one that was away.
    let other = (1..=3).find(|&id| id != away && id != leader).unwrap();
    writing.verify(&node).await;
    cluster.kill(other);
    let writing = Writing::through(&node);
    writing.go_on(20).await;
    writing.verify(&node).await;
    cluster.shutdown().await;
}
