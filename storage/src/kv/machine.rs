//! The built-in state machine: [`KvStateMachine`] over any [`KvEngine`].

use std::path::Path;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::apply::Overlay;
use super::batch::Batch;
use super::generations::{Generation, Generations};
use super::marker::{self, Counts};
use super::reader::{Current, KvStateReader};
use super::rebuild::Tail;
use super::store::{KvEngine, KvStore};
use super::view::KvStateView;
use super::{KvCommand, KvOutcome, restore};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::ids::{GroupUid, Index};
use crate::planted::{self, Planted};
use crate::snapshot::SnapshotSource;
use crate::state::{
    AppliedIndexReader, AppliedIndexWriter, AppliedRecord, Command, RecordHasher, StateDigest, StateMachine,
    StateReader, StateRebuild, StateView,
};

/// A replicated ordered map from keys to values. Its commands are [`KvCommand`]s, its outputs
/// [`super::KvOutcome`]s; it is read through [`super::KvRead`].
#[derive(Debug)]
pub struct KvStateMachine {
    pub(super) engine: Arc<dyn KvEngine>,
    pub(super) generations: Generations,
    pub(super) hasher: RecordHasher,
    pub(super) current: Arc<Current>,
    pub(super) backing: Backing,
    /// Number of the newest generation that was ever switched to.
    pub(super) generation: u64,
    /// Highest number that a build was begun under: none is used twice while somebody may still have its files open.
    pub(super) reserved: u64,
    /// Takes what is applied while the store is built anew.
    pub(super) tail: Weak<Tail>,
    /// The restore under way.
    pub(super) building: Option<restore::Building>,
}

/// What stands behind the state machine.
#[derive(Debug)]
pub(super) enum Backing {
    /// No generation yet: the first apply or restore makes one, so that a group born by a restore pays for
    /// one only.
    Empty,
    /// A store that works.
    Ready(Box<Ready>),
    /// No store, or one that must not be touched again; only a restore helps.
    Failed(Error),
}

/// A store, and what its marker says.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) store: Box<dyn KvStore>,
    pub(super) generation: Arc<Generation>,
    /// `None` in a new store, and in one whose marker is of an older format.
    pub(super) record: Option<AppliedRecord>,
    pub(super) counts: Counts,
}

/// A decided apply call.
struct Prepared {
    batch: Batch,
    record: AppliedRecord,
    counts: Counts,
    outputs: Vec<Bytes>,
}

impl KvStateMachine {
    /// Opens the state of the group `uid` in `dir` (`groups/<group>/state`), or creates it. Never scans the
    /// data.
    ///
    /// Never fails, because a start never does for the sake of a cache: if the store does not open,
    /// [`KvStateMachine::failure`] says why, [`AppliedIndexReader::applied_record`] returns the same error
    /// (so the gate falls back with `read_err`), everything else fails with it, and
    /// [`StateMachine::restore`] builds the state anew.
    pub fn open(engine: Arc<dyn KvEngine>, disk: Arc<dyn Disk>, dir: &Path, uid: GroupUid) -> Self {
        let generations = Generations::new(disk, dir.to_path_buf());
        let mut this = Self {
            engine,
            generations,
            hasher: RecordHasher::new(uid),
            current: Arc::new(Current::none(dir)),
            backing: Backing::Failed(Error::Missing { path: dir.to_path_buf() }),
            generation: 0,
            reserved: 0,
            tail: Weak::new(),
            building: None,
        };
        match this.generations.find_current() {
            Ok(0) => this.backing = Backing::Empty,
            Ok(number) => {
                this.generation = number;
                this.settle(this.open_generation(number));
            }
            Err(cause) => this.settle(Err(cause)),
        }
        this
    }

    /// Why there is no store, if there is none.
    pub fn failure(&self) -> Option<&Error> {
        match &self.backing {
            Backing::Ready(_) | Backing::Empty => None,
            Backing::Failed(cause) => Some(cause),
        }
    }

    /// What the state holds; zeros if there is no store.
    pub fn counts(&self) -> Counts {
        match &self.backing {
            Backing::Ready(ready) => ready.counts,
            Backing::Failed(_) | Backing::Empty => Counts::default(),
        }
    }

    pub(super) fn open_generation(&self, number: u64) -> Result<Ready> {
        let dir = self.generations.path(number);
        let store = self.engine.open(&dir)?;
        let decoded = match store.marker()? {
            Some(bytes) => marker::decode(&bytes, &dir)?,
            None => None,
        };
        let (counts, record) =
            decoded.map_or((Counts::default(), None), |(counts, record)| (counts, Some(record)));
        let generation = Arc::new(Generation::new(&self.generations, number, (store.reader(), counts)));
        Ok(Ready { store, generation, record, counts })
    }

