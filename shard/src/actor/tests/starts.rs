//! What a start does with what it finds.

use std::path::Path;

use quorate_storage::disk::{Disk, DiskFault, OpenMode};
use quorate_telemetry::stats::{ColdStartOutcome, QuarantineReason};

use super::node::{DEADLINE, DIR, TestNode, cluster, config, leader, put_anyhow, snapshot_path};
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

/// What is told decides what brings the group back: a file that is corrupt stays so.
#[tokio::test(start_paused = true)]
async fn where_one_snapshot_is_corrupt_and_the_other_cannot_be_read_now_another_start_may_do() {
    let mut node = with_two_snapshots().await;
    let tokens = node.log().snapshots;
    let [corrupt @ .., older, newest] = tokens.as_slice() else { panic!("{tokens:?}") };
    for token in corrupt.iter().chain([newest]) {
        node.disk.flip(&snapshot_path(token.id), token.bytes / 2, 0xff).unwrap();
    }
    node.disk.fail(&snapshot_path(older.id).to_string_lossy(), DiskFault::FailedReads);
    let error = node.try_restart().await.unwrap_err();
    let StartError::Open { cause, .. } = &error else { panic!("{error:?}") };
    assert!(!cause.is_corruption() && cause.is_store_failure(), "{cause}");
    node.disk.heal();
    node.restart().await;
    node.serves().await;
    assert_eq!(node.get("k29", ReadLevel::Linearizable).await.unwrap(), "v");
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

#[tokio::test(start_paused = true)]
async fn a_follower_on_an_old_copy_of_its_directory_is_found_out_by_its_leader() {
    let (_network, mut nodes) = cluster(3, &config()).await;
    let before = put_anyhow(&nodes, "a=1").await;
    let leads = leader(&nodes).await.id;
    let at = nodes.iter().position(|node| node.id != leads).unwrap();
    nodes[at].applies(before.id.index).await;
    let old = nodes[at].disk.fork();
    let mut last = before.clone();
    for i in 0..10 {
        last = put_anyhow(&nodes, &format!("k{i}=v")).await;
    }
    nodes[at].applies(last.id.index).await;
    nodes[at].kill().await;
    assert!(nodes[at].log().skeleton.last > before.id.index);
    nodes[at].disk = old;
    nodes[at].restart().await;
    for _ in 0..1_000 {
        if nodes[at].handle.stats().quarantine_reason().is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(nodes[at].handle.stats().quarantine_reason(), Some(QuarantineReason::LogLost));
    put_anyhow(&nodes, "b=2").await;
    assert_eq!(leader(&nodes).await.get("k9", ReadLevel::Linearizable).await.unwrap(), "v");
}
