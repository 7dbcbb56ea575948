//! A state machine of `key=value` commands that keeps nothing over a restart, and fails or panics when told to.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use quorate_storage::snapshot::{SnapshotSink, SnapshotSource};
use quorate_storage::state::{AppliedRecord, Command, StateMachine, StateReader, StateView};
use quorate_storage::{Error, Index, Result};

use crate::actor::{StateContext, StateMachineFactory};

type Map = BTreeMap<Bytes, Bytes>;

/// The state. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct MapStore(Arc<RwLock<Map>>);

#[derive(Debug)]
pub(super) struct MapMachine {
    pub(super) store: MapStore,
    pub(super) record: Option<AppliedRecord>,
}

#[derive(Debug)]
pub(super) struct MapMachines;

impl StateMachineFactory for MapMachines {
    fn open(&self, _context: &StateContext) -> Result<Box<dyn StateMachine>> {
        Ok(Box::new(MapMachine { store: MapStore::default(), record: None }))
    }

    fn check(&self, body: &Bytes) -> Result<()> {
        if body.contains(&b'=') { Ok(()) } else { Err(Error::Malformed { what: "command" }) }
    }
}

impl StateMachine for MapMachine {
    fn check(&self, body: &Bytes) -> Result<()> {
        MapMachines.check(body)
    }

    fn apply(&mut self, commands: &[Command], record: &AppliedRecord) -> Result<Vec<Bytes>> {
        let mut map = self.store.0.write();
        let mut outputs = Vec::new();
        for command in commands {
            let at = command.body.iter().position(|byte| *byte == b'=').unwrap();
            let (key, value) = (command.body.slice(..at), command.body.slice(at + 1..));
            assert_ne!(key.as_ref(), b"panic", "told to");
            if key.as_ref() == b"fail" {
                return Err(Error::Malformed { what: "told to fail" });
            }
            outputs.push(map.insert(key, value).unwrap_or_default());
        }
        self.record = Some(record.clone());
        Ok(outputs)
    }

    fn reader(&self) -> Arc<dyn StateReader> {
        Arc::new(self.store.clone())
    }

    fn view(&self) -> Result<Box<dyn StateView>> {
        Ok(Box::new(MapView { map: self.store.0.read().clone(), record: self.record.clone().unwrap() }))
    }

    fn restore(&mut self, source: &mut dyn SnapshotSource, record: &AppliedRecord) -> Result<()> {
        let mut map = Map::new();
        while let Some((key, value)) = source.next_record()? {
            map.insert(key, value);
        }
        *self.store.0.write() = map;
        self.record = Some(record.clone());
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<Index> {
        Ok(self.durable_applied())
    }

    fn durable_applied(&self) -> Index {
        self.record.as_ref().map_or(Index(0), |record| record.applied.index)
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }
}

impl StateReader for MapStore {
    fn query(&self, request: &Bytes) -> Result<Bytes> {
        Ok(self.0.read().get(request).cloned().unwrap_or_default())
    }
}

#[derive(Debug)]
struct MapView {
    map: Map,
    record: AppliedRecord,
}

impl StateView for MapView {
    fn record(&self) -> &AppliedRecord {
        &self.record
    }

    fn write_to(&mut self, sink: &mut dyn SnapshotSink) -> Result<()> {
        self.map.iter().try_for_each(|(key, value)| sink.put(key, value))
    }
}
