//! The key-value machine on the in-memory store, which keeps everything on the simulated disk, and what it is found
//! to hold there.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quorate_storage::disk::{Disk, SimDisk};
use quorate_storage::kv::{KvCommand, KvStateMachine, MemoryEngine, MemoryLoss};
use quorate_storage::snapshot::SnapshotSink;
use quorate_storage::state::{AppliedIndexReader, RecordHasher, StateDigest, StateMachine};
use quorate_storage::{Index, Result};
use quorate_telemetry::SeededRng;

use super::node::{DIR, UID};
use crate::actor::{StateContext, StateMachineFactory};

pub(super) type Records = BTreeMap<Bytes, Bytes>;

/// Makes the key-value machine on the in-memory store.
#[derive(Debug)]
pub(super) struct Machines {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) loss: MemoryLoss,
}

impl Machines {
    fn machine(&self, dir: &Path) -> KvStateMachine {
        let rng = Arc::new(SeededRng::new(1));
        let engine = MemoryEngine::new(Arc::clone(&self.disk), rng, Some(self.loss));
        KvStateMachine::open(Arc::new(engine), Arc::clone(&self.disk), dir, UID)
    }
}

impl StateMachineFactory for Machines {
    fn open(&self, context: &StateContext) -> Result<Box<dyn StateMachine>> {
        Ok(Box::new(self.machine(&context.dir)))
    }

    fn check(&self, body: &Bytes) -> Result<()> {
        KvCommand::decode(body).map(drop)
    }
}

/// A state as it is found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    /// The entry up to which it says that it holds everything.
    pub(super) marker: Index,
    pub(super) records: Records,
    pub(super) digest: StateDigest,
}

/// What the store on `disk` holds. Changes nothing there.
pub(super) fn found_in_store(disk: &SimDisk, loss: MemoryLoss) -> State {
    struct Sink(Records);
    impl SnapshotSink for Sink {
        fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
            self.0.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
            Ok(())
        }
    }
    let machines = Machines { disk: Arc::new(disk.fork()), loss };
    let machine = machines.machine(&Path::new(DIR).join("state"));
    assert!(machine.failure().is_none(), "{:?}", machine.failure());
    let Some(record) = machine.applied_record().unwrap() else {
        return State { marker: Index(0), records: Records::new(), digest: StateDigest::EMPTY };
    };
    let mut sink = Sink(Records::new());
    machine.view().unwrap().write_to(&mut sink).unwrap();
    State { marker: record.applied.index, records: sink.0, digest: record.digest }
}

/// What the digest of `records` must be.
pub(super) fn digest_of(records: &Records) -> StateDigest {
    let hasher = RecordHasher::new(UID);
    records.iter().fold(StateDigest::EMPTY, |sum, (key, value)| sum.with(hasher.hash(key, value)))
}
