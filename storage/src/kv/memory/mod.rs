//! The in-memory store: for simulation and tests. It keeps its batches in a file on the [`Disk`] and loses at
//! a crash what a real store would: all after the last checkpoint but a prefix, or all.

pub(super) mod file;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use quorate_telemetry::Rng;

use self::file::BatchFile;
use super::ScanRange;
use super::batch::Batch;
use super::paged::{self, Pages};
use super::store::{KvEngine, KvReader, KvStore, KvView, Visit};
use super::undo::{OpenViews, UndoView};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::ids::Index;

/// What a store loses at a crash of those batches that came after the last checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLoss {
    /// All but a prefix: every batch is written as it comes, and none is synced before the checkpoint.
    Tail,
    /// All: the state is written at a checkpoint only.
    All,
}

/// Opens in-memory stores.
#[derive(Debug)]
pub struct MemoryEngine {
    disk: Arc<dyn Disk>,
    rng: Arc<dyn Rng>,
    loss: Option<MemoryLoss>,
}

impl MemoryEngine {
    /// Stores that lose `loss`; drawn anew at every opening if `None`.
    pub fn new(disk: Arc<dyn Disk>, rng: Arc<dyn Rng>, loss: Option<MemoryLoss>) -> Self {
        Self { disk, rng, loss }
    }
}

impl KvEngine for MemoryEngine {
    fn open(&self, dir: &Path) -> Result<Box<dyn KvStore>> {
        let drawn = || if self.rng.below(2) == 0 { MemoryLoss::Tail } else { MemoryLoss::All };
        let loss = self.loss.unwrap_or_else(drawn);
        Ok(Box::new(MemoryStore::open(self.disk.clone(), dir, loss)?))
    }

    fn survives_power_cut(&self) -> bool {
        true
    }
}

/// One generation in memory.
#[derive(Debug)]
struct MemoryStore {
    shared: Arc<Shared>,
    file: BatchFile,
    loss: MemoryLoss,
    durable: Index,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    state: RwLock<State>,
    views: OpenViews,
}

#[derive(Debug, Default)]
pub(super) struct State {
    records: BTreeMap<Bytes, Bytes>,
    live_bytes: u64,
    marker: Option<Bytes>,
    index: Index,
    is_closed: bool,
}

impl State {
    pub(super) fn take(&mut self, batch: &Batch) {
        for write in batch.writes() {
            let old = match write.value {
                Some(value) => {
                    self.live_bytes += (write.key.len() + value.len()) as u64;
                    self.records.insert(Bytes::copy_from_slice(write.key), Bytes::copy_from_slice(value))
                }
                None => self.records.remove(write.key),
            };
            if let Some(old) = old {
                self.live_bytes -= (write.key.len() + old.len()) as u64;
            }
        }
        if let Some(marker) = batch.marker() {
            self.marker = Some(Bytes::copy_from_slice(marker));
        }
        self.index = batch.index();
    }
}

impl MemoryStore {
    fn open(disk: Arc<dyn Disk>, dir: &Path, loss: MemoryLoss) -> Result<Self> {
        let mut state = State::default();
        let file = BatchFile::open(disk, dir, &mut state)?;
        let durable = state.index;
        let shared =
            Shared { dir: dir.to_path_buf(), state: RwLock::new(state), views: OpenViews::default() };
        Ok(Self { shared: Arc::new(shared), file, loss, durable })
    }
}

/// The state in `dir` and its marker, and where its batches end in the file. Changes nothing.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] for a batch that is none although its checksum matches.
pub(super) fn read_unchanged(
    disk: Arc<dyn Disk>,
    dir: &Path,
) -> Result<(Arc<dyn KvReader>, Option<Bytes>, u64)> {
    let mut state = State::default();
    let end = BatchFile::read(disk, dir, &mut state)?;
    let marker = state.marker.clone();
    let shared = Shared { dir: dir.to_path_buf(), state: RwLock::new(state), views: OpenViews::default() };
    Ok((Arc::new(shared), marker, end))
}

impl KvStore for MemoryStore {
    fn marker(&self) -> Result<Option<Bytes>> {
        Ok(self.shared.state.read().marker.clone())
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        if self.loss == MemoryLoss::Tail {
            self.file.append(batch)?;
        }
        let mut state = self.shared.state.write();
        assert!(batch.index() >= state.index, "batch {} after {}", batch.index(), state.index);
        if self.shared.views.is_any_open() {
            for write in batch.writes() {
                self.shared.views.keep(write.key, state.records.get(write.key));
            }
        }
        state.take(batch);
        Ok(())
    }

    fn reader(&self) -> Arc<dyn KvReader> {
        self.shared.clone()
    }

    fn view(&self) -> Result<Box<dyn KvView>> {
        let state = self.shared.state.read();
        let marker = state.marker.clone();
        let (undo, shared) = (self.shared.views.open(), self.shared.clone());
        Ok(Box::new(MemoryView { pages: Pages::default(), undo, marker, shared }))
    }

