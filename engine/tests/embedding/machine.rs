//! A state machine of the embedder's own: it keeps everything in memory and cannot say what it holds, so every
//! start restores the newest snapshot and replays the log behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use quorate::storage::snapshot::{SnapshotSink, SnapshotSource};
use quorate::storage::state::{AppliedRecord, Command, StateMachine, StateReader, StateView};
use quorate::storage::{Error as StorageError, Index, Result};
use quorate::{
    Builder, Config, Error, GroupError, GroupId, Node, ReadLevel, StateContext, StateMachineFactory,
};

use crate::cluster::{PATIENCE, until};

const GROUP: GroupId = GroupId(1);

/// Makes tallies, and counts what they are asked to do.
#[derive(Debug, Default)]
struct Tallies {
    restored: AtomicU64,
    applied: AtomicU64,
}

/// Sums up what it is told. Commands are numbers, little-endian; so are answers.
#[derive(Debug)]
struct Tally {
    counts: Arc<Tallies>,
    sum: Sum,
    record: Option<AppliedRecord>,
}

#[derive(Clone, Debug, Default)]
struct Sum(Arc<RwLock<u64>>);

impl Sum {
    fn get(&self) -> u64 {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, sum: u64) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = sum;
    }
}

fn number(bytes: &[u8]) -> Result<u64> {
    let bytes = bytes.try_into().map_err(|_| StorageError::Malformed { what: "number" })?;
    Ok(u64::from_le_bytes(bytes))
}

fn encoded(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_le_bytes())
}

/// A handle of the factory: the node keeps one, the test another.
#[derive(Clone, Debug, Default)]
struct Factory(Arc<Tallies>);

impl StateMachineFactory for Factory {
    fn open(&self, _context: &StateContext) -> Result<Box<dyn StateMachine>> {
        Ok(Box::new(Tally { counts: Arc::clone(&self.0), sum: Sum::default(), record: None }))
    }

    fn check(&self, body: &Bytes) -> Result<()> {
        number(body).map(drop)
    }
}

impl StateMachine for Tally {
    fn check(&self, body: &Bytes) -> Result<()> {
        number(body).map(drop)
    }

    fn apply(&mut self, commands: &[Command], record: &AppliedRecord) -> Result<Vec<Bytes>> {
        let mut sum = self.sum.get();
        let mut answers = Vec::with_capacity(commands.len());
        for command in commands {
            sum = sum.wrapping_add(number(&command.body)?);
            answers.push(encoded(sum));
        }
        self.sum.set(sum);
        self.counts.applied.fetch_add(commands.len() as u64, Ordering::Relaxed);
        self.record = Some(record.clone());
        Ok(answers)
    }

    fn reader(&self) -> Arc<dyn StateReader> {
        Arc::new(self.sum.clone())
    }

    fn view(&self) -> Result<Box<dyn StateView>> {
        let record = self.record.clone().ok_or(StorageError::Malformed { what: "empty tally" })?;
        Ok(Box::new(View { sum: self.sum.get(), record }))
    }

    fn restore(&mut self, source: &mut dyn SnapshotSource, record: &AppliedRecord) -> Result<()> {
        let mut sum = 0;
        while let Some((_, value)) = source.next_record()? {
            sum = number(&value)?;
        }
        self.sum.set(sum);
        self.counts.restored.fetch_add(1, Ordering::Relaxed);
        self.record = Some(record.clone());
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<Index> {
        Ok(self.durable_applied())
    }

    fn durable_applied(&self) -> Index {
        Index(0)
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

impl StateReader for Sum {
    fn query(&self, _request: &Bytes) -> Result<Bytes> {
        Ok(encoded(self.get()))
    }
}

#[derive(Debug)]
struct View {
    sum: u64,
    record: AppliedRecord,
}

impl StateView for View {
    fn record(&self) -> &AppliedRecord {
        &self.record
    }

    fn write_to(&mut self, sink: &mut dyn SnapshotSink) -> Result<()> {
        sink.put(b"sum", &self.sum.to_le_bytes())
    }
}

async fn sum(node: &Node) -> u64 {
    let answer = node.group(GROUP).query(Bytes::new(), ReadLevel::Linearizable).await.unwrap();
    number(&answer).unwrap()
}

async fn open(config: &Config) -> (Node, Arc<Tallies>) {
    let factory = Factory::default();
    let counts = Arc::clone(&factory.0);
    let node = Builder::from_config(config.clone()).state_machines(Arc::new(factory)).open().await.unwrap();
    (node, counts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_and_queries_are_in_the_state_machines_own_language() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = open(&Config::new(dir.path())).await;
    let group = node.group(GROUP);
    let first = group.propose(encoded(5)).await.unwrap();
    let second = group.propose(encoded(7)).await.unwrap();
    assert_eq!((number(&first.output).unwrap(), number(&second.output).unwrap()), (5, 12));
    assert!(first.id < second.id);
    assert_eq!(sum(&node).await, 12);
    let refused = group.propose("no number").await;
    assert!(matches!(refused, Err(Error::Group(GroupError::Invalid(_)))), "{refused:?}");
    assert!(node.get("a", ReadLevel::Linearizable).await.is_err(), "a tally has no keys");
    assert!(node.put("a", "1").await.is_err(), "a tally takes no key-value commands");
    assert_eq!(sum(&node).await, 12);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_machine_that_cannot_report_is_restored_and_replayed_at_every_start() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::new(dir.path());
    let (node, _) = open(&config).await;
    for _ in 0..20 {
        node.group(GROUP).propose(encoded(3)).await.unwrap();
    }
    node.shutdown().await.unwrap();
    for _ in 0..2 {
        let (node, counts) = open(&config).await;
        assert_eq!(sum(&node).await, 60);
        assert_eq!(counts.restored.load(Ordering::Relaxed), 1, "from the snapshot it was born with");
        assert_eq!(counts.applied.load(Ordering::Relaxed), 20, "all of the log behind it");
        node.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_snapshot_shortens_the_replay() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.snapshots.entries = Some(10);
    config.snapshots.trailing_entries = 2;
    let (node, _) = open(&config).await;
    node.ready(PATIENCE).await.unwrap();
    for _ in 0..25 {
        node.group(GROUP).propose(encoded(2)).await.unwrap();
    }
    until("a snapshot", || {
        let published = node.group(GROUP).local_report()?.snapshots_published;
        (published > 0).then_some(())
    })
    .await;
    node.shutdown().await.unwrap();
    let (node, counts) = open(&config).await;
    assert_eq!(sum(&node).await, 50);
    assert_eq!(counts.restored.load(Ordering::Relaxed), 1);
    assert!(counts.applied.load(Ordering::Relaxed) < 25, "the snapshot stands for what it holds");
    node.shutdown().await.unwrap();
}
