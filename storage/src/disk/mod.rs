//! The `Disk` seam: files, with explicit results of file *and directory* sync, preallocation and lock.
//!
//! Nothing else of ours reaches `std::fs`. Two implementations: [`RealDisk`], and [`SimDisk`], which loses at a
//! crash whatever was not synced. Both pass the tests in `tests.rs`.

mod real;
pub mod sim;

pub use real::RealDisk;
pub use sim::{CrashMode, DiskFault, SimDisk};

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Existing, for reading only.
    Read,
    /// Existing, for reading and writing.
    Write,
    /// New, for reading and writing; fails if it exists. Durable by name only after [`Disk::sync_dir`].
    Create,
}

/// An open file. Positions are explicit; there is no cursor.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Fills `buf` from `offset`; `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `buf` at `offset`. After an error the file's content in that range is unknown.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// `fdatasync`: content and size are durable when it returns `Ok`. After an error nothing may be
    /// concluded from a later `Ok` on the same file.
    fn sync_data(&self) -> io::Result<()>;
    /// Current size in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends (with zeros) to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves room for, and extends the file with zeros to, `len` bytes, so that later writes inside
    /// change no metadata. Where reserving is not supported it only extends.
    fn preallocate(&self, len: u64) -> io::Result<()>;
    /// Asks the system to forget cached pages, so that the next read comes from the device. Advice only.
    fn drop_cache(&self) -> io::Result<()>;
}

/// A directory lock, released when dropped (and by the system when the process ends).
pub trait DiskLock: fmt::Debug + Send + Sync {}

/// What a directory entry is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// File name, without the directory.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// A file system.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>>;
    /// Renames a file or directory, replacing a file of the new name. Durable after `sync_dir` of the parent.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and everything in it; fine if it is not there.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory and its missing parents. Durable after `sync_dir` of each parent.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// The entries of a directory, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Makes creations, renames and removals inside `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Size of a file in bytes, or `None` if there is nothing of that name. Directories have size 0.
    fn size(&self, path: &Path) -> io::Result<Option<u64>>;
    /// Takes the lock of `path` (created if missing); `WouldBlock` while another process or handle has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
    /// Bytes free for us on the file system that holds `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// Where third-party stores that cannot use this seam may keep their files: the same path on the real
    /// file system, or `None` on a simulated disk.
    fn real_path(&self, path: &Path) -> Option<PathBuf>;
    /// Durability barriers so far: file and directory syncs. For metrics and benchmarks.
    fn sync_count(&self) -> u64;
    /// Bytes written to files so far. For metrics and benchmarks.
    fn bytes_written(&self) -> u64;
}

#[cfg(test)]
mod tests;
