//! A simulated disk that writes down what is called on it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use quorate_storage::disk::{DirEntry, Disk, DiskFile, DiskLock, OpenMode, SimDisk};

/// The calls of one disk, by the numbers it gives them. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace(Arc<Mutex<Calls>>);

#[derive(Debug, Default)]
struct Calls {
    names: BTreeMap<u64, String>,
    /// Files that were read to their end after their cache was dropped, and the call that was the end of it.
    read_back: Vec<(u64, PathBuf)>,
}

impl Trace {
    /// What call `number` was.
    pub(super) fn name(&self, number: u64) -> String {
        self.0.lock().names.get(&number).cloned().unwrap_or_else(|| "?".to_owned())
    }

    /// Files that had been read back from the device before call `number`.
    pub(super) fn read_back_before(&self, number: u64) -> Vec<PathBuf> {
        let calls = self.0.lock();
        let before = calls.read_back.iter().filter(|(call, _)| *call < number);
        before.map(|(_, path)| path.clone()).collect()
    }

    fn note(&self, disk: &SimDisk, what: impl fmt::Display, path: &Path) {
        let name = format!("{what} {}", path.display());
        self.0.lock().names.insert(disk.calls(), name);
    }
}

/// The disk, with its [`Trace`].
#[derive(Debug)]
pub(super) struct TracedDisk {
    disk: SimDisk,
    trace: Trace,
}

impl TracedDisk {
    pub(super) fn new(disk: SimDisk, trace: Trace) -> Self {
        Self { disk, trace }
    }

    fn noted<T>(&self, what: &str, path: &Path, done: T) -> T {
        self.trace.note(&self.disk, what, path);
        done
    }
}

impl Disk for TracedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let opened = self.disk.open(path, mode);
        self.trace.note(&self.disk, format_args!("open {mode:?}"), path);
        let (disk, trace) = (self.disk.clone(), self.trace.clone());
        let left = Mutex::new(None);
        opened.map(|file| Box::new(TracedFile { file, path: path.to_path_buf(), disk, trace, left }) as _)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.noted("rename", from, self.disk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.noted("remove", path, self.disk.remove_file(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.noted("remove all of", path, self.disk.remove_dir_all(path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.noted("create", path, self.disk.create_dir_all(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.noted("list", dir, self.disk.list(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.noted("sync", dir, self.disk.sync_dir(dir))
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        self.noted("stat", path, self.disk.size(path))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.noted("lock", path, self.disk.lock(path))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.noted("ask for room in", path, self.disk.free_bytes(path))
    }

    fn real_path(&self, path: &Path) -> Option<PathBuf> {
        self.disk.real_path(path)
    }

    fn sync_count(&self) -> u64 {
        self.disk.sync_count()
    }

    fn bytes_written(&self) -> u64 {
        self.disk.bytes_written()
    }
}

#[derive(Debug)]
struct TracedFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    disk: SimDisk,
    trace: Trace,
    /// Bytes that were not read since the cache was dropped.
    left: Mutex<Option<u64>>,
}

impl TracedFile {
    fn noted<T>(&self, what: &str, done: T) -> T {
        self.trace.note(&self.disk, what, &self.path);
        done
    }
}

impl DiskFile for TracedFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.noted("read", self.file.read_exact_at(buf, offset))?;
        if let Some(left) = self.left.lock().as_mut() {
            *left = left.saturating_sub(buf.len() as u64);
            if *left == 0 {
                self.trace.0.lock().read_back.push((self.disk.calls(), self.path.clone()));
            }
        }
        Ok(())
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.noted("write", self.file.write_all_at(buf, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.noted("sync", self.file.sync_data())
    }

    fn len(&self) -> io::Result<u64> {
        self.noted("measure", self.file.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.noted("cut", self.file.set_len(len))
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.noted("reserve", self.file.preallocate(len))
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.noted("drop the cache of", self.file.drop_cache())?;
        let files = self.disk.files();
        *self.left.lock() = files.iter().find(|(path, _)| *path == self.path).map(|(_, bytes)| *bytes);
        Ok(())
    }
}