    fn checkpoint(&mut self) -> Result<Index> {
        let state = self.shared.state.read();
        if self.loss == MemoryLoss::All || self.file.is_worth_rewriting(state.live_bytes) {
            self.file.rewrite(&state)?;
        } else {
            self.file.sync()?;
        }
        self.durable = state.index;
        Ok(self.durable)
    }

    fn durable_index(&self) -> Index {
        self.durable
    }

    fn is_trusted(&self) -> bool {
        true
    }

    fn close(&mut self) -> Result<()> {
        self.checkpoint()?;
        self.shared.state.write().is_closed = true;
        Ok(())
    }
}

impl Shared {
    fn check_open(&self, state: &State) -> Result<()> {
        if state.is_closed {
            return Err(Error::Closed { cause: Arc::new(Error::Missing { path: self.dir.clone() }) });
        }
        Ok(())
    }
}

impl KvReader for Shared {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let state = self.state.read();
        self.check_open(&state)?;
        Ok(state.records.get(key).cloned())
    }

    fn scan(&self, range: ScanRange<'_>, visit: &mut Visit<'_>) -> Result<()> {
        let state = self.state.read();
        self.check_open(&state)?;
        if range.end.is_some_and(|end| end <= range.start) {
            return Ok(());
        }
        let bounds = (Bound::Included(range.start), range.end.map_or(Bound::Unbounded, Bound::Excluded));
        let mut records = state.records.range::<[u8], _>(bounds);
        while let Some((key, value)) = if range.reverse { records.next_back() } else { records.next() } {
            if visit(key, value)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

struct MemoryView {
    shared: Arc<Shared>,
    undo: UndoView,
    marker: Option<Bytes>,
    pages: Pages,
}

impl std::fmt::Debug for MemoryView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryView").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

impl KvView for MemoryView {
    fn marker(&self) -> Option<&Bytes> {
        self.marker.as_ref()
    }

    fn for_each(&mut self, visit: &mut Visit<'_>) -> Result<()> {
        let Self { shared, undo, pages, .. } = self;
        pages.for_each(visit, |after| {
            let state = shared.state.read();
            shared.check_open(&state)?;
            let rest = state.records.range::<[u8], _>((Bound::Excluded(after), Bound::Unbounded));
            let pairs = rest.map(|(key, value)| Ok((key.clone(), value.clone())));
            paged::page(pairs, after, undo)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{CrashMode, DiskFault, SimDisk};

    /// More calls than a checkpoint makes.
    const CALLS_MAX: u64 = 100;

    /// The file's name may have been in a cache only, as what it holds.
    #[test]
    fn what_a_store_finds_after_its_process_died_survives_a_power_cut() {
        let dir = Path::new("/store");
        let open = |disk: &SimDisk| {
            let disk: Arc<dyn Disk> = Arc::new(disk.clone());
            MemoryStore::open(disk, dir, MemoryLoss::All).unwrap()
        };
        for call in 1..CALLS_MAX {
            let disk = SimDisk::new();
            disk.create_dir_all(dir).unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            let mut store = open(&disk);
            let mut batch = Batch::new(Index(1));
            batch.set_marker(vec![1]);
            store.write(&batch).unwrap();
            disk.cut_power_at_call(call);
            let is_cut = store.checkpoint().is_err();
            let disk = disk.crash(CrashMode::KeepAll);
            let found = open(&disk).durable_index();
            let kept = open(&disk.crash(CrashMode::LoseUnsynced)).durable_index();
            assert_eq!(kept, found, "the process died in call {call} of the checkpoint");
            if !is_cut {
                assert_eq!(found, Index(1));
                return;
            }
        }
        panic!("a checkpoint makes {CALLS_MAX} calls or more");
    }

    /// As on Linux, the cache counts as clean what a failed sync should have written, and no later sync writes it.
    #[test]
    fn what_a_failed_sync_left_in_the_cache_is_not_found_again() {
        let dir = Path::new("/store");
        let disk = SimDisk::new();
        disk.create_dir_all(dir).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let open = |disk: &SimDisk| {
            let disk: Arc<dyn Disk> = Arc::new(disk.clone());
            MemoryStore::open(disk, dir, MemoryLoss::Tail).unwrap()
        };
        let mut store = open(&disk);
        for index in 1..=2 {
            let mut batch = Batch::new(Index(index));
            batch.set_marker(vec![1]);
            store.write(&batch).unwrap();
            if index == 2 {
                disk.fail_once(&dir.to_string_lossy(), DiskFault::FailedSyncs);
            }
            assert_eq!(store.checkpoint().is_ok(), index == 1);
        }
        drop(store);
        assert_eq!(open(&disk).durable_index(), Index(1));
        assert_eq!(open(&disk.crash(CrashMode::LoseUnsynced)).durable_index(), Index(1));
    }
}
