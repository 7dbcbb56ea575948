//! One group's failure stays one group's failure, and nothing is claimed that is not so.

use quorate_storage::Index;
use quorate_storage::disk::DiskFault;

use super::kv::{kv_cluster, put_kv, read_kv};
use super::node::{DEADLINE, TestNode, cluster, config, leader, put_anyhow};
use crate::actor::{Lifecycle, Quarantine, ReadLevel, Remedy, StopMode};
use crate::error::Error;

#[tokio::test(start_paused = true)]
async fn a_state_machine_that_panics_quarantines_only_its_group() {
    let (_network, nodes) = cluster(1, &config()).await;
    let (_other_network, others) = cluster(1, &config()).await;
    nodes[0].serves().await;
    others[0].serves().await;
    let error = nodes[0].put("panic=1").await.unwrap_err();
    let Error::Quarantined { reason, maybe_committed: true, .. } = &error else { panic!("{error:?}") };
    assert!(reason.contains("panic in the applier"), "{reason}");
    let refused = nodes[0].put("a=1").await.unwrap_err();
    assert!(matches!(refused, Error::Quarantined { maybe_committed: false, .. }));
    assert!(nodes[0].get("a", ReadLevel::Local).await.is_err());
    assert!(matches!(nodes[0].handle.status().lifecycle, Lifecycle::Quarantined(_)));
    others[0].put("a=1").await.unwrap();
    assert_eq!(others[0].get("a", ReadLevel::Linearizable).await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_state_machine_that_fails_halts_before_anything_later() {
    let (_network, nodes) = cluster(1, &config()).await;
    nodes[0].serves().await;
    let before = nodes[0].put("a=1").await.unwrap();
    assert!(nodes[0].put("fail=1").await.unwrap_err().is_maybe_committed());
    assert_eq!(nodes[0].handle.status().applied, before.id.index);
}

#[tokio::test(start_paused = true)]
async fn a_failed_sync_quarantines_and_nothing_is_acknowledged_after_it() {
    let (_network, nodes) = cluster(3, &config()).await;
    let applied = put_anyhow(&nodes, "a=1").await;
    let old = leader(&nodes).await;
    old.disk.fail_sync(1);
    let error = old.put("b=1").await.unwrap_err();
    assert!(matches!(error, Error::Quarantined { .. } | Error::Indeterminate { .. }), "{error:?}");
    let rest: Vec<_> = nodes
        .into_iter()
        .filter(|node| matches!(node.handle.status().lifecycle, Lifecycle::Running))
        .collect();
    assert_eq!(rest.len(), 2);
    let later = put_anyhow(&rest, "c=1").await;
    assert!(later.id.index > applied.id.index);
    assert_eq!(leader(&rest).await.get("a", ReadLevel::Linearizable).await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn power_cuts_lose_nothing_that_was_acknowledged() {
    let mut config = config();
    config.snapshots.entries = Some(25);
    config.snapshots.trailing_entries = 3;
    let (_network, mut nodes) = cluster(3, &config).await;
    let mut acknowledged = 0;
    for round in 0..12 {
        // Writes are under way when the power goes: on one node, on two, or on all at once.
        let writers: Vec<_> = (0..4).map(|writer| burst(&nodes, round, writer)).collect();
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        let victims = round % 3 + 1;
        for victim in 0..victims {
            nodes[(round + victim) % 3].cut_power().await;
        }
        for victim in 0..victims {
            nodes[(round + victim) % 3].restart().await;
        }
        for writer in writers {
            acknowledged += writer.await.unwrap();
        }
        put_anyhow(&nodes, &format!("round={round}")).await;
        let lead = leader(&nodes).await;
        for key in ACKNOWLEDGED.with_borrow(Clone::clone) {
            assert_eq!(
                lead.get(&key, ReadLevel::Linearizable).await.unwrap(),
                "v",
                "{key} after round {round}"
            );
        }
    }
    assert_eq!(ACKNOWLEDGED.with_borrow(Vec::len), acknowledged);
    assert!(acknowledged > 20, "{acknowledged} writes are no test");
}

thread_local! {
    /// Keys whose writes were acknowledged.
    static ACKNOWLEDGED: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Writes through every node until something fails; how many were acknowledged.
fn burst(nodes: &[TestNode], round: usize, writer: usize) -> tokio::task::JoinHandle<usize> {
    let handles: Vec<_> = nodes.iter().map(|node| node.handle.clone()).collect();
    tokio::spawn(async move {
        let mut count = 0;
        for i in 0..10 {
            for (at, handle) in handles.iter().enumerate() {
                let key = format!("r{round}w{writer}i{i}n{at}");
                let deadline = std::time::Duration::from_secs(2);
                if handle.propose(format!("{key}=v").into(), 1.into(), deadline).await.is_ok() {
                    ACKNOWLEDGED.with_borrow_mut(|keys| keys.push(key));
                    count += 1;
                }
            }
        }
        count
    })
}

#[tokio::test(start_paused = true)]
async fn a_single_voter_whose_sync_fails_never_acknowledges() {
    let (_network, nodes) = cluster(1, &config()).await;
    nodes[0].serves().await;
    nodes[0].put("a=1").await.unwrap();
    nodes[0].disk.fail_sync(1);
    let error = nodes[0].put("b=1").await.unwrap_err();
    let Error::Quarantined { reason, .. } = error else { panic!("{error:?}") };
    assert!(reason.contains("log write failed"), "{reason}");
    assert!(nodes[0].handle.status().applied <= Index(3));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_while_a_snapshot_is_published_is_restored_without_waiting_for_a_write() {
    let (_network, mut nodes, _) = kv_cluster(1, &config()).await;
    let node = &mut nodes[0];
    put_kv(node, "a", "1").await.unwrap();
    node.disk.fail_once("/state/", DiskFault::FailedSyncs);
    node.handle.publish_snapshot(DEADLINE).await.unwrap_err();
    node.handle.stop(StopMode::Now).await;
    let Some(Quarantine { remedy, .. }) = node.handle.quarantine() else { panic!("it is still in service") };
    assert_eq!(remedy, Remedy::Rebuild);
    node.store_is_rotten = true;
    node.restart().await;
    node.serves().await;
    assert_eq!(read_kv(node, "a").await.as_deref(), Some(b"1".as_slice()));
}
