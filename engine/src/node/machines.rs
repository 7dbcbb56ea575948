//! Opens the built-in key-value state machine of each group, over stores that share the node's memory.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quorate_shard::actor::{StateContext, StateMachineFactory};
use quorate_storage::Result;
use quorate_storage::disk::Disk;
use quorate_storage::kv::{self, KvCommand, KvStateMachine, Op, StoreConfig, StoreKind, StoreShared};
use quorate_storage::snapshot::{SnapshotLabel, SnapshotSource};
use quorate_storage::state::StateMachine;
use quorate_telemetry::Rng;

use crate::config::Config;
use crate::seams::Seams;

/// Key-value state machines on the store the configuration chose.
#[derive(Debug)]
pub(super) struct KvMachines {
    shared: Arc<StoreShared>,
    kind: StoreKind,
    disk: Arc<dyn Disk>,
    rng: Arc<dyn Rng>,
}

impl KvMachines {
    pub(super) fn new(config: &Config, seams: &Seams) -> Self {
        let stores = StoreConfig {
            memtable_bytes_max: config.memtable_bytes,
            block_cache_bytes_max: config.cache_bytes,
            ..StoreConfig::default()
        };
        let workers = Arc::clone(&seams.workers.background);
        Self {
            shared: StoreShared::new(stores, workers, Arc::clone(&seams.clock)),
            kind: config.store,
            disk: Arc::clone(&seams.disk),
            rng: seams.rng.stream(0x0f),
        }
    }

    /// What they share, for its upkeep.
    pub(super) fn shared(&self) -> &Arc<StoreShared> {
        &self.shared
    }
}

impl StateMachineFactory for KvMachines {
    fn open(&self, context: &StateContext) -> Result<Box<dyn StateMachine>> {
        let disk = Arc::clone(&self.disk);
        let rng = self.rng.stream(context.group.get());
        let engine = self.shared.engine(self.kind, Arc::clone(&disk), rng);
        Ok(Box::new(KvStateMachine::open(engine, disk, &context.dir, context.uid)))
    }

    fn check(&self, body: &Bytes) -> Result<()> {
        KvCommand::decode(body).map(drop)
    }

    fn frees_space(&self, body: &Bytes) -> bool {
        let is_removal = |op: &Op| matches!(op, Op::Delete(_) | Op::Take(_));
        KvCommand::decode(body).is_ok_and(|command| command.ops.iter().all(is_removal))
    }

    /// Sums up the digest: a snapshot of a store that lost records without an error must not be installed.
    fn verify_snapshot(
        &self,
        source: &mut dyn SnapshotSource,
        label: &SnapshotLabel,
        file: &Path,
    ) -> Result<()> {
        kv::verify_snapshot(label.record.descriptor.uid, source, &label.record, file)
    }
}
