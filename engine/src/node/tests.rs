//! What one group's trouble means for the node, and what a node may start and create.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use quorate_shard::actor::{Lifecycle, ReadLevel, StateContext, StateMachineFactory};
use quorate_storage::GroupId;
use quorate_storage::state::StateMachine;
use quorate_telemetry::{Job, Stopped, Workers};

use super::machines::KvMachines;
use super::readiness::GroupReadiness;
use super::{Node, reconcile};
use crate::builder::Builder;
use crate::config::{Config, uniform_ranges};
use crate::error::Error;
use crate::seams::Seams;

const GROUPS: u16 = 3;
const TIMEOUT: Duration = Duration::from_secs(10);

fn config(dir: &std::path::Path) -> Config {
    let mut config = Config::new(dir);
    config.bootstrap.ranges = uniform_ranges(GROUPS);
    config
}

/// A node that was written to and stopped.
async fn written(dir: &std::path::Path) {
    let node = Builder::from_config(config(dir)).open().await.unwrap();
    for first in [0_u8, 100, 250] {
        node.put(vec![first], "value").await.unwrap();
    }
    node.shutdown().await.unwrap();
}

/// Damages the newest segment of a group's log, where it was proven.
fn damage_log(dir: &std::path::Path, group: GroupId) {
    let wal = dir.join("groups").join(group.to_string()).join("wal");
    for entry in std::fs::read_dir(wal).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        for byte in &mut bytes[..12 << 10] {
            *byte ^= 0x5a;
        }
        std::fs::write(&path, bytes).unwrap();
    }
}

#[tokio::test]
async fn a_group_that_cannot_be_opened_is_quarantined_with_its_reason_and_the_others_serve() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;
    damage_log(dir.path(), GroupId(1));

    let node = Builder::from_config(config(dir.path())).open().await.unwrap();
    let broken = node.group_of(&[0]).unwrap();
    assert_eq!(broken.id(), GroupId(1));
    let readiness = node.readiness();
    let (_, of_broken) = readiness.groups.iter().find(|(group, _)| *group == GroupId(1)).unwrap();
    assert!(
        matches!(of_broken, GroupReadiness::Quarantined(reason) if reason.contains("wal")),
        "{of_broken:?}"
    );
    let outcome = node.get(vec![0], ReadLevel::Linearizable).await;
    assert!(
        matches!(&outcome, Err(Error::Group(quorate_shard::Error::Quarantined { reason, .. })) if reason.contains("wal")),
        "{outcome:?}"
    );
    for first in [100_u8, 250] {
        let value = node.get(vec![first], ReadLevel::Linearizable).await.unwrap();
        assert_eq!(value, Some(Bytes::from_static(b"value")));
        node.put(vec![first], "again").await.unwrap();
    }
    // Reconciling goes on for the others, and does not take the broken replica for one that is not wanted.
    for _ in 0..3 {
        reconcile::round(&node.core, &[]).await.unwrap();
    }
    assert!(dir.path().join("groups/1/wal").exists(), "the broken replica is left as it is");
    node.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_broken_group_that_was_dropped_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;
    damage_log(dir.path(), GroupId(1));
    let node = Builder::from_config(config(dir.path())).open().await.unwrap();
    node.drop_group(GroupId(1)).await.unwrap();
    assert!(!dir.path().join("groups/1/wal").exists());
    node.shutdown().await.unwrap();
}

/// Whoever comes to it waits until it is opened.
#[derive(Debug)]
struct Gate {
    is_closed: Mutex<bool>,
    opens: Condvar,
}

impl Gate {
    fn closed() -> Arc<Self> {
        Arc::new(Self { is_closed: Mutex::new(true), opens: Condvar::new() })
    }

    fn pass(&self) {
        let mut is_closed = self.is_closed.lock();
        while *is_closed {
            self.opens.wait(&mut is_closed);
        }
    }

    fn let_through(&self) {
        *self.is_closed.lock() = false;
        self.opens.notify_all();
    }
}

/// Lets everything through at the end, so that a failed assertion is not followed by a wait for ever.
struct LetThrough(Arc<Gate>);

impl Drop for LetThrough {
    fn drop(&mut self) {
        self.0.let_through();
    }
}

/// Counts openings, and holds those of user groups back.
#[derive(Debug)]
struct Gated {
    machines: KvMachines,
    opened: AtomicUsize,
    gate: Arc<Gate>,
}

