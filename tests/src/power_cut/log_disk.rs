//! A disk that lies about the log: its syncs return at once and do nothing. With it this test must find losses.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate::disk::{Disk, DiskFile, DiskLock, OpenMode};
use quorate_storage::disk::DirEntry;

/// See the module's text.
#[derive(Debug)]
pub(super) struct LyingLog(pub(super) Arc<dyn Disk>);

#[derive(Debug)]
struct Unsynced(Box<dyn DiskFile>);

impl DiskFile for Unsynced {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.0.preallocate(len)
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.0.drop_cache()
    }
}

impl Disk for LyingLog {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let file = self.0.open(path, mode)?;
        let is_log = path.extension().is_some_and(|extension| extension == "wal");
        Ok(if is_log { Box::new(Unsynced(file)) } else { file })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir_all(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        self.0.size(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.0.lock(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.0.free_bytes(path)
    }

    fn real_path(&self, path: &Path) -> Option<PathBuf> {
        self.0.real_path(path)
    }

    fn sync_count(&self) -> u64 {
        self.0.sync_count()
    }

    fn bytes_written(&self) -> u64 {
        self.0.bytes_written()
    }
}
