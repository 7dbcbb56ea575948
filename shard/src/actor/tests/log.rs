//! A log in memory that outlives its store, as a disk does, and fails when told to.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use quorate_storage::log::{LogBatch, LogReader, LogState, LogStore};
use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::{Entry, EntryId, Error, Index, Result};

/// What is "on disk". Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryLog(Arc<Mutex<Data>>);

#[derive(Debug, Default)]
struct Data {
    state: LogState,
    entries: Vec<Entry>,
    syncs: u64,
    proofs: u64,
    fails: bool,
}

#[derive(Debug)]
struct Store {
    log: MemoryLog,
    recovered: LogState,
}

impl MemoryLog {
    /// A log that begins behind `base`.
    pub(super) fn born(base: SnapshotToken) -> Self {
        let log = Self::default();
        log.0.lock().install(base);
        log
    }

    pub(super) fn open(&self) -> Box<dyn LogStore> {
        Box::new(Store { log: self.clone(), recovered: self.0.lock().state.clone() })
    }

    /// From now on every append fails.
    pub(super) fn fail(&self) {
        self.0.lock().fails = true;
    }

    pub(super) fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    pub(super) fn proofs(&self) -> u64 {
        self.0.lock().proofs
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.0.lock().entries.clone()
    }

    pub(super) fn is_clean(&self) -> bool {
        self.0.lock().state.clean
    }
}

impl Data {
    fn install(&mut self, token: SnapshotToken) {
        self.entries.clear();
        self.state.skeleton.reset(token.id);
        self.state.snapshots.push(token);
        self.state.hard_state.term = self.state.hard_state.term.max(token.id.term);
        self.state.hard_state.commit = self.state.hard_state.commit.max(token.id.index);
    }

    fn append(&mut self, batch: &LogBatch) {
        if let Some(token) = batch.install {
            self.install(token);
        }
        for entry in &batch.entries {
            self.entries.retain(|old| old.index < entry.index);
            let is_conf_change = entry.kind == quorate_storage::EntryKind::ConfChange;
            self.state.skeleton.push(entry.id(), is_conf_change);
            self.entries.push(entry.clone());
        }
        self.state.hard_state = batch.hard_state.unwrap_or(self.state.hard_state);
    }
}

impl LogStore for Store {
    fn recovered(&self) -> &LogState {
        &self.recovered
    }

    fn append(&mut self, batches: &[LogBatch], sync: bool) -> Result<()> {
        let mut data = self.log.0.lock();
        if data.fails {
            return Err(Error::io("sync", Path::new("/log"), io::ErrorKind::Other.into()));
        }
        data.state.clean = false;
        for batch in batches {
            data.append(batch);
        }
        data.syncs += u64::from(sync);
        Ok(())
    }

    fn prove(&mut self) -> Result<()> {
        self.log.0.lock().proofs += 1;
        Ok(())
    }

    fn record_snapshot(&mut self, token: SnapshotToken) -> Result<()> {
        self.log.0.lock().state.snapshots.push(token);
        Ok(())
    }

    fn compact(&mut self, through: Index) -> Result<()> {
        let mut data = self.log.0.lock();
        data.state.skeleton.compact(through);
        data.entries.retain(|entry| entry.index > through);
        Ok(())
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(self.log.clone())
    }

    fn close(&mut self) -> Result<()> {
        self.log.0.lock().state.clean = true;
        Ok(())
    }
}

impl LogReader for MemoryLog {
    fn entries(&self, low: Index, high: Index, _bytes_max: u64) -> Result<Vec<Entry>> {
        let data = self.0.lock();
        let EntryId { index: base, .. } = data.state.skeleton.base;
        if low <= base {
            let last = data.state.skeleton.last.get();
            return Err(Error::OutOfRange { index: low.get(), first: base.get() + 1, last });
        }
        Ok(data.entries.iter().filter(|entry| entry.index >= low && entry.index < high).cloned().collect())
    }
}
