//! Logs with unreadable entries: repaired from the other replicas, cut where nothing was ever committed, and never
//! guessed.

use std::time::Duration;

use quorate_storage::disk::{Disk, OpenMode};
use quorate_telemetry::stats::QuarantineReason;

use super::node::{DEADLINE, TestNode, cluster, config, leader, put_anyhow};
use crate::actor::{Lifecycle, ReadLevel, StartError, StopMode};
use crate::error::Error;
use crate::repair::Repaired;

const WRITES: usize = 20;

/// Long enough for the last batch to be proven.
async fn prove() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

/// Three replicas that hold `k0` to `k19`, all of them killed.
async fn killed_cluster() -> Vec<TestNode> {
    let (_network, nodes) = cluster(3, &config()).await;
    for at in 0..WRITES {
        put_anyhow(&nodes, &format!("k{at}=value-{at}.")).await;
    }
    prove().await;
    for node in &nodes {
        node.kill().await;
    }
    nodes
}

/// Damages the first copy of `text` in the node's log.
pub(super) fn rot(node: &TestNode, text: &str) {
    for (path, bytes) in node.disk.files() {
        if path.extension().is_none_or(|end| end != "wal") {
            continue;
        }
        let file = node.disk.open(&path, OpenMode::Read).unwrap();
        let mut content = vec![0; usize::try_from(bytes).unwrap()];
        file.read_exact_at(&mut content, 0).unwrap();
        if let Some(at) = content.windows(text.len()).position(|window| window == text.as_bytes()) {
            return node.disk.flip(&path, at as u64 + 1, 0x20).unwrap();
        }
    }
    panic!("{text} is not in the log of {}", node.id);
}

/// Starts all of them, each as soon as it can be; which ones were repaired.
async fn restart_all(nodes: &mut Vec<TestNode>) -> Vec<u64> {
    let starting = nodes.drain(..).map(|mut node| {
        tokio::spawn(async move {
            let repair = node.begin_restart().await;
            let was_damaged = repair.is_some();
            if let Some(repair) = repair {
                assert!(matches!(repair.await.unwrap(), Repaired::Whole));
                node.restart().await;
            }
            (node, was_damaged)
        })
    });
    let mut repaired = Vec::new();
    let starting: Vec<_> = starting.collect();
    for start in starting {
        let (node, was_damaged) = start.await.unwrap();
        repaired.extend(was_damaged.then_some(node.id));
        nodes.push(node);
    }
    repaired
}

/// Every replica holds everything that was acknowledged, and the group goes on.
async fn check_all(nodes: &[TestNode]) {
    let last = put_anyhow(nodes, "end=1").await;
    for node in nodes {
        node.applies(last.id.index).await;
        for at in 0..WRITES {
            let value = node.get(&format!("k{at}"), ReadLevel::Local).await.unwrap();
            assert_eq!(value, format!("value-{at}."), "on {}", node.id);
        }
        assert_eq!(node.handle.status().lifecycle, Lifecycle::Running);
    }
}