    /// Takes over what was opened, or why it was not.
    pub(super) fn settle(&mut self, opened: Result<Ready>) {
        self.backing = match opened {
            Ok(ready) => {
                self.current.set(Some(ready.generation.clone()));
                Backing::Ready(Box::new(ready))
            }
            Err(cause) => {
                tracing::warn!(%cause, generation = self.generation, "the state store did not open");
                self.current.set(None);
                Backing::Failed(cause)
            }
        };
    }

    /// The number of a generation that nobody has used.
    pub(super) fn next_generation(&self) -> Result<u64> {
        Ok(self.generation.max(self.reserved).max(self.generations.highest()?) + 1)
    }

    /// What is being built of the state so far is of no use any more.
    pub(super) fn supersede_build(&mut self) {
        if let Some(tail) = std::mem::take(&mut self.tail).upgrade() {
            tail.supersede();
        }
    }

    pub(super) fn ready(&self) -> Result<&Ready> {
        match &self.backing {
            Backing::Ready(ready) => Ok(ready),
            Backing::Empty => Err(Error::Missing { path: self.generations.path(1) }),
            Backing::Failed(cause) => Err(closed(cause)),
        }
    }

    fn ready_mut(&mut self) -> Result<&mut Ready> {
        match &mut self.backing {
            Backing::Ready(ready) => Ok(ready),
            Backing::Empty => Err(Error::Missing { path: self.generations.path(1) }),
            Backing::Failed(cause) => Err(closed(cause)),
        }
    }

    /// Makes the first generation, if there is none.
    fn begin(&mut self) -> Result<()> {
        if matches!(self.backing, Backing::Empty) {
            self.generations.create(1)?;
            self.generation = 1;
            self.settle(self.open_generation(1));
        }
        Ok(())
    }

    fn apply_at_once(&mut self, commands: &[Command], record: &AppliedRecord) -> Result<Vec<Bytes>> {
        let prepared = self.ready()?.prepare(&self.hasher, commands, record)?;
        let result = self.ready_mut()?.commit(prepared);
        let (outputs, batch) = result.map_err(|cause| self.fail(cause))?;
        if let Some(tail) = self.tail.upgrade() {
            tail.keep(batch);
        }
        Ok(outputs)
    }

    /// See [`Planted::MarkerPerOperation`].
    fn apply_per_operation(&mut self, commands: &[Command], record: &AppliedRecord) -> Result<Vec<Bytes>> {
        let mut outputs = Vec::with_capacity(commands.len());
        for Command { id, body } in commands {
            let record = AppliedRecord { applied: *id, ..record.clone() };
            let whole = KvCommand::decode(body)?;
            if !whole.conditions.is_empty() {
                let command = Command { id: *id, body: body.clone() };
                outputs.extend(self.apply_at_once(&[command], &record)?);
                continue;
            }
            let mut results = Vec::new();
            for op in whole.ops {
                let body = KvCommand { conditions: Vec::new(), ops: vec![op] }.encode()?;
                for output in self.apply_at_once(&[Command { id: *id, body }], &record)? {
                    if let KvOutcome::Applied { results: one } = KvOutcome::decode(&output)? {
                        results.extend(one);
                    }
                }
            }
            outputs.push(KvOutcome::Applied { results }.encode());
        }
        self.apply_at_once(&[], record)?;
        Ok(outputs)
    }

    /// After `cause` the store must not be touched again.
    pub(super) fn fail(&mut self, cause: Error) -> Error {
        self.supersede_build();
        self.current.set(None);
        self.backing = Backing::Failed(cause.clone());
        cause
    }
}

fn closed(cause: &Error) -> Error {
    match cause {
        Error::Closed { .. } => cause.clone(),
        _ => Error::Closed { cause: Arc::new(cause.clone()) },
    }
}

impl Ready {
    /// Decides every command, without changing anything yet.
    fn prepare(
        &self,
        hasher: &RecordHasher,
        commands: &[Command],
        record: &AppliedRecord,
    ) -> Result<Prepared> {
        self.check_order(commands, record);
        let mut overlay = Overlay::new(self.generation.reader(), self.generation.dir());
        let mut outputs = Vec::with_capacity(commands.len());
        for command in commands {
            outputs.push(overlay.run(&KvCommand::decode(&command.body)?)?.encode());
        }
        let digest = self.record.as_ref().map_or(StateDigest::EMPTY, |record| record.digest);
        let mut counts = self.counts;
        let mut batch = Batch::new(record.applied.index);
        let digest = overlay.finish(&mut batch, &mut counts, (hasher, digest));
        let mut record = AppliedRecord { digest, ..record.clone() };
        if planted::is(Planted::MarkerWithoutMembers)
            && let Some(before) = &self.record
        {
            record.conf_state = before.conf_state.clone();
        }
        batch.set_marker(marker::encode(counts, &record));
        Ok(Prepared { batch, record, counts, outputs })
    }

