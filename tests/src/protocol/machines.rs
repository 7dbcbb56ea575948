//! State machines on simulated disks: the real one over the in-memory store, and two that lack what a user's may lack.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_shard::actor::{StateContext, StateMachineFactory};
use quorate_storage::disk::Disk;
use quorate_storage::kv::{KvCommand, KvStateMachine, MemoryEngine};
use quorate_storage::snapshot::SnapshotSource;
use quorate_storage::state::{
    AppliedIndexReader, AppliedIndexWriter, AppliedRecord, Command, StateMachine, StateReader, StateView,
};
use quorate_storage::{GroupId, Index, Result};
use quorate_telemetry::{BootId, Clock, Rng};

use super::clock::NodeClock;

/// What a state machine can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ability {
    /// Everything.
    #[default]
    Full,
    /// It does not say what it holds: every start restores.
    Silent,
    /// It does not survive a power cut, and says so.
    Distrusted,
}

/// The boot under which each store was last opened: where a store that may not survive a power cut keeps it beside itself.
pub(crate) type Boots = Arc<Mutex<BTreeMap<GroupId, BootId>>>;

/// Makes the state machines of one node.
#[derive(Debug)]
pub(crate) struct Machines {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) clock: NodeClock,
    pub(crate) abilities: BTreeMap<GroupId, Ability>,
    pub(crate) boots: Boots,
}

impl StateMachineFactory for Machines {
    fn open(&self, context: &StateContext) -> Result<Box<dyn StateMachine>> {
        let engine = MemoryEngine::new(Arc::clone(&self.disk), self.rng.stream(context.group.get()), None);
        let machine =
            KvStateMachine::open(Arc::new(engine), Arc::clone(&self.disk), &context.dir, context.uid);
        let ability = self.abilities.get(&context.group).copied().unwrap_or_default();
        if ability == Ability::Full {
            return Ok(Box::new(machine));
        }
        let boot = self.clock.boot_id();
        let before = self.boots.lock().insert(context.group, boot);
        let is_trusted = before.is_none_or(|before| before == boot);
        Ok(Box::new(Lesser { machine, ability, is_trusted }))
    }

    fn check(&self, body: &Bytes) -> Result<()> {
        KvCommand::decode(body).map(drop)
    }
}

/// A state machine that can do less.
#[derive(Debug)]
struct Lesser {
    machine: KvStateMachine,
    ability: Ability,
    is_trusted: bool,
}

impl StateMachine for Lesser {
    fn check(&self, body: &Bytes) -> Result<()> {
        self.machine.check(body)
    }

    fn apply(&mut self, commands: &[Command], record: &AppliedRecord) -> Result<Vec<Bytes>> {
        self.machine.apply(commands, record)
    }

    fn reader(&self) -> Arc<dyn StateReader> {
        self.machine.reader()
    }

    fn view(&self) -> Result<Box<dyn StateView>> {
        self.machine.view()
    }

    fn restore(&mut self, source: &mut dyn SnapshotSource, record: &AppliedRecord) -> Result<()> {
        self.is_trusted = true;
        self.machine.restore(source, record)
    }

    fn checkpoint(&mut self) -> Result<Index> {
        self.machine.checkpoint()
    }

    fn durable_applied(&self) -> Index {
        self.machine.durable_applied()
    }

    fn close(&mut self) -> Result<()> {
        self.machine.close()
    }

    fn as_applied_index_reader(&self) -> Option<&dyn AppliedIndexReader> {
        (self.ability != Ability::Silent).then_some(self)
    }

    fn as_applied_index_writer(&mut self) -> Option<&mut dyn AppliedIndexWriter> {
        if self.ability == Ability::Silent { None } else { self.machine.as_applied_index_writer() }
    }
}

impl AppliedIndexReader for Lesser {
    fn applied_record(&self) -> Result<Option<AppliedRecord>> {
        self.machine.applied_record()
    }

    fn is_trusted(&self) -> bool {
        self.is_trusted && self.machine.is_trusted()
    }
}
