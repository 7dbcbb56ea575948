//! Three replicas, of which one, the subject, is on the disk whose calls are the points.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_storage::kv::{KvCommand, MemoryLoss, Op};
use quorate_storage::log::LogConfig;
use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::{EntryId, Index, RangeEpoch};

use super::super::network::Network;
use super::super::node::{DEADLINE, TestNode, cluster, config};
use super::super::store::{Machines, Records};
use crate::actor::{GroupConfig, StartError, StopMode};
use crate::repair::Repaired;

/// Time for what goes on behind an answer: read-back, compaction, the proof of the tail. Simulated.
const SETTLES: Duration = Duration::from_millis(500);
/// For one attempt of a write.
const WRITE_DEADLINE: Duration = Duration::from_secs(2);
/// Attempts of one write, with pauses between them: a new leader is found meanwhile.
const ATTEMPTS_MAX: usize = 2_000;
const PAUSE: Duration = Duration::from_millis(10);
/// How often a start may find something to repair.
const REPAIRS_MAX: usize = 2;
/// Longer than two election timeouts.
const FORGOTTEN: Duration = Duration::from_secs(3);
const VALUE_BYTES: usize = 300;

/// Replicas, and what was written to them.
pub(super) struct World {
    pub(super) nodes: Vec<TestNode>,
    /// Place in `nodes`.
    pub(super) subject: usize,
    pub(super) network: Network,
    pub(super) loss: MemoryLoss,
    pub(super) history: History,
    /// Snapshots whose files on the subject's disk were damaged on purpose.
    pub(super) rotten: BTreeSet<EntryId>,
    /// Whether making the subject's directory has returned.
    pub(super) is_announced: bool,
    running: BTreeSet<usize>,
}

/// Every write has a key of its own, by its number. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct History(Arc<Mutex<Writes>>);

#[derive(Clone, Debug, Default)]
struct Writes {
    proposed: u64,
    /// Number and place in the log.
    acknowledged: Vec<(u64, Index)>,
}

impl History {
    fn propose(&self) -> u64 {
        let mut writes = self.0.lock();
        writes.proposed += 1;
        writes.proposed
    }

    fn acknowledge(&self, number: u64, index: Index) {
        self.0.lock().acknowledged.push((number, index));
    }

    pub(super) fn acknowledged(&self) -> Vec<(u64, Index)> {
        self.0.lock().acknowledged.clone()
    }

    pub(super) fn has_all(&self) -> bool {
        let writes = self.0.lock();
        writes.acknowledged.len() as u64 == writes.proposed
    }

    fn copied(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().clone())))
    }

    /// What the acknowledged writes up to `index` come to.
    pub(super) fn records_through(&self, index: Index) -> Records {
        let acknowledged = self.acknowledged();
        acknowledged.iter().filter(|(_, at)| *at <= index).map(|(number, _)| record(*number)).collect()
    }

    /// Whether all that was acknowledged is in `found`, and nothing that was not even proposed.
    pub(super) fn check(&self, found: &Records) {
        for (number, index) in self.acknowledged() {
            let (key, value) = record(number);
            assert!(
                found.get(&key) == Some(&value),
                "write {number} at {index} was acknowledged and is gone"
            );
        }
        let proposed: Records = (1..=self.0.lock().proposed).map(record).collect();
        for (key, value) in found {
            assert_eq!(proposed.get(key), Some(value), "nobody ever wrote {key:?} so");
        }
    }
}

/// What write `number` puts.
fn record(number: u64) -> (Bytes, Bytes) {
    let value = format!("{number:-<VALUE_BYTES$}");
    (Bytes::from(format!("key-{number:04}")), Bytes::from(value))
}

/// What has to be damaged in a log so that write `number` is.
pub(super) fn text_of(number: u64) -> String {
    format!("{number:-<20}")
}

/// Small files: a run goes through several, and a snapshot travels in several pieces.
pub(super) fn small() -> GroupConfig {
    let mut config = config();
    config.log = LogConfig { segment_bytes: 32 << 10, first_segment_bytes: 16 << 10, zero_ahead_bytes: 0 };
    config.snapshots.trailing_entries = 2;
    config.snapshots.trailing_bytes = 16 << 10;
    config.snapshots.kept = 2;
    config.snapshots.chunk_bytes = 4 << 10;
    config.snapshots.follower_grace = Duration::from_secs(1);
    config
}

impl World {
    pub(super) fn of((network, nodes): (Network, Vec<TestNode>), subject: usize, loss: MemoryLoss) -> Self {
        let (history, rotten, running) = <_>::default();
        Self { nodes, subject, network, loss, history, rotten, is_announced: true, running }
    }

    /// A group of `count` new replicas that run; the first of them leads.
    pub(super) async fn founded(count: u64, subject: usize, loss: MemoryLoss) -> Self {
        let mut world = Self::of(cluster(count, &small()).await, subject, loss);
        // Theirs is another state machine.
        for at in 0..world.nodes.len() {
            world.nodes[at].kill().await;
        }
        world.start_all(0).await;
        let first = world.write(1).await;
        world.all_apply(first).await;
        world
    }

    /// All of it, stopped, on copies of the disks.
    pub(super) fn copied(&self) -> Self {
        assert!(self.running.is_empty(), "a replica runs");
        let network = Network::default();
        Self {
            nodes: self.nodes.iter().map(|node| node.copied(&network)).collect(),
            network,
            history: self.history.copied(),
            rotten: self.rotten.clone(),
            running: BTreeSet::new(),
            ..*self
        }
    }

