//! A group whose only voter is this replica.

use std::time::Duration;

use bytes::Bytes;
use quorate_storage::disk::Disk;
use quorate_storage::{Index, RangeEpoch};

use super::node::{DEADLINE, cluster, config};
use crate::actor::{Lifecycle, ReadLevel, StopMode};
use crate::error::Error;

#[tokio::test(start_paused = true)]
async fn what_was_proposed_is_read_and_survives_a_restart() {
    let (_network, mut nodes) = cluster(1, &config()).await;
    let node = &mut nodes[0];
    node.serves().await;
    let first = node.put("a=1").await.unwrap();
    let second = node.put("a=2").await.unwrap();
    assert_eq!(second.output, Bytes::from_static(b"1"), "the state machine's answer comes back");
    assert!(second.id.index > first.id.index);
    assert_eq!(node.get("a", ReadLevel::Linearizable).await.unwrap(), "2");

    node.kill().await;
    assert_eq!(node.handle.status().lifecycle, Lifecycle::Stopped);
    assert!(matches!(node.put("a=3").await, Err(Error::Stopped { .. })));
    node.restart().await;
    node.serves().await;
    assert_eq!(node.get("a", ReadLevel::Linearizable).await.unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn proposals_that_arrive_together_share_a_sync() {
    let (_network, nodes) = cluster(1, &config()).await;
    let node = &nodes[0];
    node.serves().await;
    let before = node.handle.stats().log.batches.get();
    let commands: Vec<_> = (0..100).map(|i| format!("k{i}={i}")).collect();
    let mut proposals = tokio::task::JoinSet::new();
    for command in commands {
        let handle = node.handle.clone();
        proposals
            .spawn(async move { handle.propose(command.into(), RangeEpoch(1), DEADLINE).await.unwrap() });
    }
    assert_eq!(proposals.join_all().await.len(), 100);
    let syncs = node.handle.stats().log.batches.get() - before;
    assert!(syncs <= 5, "100 proposals took {syncs} syncs");
    assert!(node.handle.stats().apply.batches.get() <= 20);
}

#[tokio::test(start_paused = true)]
async fn concurrent_linearizable_reads_share_barriers() {
    let (_network, nodes) = cluster(1, &config()).await;
    let node = &nodes[0];
    node.serves().await;
    node.put("a=1").await.unwrap();
    let mut reads = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let handle = node.handle.clone();
        reads.spawn(async move { handle.read(ReadLevel::Linearizable, DEADLINE).await.unwrap().index() });
    }
    let indexes = reads.join_all().await;
    assert!(indexes.iter().all(|index| *index >= Index(3)));
    let counters = node.handle.counters();
    assert_eq!(node.handle.stats().requests.reads.of(quorate_telemetry::stats::Outcome::Applied).get(), 100);
    assert!(counters.read_barriers <= 5, "{} barriers for 100 reads", counters.read_barriers);
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_answers_busy() {
    let mut config = config();
    config.mailbox_inputs_max = 4;
    let (_network, nodes) = cluster(1, &config).await;
    let node = &nodes[0];
    node.serves().await;
    let proposals: Vec<_> =
        (0..10).map(|i| node.handle.propose(format!("k={i}").into(), RangeEpoch(1), DEADLINE)).collect();
    // Nothing is awaited in between: the actor has not run.
    let mut outcomes = Vec::new();
    let mut pinned: Vec<_> = proposals.into_iter().map(Box::pin).collect();
    for proposal in &mut pinned {
        outcomes.push(futures_poll(proposal.as_mut()));
    }
    let busy = outcomes.iter().filter(|outcome| matches!(outcome, Some(Err(Error::Busy { .. })))).count();
    assert_eq!(busy, 6);
    assert_eq!(node.handle.counters().requests_refused, 6);
    for (proposal, outcome) in pinned.into_iter().zip(outcomes) {
        if outcome.is_none() {
            proposal.await.unwrap();
        }
    }
}

/// Polls once.
fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn what_apply_would_halt_on_is_refused_at_the_door() {
    let (_network, nodes) = cluster(1, &config()).await;
    let node = &nodes[0];
    node.serves().await;
    assert!(matches!(node.put("no command").await, Err(Error::Invalid(_))));
    let stale = node.handle.propose(Bytes::from_static(b"a=1"), RangeEpoch(9), DEADLINE).await;
    assert!(matches!(stale, Err(Error::StaleRange { newer }) if newer.range_epoch == RangeEpoch(1)));
    assert_eq!(node.handle.status().lifecycle, Lifecycle::Running);
}

#[tokio::test(start_paused = true)]
async fn an_idle_tail_is_proven_once() {
    let (_network, nodes) = cluster(1, &config()).await;
    let node = &nodes[0];
    node.serves().await;
    node.put("a=1").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let syncs = node.disk.sync_count();
    assert!(syncs > node.handle.stats().log.batches.get(), "a proof is a sync of its own");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(node.disk.sync_count(), syncs, "nothing new is to be proven");
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_answers_and_closes_cleanly() {
    let (_network, nodes) = cluster(1, &config()).await;
    let node = &nodes[0];
    node.serves().await;
    let handle = node.handle.clone();
    let proposal = tokio::spawn(async move { handle.propose("a=1".into(), RangeEpoch(1), DEADLINE).await });
    tokio::task::yield_now().await;
    node.handle.stop(StopMode::Graceful { deadline: DEADLINE }).await;
    proposal.await.unwrap().unwrap();
    assert!(node.log().clean);
    assert_eq!(node.handle.status().lifecycle, Lifecycle::Stopped);
    node.handle.stop(StopMode::Now).await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_published_and_the_log_compacted_behind_it() {
    let mut config = config();
    config.snapshots.entries = Some(20);
    config.snapshots.trailing_entries = 5;
    let (_network, mut nodes) = cluster(1, &config).await;
    let node = &mut nodes[0];
    node.serves().await;
    for i in 0..100 {
        node.put(&format!("k{i}={i}")).await.unwrap();
    }
    let token = node.handle.publish_snapshot(DEADLINE).await.unwrap();
    let again = node.handle.publish_snapshot(DEADLINE).await.unwrap();
    assert_eq!(token, again, "nothing was applied since");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let status = node.handle.status();
    assert_eq!(status.snapshot, Some(token.id));
    assert!(status.first > Index(2), "the log still begins at {}", status.first);
    node.kill().await;
    assert!(node.log().skeleton.first() > Index(2));
    node.restart().await;
    node.serves().await;
    assert_eq!(node.get("k99", ReadLevel::Linearizable).await.unwrap(), "99");
    assert_eq!(node.get("k0", ReadLevel::Linearizable).await.unwrap(), "0");
}
