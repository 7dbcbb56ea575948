//! A disk on which, after a number of steps, nothing can be changed any more: as for a process that is dead.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::disk::{DirEntry, Disk, DiskFile, DiskLock, OpenMode};

/// Clones share their count of steps.
#[derive(Clone, Debug)]
pub(crate) struct StoppingDisk {
    inner: Arc<dyn Disk>,
    steps: Arc<Steps>,
}

#[derive(Debug)]
struct Steps {
    left: AtomicU64,
    was_stopped: AtomicBool,
}

#[derive(Debug)]
struct StoppingFile {
    inner: Box<dyn DiskFile>,
    steps: Arc<Steps>,
}

impl Steps {
    fn take(&self) -> io::Result<()> {
        let took = self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        if took.is_err() {
            self.was_stopped.store(true, Ordering::Release);
            return Err(io::Error::other("the process is dead"));
        }
        Ok(())
    }
}

impl StoppingDisk {
    pub(crate) fn new(inner: Arc<dyn Disk>) -> Self {
        let steps = Steps { left: AtomicU64::new(u64::MAX), was_stopped: AtomicBool::new(false) };
        Self { inner, steps: Arc::new(steps) }
    }

    pub(crate) fn stop_after(&self, steps: u64) {
        self.steps.left.store(steps, Ordering::Release);
    }

    /// Whether a step was refused.
    pub(super) fn was_stopped(&self) -> bool {
        self.steps.was_stopped.load(Ordering::Acquire)
    }
}

impl Disk for StoppingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        if mode == OpenMode::Create {
            self.steps.take()?;
        }
        let inner = self.inner.open(path, mode)?;
        Ok(Box::new(StoppingFile { inner, steps: self.steps.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.steps.take()?;
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.steps.take()?;
        self.inner.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.steps.take()?;
        self.inner.remove_dir_all(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.steps.take()?;
        self.inner.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.steps.take()?;
        self.inner.sync_dir(dir)
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        self.inner.size(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.inner.lock(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.inner.free_bytes(path)
    }

    fn real_path(&self, path: &Path) -> Option<PathBuf> {
        self.inner.real_path(path)
    }

    fn sync_count(&self) -> u64 {
        self.inner.sync_count()
    }

    fn bytes_written(&self) -> u64 {
        self.inner.bytes_written()
    }
}

impl DiskFile for StoppingFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.steps.take()?;
        self.inner.write_all_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.steps.take()?;
        self.inner.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.steps.take()?;
        self.inner.set_len(len)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.steps.take()?;
        self.inner.preallocate(len)
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.inner.drop_cache()
    }
}