#[tokio::test(start_paused = true)]
async fn damage_on_one_replica_is_repaired_whichever_it_is() {
    for id in 1..=3 {
        let mut nodes = killed_cluster().await;
        let damaged = nodes.iter().find(|node| node.id == id).unwrap();
        for text in ["value-0.", "value-7.", "value-8."] {
            rot(damaged, text);
        }
        assert_eq!(restart_all(&mut nodes).await, [id]);
        let counts: Vec<u64> = nodes.iter().map(|node| node.stats.log.repaired_entries.get()).collect();
        assert_eq!(counts.iter().sum::<u64>(), 3, "{counts:?}");
        check_all(&nodes).await;
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_damaged_in_different_places_help_each_other() {
    let mut nodes = killed_cluster().await;
    for (node, texts) in nodes.iter().zip([[1, 2, 10], [3, 4, 11], [5, 6, 12]]) {
        for text in texts {
            rot(node, &format!("value-{text}."));
        }
    }
    assert_eq!(restart_all(&mut nodes).await, [1, 2, 3]);
    for node in &nodes {
        assert_eq!(node.stats.log.repaired_entries.get(), 3);
    }
    check_all(&nodes).await;
    for node in &nodes {
        node.kill().await;
    }
    assert_eq!(restart_all(&mut nodes).await, [0_u64; 0], "it lasts");
    check_all(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn what_no_replica_can_read_is_waited_for_and_never_dropped() {
    let mut nodes = killed_cluster().await;
    for node in &nodes {
        rot(node, "value-5.");
    }
    let mut repairs = Vec::new();
    for node in &mut nodes {
        repairs.push(node.begin_restart().await.expect("damaged"));
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    for (node, repair) in nodes.iter().zip(repairs) {
        let Lifecycle::Repairing(reason) = node.handle.status().lifecycle else { panic!("repaired?") };
        assert!(reason.contains(".wal at byte") && reason.contains("2 of 2 answered"), "{reason}");
        let refused = node.put("a=1").await.unwrap_err();
        assert!(matches!(refused, Error::Quarantined { .. }), "{refused}");
        node.handle.stop(StopMode::Now).await;
        assert!(matches!(repair.await.unwrap(), Repaired::Stopped));
        assert_eq!(node.stats.log.dropped_entries.get(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_was_never_committed_is_dropped_with_what_follows() {
    let (network, mut nodes) = cluster(3, &config()).await;
    for at in 0..WRITES {
        put_anyhow(&nodes, &format!("k{at}=value-{at}.")).await;
    }
    let old = leader(&nodes).await.id;
    let at = nodes.iter().position(|node| node.id == old).unwrap();
    let mut lonely = nodes.remove(at);
    network.cut(old);
    for command in ["lost=never-1.", "lost=never-2.", "lost=never-3."] {
        let proposed = lonely.handle.propose(command.into(), 1.into(), Duration::from_millis(20)).await;
        assert!(proposed.unwrap_err().is_maybe_committed());
    }
    prove().await;
    lonely.kill().await;
    rot(&lonely, "never-2.");
    put_anyhow(&nodes, "k0=value-0.").await;
    network.heal(old);
    let repair = lonely.begin_restart().await.expect("damaged");
    assert!(matches!(repair.await.unwrap(), Repaired::Whole));
    assert_eq!((lonely.stats.log.repaired_entries.get(), lonely.stats.log.dropped_entries.get()), (0, 2));
    lonely.restart().await;
    nodes.push(lonely);
    check_all(&nodes).await;
    assert_eq!(leader(&nodes).await.get("lost", ReadLevel::Linearizable).await.unwrap(), "");
}

#[tokio::test(start_paused = true)]
async fn the_only_replica_of_a_group_is_quarantined_with_file_and_offset() {
    let (_network, mut nodes) = cluster(1, &config()).await;
    let mut node = nodes.remove(0);
    node.serves().await;
    node.put("a=value-a.").await.unwrap();
    node.put("b=value-b.").await.unwrap();
    prove().await;
    node.kill().await;
    rot(&node, "value-a.");
    let error = node.try_restart().await.unwrap_err();
    let StartError::Open { cause, .. } = &error else { panic!("{error}") };
    assert!(cause.is_corruption() && cause.to_string().contains(".wal at byte"), "{cause}");
    let handle = node.quarantined(&error);
    assert_eq!(handle.stats().quarantine_reason(), Some(QuarantineReason::Corrupt));
}

#[tokio::test(start_paused = true)]
async fn damage_below_the_state_only_raises_the_first_index() {
    let (_network, mut nodes) = cluster(1, &config()).await;
    let mut node = nodes.remove(0);
    node.serves().await;
    node.put("a=value-a.").await.unwrap();
    let below = node.put("b=value-b.").await.unwrap();
    node.handle.publish_snapshot(DEADLINE).await.unwrap();
    node.put("c=value-c.").await.unwrap();
    prove().await;
    node.kill().await;
    rot(&node, "value-b.");
    node.restart().await;
    node.serves().await;
    for key in ["a", "b", "c"] {
        assert_eq!(node.get(key, ReadLevel::Linearizable).await.unwrap(), format!("value-{key}."));
    }
    assert_eq!(node.handle.status().first, below.id.index.next());
}
