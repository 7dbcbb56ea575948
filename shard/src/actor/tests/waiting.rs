//! Replicas whose snapshots are all damaged: they wait for one of another replica, vote and append meanwhile, and come
//! back by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::snapshot::{SnapshotSource, SnapshotToken};
use quorate_storage::state::{AppliedRecord, Command, StateMachine, StateReader, StateView};
use quorate_storage::{Index, ReplicaId, Result};

use super::machine::MapMachines;
use super::network::Network;
use super::node::{DEADLINE, TestNode, cluster, config, leader, put_anyhow, snapshot_path};
use crate::actor::{GroupConfig, Lifecycle, ReadLevel, StateContext, StateMachineFactory};
use crate::error::Error;

/// A log that is compacted behind the second newest snapshot.
fn short_logs() -> GroupConfig {
    let mut config = config();
    config.snapshots.trailing_entries = 0;
    config.snapshots.follower_grace = Duration::ZERO;
    config
}

/// Three replicas whose logs begin behind their first snapshots, and what each has written.
async fn compacted() -> (Network, Vec<TestNode>) {
    let (network, nodes) = cluster(3, &short_logs()).await;
    for round in 0..3 {
        for at in 0..5 {
            put_anyhow(&nodes, &format!("k{round}{at}=v")).await;
        }
        let last = put_anyhow(&nodes, &format!("end{round}=v")).await;
        for node in &nodes {
            node.applies(last.id.index).await;
            node.handle.publish_snapshot(DEADLINE).await.unwrap();
        }
    }
    for node in &nodes {
        eventually("a compacted log", || node.handle.status().first > Index(7)).await;
    }
    (network, nodes)
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no {what} within a minute");
}

/// Damages every snapshot of a stopped replica.
fn rot(node: &TestNode) -> Vec<SnapshotToken> {
    let tokens = node.log().snapshots;
    for token in &tokens {
        // Those that were pruned are gone.
        let _ = node.disk.flip(&snapshot_path(token.id), token.bytes / 2, 0xff);
    }
    tokens
}

fn is_waiting(node: &TestNode) -> bool {
    matches!(node.handle.status().lifecycle, Lifecycle::Waiting(_))
}

/// As the node does: starts again what wants it.
async fn comes_back(node: &mut TestNode) {
    eventually("restored snapshot", || node.handle.wants_restart()).await;
    node.kill().await;
    node.restart().await;
    assert_eq!(node.handle.status().lifecycle, Lifecycle::Running);
}

