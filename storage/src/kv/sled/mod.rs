//! The store on sled 0.34: one database per group and generation. It is trusted after a crash of the process,
//! never after a power cut.
//!
//! Measures against what is known of it: segments of 8 MiB (with smaller ones an overwrite workload hung), no
//! background flusher, no item over 64 KiB, panics caught at opening, files synced by ourselves at a
//! checkpoint, a stop that opens once more (only that writes its page table), old values kept for views, and a
//! watchdog on every operation.

mod chunks;
mod watchdog;

pub use watchdog::{OnHung, StoreHung};
pub(crate) use watchdog::{Watchdog, abort};

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use quorate_telemetry::Clock;

use super::ScanRange;
use super::batch::Batch;
use super::lsm::{Panicked, failed, real_path};
use super::paged::{self, Pages};
use super::record;
use super::store::{KvEngine, KvReader, KvStore, KvView, MARKER_KEY, Visit};
use super::trust::Trust;
use super::undo::{OpenViews, UndoView};
use crate::disk::{Disk, OpenMode};
use crate::error::{Error, Result};
use crate::ids::Index;

/// With sled's default of 512 KiB an overwrite workload hung the process for ever.
const SEGMENT_BYTES: usize = 8 << 20;

/// Name of the database inside a generation.
pub(crate) const DB_NAME: &str = "db";

/// A database that was just closed stays locked until sled's own threads have let go of it.
const LOCK_ATTEMPTS: u32 = 2_000;
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// Opens sled databases of one group.
#[derive(Debug)]
pub(crate) struct SledEngine {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) watchdog: Arc<Watchdog>,
    pub(crate) cache_bytes_max: u64,
}

impl KvEngine for SledEngine {
    fn open(&self, dir: &Path) -> Result<Box<dyn KvStore>> {
        let _watched = self.watchdog.watch("open");
        let real = real_path(self.disk.as_ref(), dir)?.join(DB_NAME);
        let is_new = self.disk.list(dir).map_err(|source| Error::io("list", dir, source))?.is_empty();
        let trust = Trust::open(self.disk.clone(), dir, self.clock.boot_id(), is_new)?;
        let db = open_db(&real, self.cache_bytes_max)?;
        let stored = db.get(MARKER_KEY).map_err(|source| failed("read", source))?;
        let index = stored.as_deref().map(split_marker).transpose()?.map_or(Index(0), |(index, _)| index);
        let shared = Arc::new(Shared {
            dir: dir.to_path_buf(),
            db: RwLock::new(Some(db)),
            views: OpenViews::default(),
            watchdog: self.watchdog.clone(),
        });
        let files = Files { disk: self.disk.clone(), dir: dir.to_path_buf(), real };
        Ok(Box::new(SledStore {
            shared,
            files,
            trust,
            cache_bytes_max: self.cache_bytes_max,
            index,
            durable: index,
        }))
    }

    fn survives_power_cut(&self) -> bool {
        false
    }
}

/// One generation on sled.
#[derive(Debug)]
struct SledStore {
    shared: Arc<Shared>,
    files: Files,
    trust: Trust,
    cache_bytes_max: u64,
    index: Index,
    durable: Index,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    /// Held alone for a batch, shared by reads: sled's own batches are atomic for a crash, not for a reader
    /// that takes several steps. `None` once closed.
    db: RwLock<Option<sled::Db>>,
    views: OpenViews,
    watchdog: Arc<Watchdog>,
}

impl KvStore for SledStore {
    fn marker(&self) -> Result<Option<Bytes>> {
        let _watched = self.shared.watchdog.watch("read");
        let db = self.shared.db.read();
        marker(self.shared.opened(db.as_ref())?)
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        assert!(batch.index() >= self.index, "batch {} after {}", batch.index(), self.index);
        let _watched = self.shared.watchdog.watch("apply");
        let db = self.shared.db.write();
        let tree = self.shared.opened(db.as_ref())?;
        let keeps_old = self.shared.views.is_any_open();
        let mut items = sled::Batch::default();
        for write in batch.writes() {
            let old = tree.get(write.key).map_err(|source| failed("read", source))?;
            if let Some(old) = &old {
                chunks::delete_chunks(&mut items, write.key, old);
            }
            if keeps_old {
                let old = old.map(|old| chunks::assemble(tree, write.key, &old)).transpose()?;
                self.shared.views.keep(write.key, old.as_ref());
            }
            match write.value {
                Some(value) => chunks::put(&mut items, write.key, value),
                None => items.remove(write.key),
            }
        }
        if let Some(marker) = batch.marker() {
            items.insert(MARKER_KEY, [&batch.index().get().to_le_bytes(), marker].concat());
        }
        tree.apply_batch(items).map_err(|source| failed("write", source))?;
        self.index = batch.index();
        Ok(())
    }

    fn reader(&self) -> Arc<dyn KvReader> {
        self.shared.clone()
    }

    fn view(&self) -> Result<Box<dyn KvView>> {
        let _watched = self.shared.watchdog.watch("read");
        let db = self.shared.db.read();
        let marker = marker(self.shared.opened(db.as_ref())?)?;
        let (undo, shared) = (self.shared.views.open(), self.shared.clone());
        Ok(Box::new(SledView { pages: Pages::default(), undo, marker, shared }))
    }

    fn checkpoint(&mut self) -> Result<Index> {
        let _watched = self.shared.watchdog.watch("checkpoint");
        let db = self.shared.db.read();
        self.shared.opened(db.as_ref())?.flush().map_err(|source| failed("flush", source))?;
        self.files.sync()?;
        self.durable = self.index;
        Ok(self.durable)
    }

