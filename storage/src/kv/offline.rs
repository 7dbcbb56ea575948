//! Opens a generation without changing its directory: for those who look at a data directory that nobody runs.

use std::fmt;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use quorate_telemetry::{Clock, Job, Stopped, Workers};
use tempfile::TempDir;

use super::generations::Generations;
use super::lsm::{LsmShared, Panicked, failed, open_shadow};
use super::marker::{self, Counts};
use super::memory::{self, file::NAME as BATCHES};
use super::record;
use super::shared::{StoreConfig, StoreKind};
use super::sled::{DB_NAME, SledEngine, Watchdog, abort};
use super::store::{ALL_RECORDS, KvEngine, KvReader, KvStore};
use super::trust::Trust;
use crate::disk::{Disk, OpenMode};
use crate::error::{Error, Result};
use crate::state::AppliedRecord;

/// Bytes copied at once.
const COPY_BYTES: u64 = 1 << 20;

/// What opening needs.
#[derive(Clone, Debug)]
pub(crate) struct OfflinePlace {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where a directory may be made that is removed afterwards.
    pub(crate) scratch: PathBuf,
}

/// An open generation. Its directory is as it was.
pub(crate) struct OfflineStore {
    pub(crate) reader: Arc<dyn KvReader>,
    marker: Option<Bytes>,
    /// Whether a start would count on what it holds.
    pub(crate) is_trusted: bool,
    /// The file, and where batches start in it that were never synced; the next start cuts them.
    pub(crate) torn: Option<(PathBuf, u64)>,
    /// Keeps a copy open. Dropped before the directory it is in.
    _store: Option<Box<dyn KvStore>>,
    _scratch: Option<TempDir>,
}

/// Why a generation is not open.
#[derive(Debug)]
pub(crate) enum NotOpened {
    /// Its kind cannot be opened without a write, and no copy was asked for.
    WouldWrite,
    /// The scratch directory failed. Says nothing of the store.
    Scratch(Error),
    /// The store does not open.
    Failed(Error),
}

/// Whether a store that writes when it is opened is copied first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copying {
    Never,
    IfNeeded,
}

/// Which store is in `dir`; `None` for an empty directory.
///
/// # Errors
/// [`Error::Io`]; [`Error::Malformed`] if it is none that this release knows.
pub(crate) fn kind_of(disk: &dyn Disk, dir: &Path) -> Result<Option<StoreKind>> {
    let entries = disk.list(dir).map_err(|source| Error::io("list", dir, source))?;
    let has = |name: &str| entries.iter().any(|entry| entry.name == name);
    if entries.is_empty() {
        return Ok(None);
    }
    if has(DB_NAME) {
        return Ok(Some(StoreKind::Sled));
    }
    if has(BATCHES) {
        return Ok(Some(StoreKind::Memory));
    }
    if has("current") || has("tables") {
        return Ok(Some(StoreKind::Lsm));
    }
    Err(Error::Malformed { what: "state directory: it holds no store of a known kind" })
}

/// The directory of the state's current generation below `dir`; `None` if there is none.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn current_generation(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Option<PathBuf>> {
    let found = disk.size(dir).map_err(|source| Error::io("look up", dir, source))?;
    if found.is_none() {
        return Ok(None);
    }
    let generations = Generations::new(disk.clone(), dir.to_path_buf());
    let highest = generations.highest()?;
    Ok((highest > 0).then(|| generations.path(highest)))
}

impl OfflinePlace {
    /// Opens the store of `kind` in `dir`.
    pub(crate) fn open(
        &self,
        kind: StoreKind,
        dir: &Path,
        copying: Copying,
    ) -> Result<OfflineStore, NotOpened> {
        match kind {
            StoreKind::Lsm => self.open_lsm(dir),
            StoreKind::Sled if copying == Copying::Never => Err(NotOpened::WouldWrite),
            StoreKind::Sled => self.open_sled_copy(dir),
            StoreKind::Memory => {
                let (reader, marker, end) =
                    memory::read_unchanged(self.disk.clone(), dir).map_err(NotOpened::Failed)?;
                let torn = self.torn_behind(dir.join(BATCHES), end).map_err(NotOpened::Failed)?;
                Ok(OfflineStore { reader, marker, is_trusted: true, torn, _store: None, _scratch: None })
            }
        }
    }

    /// Whether a start would trust the sled store in `dir`.
    pub(crate) fn would_trust_sled(&self, dir: &Path) -> Result<bool> {
        Trust::would_trust(self.disk.clone(), dir, self.clock.boot_id())
    }

    fn open_lsm(&self, dir: &Path) -> Result<OfflineStore, NotOpened> {
        let scratch = self.make_scratch()?;
        let shared =
            Arc::new(LsmShared::new(StoreConfig::default(), Arc::new(NoWorkers), self.clock.clone()));
        let (reader, marker) =
            open_shadow(&shared, self.disk.as_ref(), dir, scratch.path()).map_err(|error| match &error {
                Error::Io { path, .. } if path.starts_with(scratch.path()) => NotOpened::Scratch(error),
                _ => NotOpened::Failed(error),
            })?;
        let (store, scratch) = (None, Some(scratch));
        Ok(OfflineStore { reader, marker, is_trusted: true, torn: None, _store: store, _scratch: scratch })
    }