impl StateMachineFactory for Gated {
    fn open(&self, context: &StateContext) -> quorate_storage::Result<Box<dyn StateMachine>> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        self.gate.pass();
        self.machines.open(context)
    }

    fn check(&self, body: &Bytes) -> quorate_storage::Result<()> {
        self.machines.check(body)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_being_opened_is_not_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;
    let config = config(dir.path());
    let seams = Seams::production(&config).unwrap();
    let gated = Arc::new(Gated {
        machines: KvMachines::new(&config, &seams),
        opened: AtomicUsize::new(0),
        gate: Gate::closed(),
    });
    let node = super::open::open(config, seams, Some(Arc::clone(&gated) as _)).await.unwrap();
    let gate = LetThrough(Arc::clone(&gated.gate));
    // Group 0 is up, so the catalog is known and every round finds the others not running.
    node.core.copy.wait_for(TIMEOUT, |catalog| catalog.version).await.unwrap();
    for _ in 0..3 {
        tokio::time::timeout(TIMEOUT, reconcile::round(&node.core, &[])).await.unwrap().unwrap();
    }
    drop(gate);
    node.ready(TIMEOUT).await.unwrap();
    assert_eq!(gated.opened.load(Ordering::SeqCst), usize::from(GROUPS), "each directory is opened once");
    assert!(all_run(&node));
    node.shutdown().await.unwrap();
}

/// Restores that take until they are let through, on the threads of the pool.
#[derive(Debug)]
struct SlowRestores {
    workers: Arc<dyn Workers>,
    gate: Arc<Gate>,
}

impl Workers for SlowRestores {
    fn submit(&self, key: u64, job: Job) -> Result<(), Stopped> {
        let gate = Arc::clone(&self.gate);
        self.workers.submit(
            key,
            Box::new(move || {
                gate.pass();
                job();
            }),
        )
    }

    fn stop(&self) {
        self.workers.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_skip_do_not_wait_behind_one_that_restores() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;
    for group in [1, 2] {
        std::fs::remove_dir_all(dir.path().join(format!("groups/{group}/state"))).unwrap();
    }
    let mut config = config(dir.path());
    (config.cold_start.opening_max, config.cold_start.restoring_max) = (1, 1);
    let mut seams = Seams::production(&config).unwrap();
    let gate = Gate::closed();
    let workers = Arc::clone(&seams.workers.restore);
    seams.workers.restore = Arc::new(SlowRestores { workers, gate: Arc::clone(&gate) });
    let node = super::open::open(config, seams, None).await.unwrap();
    let gate = LetThrough(gate);
    let expected = [
        (GroupId(1), GroupReadiness::Restoring),
        (GroupId(2), GroupReadiness::Restoring),
        (GroupId(3), GroupReadiness::Ready),
    ];
    let skipped = async {
        while !expected.iter().all(|group| node.readiness().groups.contains(group)) {
            tokio::task::yield_now().await;
        }
    };
    let came = tokio::time::timeout(TIMEOUT, skipped).await;
    assert!(came.is_ok(), "{:?}", node.readiness().groups);
    assert_eq!(
        node.get(vec![250], ReadLevel::Linearizable).await.unwrap(),
        Some(Bytes::from_static(b"value"))
    );
    node.put(vec![250], "again").await.unwrap();
    drop(gate);
    node.ready(TIMEOUT).await.unwrap();
    for first in [0_u8, 100] {
        let value = node.get(vec![first], ReadLevel::Linearizable).await.unwrap();
        assert_eq!(value, Some(Bytes::from_static(b"value")));
    }
    let ends: Vec<_> = (1..=3)
        .map(|group| node.group(GroupId(group)).local_report().unwrap().cold_starts)
        .map(|starts| starts.iter().map(|start| (start.outcome.label(), start.reason)).collect::<Vec<_>>())
        .collect();
    let restored = vec![("fallback", "missing_meta")];
    assert_eq!(ends, [restored.clone(), restored, vec![("skipped", "none")]]);
    node.shutdown().await.unwrap();
}

fn all_run(node: &Node) -> bool {
    node.local_groups().iter().all(|status| matches!(status.lifecycle, Lifecycle::Running))
}

#[tokio::test]
async fn a_replica_whose_directory_is_gone_is_never_made_anew_not_even_group_0() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;
    std::fs::remove_dir_all(dir.path().join("groups/2")).unwrap();
    let node = Builder::from_config(config(dir.path())).open().await.unwrap();
    reconcile::round(&node.core, &[]).await.unwrap();
    let readiness = node.readiness();
    assert!(readiness.groups.contains(&(GroupId(2), GroupReadiness::Lost)), "{readiness:?}");
    node.shutdown().await.unwrap();

    std::fs::remove_dir_all(dir.path().join("groups/0")).unwrap();
    let node = Builder::from_config(config(dir.path())).start().await.unwrap();
    assert!(!dir.path().join("groups/0").exists(), "a voter that forgot its votes must not come back");
    node.shutdown().await.unwrap();
}
