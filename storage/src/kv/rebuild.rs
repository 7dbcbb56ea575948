//! Builds a store anew while it is used: the next generation is made of a consistent view, beside the applies; what is
//! applied meanwhile is kept, and written behind it; then the machine switches.
//!
//! Until the switch nothing of the generation in use has changed: a crash leaves it, and beside it a `.part`, which the
//! next start drops. What the view holds must add up to its applied record, and so must what the new store gives back.
//! From there on both take the same batches, in order, each with its marker. So once the markers are equal both hold the
//! same. The switch is that of a restore: closed, renamed, opened.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::batch::Batch;
use super::generations::Generations;
use super::lsm::{Panicked, failed};
use super::machine::{Backing, KvStateMachine, Ready};
use super::marker::Counts;
use super::restore::Building;
use super::store::{KvEngine, KvView};
use super::view::{KvStateView, Seen, walk_some};
use crate::error::{Error, Result};
use crate::snapshot::SnapshotSink;
use crate::state::{
    AppliedRecord, RebuildFailure, RecordHasher, ScanStep, StateBuild, StateRebuild, StateSize, StateView,
    Switch,
};

/// What is kept in memory of what is applied while a store is built anew.
const TAIL_BYTES_MAX: u64 = 32 << 20;

/// What of it the switch writes, while the group's applies wait.
const SWITCH_BYTES_MAX: u64 = 1 << 20;

/// What a record takes in a store beside key and value, when it is asked whether there is room.
const RECORD_BYTES: u64 = 64;

/// What was applied since a build began. Shared by the state machine, which adds, and the build, which takes.
#[derive(Debug, Default)]
pub(super) struct Tail {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    batches: VecDeque<Batch>,
    bytes: u64,
    /// Why nothing is kept any more.
    ended: Option<RebuildFailure>,
}

/// The next generation, as far as it is built.
#[derive(Debug)]
struct Build {
    number: u64,
    engine: Arc<dyn KvEngine>,
    generations: Generations,
    hasher: RecordHasher,
    /// What is copied: the label of the view, and what it must add up to.
    record: AppliedRecord,
    counts: Counts,
    reserve_bytes: u64,
    tail: Arc<Tail>,
    stage: Stage,
    /// Opened by the first step; `None` again once it ends.
    building: Option<Building>,
}

#[derive(Debug)]
enum Stage {
    /// The view is copied.
    Copying(Box<KvStateView>),
    /// What was copied is read back, and what was applied since is written behind it.
    Proving(Box<dyn KvView>, Seen),
    /// It was what was written.
    Following,
}

impl Tail {
    /// Keeps a batch that was written to the store in use.
    pub(super) fn keep(&self, batch: Batch) {
        let mut kept = self.kept.lock();
        if kept.ended.is_some() {
            return;
        }
        kept.bytes += bytes(&batch);
        kept.batches.push_back(batch);
        if kept.bytes > TAIL_BYTES_MAX {
            *kept = Kept::ended(RebuildFailure::Overtaken { bytes_max: TAIL_BYTES_MAX });
        }
    }

    /// The state is another one.
    pub(super) fn supersede(&self) {
        let mut kept = self.kept.lock();
        if kept.ended.is_none() {
            *kept = Kept::ended(RebuildFailure::Superseded);
        }
    }

    /// The next batches, of about `bytes_max`, at least one if there is one.
    fn take(&self, bytes_max: u64) -> Result<Vec<Batch>, RebuildFailure> {
        let mut kept = self.kept.lock();
        if let Some(failure) = &kept.ended {
            return Err(failure.clone());
        }
        let (mut taken, mut taken_bytes) = (Vec::new(), 0);
        while taken_bytes < bytes_max
            && let Some(batch) = kept.batches.pop_front()
        {
            taken_bytes += bytes(&batch);
            taken.push(batch);
        }
        kept.bytes -= taken_bytes;
        Ok(taken)
    }

    fn bytes(&self) -> u64 {
        self.kept.lock().bytes
    }
}