    /// sled writes to its files when it opens them.
    fn open_sled_copy(&self, dir: &Path) -> Result<OfflineStore, NotOpened> {
        let scratch = self.make_scratch()?;
        self.copy_dir(dir, scratch.path()).map_err(NotOpened::Scratch)?;
        let engine = SledEngine {
            disk: self.disk.clone(),
            clock: self.clock.clone(),
            watchdog: Arc::new(Watchdog::new(
                self.clock.clone(),
                StoreConfig::default().hung_after,
                Box::new(abort),
            )),
            cache_bytes_max: StoreConfig::default().sled_cache_bytes_max,
        };
        let store = engine.open(scratch.path()).map_err(NotOpened::Failed)?;
        let marker = store.marker().map_err(NotOpened::Failed)?;
        let (reader, is_trusted) = (store.reader(), store.is_trusted());
        let (store, scratch) = (Some(store), Some(scratch));
        Ok(OfflineStore { reader, marker, is_trusted, torn: None, _store: store, _scratch: scratch })
    }

    fn torn_behind(&self, file: PathBuf, end: u64) -> Result<Option<(PathBuf, u64)>> {
        let bytes = self.disk.size(&file).map_err(|source| Error::io("look up", &file, source))?;
        Ok((bytes > Some(end)).then_some((file, end)))
    }

    fn make_scratch(&self) -> Result<TempDir, NotOpened> {
        tempfile::Builder::new()
            .prefix("quorate-")
            .tempdir_in(&self.scratch)
            .map_err(|source| NotOpened::Scratch(Error::io("create a directory in", &self.scratch, source)))
    }

    /// Copies the files below `from`; into its directories, which are one deep.
    fn copy_dir(&self, from: &Path, to: &Path) -> Result<()> {
        let entries = self.disk.list(from).map_err(|source| Error::io("list", from, source))?;
        for entry in entries {
            let (from, to) = (from.join(&entry.name), to.join(&entry.name));
            if entry.is_dir {
                self.disk.create_dir_all(&to).map_err(|source| Error::io("create", &to, source))?;
                self.copy_dir(&from, &to)?;
            } else {
                self.copy_file(&from, &to)?;
            }
        }
        Ok(())
    }

    fn copy_file(&self, from: &Path, to: &Path) -> Result<()> {
        let source = self.disk.open(from, OpenMode::Read).map_err(|cause| Error::io("open", from, cause))?;
        let copy = self.disk.open(to, OpenMode::Create).map_err(|cause| Error::io("create", to, cause))?;
        let bytes = source.len().map_err(|cause| Error::io("measure", from, cause))?;
        let mut at = 0;
        while at < bytes {
            let count = usize::try_from((bytes - at).min(COPY_BYTES)).expect("bounded by COPY_BYTES");
            let mut piece = vec![0; count];
            source.read_exact_at(&mut piece, at).map_err(|cause| Error::io("read", from, cause))?;
            copy.write_all_at(&piece, at).map_err(|cause| Error::io("write", to, cause))?;
            at += count as u64;
        }
        Ok(())
    }
}

impl OfflineStore {
    /// What the marker says; `None` if there is none, or one of an older format. `dir` is named in errors.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Malformed`], [`Error::NewerFormat`].
    pub(crate) fn marker(&self, dir: &Path) -> Result<Option<(Counts, AppliedRecord)>> {
        self.marker.as_ref().map_or(Ok(None), |bytes| marker::decode(bytes, dir))
    }

    /// Visits every record as `visit(user key, plain value)`. A value with a wrong checksum goes to `found` and is
    /// left out.
    ///
    /// # Errors
    /// The store cannot be read on.
    pub(crate) fn for_each(
        &self,
        dir: &Path,
        visit: &mut dyn FnMut(&[u8], &[u8]),
        found: &mut dyn FnMut(Error),
    ) -> Result<()> {
        let mut visit = |key: &[u8], stored: &[u8]| {
            let key = key.strip_prefix(&[record::PREFIX]).ok_or(Error::Malformed { what: "stored key" })?;
            match record::verify(key, stored, dir) {
                Ok(value) => visit(key, value),
                Err(error) => found(error),
            }
            Ok(ControlFlow::Continue(()))
        };
        // Third-party code over bytes that may be damaged.
        let scan = || self.reader.scan(ALL_RECORDS, &mut visit);
        catch_unwind(AssertUnwindSafe(scan)).unwrap_or_else(|_| Err(failed("read", Panicked)))
    }
}

impl fmt::Debug for OfflineStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfflineStore").field("reader", &self.reader).finish_non_exhaustive()
    }
}

/// Nothing is flushed or compacted while someone only looks.
#[derive(Debug)]
struct NoWorkers;

impl Workers for NoWorkers {
    fn submit(&self, _key: u64, _job: Job) -> Result<(), Stopped> {
        Err(Stopped)
    }
}
