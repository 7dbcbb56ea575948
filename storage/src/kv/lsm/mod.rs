//! The default store: one `lsm-tree` per group and generation, without a write-ahead log of its own: the Raft
//! log is its write-ahead log.
//!
//! - Every write carries the log index of its batch as sequence number; readers read at the applied index. All
//!   writes of an apply call share the last index of the call, because no reader ever reads between them.
//! - The marker is kept beside the memtable and enters it at a rotation, which happens between batches only: so
//!   a table never holds part of an entry, and the newest persisted marker is exact.
//! - A flush keeps the newest version of a key and drops the others at once. That is sound because whoever
//!   reads has, before the flush switches its table in, already picked the memtable it reads (see `switch` in
//!   [`tree::LsmTree`]): a view is an iterator that holds its tables and memtables, and an index.

mod files;
mod flush;
mod shadow;
mod shared;
mod tree;

pub(crate) use files::{check_files, count_tables};
pub(crate) use shadow::open_shadow;
pub(crate) use shared::LsmShared;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use self::tree::LsmTree;
use super::batch::Batch;
use super::store::{KvEngine, KvReader, KvStore, KvView, Visit};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::ids::Index;

/// Opens LSM trees of one group.
#[derive(Debug)]
pub(crate) struct LsmEngine {
    shared: Arc<LsmShared>,
    disk: Arc<dyn Disk>,
}

impl LsmEngine {
    pub(crate) fn new(shared: Arc<LsmShared>, disk: Arc<dyn Disk>) -> Self {
        Self { shared, disk }
    }
}

impl KvEngine for LsmEngine {
    fn open(&self, dir: &Path) -> Result<Box<dyn KvStore>> {
        let real = real_path(self.disk.as_ref(), dir)?;
        // A process that died before it synced the new name of `current` left it in a cache. What is opened counts as
        // durable, and opening removes what the version before it needs.
        self.disk.sync_dir(dir).map_err(|source| Error::io("sync", dir, source))?;
        files::check_version(self.disk.as_ref(), dir)?;
        let opened = catch_unwind(AssertUnwindSafe(|| LsmTree::open(&self.shared, &real)));
        let tree = opened.unwrap_or_else(|_| Err(failed("open", Panicked)))?;
        self.shared.register(&tree);
        Ok(Box::new(LsmStore { tree }))
    }

    fn survives_power_cut(&self) -> bool {
        true
    }
}

/// One generation on an LSM tree.
#[derive(Debug)]
struct LsmStore {
    tree: Arc<LsmTree>,
}

impl KvStore for LsmStore {
    fn marker(&self) -> Result<Option<Bytes>> {
        Ok(self.tree.marker())
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.tree.write(batch)?;
        self.tree.relieve()
    }

    fn reader(&self) -> Arc<dyn KvReader> {
        self.tree.clone()
    }

    fn view(&self) -> Result<Box<dyn KvView>> {
        Ok(Box::new(self.tree.view()))
    }

    fn checkpoint(&mut self) -> Result<Index> {
        self.tree.flush()?;
        Ok(self.tree.durable_index())
    }

    fn durable_index(&self) -> Index {
        self.tree.durable_index()
    }

    /// Only synced tables that were switched in atomically are ever found.
    fn is_trusted(&self) -> bool {
        true
    }

    fn close(&mut self) -> Result<()> {
        self.tree.flush()?;
        self.tree.stop();
        Ok(())
    }
}

impl Drop for LsmStore {
    fn drop(&mut self) {
        // Background work must not outlive the generation's directory.
        self.tree.stop();
    }
}

/// Where a store that cannot use the [`Disk`] seam keeps its files.
///
/// # Errors
/// [`Error::Io`] on a simulated disk: only the in-memory store works there.
pub(crate) fn real_path(disk: &dyn Disk, dir: &Path) -> Result<std::path::PathBuf> {
    disk.real_path(dir)
        .ok_or_else(|| Error::io("find on the real file system", dir, std::io::ErrorKind::Unsupported.into()))
}

/// The third-party store panicked.
#[derive(Debug, thiserror::Error)]
#[error("the store panicked")]
pub(crate) struct Panicked;

pub(crate) fn failed(action: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Store { action, source: Arc::new(source) }
}

/// All records of a tree at one index.
struct LsmView {
    marker: Option<Bytes>,
    /// Holds the tables and memtables it goes through.
    records: Box<dyn DoubleEndedIterator<Item = lsm_tree::IterGuardImpl> + Send>,
    tree: Arc<LsmTree>,
}

impl std::fmt::Debug for LsmView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LsmView").field("tree", &self.tree).finish_non_exhaustive()
    }
}

impl KvView for LsmView {
    fn marker(&self) -> Option<&Bytes> {
        self.marker.as_ref()
    }

    fn for_each(&mut self, visit: &mut Visit<'_>) -> Result<()> {
        tree::walk(self.records.by_ref(), visit)
    }
}
