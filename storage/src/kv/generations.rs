//! The generations of a group's state: `state/<number>`, the current one being the highest; a restore
//! or a rebuild makes the next one as `state/<number>.part` and switches by a rename.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::marker::Counts;
use super::store::{KvReader, KvStore};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::snapshot::check_room;

/// Ends the name of a generation that is being built.
const PART_SUFFIX: &str = ".part";

/// The directory of all generations.
#[derive(Clone, Debug)]
pub(crate) struct Generations {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Generations {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self { disk, dir }
    }

    /// Finds the current generation, 0 if there is none. Drops what an interrupted restore left.
    pub(crate) fn find_current(&self) -> Result<u64> {
        self.disk.create_dir_all(&self.dir).map_err(|source| Error::io("create", &self.dir, source))?;
        let current = self.highest()?;
        self.remove_others(current)?;
        Ok(current)
    }

    /// Makes an empty directory for generation `number`. Durable by name on return.
    pub(crate) fn create(&self, number: u64) -> Result<()> {
        let path = self.path(number);
        self.disk.create_dir_all(&path).map_err(|source| Error::io("create", &path, source))?;
        self.sync()
    }

    /// The highest generation there is, 0 if none.
    pub(crate) fn highest(&self) -> Result<u64> {
        Ok(self.numbers()?.into_iter().max().unwrap_or(0))
    }

    /// Bytes of the files of generation `number`, all together. A `stat` each.
    pub(crate) fn bytes(&self, number: u64) -> Result<u64> {
        let mut total: u64 = 0;
        let mut dirs = vec![self.path(number)];
        while let Some(dir) = dirs.pop() {
            for entry in self.disk.list(&dir).map_err(|source| Error::io("list", &dir, source))? {
                let path = dir.join(&entry.name);
                if entry.is_dir {
                    dirs.push(path);
                    continue;
                }
                let size = self.disk.size(&path).map_err(|source| Error::io("stat", &path, source))?;
                // One that the store has removed meanwhile takes no room.
                total = total.saturating_add(size.unwrap_or(0));
            }
        }
        Ok(total)
    }

    /// Whether `needed_bytes` are free, to build generation `number`.
    ///
    /// # Errors
    /// [`Error::NoRoom`].
    pub(crate) fn check_room(&self, number: u64, needed_bytes: u64) -> Result<()> {
        check_room(self.disk.as_ref(), &self.dir, &self.part_path(number), needed_bytes)
    }

    /// Where generation `number` is.
    pub(crate) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(number.to_string())
    }

    /// An empty directory to build generation `number` in.
    pub(crate) fn begin(&self, number: u64) -> Result<PathBuf> {
        let part = self.part_path(number);
        self.disk.remove_dir_all(&part).map_err(|source| Error::io("remove", &part, source))?;
        self.disk.create_dir_all(&part).map_err(|source| Error::io("create", &part, source))?;
        Ok(part)
    }

    /// Makes the built generation `number` the current one. Durable on return.
    pub(crate) fn switch(&self, number: u64) -> Result<()> {
        let (part, path) = (self.part_path(number), self.path(number));
        self.disk.sync_dir(&part).map_err(|source| Error::io("sync", &part, source))?;
        self.disk.rename(&part, &path).map_err(|source| Error::io("rename", &part, source))?;
        self.sync()
    }

    /// Drops what was built of generation `number`. What cannot be removed now goes at the next start.
    pub(crate) fn abandon(&self, number: u64) {
        let part = self.part_path(number);
        if let Err(cause) = self.disk.remove_dir_all(&part) {
            tracing::warn!(path = %part.display(), %cause, "an unfinished generation stays until the next start");
        }
    }

    /// Removes every generation but `current`, finished or not.
    pub(crate) fn remove_others(&self, current: u64) -> Result<()> {
        let name = current.to_string();
        let entries = self.disk.list(&self.dir).map_err(|source| Error::io("list", &self.dir, source))?;
        for entry in entries.iter().filter(|entry| entry.is_dir && entry.name != name) {
            let path = self.dir.join(&entry.name);
            self.disk.remove_dir_all(&path).map_err(|source| Error::io("remove", &path, source))?;
        }
        Ok(())
    }

    /// [`Generations::remove_others`], left to the next start if it fails.
    pub(crate) fn forget_others(&self, current: u64) {
        if let Err(cause) = self.remove_others(current) {
            tracing::warn!(dir = %self.dir.display(), %cause, "old generations stay until the next start");
        }
    }

    fn numbers(&self) -> Result<Vec<u64>> {
        let entries = self.disk.list(&self.dir).map_err(|source| Error::io("list", &self.dir, source))?;
        Ok(entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| entry.name.parse().ok()).collect())
    }

    fn part_path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number}{PART_SUFFIX}"))
    }

    fn sync(&self) -> Result<()> {
        self.disk.sync_dir(&self.dir).map_err(|source| Error::io("sync", &self.dir, source))?;
        match self.dir.parent() {
            Some(parent) => self.disk.sync_dir(parent).map_err(|source| Error::io("sync", parent, source)),
            None => Ok(()),
        }
    }
}

/// An open generation, kept by everyone who reads it. Once retired its files go with the last of them.
pub(crate) struct Generation {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// `None` only while dropping.
    reader: Option<Arc<dyn KvReader>>,
    /// As of the newest batch that was written.
    counts: Mutex<Counts>,
    is_retired: AtomicBool,
    /// Its store, once nobody writes to it any more.
    store: Mutex<Option<Box<dyn KvStore>>>,
}

impl Generation {
    pub(crate) fn new(
        generations: &Generations,
        number: u64,
        (reader, counts): (Arc<dyn KvReader>, Counts),
    ) -> Self {
        Self {
            disk: generations.disk.clone(),
            dir: generations.path(number),
            reader: Some(reader),
            counts: Mutex::new(counts),
            is_retired: AtomicBool::new(false),
            store: Mutex::new(None),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn reader(&self) -> &dyn KvReader {
        self.reader.as_deref().unwrap_or_else(|| unreachable!("a generation is read after its drop"))
    }

    /// What it holds.
    pub(crate) fn counts(&self) -> Counts {
        *self.counts.lock()
    }

    /// Tells readers what it holds after a batch was written.
    pub(crate) fn set_counts(&self, counts: Counts) {
        *self.counts.lock() = counts;
    }

    /// Its files are no longer needed by anyone who comes later.
    pub(crate) fn retire(&self) {
        self.is_retired.store(true, Ordering::Release);
    }

    /// [`Generation::retire`], and `store`, which is its own, stays open until the last of them is done.
    pub(crate) fn retire_with(&self, store: Box<dyn KvStore>) {
        *self.store.lock() = Some(store);
        self.retire();
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        // The store closes its files before they are removed.
        self.reader = None;
        *self.store.get_mut() = None;
        if self.is_retired.load(Ordering::Acquire)
            && let Err(cause) = self.disk.remove_dir_all(&self.dir)
        {
            tracing::warn!(path = %self.dir.display(), %cause, "an old generation stays until the next start");
        }
    }
}
