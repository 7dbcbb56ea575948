//! The key-value state machine on a node's simulated disk, which can be made to apply wrongly, or to be found rotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use quorate_storage::disk::{Disk, SimDisk};
use quorate_storage::kv::{KvCommand, KvStateMachine, MemoryEngine, MemoryLoss, Op};
use quorate_storage::snapshot::{SnapshotLabel, SnapshotSource};
use quorate_storage::state::{
    AppliedIndexReader, AppliedIndexWriter, AppliedRecord, Command, RebuildFailure, ScanStep, StateBuild,
    StateMachine, StateReader, StateRebuild, StateSize, StateView, Switch,
};
use quorate_storage::{Error as StorageError, Index, RangeEpoch, Result};
use quorate_telemetry::SeededRng;

use super::network::Network;
use super::node::{DEADLINE, TestNode, UID, cluster, leader};
use crate::actor::{Applied, GroupConfig, ReadLevel, StateContext, StateMachineFactory};
use crate::error::Error;

/// Makes the machines of one node.
#[derive(Debug)]
pub(super) struct KvMachines {
    disk: SimDisk,
    /// Shared with the machines that are open.
    defects: Arc<Defects>,
}

#[derive(Debug)]
struct KvMachine {
    inner: KvStateMachine,
    defects: Arc<Defects>,
}

/// What is wrong with the machines of a node.
#[derive(Debug, Default)]
pub(super) struct Defects {
    /// They apply something else.
    pub(super) misapplies: AtomicBool,
    /// Whoever copies them finds them rotten.
    pub(super) rots: AtomicBool,
}

/// A copy of a store that is rotten.
#[derive(Debug)]
struct RottenBuild;

impl StateBuild for RottenBuild {
    fn step(&mut self, _bytes_max: u64) -> Result<ScanStep, RebuildFailure> {
        let file = "state/1".into();
        let corrupt = StorageError::Corrupt { what: "stored value", file, offset: 0, expected: 1, found: 2 };
        Err(RebuildFailure::Source(corrupt))
    }
}

impl StateRebuild for KvMachine {
    fn size(&self) -> Result<StateSize> {
        self.inner.size()
    }

    fn begin_rebuild(&mut self, reserve_bytes: u64) -> Result<Box<dyn StateBuild>> {
        if self.defects.rots.load(Ordering::Relaxed) {
            return Ok(Box::new(RottenBuild));
        }
        self.inner.begin_rebuild(reserve_bytes)
    }

    fn finish_rebuild(&mut self, build: Box<dyn StateBuild>) -> Result<Switch> {
        self.inner.finish_rebuild(build)
    }
}

impl StateMachineFactory for KvMachines {
    fn open(&self, context: &StateContext) -> Result<Box<dyn StateMachine>> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let loss = Some(MemoryLoss::Tail);
        let engine = MemoryEngine::new(disk.clone(), Arc::new(SeededRng::new(1)), loss);
        let inner = KvStateMachine::open(Arc::new(engine), disk, &context.dir, UID);
        Ok(Box::new(KvMachine { inner, defects: Arc::clone(&self.defects) }))
    }

    fn check(&self, body: &Bytes) -> Result<()> {
        KvCommand::decode(body).map(drop)
    }

    fn verify_snapshot(
        &self,
        source: &mut dyn SnapshotSource,
        label: &SnapshotLabel,
        file: &std::path::Path,
    ) -> Result<()> {
        quorate_storage::kv::verify_snapshot(UID, source, &label.record, file)
    }
}

impl StateMachine for KvMachine {
    fn check(&self, body: &Bytes) -> Result<()> {
        self.inner.check(body)
    }

    fn apply(&mut self, commands: &[Command], record: &AppliedRecord) -> Result<Vec<Bytes>> {
        let mut commands = commands.to_vec();
        if self.defects.misapplies.load(Ordering::Relaxed) {
            for command in &mut commands {
                let mut wrong = KvCommand::decode(&command.body)?;
                wrong.ops.push(Op::Put(Bytes::from_static(b"wrong"), Bytes::from_static(b"1")));
                command.body = wrong.encode()?;
            }
        }
        self.inner.apply(&commands, record)
    }

    fn reader(&self) -> Arc<dyn StateReader> {
        self.inner.reader()
    }

    fn view(&self) -> Result<Box<dyn StateView>> {
        self.inner.view()
    }

    fn restore(&mut self, source: &mut dyn SnapshotSource, record: &AppliedRecord) -> Result<()> {
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

    fn as_applied_index_reader(&self) -> Option<&dyn AppliedIndexReader> {
        self.inner.as_applied_index_reader()
    }

    fn as_applied_index_writer(&mut self) -> Option<&mut dyn AppliedIndexWriter> {
        self.inner.as_applied_index_writer()
    }

    fn as_rebuild(&mut self) -> Option<&mut dyn StateRebuild> {
        Some(self)
    }
}

/// Gives `node` such machines, and starts it again with them; what is wrong with them.
pub(super) async fn convert(node: &mut TestNode) -> Arc<Defects> {
    let defects = Arc::new(Defects::default());
    node.kill().await;
    node.machines = Arc::new(KvMachines { disk: node.disk.clone(), defects: Arc::clone(&defects) });
    node.restart().await;
    defects
}

/// A cluster of them, and what is wrong with each.
pub(super) async fn kv_cluster(
    count: u64,
    config: &GroupConfig,
) -> (Network, Vec<TestNode>, Vec<Arc<Defects>>) {
    let (network, mut nodes) = cluster(count, config).await;
    let mut defects = Vec::new();
    for node in &mut nodes {
        defects.push(convert(node).await);
    }
    leader(&nodes).await;
    (network, nodes, defects)
}

pub(super) async fn put_kv(node: &TestNode, key: &str, value: &str) -> std::result::Result<Applied, Error> {
    let op = Op::Put(Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    let command = KvCommand { conditions: Vec::new(), ops: vec![op] };
    node.handle.propose(command.encode().unwrap(), RangeEpoch(1), DEADLINE).await
}

pub(super) async fn read_kv(node: &TestNode, key: &str) -> Option<Vec<u8>> {
    let key = key.to_owned();
    let read = node.handle.read_with(ReadLevel::Linearizable, DEADLINE, move |state| {
        state.as_kv().unwrap().get(key.as_bytes()).unwrap()
    });
    read.await.unwrap().map(|value| value.to_vec())
}