async fn has_everything(nodes: &[TestNode]) {
    let last = put_anyhow(nodes, "last=v").await;
    for node in nodes {
        node.applies(last.id.index).await;
        for key in ["k00", "k14", "k24", "end2", "last"] {
            assert_eq!(node.get(key, ReadLevel::Local).await.unwrap(), "v", "{key} on {}", node.id);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_without_an_intact_snapshot_gets_one_and_comes_back() {
    for id in 0..3 {
        let (_network, mut nodes) = compacted().await;
        nodes[id].kill().await;
        rot(&nodes[id]);
        nodes[id].restart().await;
        assert!(is_waiting(&nodes[id]));
        let refused = nodes[id].get("k00", ReadLevel::Local).await.unwrap_err();
        assert!(matches!(refused, Error::Quarantined { .. }), "{refused}");
        for at in 0..20 {
            put_anyhow(&nodes, &format!("more{at}=v")).await;
        }
        comes_back(&mut nodes[id]).await;
        assert_eq!(nodes[id].stats.snapshots.waits.get(), 1);
        has_everything(&nodes).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_only_snapshot_is_damaged_waits_though_its_log_goes_back_to_it() {
    let (_network, mut nodes) = cluster(3, &config()).await;
    put_anyhow(&nodes, "early=v").await;
    nodes[2].kill().await;
    assert_eq!(rot(&nodes[2]).len(), 1, "the one that the group was born with");
    nodes[2].restart().await;
    assert!(is_waiting(&nodes[2]));
    comes_back(&mut nodes[2]).await;
    let last = put_anyhow(&nodes, "late=v").await;
    nodes[2].applies(last.id.index).await;
    for key in ["early", "late"] {
        assert_eq!(nodes[2].get(key, ReadLevel::Local).await.unwrap(), "v", "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_waits_votes_and_acknowledges_and_never_leads() {
    let (network, mut nodes) = compacted().await;
    for node in &nodes {
        node.kill().await;
    }
    rot(&nodes[0]);
    nodes[0].restart().await;
    nodes[1].restart().await;
    // No snapshot reaches it, and the third replica is down: whatever is committed needs its vote and its log.
    network.refuse_requests();
    for at in 0..20 {
        put_anyhow(&nodes[..2], &format!("more{at}=v")).await;
    }
    // What a status says of the log is as of a tick.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (waits, leads) = (nodes[0].handle.status(), nodes[1].handle.status());
    assert!(is_waiting(&nodes[0]) && leads.role.is_serving);
    assert!(waits.commit >= Index(leads.commit.get() - 1), "{} of {}", waits.commit, leads.commit);
    assert_eq!(waits.applied.next(), waits.first, "nothing is applied");
    nodes[1].kill().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!nodes[0].handle.status().role.is_leader && is_waiting(&nodes[0]));
}

#[tokio::test(start_paused = true)]
async fn two_replicas_that_wait_are_both_helped_by_the_third() {
    let (_network, mut nodes) = compacted().await;
    for node in &nodes {
        node.kill().await;
    }
    for node in &nodes[..2] {
        rot(node);
    }
    for node in &mut nodes {
        node.restart().await;
    }
    assert_eq!(leader(&nodes).await.id, 3, "only it can lead");
    for node in &mut nodes[..2] {
        comes_back(node).await;
    }
    has_everything(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_waits_with_the_longest_log_is_helped_though_nobody_leads() {
    let (_network, mut nodes) = compacted().await;
    let led = nodes.iter().position(|node| node.handle.status().role.is_leader).unwrap();
    let (waits, helps) = ((led + 1) % 3, (led + 2) % 3);
    nodes[helps].kill().await;
    put_anyhow(&nodes, "k15=v").await;
    nodes[led].kill().await;
    nodes[waits].kill().await;
    rot(&nodes[waits]);
    nodes[helps].restart().await;
    nodes[waits].restart().await;
    assert!(is_waiting(&nodes[waits]));
    comes_back(&mut nodes[waits]).await;
    nodes[led].restart().await;
    has_everything(&nodes).await;
    assert_eq!(nodes[helps].get("k15", ReadLevel::Local).await.unwrap(), "v");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_own_snapshot_is_too_old_publishes_one_first() {
    let (_network, mut nodes) = compacted().await;
    let at = nodes.iter().position(|node| !node.handle.status().role.is_leader).unwrap();
    // Two more of its own: its log then begins behind everything the others have published.
    for round in 3..5 {
        let last = put_anyhow(&nodes, &format!("end{round}=v")).await;
        nodes[at].applies(last.id.index).await;
        nodes[at].handle.publish_snapshot(DEADLINE).await.unwrap();
    }
    let newest = |node: &TestNode| node.handle.status().snapshot.unwrap().index;
    let published = newest(leader(&nodes).await);
    eventually("a compacted log", || nodes[at].handle.status().first > published.next()).await;
    nodes[at].kill().await;
    rot(&nodes[at]);
    nodes[at].restart().await;
    assert!(newest(leader(&nodes).await) == published && is_waiting(&nodes[at]));
    comes_back(&mut nodes[at]).await;
    has_everything(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_stage_of_the_waiting_is_a_start_like_any_other() {
    let (_network, mut nodes) = compacted().await;
    nodes[0].kill().await;
    rot(&nodes[0]);
    for pause_ms in [0, 20, 100, 200, 400, 800, 1_200, 1_600, 2_400] {
        nodes[0].restart().await;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        nodes[0].cut_power().await;
    }
    nodes[0].restart().await;
    if is_waiting(&nodes[0]) {
        comes_back(&mut nodes[0]).await;
    }
    has_everything(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn an_only_voter_stays_quarantined_with_its_reason() {
    let (_network, mut nodes) = cluster(1, &short_logs()).await;
    nodes[0].serves().await;
    for key in ["a", "b", "c"] {
        nodes[0].put(&format!("{key}=v")).await.unwrap();
        nodes[0].handle.publish_snapshot(DEADLINE).await.unwrap();
    }
    nodes[0].kill().await;
    rot(&nodes[0]);
    let error = nodes[0].try_restart().await.unwrap_err();
    assert!(error.to_string().contains("snapshot"), "{error}");
}

/// The state machines of the tests, whose restores fail as often as they are told to.
#[derive(Clone, Debug, Default)]
struct Stumbling(Arc<AtomicU32>);

#[derive(Debug)]
struct StumblingMachine {
    inner: Box<dyn StateMachine>,
    failures: Arc<AtomicU32>,
}

impl StateMachineFactory for Stumbling {
    fn open(&self, context: &StateContext) -> Result<Box<dyn StateMachine>> {
        let inner = MapMachines.open(context)?;
        Ok(Box::new(StumblingMachine { inner, failures: Arc::clone(&self.0) }))
    }

    fn check(&self, body: &Bytes) -> Result<()> {
        MapMachines.check(body)
    }
}

impl StateMachine for StumblingMachine {
    fn check(&self, body: &Bytes) -> Result<()> {
        self.inner.check(body)
    }

    fn apply(&mut self, commands: &[Command], record: &AppliedRecord) -> Result<Vec<Bytes>> {
        self.inner.apply(commands, record)
    }

    fn reader(&self) -> Arc<dyn StateReader> {
        self.inner.reader()
    }

    fn view(&self) -> Result<Box<dyn StateView>> {
        self.inner.view()
    }

    fn restore(&mut self, source: &mut dyn SnapshotSource, record: &AppliedRecord) -> Result<()> {
        let left = self.failures.load(Ordering::Relaxed);
        if left > 0 {
            self.failures.store(left - 1, Ordering::Relaxed);
            return Err(quorate_storage::Error::Malformed { what: "snapshot, as told" });
        }
        self.inner.restore(source, record)
    }

    fn checkpoint(&mut self) -> Result<Index> {
        self.inner.checkpoint()
    }

    fn durable_applied(&self) -> Index {
        self.inner.durable_applied()
    }

    fn close(&mut self) -> Result<()> {
        self.inner.close()
    }
}

#[tokio::test(start_paused = true)]
async fn an_install_that_cannot_be_restored_is_waited_out() {
    for failures in 1..4 {
        let (network, mut nodes) = compacted().await;
        let at = nodes.iter().position(|node| !node.handle.status().role.is_leader).unwrap();
        nodes[at].kill().await;
        let stumbling = Stumbling::default();
        nodes[at].machines = Arc::new(stumbling.clone());
        nodes[at].restart().await;
        let behind = nodes[at].handle.status().last.next();
        network.cut(nodes[at].id);
        let away = ReplicaId(nodes[at].id);
        let lead = leader(&nodes).await.handle.clone();
        let is_given_up = || {
            let peers = lead.status().peers;
            peers.iter().any(|peer| peer.replica == away && !peer.is_recently_active)
        };
        eventually("a follower that holds no log", is_given_up).await;
        for round in 5.. {
            assert!(round < 1_000, "the log is never compacted");
            let last = put_anyhow(&nodes, &format!("end{round}=v")).await;
            for node in nodes.iter().filter(|node| node.id != nodes[at].id) {
                node.applies(last.id.index).await;
                node.handle.publish_snapshot(DEADLINE).await.unwrap();
            }
            if lead.status().first > behind {
                break;
            }
        }
        stumbling.0.store(failures, Ordering::Relaxed);
        network.heal(nodes[at].id);
        eventually("a replica that waits", || is_waiting(&nodes[at])).await;
        assert_eq!(nodes[at].handle.remedy(), None, "it is not quarantined");
        for at in 0..20 {
            put_anyhow(&nodes, &format!("more{at}=v")).await;
        }
        comes_back(&mut nodes[at]).await;
        assert_eq!(stumbling.0.load(Ordering::Relaxed), 0);
        has_everything(&nodes).await;
    }
}
