//! The operating system's file system, with counters of what durability costs.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate, statvfs};
use rustix::io::Errno;

use super::{DirEntry, Disk, DiskFile, DiskLock, OpenMode};

/// `std::fs` and the few Linux calls it lacks. Clones share their counters.
///
/// # Examples
/// ```
/// use quorate_storage::disk::{Disk, OpenMode, RealDisk};
///
/// let disk = RealDisk::new();
/// let dir = std::env::temp_dir().join(format!("quorate-doc-{}", std::process::id()));
/// disk.create_dir_all(&dir)?;
/// let file = disk.open(&dir.join("a"), OpenMode::Create)?;
/// file.write_all_at(b"hello", 0)?;
/// file.sync_data()?;
/// disk.sync_dir(&dir)?;
/// assert_eq!((disk.sync_count(), disk.bytes_written()), (2, 5));
/// disk.remove_dir_all(&dir)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RealDisk {
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    syncs: AtomicU64,
    bytes_written: AtomicU64,
}

#[derive(Debug)]
struct RealFile {
    file: File,
    counters: Arc<Counters>,
}

/// The kernel drops the lock with the last descriptor of this open file.
#[derive(Debug)]
struct RealLock {
    _file: File,
}

impl RealDisk {
    /// A disk whose counters start at zero.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                options.write(true);
            }
            OpenMode::Create => {
                options.write(true).create_new(true);
            }
        }
        let file = options.open(path)?;
        Ok(Box::new(RealFile { file, counters: Arc::clone(&self.counters) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, is_dir: entry.file_type()?.is_dir() });
            }
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        File::open(dir)?.sync_all()
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Ok(Some(0)),
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock { _file: file })),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn real_path(&self, path: &Path) -> Option<PathBuf> {
        Some(path.to_path_buf())
    }

    fn sync_count(&self) -> u64 {
        self.counters.syncs.load(Ordering::Relaxed)
    }

    fn bytes_written(&self) -> u64 {
        self.counters.bytes_written.load(Ordering::Relaxed)
    }
}

impl DiskFile for RealFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(&self.file, buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.counters.bytes_written.fetch_add(buf.len() as u64, Ordering::Relaxed);
        FileExt::write_all_at(&self.file, buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.counters.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let size = self.len()?;
        if len <= size {
            return Ok(());
        }
        match fallocate(&self.file, FallocateFlags::empty(), size, len - size) {
            Ok(()) => Ok(()),
            // NOSYS comes from some FUSE file systems.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.set_len(len),
            Err(error) => Err(error.into()),
        }
    }

    fn drop_cache(&self) -> io::Result<()> {
        // Only clean pages are dropped, so that what was synced really comes from the device next time.
        Ok(fadvise(&self.file, 0, None, Advice::DontNeed)?)
    }
}

impl DiskLock for RealLock {}