    fn commit(&mut self, prepared: Prepared) -> Result<(Vec<Bytes>, Batch)> {
        self.store.write(&prepared.batch)?;
        self.record = Some(prepared.record);
        self.counts = prepared.counts;
        self.generation.set_counts(prepared.counts);
        Ok((prepared.outputs, prepared.batch))
    }

    pub(super) fn view(&self) -> Result<KvStateView> {
        let view = KvStateView::new(self.store.view()?, self.generation.clone())?;
        assert_eq!(Some(view.record()), self.record.as_ref(), "a view's label is what was applied last");
        Ok(view)
    }

    /// What raft delivers moves on and never back.
    fn check_order(&self, commands: &[Command], record: &AppliedRecord) {
        if planted::is(Planted::MarkerPerOperation) {
            return;
        }
        let mut last = self.record.as_ref().map_or(Index(0), |record| record.applied.index);
        let applied = record.applied.index;
        assert!(applied > last, "entry {applied} is applied after {last}");
        for command in commands {
            let index = command.id.index;
            assert!(index > last && index <= applied, "command {index} is not between {last} and {applied}");
            last = index;
        }
    }
}

impl StateMachine for KvStateMachine {
    fn check(&self, body: &Bytes) -> Result<()> {
        KvCommand::decode(body).map(drop)
    }

    fn apply(&mut self, commands: &[Command], record: &AppliedRecord) -> Result<Vec<Bytes>> {
        self.begin()?;
        if planted::is(Planted::MarkerPerOperation) {
            return self.apply_per_operation(commands, record);
        }
        self.apply_at_once(commands, record)
    }

    fn reader(&self) -> Arc<dyn StateReader> {
        Arc::new(KvStateReader::new(self.current.clone()))
    }

    fn view(&self) -> Result<Box<dyn StateView>> {
        Ok(Box::new(self.ready()?.view()?))
    }

    fn restore(&mut self, source: &mut dyn SnapshotSource, record: &AppliedRecord) -> Result<()> {
        while !self.restore_some(source, record, u64::MAX)? {}
        Ok(())
    }

    fn restore_some(
        &mut self,
        source: &mut dyn SnapshotSource,
        record: &AppliedRecord,
        bytes_max: u64,
    ) -> Result<bool> {
        restore::restore_some(self, source, record, bytes_max)
    }

    fn checkpoint(&mut self) -> Result<Index> {
        if matches!(self.backing, Backing::Empty) {
            return Ok(Index(0));
        }
        let result = self.ready_mut()?.store.checkpoint();
        result.map_err(|cause| self.fail(cause))
    }

    fn durable_applied(&self) -> Index {
        self.ready().map_or(Index(0), |ready| ready.store.durable_index())
    }

    fn close(&mut self) -> Result<()> {
        let result = match &mut self.backing {
            Backing::Empty => Ok(()),
            Backing::Ready(ready) => ready.store.close(),
            Backing::Failed(cause) => Err(closed(cause)),
        };
        let cause = Error::Missing { path: self.generations.path(self.generation) };
        let stopped = self.fail(Error::Closed { cause: Arc::new(cause) });
        drop(stopped);
        result
    }

    fn as_applied_index_reader(&self) -> Option<&dyn AppliedIndexReader> {
        Some(self)
    }

    fn as_applied_index_writer(&mut self) -> Option<&mut dyn AppliedIndexWriter> {
        Some(self)
    }

    fn as_rebuild(&mut self) -> Option<&mut dyn StateRebuild> {
        Some(self)
    }
}

impl AppliedIndexReader for KvStateMachine {
    fn applied_record(&self) -> Result<Option<AppliedRecord>> {
        match &self.backing {
            Backing::Ready(ready) => Ok(ready.record.clone()),
            Backing::Empty => Ok(None),
            Backing::Failed(cause) => Err(cause.clone()),
        }
    }

    fn is_trusted(&self) -> bool {
        match &self.backing {
            Backing::Ready(ready) => ready.store.is_trusted(),
            Backing::Empty => true,
            Backing::Failed(_) => false,
        }
    }
}

impl AppliedIndexWriter for KvStateMachine {
    /// # Panics
    /// If `index` was not applied yet: a marker never runs ahead of the state.
    fn persist_applied(&mut self, index: Index) -> Result<()> {
        if index == Index(0) {
            return Ok(());
        }
        let ready = self.ready()?;
        let applied = ready.record.as_ref().map_or(Index(0), |record| record.applied.index);
        assert!(index <= applied, "entry {index} was not applied yet, {applied} was");
        if ready.store.durable_index() < index {
            self.checkpoint()?;
        }
        Ok(())
    }
}