    fn durable_index(&self) -> Index {
        self.durable
    }

    fn is_trusted(&self) -> bool {
        self.trust.is_trusted()
    }

    fn close(&mut self) -> Result<()> {
        self.checkpoint()?;
        let _watched = self.shared.watchdog.watch("close");
        drop(self.shared.db.write().take());
        // Only an opening writes sled's page table; without it the next start replays all of the file.
        drop(open_db(&self.files.real, self.cache_bytes_max)?);
        self.files.sync()?;
        self.trust.mark_clean()
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // Readers may live on; the files must not be held open with them.
        drop(self.shared.db.write().take());
    }
}

/// The database's files, seen through the disk.
#[derive(Debug)]
struct Files {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    real: PathBuf,
}

impl Files {
    /// sled's own flush does not reach the device: `sync_file_range` waits for no cache and no metadata.
    fn sync(&self) -> Result<()> {
        let db = self.dir.join(DB_NAME);
        let failed = |action, source| Error::io(action, &db, source);
        for entry in self.disk.list(&db).map_err(|source| failed("list", source))? {
            if !entry.is_dir {
                let file = self.disk.open(&db.join(&entry.name), OpenMode::Write);
                let synced = file.and_then(|file| file.sync_data());
                synced.map_err(|source| failed("sync", source))?;
            }
        }
        self.disk.sync_dir(&db).map_err(|source| failed("sync", source))?;
        self.disk.sync_dir(&self.dir).map_err(|source| Error::io("sync", &self.dir, source))
    }
}

fn open_db(path: &Path, cache_bytes_max: u64) -> Result<sled::Db> {
    let config = sled::Config::new()
        .path(path)
        .segment_size(SEGMENT_BYTES)
        .flush_every_ms(None)
        .cache_capacity(cache_bytes_max);
    for _ in 0..LOCK_ATTEMPTS {
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(sled::Error::Io(cause))) if cause.to_string().contains("could not acquire lock") => {
                std::thread::sleep(LOCK_PAUSE);
            }
            Ok(Err(cause)) => return Err(failed("open", cause)),
            Err(_) => return Err(failed("open", Panicked)),
        }
    }
    Err(Error::Locked { path: path.to_path_buf() })
}

/// The value under the marker's key: index (8, little-endian), marker.
fn split_marker(stored: &[u8]) -> Result<(Index, &[u8])> {
    let (index, marker) = stored.split_first_chunk().ok_or(Error::Malformed { what: "stored marker" })?;
    Ok((Index(u64::from_le_bytes(*index)), marker))
}

fn marker(tree: &sled::Tree) -> Result<Option<Bytes>> {
    let stored = tree.get(MARKER_KEY).map_err(|source| failed("read", source))?;
    stored.map(|stored| Ok(Bytes::copy_from_slice(split_marker(&stored)?.1))).transpose()
}

impl Shared {
    /// The database that `db` locks.
    fn opened<'a>(&self, db: Option<&'a sled::Db>) -> Result<&'a sled::Tree> {
        let closed = || Error::Closed { cause: Arc::new(Error::Missing { path: self.dir.clone() }) };
        db.map(|db| &**db).ok_or_else(closed)
    }
}

impl KvReader for Shared {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let _watched = self.watchdog.watch("read");
        let db = self.db.read();
        let tree = self.opened(db.as_ref())?;
        let stored = tree.get(key).map_err(|source| failed("read", source))?;
        stored.map(|stored| chunks::assemble(tree, key, &stored)).transpose()
    }

    fn scan(&self, range: ScanRange<'_>, visit: &mut Visit<'_>) -> Result<()> {
        if range.end.is_some_and(|end| end <= range.start) {
            return Ok(());
        }
        let _watched = self.watchdog.watch("read");
        let db = self.db.read();
        let tree = self.opened(db.as_ref())?;
        let bounds = (Bound::Included(range.start), range.end.map_or(Bound::Unbounded, Bound::Excluded));
        let mut items = tree.range::<&[u8], _>(bounds);
        while let Some(item) = if range.reverse { items.next_back() } else { items.next() } {
            let (key, stored) = item.map_err(|source| failed("read", source))?;
            if visit(&key, &chunks::assemble(tree, &key, &stored)?)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct SledView {
    shared: Arc<Shared>,
    undo: UndoView,
    marker: Option<Bytes>,
    pages: Pages,
}

impl KvView for SledView {
    fn marker(&self) -> Option<&Bytes> {
        self.marker.as_ref()
    }

    fn for_each(&mut self, visit: &mut Visit<'_>) -> Result<()> {
        let Self { shared, undo, pages, .. } = self;
        pages.for_each(visit, |after| {
            let _watched = shared.watchdog.watch("read");
            let db = shared.db.read();
            let tree = shared.opened(db.as_ref())?;
            let first: &[u8] = &[record::PREFIX];
            let start = if after.is_empty() { Bound::Included(first) } else { Bound::Excluded(after) };
            let end: &[u8] = &[record::PREFIX + 1];
            let pairs = tree.range::<&[u8], _>((start, Bound::Excluded(end))).map(|item| {
                let (key, stored) = item.map_err(|source| failed("read", source))?;
                let value = chunks::assemble(tree, &key, &stored)?;
                Ok((Bytes::copy_from_slice(&key), value))
            });
            paged::page(pairs, after, undo)
        })
    }
}