impl Kept {
    fn ended(failure: RebuildFailure) -> Self {
        Self { ended: Some(failure), ..Self::default() }
    }
}

/// Bytes that a batch takes, its marker included: one without a write counts as well.
fn bytes(batch: &Batch) -> u64 {
    (batch.bytes() + batch.marker().map_or(0, <[u8]>::len)) as u64
}

impl StateRebuild for KvStateMachine {
    fn size(&self) -> Result<StateSize> {
        let disk_bytes = match self.generation {
            0 => 0,
            number => self.generations.bytes(number)?,
        };
        Ok(StateSize { disk_bytes, live_bytes: self.counts().bytes })
    }

    fn begin_rebuild(&mut self, reserve_bytes: u64) -> Result<Box<dyn StateBuild>> {
        let number = self.next_generation()?;
        let view = self.ready()?.view()?;
        self.supersede_build();
        self.reserved = number;
        let tail = Arc::default();
        self.tail = Arc::downgrade(&tail);
        Ok(Box::new(Build {
            number,
            engine: self.engine.clone(),
            generations: self.generations.clone(),
            hasher: self.hasher,
            record: view.record().clone(),
            counts: view.counts(),
            reserve_bytes,
            tail,
            stage: Stage::Copying(Box::new(view)),
            building: None,
        }))
    }

    fn finish_rebuild(&mut self, build: Box<dyn StateBuild>) -> Result<Switch> {
        let build: Box<dyn Any> = build;
        let Some(mut build) = build.downcast::<Build>().ok().filter(|build| self.began(build)) else {
            return Ok(Switch::Abandoned(RebuildFailure::Superseded));
        };
        if build.tail.bytes() > SWITCH_BYTES_MAX || !matches!(build.stage, Stage::Following) {
            return Ok(Switch::Behind(build));
        }
        if let Err(failure) = build.complete(self.ready()?) {
            return Ok(Switch::Abandoned(failure));
        }
        let number = build.number;
        let switched = self.generations.switch(number).and_then(|()| self.open_generation(number));
        let opened = switched.map_err(|cause| self.fail(cause))?;
        self.supersede_build();
        self.generation = number;
        let old = std::mem::replace(&mut self.backing, Backing::Empty);
        self.settle(Ok(opened));
        if let Backing::Ready(old) = old {
            // Whoever reads the old generation, or has a view of it, keeps it until they are done.
            let Ready { store, generation, .. } = *old;
            generation.retire_with(store);
        }
        Ok(Switch::Switched)
    }
}

impl KvStateMachine {
    /// Whether it is the build that was begun last, of the state there is.
    fn began(&self, build: &Build) -> bool {
        Weak::ptr_eq(&self.tail, &Arc::downgrade(&build.tail))
    }
}

impl Build {
    /// Opens the store that is built, if that is still to be done.
    fn open(&mut self) -> Result<()> {
        if self.building.is_none() {
            let Counts { records, bytes } = self.counts;
            let needed_bytes = records.saturating_mul(RECORD_BYTES).saturating_add(bytes);
            self.generations.check_room(self.number, needed_bytes.saturating_add(self.reserve_bytes))?;
            let (engine, record) = (self.engine.as_ref(), self.record.clone());
            self.building = Some(Building::begin(engine, &self.generations, self.number, record)?);
        }
        Ok(())
    }

    /// Copies on; whether that was the end.
    fn copy(&mut self, bytes_max: u64) -> Result<ScanStep, RebuildFailure> {
        let (Stage::Copying(view), Some(building)) = (&mut self.stage, &mut self.building) else {
            return Ok(ScanStep::default());
        };
        let mut sink = Sink { building, hasher: &self.hasher, copied: Counts::default(), failure: None };
        // Third-party code over bytes that may be damaged.
        let copied = catch_unwind(AssertUnwindSafe(|| view.write_some(&mut sink, bytes_max)));
        let copied = copied.unwrap_or_else(|_| Err(failed("read", Panicked)));
        let Sink { copied: Counts { records, bytes }, failure, .. } = sink;
        let is_copied = match (copied, failure) {
            (_, Some(failure)) => return Err(RebuildFailure::Build(failure)),
            (Err(failure), None) => return Err(RebuildFailure::Source(failure)),
            (Ok(is_copied), None) => is_copied,
        };
        building.flush().map_err(RebuildFailure::Build)?;
        if is_copied {
            let sealed = building.seal().and_then(|()| building.store.view());
            self.stage = Stage::Proving(sealed.map_err(RebuildFailure::Build)?, Seen::default());
        }
        Ok(ScanStep { records, bytes, is_done: false })
    }

