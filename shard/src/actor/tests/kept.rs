//! A state machine of `key=value` commands that keeps its state over a restart, reports it, and counts what is done
//! to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_storage::Result;
use quorate_storage::snapshot::{SnapshotSink, SnapshotSource, StateHeader};
use quorate_storage::state::{
    AppliedIndexReader, AppliedRecord, Command, SnapshotHeaderApplier, StateMachine, StateReader, StateView,
};
use quorate_storage::{Error, Index};

use super::machine::MapMachines;
use crate::actor::{StateContext, StateMachineFactory};

/// What stands on the machine's imagined disk.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) map: BTreeMap<Bytes, Bytes>,
    pub(super) record: Option<AppliedRecord>,
}

/// What the machine is like, and what was done to it.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) state: State,
    pub(super) restores: u64,
    /// Headers that were applied.
    pub(super) headers: Vec<StateHeader>,
    /// Ceiling and cutover are only in memory.
    pub(super) needs_header: bool,
    pub(super) is_untrusted: bool,
    pub(super) is_unreadable: bool,
}

/// Makes the machine; clones and machines share everything.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptMachines(pub(super) Arc<Mutex<Kept>>);

impl StateMachineFactory for KeptMachines {
    fn open(&self, _context: &StateContext) -> Result<Box<dyn StateMachine>> {
        Ok(Box::new(KeptMachine(self.clone())))
    }

    fn check(&self, body: &Bytes) -> Result<()> {
        MapMachines.check(body)
    }
}

#[derive(Debug)]
struct KeptMachine(KeptMachines);

impl KeptMachine {
    fn kept(&self) -> parking_lot::MutexGuard<'_, Kept> {
        self.0.0.lock()
    }
}

impl StateMachine for KeptMachine {
    fn check(&self, body: &Bytes) -> Result<()> {
        MapMachines.check(body)
    }

    fn apply(&mut self, commands: &[Command], record: &AppliedRecord) -> Result<Vec<Bytes>> {
        let state = &mut self.kept().state;
        state.record = Some(record.clone());
        let outputs = commands.iter().map(|command| {
            let at = command.body.iter().position(|byte| *byte == b'=').unwrap();
            let (key, value) = (command.body.slice(..at), command.body.slice(at + 1..));
            state.map.insert(key, value).unwrap_or_default()
        });
        Ok(outputs.collect())
    }

    fn reader(&self) -> Arc<dyn StateReader> {
        Arc::new(self.0.clone())
    }

    fn view(&self) -> Result<Box<dyn StateView>> {
        Ok(Box::new(KeptView(self.kept().state.clone())))
    }

    /// The old state is there until the new one has been verified.
    fn restore(&mut self, source: &mut dyn SnapshotSource, record: &AppliedRecord) -> Result<()> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = source.next_record()? {
            map.insert(key, value);
        }
        let mut kept = self.kept();
        kept.restores += 1;
        kept.state = State { map, record: Some(record.clone()) };
        (kept.is_untrusted, kept.is_unreadable) = (false, false);
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<Index> {
        Ok(self.durable_applied())
    }

    fn durable_applied(&self) -> Index {
        self.kept().state.record.as_ref().map_or(Index(0), |record| record.applied.index)
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }

    fn as_applied_index_reader(&self) -> Option<&dyn AppliedIndexReader> {
        Some(self)
    }

    fn as_snapshot_header_applier(&mut self) -> Option<&mut dyn SnapshotHeaderApplier> {
        Some(self)
    }
}

impl AppliedIndexReader for KeptMachine {
    fn applied_record(&self) -> Result<Option<AppliedRecord>> {
        let kept = self.kept();
        if kept.is_unreadable {
            return Err(Error::Malformed { what: "told to" });
        }
        Ok(kept.state.record.clone())
    }

    fn is_trusted(&self) -> bool {
        !self.kept().is_untrusted
    }
}

impl SnapshotHeaderApplier for KeptMachine {
    fn covers_header(&self) -> bool {
        !self.kept().needs_header
    }

    fn apply_header(&mut self, header: StateHeader) {
        self.kept().headers.push(header);
    }
}

impl StateReader for KeptMachines {
    fn query(&self, request: &Bytes) -> Result<Bytes> {
        Ok(self.0.lock().state.map.get(request).cloned().unwrap_or_default())
    }
}

#[derive(Debug)]
struct KeptView(State);

impl StateView for KeptView {
    fn record(&self) -> &AppliedRecord {
        self.0.record.as_ref().unwrap()
    }

    fn write_to(&mut self, sink: &mut dyn SnapshotSink) -> Result<()> {
        self.0.map.iter().try_for_each(|(key, value)| sink.put(key, value))
    }
}