    pub(super) fn subject(&self) -> &TestNode {
        &self.nodes[self.subject]
    }

    pub(super) fn subject_mut(&mut self) -> &mut TestNode {
        &mut self.nodes[self.subject]
    }

    /// Starts all of them, and gives them a moment; `leader` campaigns at once.
    pub(super) async fn start_all(&mut self, leader: usize) {
        for at in (0..self.nodes.len()).filter(|at| *at != leader) {
            self.start(at).await;
        }
        self.start_leader(leader).await;
    }

    pub(super) async fn start_leader(&mut self, at: usize) {
        self.nodes[at].campaigns_at_once = true;
        self.start(at).await;
        self.nodes[at].campaigns_at_once = false;
    }

    /// Starts those others that were not started when the subject's power went.
    pub(super) async fn start_others(&mut self) {
        for at in 0..self.nodes.len() {
            if at != self.subject && !self.running.contains(&at) {
                self.start(at).await;
            }
        }
    }

    /// Starts the replica, through a repair if its log needs one. Never returns if its power goes meanwhile.
    pub(super) async fn start(&mut self, at: usize) {
        let started = self.try_start(at).await;
        self.powered(at, started).await;
    }

    pub(super) async fn try_start(&mut self, at: usize) -> Result<(), StartError> {
        let (loss, node) = (self.loss, &mut self.nodes[at]);
        node.machines = Arc::new(Machines { disk: node.seam(), loss });
        for _ in 0..REPAIRS_MAX {
            let repair = node.try_begin_restart().await?;
            self.running.insert(at);
            let Some(repair) = repair else { return Ok(()) };
            match repair.await.unwrap() {
                Repaired::Whole => {}
                Repaired::Failed(error) => return Err(error),
                Repaired::Stopped => panic!("nobody stops a repair"),
            }
        }
        panic!("repaired again and again");
    }

    /// What `result` has; never, if it failed because the replica's power is gone.
    pub(super) async fn powered<T, E: std::fmt::Debug>(&self, at: usize, result: Result<T, E>) -> T {
        match result {
            Err(_) if !self.nodes[at].disk.is_powered() => std::future::pending().await,
            result => result.unwrap(),
        }
    }

    /// The one that takes writes.
    pub(super) fn leader(&self) -> Option<usize> {
        let serves = |at: &usize| {
            let node = &self.nodes[*at];
            node.disk.is_powered() && node.handle.watch_role().borrow().is_serving
        };
        self.running.iter().copied().find(serves)
    }

    /// Writes until `count` more are acknowledged, one after the other; gives the place of the last.
    pub(super) async fn write(&self, count: usize) -> Index {
        let mut last = Index(0);
        for _ in 0..count {
            last = self.write_one().await;
        }
        last
    }

    async fn write_one(&self) -> Index {
        for _ in 0..ATTEMPTS_MAX {
            let Some(leader) = self.leader() else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let number = self.history.propose();
            let (key, value) = record(number);
            let command = KvCommand { conditions: Vec::new(), ops: vec![Op::Put(key, value)] };
            let handle = &self.nodes[leader].handle;
            let written = handle.propose(command.encode().unwrap(), RangeEpoch(1), WRITE_DEADLINE).await;
            if let Ok(applied) = written {
                self.history.acknowledge(number, applied.id.index);
                return applied.id.index;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("nobody takes a write");
    }

    /// Publishes on the replica, and waits until what is superfluous is gone.
    pub(super) async fn publish(&self, at: usize) -> SnapshotToken {
        let published = self.nodes[at].handle.publish_snapshot(DEADLINE).await;
        let token = self.powered(at, published).await;
        self.settle().await;
        token
    }

    pub(super) async fn settle(&self) {
        tokio::time::sleep(SETTLES).await;
    }

    pub(super) async fn applies(&self, at: usize, index: Index) {
        let applies = tokio::time::timeout(DEADLINE, self.nodes[at].applies(index)).await;
        assert!(applies.is_ok() || !self.nodes[at].disk.is_powered(), "replica {at} does not catch up");
        self.powered(at, applies).await;
    }

    pub(super) async fn all_apply(&self, index: Index) {
        for &at in &self.running {
            self.applies(at, index).await;
        }
    }

    /// Stops all of them cleanly. Who leads hands over, or is left alone and gives up.
    pub(super) async fn stop_all(&mut self) {
        for at in std::mem::take(&mut self.running) {
            self.nodes[at].handle.stop(StopMode::Graceful { deadline: DEADLINE }).await;
            self.network.disconnect(self.nodes[at].id);
            // Who leads next takes nobody for its heir that it has not heard of for so long.
            tokio::time::sleep(FORGOTTEN).await;
        }
    }

    /// As a crash of the process would.
    pub(super) async fn kill(&mut self, at: usize) {
        self.nodes[at].kill().await;
        self.running.remove(&at);
    }

    pub(super) async fn kill_all(&mut self) {
        for at in self.running.clone() {
            self.kill(at).await;
        }
    }

    /// Places of those that run.
    pub(super) fn running(&self) -> impl Iterator<Item = usize> + '_ {
        self.running.iter().copied()
    }
}
