//! The in-memory store, made to give one value wrongly from a moment on; what is opened later is right again.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate::storage::disk::{Disk, RealDisk};
use quorate::storage::kv::record::stored_key;
use quorate::storage::kv::{
    Batch, KvCommand, KvEngine, KvReader, KvStateMachine, KvStore, KvView, MemoryEngine, MemoryLoss,
    ScanRange, Visit,
};
use quorate::storage::state::StateMachine;
use quorate::storage::{Index, Result};
use quorate::{StateContext, StateMachineFactory};
use quorate_telemetry::SeededRng;

/// The stored key whose value has rotten, if one has.
type Rot = Arc<Mutex<Option<Vec<u8>>>>;

/// Makes key-value machines on such stores.
#[derive(Clone, Debug, Default)]
pub(crate) struct RottingMachines {
    /// Of the newest store of each group.
    stores: Arc<Mutex<std::collections::BTreeMap<u64, Rot>>>,
}

impl RottingMachines {
    /// The value of `key` in the store that `group` has open has rotten.
    pub(crate) fn rot(&self, group: u64, key: &str) {
        *self.stores.lock()[&group].lock() = Some(stored_key(key.as_bytes()));
    }
}

impl StateMachineFactory for RottingMachines {
    fn open(&self, context: &StateContext) -> Result<Box<dyn StateMachine>> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
        let loss = Some(MemoryLoss::Tail);
        let inner = MemoryEngine::new(disk.clone(), Arc::new(SeededRng::new(1)), loss);
        let engine = Engine { inner, group: context.group.get(), machines: self.clone() };
        Ok(Box::new(KvStateMachine::open(Arc::new(engine), disk, &context.dir, context.uid)))
    }

    fn check(&self, body: &Bytes) -> Result<()> {
        KvCommand::decode(body).map(drop)
    }
}

#[derive(Debug)]
struct Engine {
    inner: MemoryEngine,
    group: u64,
    machines: RottingMachines,
}

impl KvEngine for Engine {
    fn open(&self, dir: &Path) -> Result<Box<dyn KvStore>> {
        let inner = self.inner.open(dir)?;
        let rot = Rot::default();
        self.machines.stores.lock().insert(self.group, Arc::clone(&rot));
        Ok(Box::new(Rotting { inner, rot }))
    }

    fn survives_power_cut(&self) -> bool {
        self.inner.survives_power_cut()
    }
}

/// A store, a reader or a view.
#[derive(Debug)]
struct Rotting<T> {
    inner: T,
    rot: Rot,
}

impl<T> Rotting<T> {
    fn seen(&self, key: &[u8], value: &[u8]) -> Vec<u8> {
        see(&self.rot, key, value)
    }
}

fn see(rot: &Rot, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut seen = value.to_vec();
    if rot.lock().as_deref() == Some(key)
        && let Some(last) = seen.last_mut()
    {
        *last ^= 1;
    }
    seen
}

impl KvStore for Rotting<Box<dyn KvStore>> {
    fn marker(&self) -> Result<Option<Bytes>> {
        self.inner.marker()
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.inner.write(batch)
    }

    fn reader(&self) -> Arc<dyn KvReader> {
        Arc::new(Rotting { inner: self.inner.reader(), rot: Arc::clone(&self.rot) })
    }

    fn view(&self) -> Result<Box<dyn KvView>> {
        Ok(Box::new(Rotting { inner: self.inner.view()?, rot: Arc::clone(&self.rot) }))
    }

    fn checkpoint(&mut self) -> Result<Index> {
        self.inner.checkpoint()
    }

    fn durable_index(&self) -> Index {
        self.inner.durable_index()
    }

    fn is_trusted(&self) -> bool {
        self.inner.is_trusted()
    }

    fn close(&mut self) -> Result<()> {
        self.inner.close()
    }
}

impl KvReader for Rotting<Arc<dyn KvReader>> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.inner.get(key)?.map(|value| self.seen(key, &value).into()))
    }

    fn scan(&self, range: ScanRange<'_>, visit: &mut Visit<'_>) -> Result<()> {
        self.inner.scan(range, &mut |key, value| visit(key, &self.seen(key, value)))
    }
}

impl KvView for Rotting<Box<dyn KvView>> {
    fn marker(&self) -> Option<&Bytes> {
        self.inner.marker()
    }

    fn for_each(&mut self, visit: &mut Visit<'_>) -> Result<()> {
        let Self { inner, rot } = self;
        inner.for_each(&mut |key, value| -> Result<ControlFlow<()>> { visit(key, &see(rot, key, value)) })
    }
}