    /// Writes what was applied since, and reads on what was copied.
    fn follow(&mut self, bytes_max: u64) -> Result<ScanStep, RebuildFailure> {
        let mut step = self.take_tail(bytes_max)?;
        if let (Stage::Proving(view, seen), Some(building)) = (&mut self.stage, &self.building) {
            let (before, hasher) = (seen.counts, &self.hasher);
            let walk =
                || walk_some(view.as_mut(), seen, (hasher, &building.part), bytes_max, &mut |_, _| Ok(()));
            let walked = catch_unwind(AssertUnwindSafe(walk));
            let walked = walked.unwrap_or_else(|_| Err(failed("read", Panicked)));
            let is_read = walked.map_err(RebuildFailure::Build)?;
            step.records += seen.counts.records - before.records;
            step.bytes += seen.counts.bytes - before.bytes;
            if is_read {
                seen.check(self.counts, &self.record, &building.part).map_err(RebuildFailure::Build)?;
                self.stage = Stage::Following;
            }
        }
        step.is_done = matches!(self.stage, Stage::Following) && self.tail.bytes() <= SWITCH_BYTES_MAX;
        if step.is_done
            && let Some(building) = &mut self.building
        {
            // The switch then has little left to sync.
            building.checkpoint().map_err(RebuildFailure::Build)?;
        }
        Ok(step)
    }

    fn take_tail(&mut self, bytes_max: u64) -> Result<ScanStep, RebuildFailure> {
        let mut step = ScanStep::default();
        let Some(building) = &mut self.building else { return Ok(step) };
        for batch in self.tail.take(bytes_max)? {
            step.records += batch.writes().len() as u64;
            step.bytes += batch.bytes() as u64;
            building.write(&batch).map_err(RebuildFailure::Build)?;
        }
        Ok(step)
    }

    /// Writes the rest, compares the markers of both stores, and closes the new one.
    fn complete(&mut self, current: &Ready) -> Result<(), RebuildFailure> {
        self.take_tail(u64::MAX)?;
        let Some(mut building) = self.building.take() else { return Err(RebuildFailure::Superseded) };
        let mut complete = || {
            // The marker has the index, the digest and the counts: nothing else may become the state.
            if building.store.marker()? != current.store.marker()? {
                return Err(Error::Malformed { what: "marker of a store that was built anew" });
            }
            building.store.close()
        };
        complete().map_err(RebuildFailure::Build)
    }
}

impl StateBuild for Build {
    fn step(&mut self, bytes_max: u64) -> Result<ScanStep, RebuildFailure> {
        self.tail.take(0)?;
        self.open().map_err(RebuildFailure::Build)?;
        match self.stage {
            Stage::Copying(_) => self.copy(bytes_max),
            Stage::Proving(..) | Stage::Following => self.follow(bytes_max),
        }
    }
}

impl Drop for Build {
    fn drop(&mut self) {
        // Views and store let go of their files before those are removed. After a switch there are none.
        self.stage = Stage::Following;
        self.building = None;
        self.generations.abandon(self.number);
    }
}

/// Takes what is copied.
struct Sink<'a> {
    building: &'a mut Building,
    hasher: &'a RecordHasher,
    copied: Counts,
    failure: Option<Error>,
}

impl SnapshotSink for Sink<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.copied.add(key, value);
        let put = self.building.put(self.hasher, key, value);
        put.inspect_err(|failure| self.failure = Some(failure.clone()))
    }
}
