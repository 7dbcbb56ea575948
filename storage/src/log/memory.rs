//! The log in memory: same promises, no files. For tests and for simulating the core without a disk.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{LogBatch, LogReader, LogSkeleton, LogState, LogStore, LogUsage};
use crate::entry::{Entry, EntryKind, HardState};
use crate::error::{Error, Result};
use crate::ids::Index;
use crate::snapshot::SnapshotToken;

use super::summary::SNAPSHOTS_MAX;

/// A log that lives as long as some handle to it. [`Self::reopen`] is what a restart is for other logs: it gives
/// what was durable, and closes every older handle.
#[derive(Debug)]
pub struct MemoryLog {
    recovered: LogState,
    shared: Arc<Mutex<Durable>>,
    generation: u64,
    /// Held back until the next batch, as an unsynced commit may be.
    hard_state: HardState,
    is_closed: bool,
}

#[derive(Debug)]
struct Durable {
    state: LogState,
    /// From `state.skeleton.first()` on.
    entries: Vec<Entry>,
    /// Raised by every reopening.
    generation: u64,
    /// Payload bytes appended since the last reopening.
    written_bytes: u64,
}

#[derive(Debug)]
struct MemoryReader {
    shared: Arc<Mutex<Durable>>,
}

impl MemoryLog {
    /// The log of a new replica behind a snapshot, as [`super::SegmentedLog::create`].
    pub fn create(base: SnapshotToken) -> Self {
        let mut state = LogState::default();
        state.skeleton.reset(base.id);
        state.hard_state = HardState { term: base.id.term, vote: None, commit: base.id.index };
        if base.id.index > Index(0) {
            state.snapshots.push(base);
        }
        let durable = Durable { state: state.clone(), entries: Vec::new(), generation: 0, written_bytes: 0 };
        let hard_state = state.hard_state;
        let shared = Arc::new(Mutex::new(durable));
        Self { recovered: state, shared, generation: 0, hard_state, is_closed: false }
    }

    /// What a start after a crash finds: everything that was durable. Every older handle is closed.
    pub fn reopen(&self) -> Self {
        let mut durable = self.shared.lock();
        durable.generation += 1;
        durable.written_bytes = 0;
        let recovered = durable.state.clone();
        Self {
            hard_state: recovered.hard_state,
            recovered,
            shared: Arc::clone(&self.shared),
            generation: durable.generation,
            is_closed: false,
        }
    }

    fn change(&mut self, act: impl FnOnce(&mut Durable, &mut HardState) -> Result<()>) -> Result<()> {
        let mut durable = self.shared.lock();
        if self.is_closed || self.generation != durable.generation {
            let closed = Error::Malformed { what: "use of a closed log" };
            return Err(Error::Closed { cause: Arc::new(closed) });
        }
        act(&mut durable, &mut self.hard_state)?;
        durable.state.hard_state = self.hard_state;
        durable.state.clean = false;
        Ok(())
    }
}

impl Durable {
    fn append(&mut self, batch: &LogBatch, hard_state: &mut HardState) {
        if let Some(token) = batch.install {
            self.state.skeleton.reset(token.id);
            self.entries.clear();
            self.add_snapshot(token);
            hard_state.term = hard_state.term.max(token.id.term);
            hard_state.commit = hard_state.commit.max(token.id.index);
        }
        for entry in &batch.entries {
            self.state.skeleton.push(entry.id(), entry.kind == EntryKind::ConfChange);
            self.entries.truncate(self.position(entry.index));
            self.entries.push(entry.clone());
            self.written_bytes += entry.payload.len() as u64;
        }
        if let Some(newest) = batch.hard_state {
            *hard_state = newest;
        }
    }

    fn add_snapshot(&mut self, token: SnapshotToken) {
        self.state.snapshots.push(token);
        let surplus = self.state.snapshots.len().saturating_sub(SNAPSHOTS_MAX);
        self.state.snapshots.drain(..surplus);
    }

    fn position(&self, index: Index) -> usize {
        usize::try_from(index.get() - self.state.skeleton.first().get()).expect("entries are in memory")
    }

    fn check_reached(&self, index: Index) -> Result<()> {
        if index <= self.state.skeleton.last {
            Ok(())
        } else {
            Err(out_of_range(&self.state.skeleton, index))
        }
    }
}

impl LogStore for MemoryLog {
    fn recovered(&self) -> &LogState {
        &self.recovered
    }

    fn append(&mut self, batches: &[LogBatch], sync: bool) -> Result<()> {
        let durable = self.shared.lock().state.hard_state;
        let is_commit_only = batches.iter().all(|batch| {
            batch.install.is_none()
                && batch.entries.is_empty()
                && batch
                    .hard_state
                    .is_none_or(|state| HardState { commit: durable.commit, ..state } == durable)
        });
        if !sync && is_commit_only && !self.is_closed {
            if let Some(state) = batches.iter().rev().find_map(|batch| batch.hard_state) {
                self.hard_state = state;
            }
            return Ok(());
        }
        self.change(|durable, hard_state| {
            for batch in batches {
                durable.append(batch, hard_state);
            }
            Ok(())
        })
    }

    fn prove(&mut self) -> Result<()> {
        self.change(|_, _| Ok(()))
    }

    fn record_snapshot(&mut self, token: SnapshotToken) -> Result<()> {
        self.change(|durable, _| {
            durable.check_reached(token.id.index)?;
            durable.add_snapshot(token);
            Ok(())
        })
    }

    fn compact(&mut self, through: Index) -> Result<()> {
        self.change(|durable, _| {
            durable.check_reached(through)?;
            if through > durable.state.skeleton.base.index {
                let kept = durable.position(through.next());
                durable.entries.drain(..kept);
                durable.state.skeleton.compact(through);
            }
            Ok(())
        })
    }

    fn usage(&self) -> LogUsage {
        let durable = self.shared.lock();
        let disk_bytes = durable.entries.iter().map(|entry| entry.payload.len() as u64).sum();
        LogUsage { disk_bytes, written_bytes: durable.written_bytes }
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(MemoryReader { shared: Arc::clone(&self.shared) })
    }

    fn close(&mut self) -> Result<()> {
        self.change(|_, _| Ok(()))?;
        self.shared.lock().state.clean = true;
        self.is_closed = true;
        Ok(())
    }
}

impl LogReader for MemoryReader {
    fn hard_state(&self) -> HardState {
        self.shared.lock().state.hard_state
    }

    fn entries(&self, low: Index, high: Index, bytes_max: u64) -> Result<Vec<Entry>> {
        let durable = self.shared.lock();
        let skeleton = &durable.state.skeleton;
        if low < skeleton.first() || low > skeleton.last {
            return Err(out_of_range(skeleton, low));
        }
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for entry in &durable.entries[durable.position(low)..] {
            bytes += entry.payload.len() as u64;
            if entry.index >= high || (bytes > bytes_max && !entries.is_empty()) {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn bytes_above(&self, index: Index) -> u64 {
        let durable = self.shared.lock();
        let above = durable.entries.iter().rev().take_while(|entry| entry.index > index);
        above.map(|entry| entry.payload.len() as u64).sum()
    }
}

fn out_of_range(skeleton: &LogSkeleton, index: Index) -> Error {
    let (first, last) = (skeleton.first().get(), skeleton.last.get());
    Error::OutOfRange { index: index.get(), first, last }
}
