//! What a start does with what it finds.

use std::path::Path;

use quorate_storage::disk::{Disk, OpenMode};
use quorate_telemetry::stats::ColdStartOutcome;

use super::node::{DEADLINE, DIR, TestNode, cluster, config, snapshot_path};
use crate::actor::{ReadLevel, StartError};

/// A stopped replica with two snapshots and entries behind them.
async fn with_two_snapshots() -> TestNode {
    let (_network, mut nodes) = cluster(1, &config()).await;
    let node = nodes.remove(0);
    node.serves().await;
    for round in 0..3 {
        for i in 0..10 {
            node.put(&format!("k{round}{i}=v")).await.unwrap();
        }
        if round < 2 {
            node.handle.publish_snapshot(DEADLINE).await.unwrap();
        }
    }
    node.kill().await;
    node
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_newest_snapshot_has_a_real_fallback() {
    let mut node = with_two_snapshots().await;
    let newest = node.log().snapshots.last().copied().unwrap();
    node.disk.flip(&snapshot_path(newest.id), newest.bytes / 2, 0xff).unwrap();
    node.restart().await;
    node.serves().await;
    for key in ["k00", "k19", "k29"] {
        assert_eq!(node.get(key, ReadLevel::Linearizable).await.unwrap(), "v", "{key}");
    }
    let counts = node.handle.stats().cold_starts.counts();
    assert_eq!(counts, [(ColdStartOutcome::Fallback, "not_reader", 2)], "two starts, each reported once");
}

#[tokio::test(start_paused = true)]
async fn a_start_without_an_intact_snapshot_is_refused_and_touches_nothing() {
    let mut node = with_two_snapshots().await;
    for token in node.log().snapshots {
        node.disk.flip(&snapshot_path(token.id), token.bytes / 2, 0xff).ok();
    }
    let files = node.disk.files();
    let error = node.try_restart().await.unwrap_err();
    let StartError::Open { cause, .. } = &error else { panic!("{error:?}") };
    assert!(cause.is_corruption(), "{cause}");
    let snapshots = |files: Vec<(std::path::PathBuf, u64)>| -> Vec<_> {
        files.into_iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "snap")).collect()
    };
    assert_eq!(snapshots(node.disk.files()), snapshots(files));
    let handle = node.quarantined(&error);
    assert!(
        handle.propose("a=1".into(), 1.into(), DEADLINE).await.unwrap_err().to_string().contains("corrupt")
    );
}

#[tokio::test(start_paused = true)]
async fn a_torn_tail_costs_nothing_that_was_acknowledged() {
    let mut node = with_two_snapshots().await;
    node.restart().await;
    node.serves().await;
    node.disk.shorten_write(1);
    assert!(node.put("lost=v").await.unwrap_err().is_maybe_committed());
    node.kill().await;
    node.disk.clear_faults();
    node.restart().await;
    node.serves().await;
    assert_eq!(node.get("k29", ReadLevel::Linearizable).await.unwrap(), "v");
    assert_eq!(node.get("lost", ReadLevel::Linearizable).await.unwrap(), "");
}

#[tokio::test(start_paused = true)]
async fn a_directory_without_identity_does_not_start() {
    let mut node = with_two_snapshots().await;
    let path = Path::new(DIR).join("replica");
    assert!(node.disk.open(&path, OpenMode::Read).is_ok());
    node.disk.remove_file(&path).unwrap();
    assert!(matches!(node.try_restart().await, Err(StartError::Open { .. })));
}
