//! A file system in memory that forgets at a crash what was not synced, and fails on command.
//!
//! One [`SimDisk`] is one host's disk. File content becomes durable by `sync_data`, names by `sync_dir`; a
//! [`crash`](SimDisk::crash) keeps nothing, everything, or seeded pieces of the rest. Everything is a function of
//! the calls made and the seeds given: no clock, no thread, no random source.

mod content;
mod control;
mod faults;
mod file;
mod state;
mod tree;

pub use self::control::CrashMode;
pub use self::faults::DiskFault;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use self::file::{SimFile, SimLock};
use self::state::{State, SyncFate};
use self::tree::Tree;
use super::{DirEntry, Disk, DiskFile, DiskLock, OpenMode};

/// What `free_bytes` says of a disk without a capacity.
const FREE_BYTES_UNBOUNDED: u64 = 1 << 40;

/// A handle to a simulated disk. Clones are the same handle; after a crash only [`SimDisk::reopen`] gives a
/// handle that works.
///
/// # Examples
/// ```
/// use std::path::Path;
/// use quorate_storage::disk::{CrashMode, Disk, OpenMode, SimDisk};
///
/// let disk = SimDisk::new();
/// let file = disk.open(Path::new("/a"), OpenMode::Create)?;
/// disk.sync_dir(Path::new("/"))?;
/// file.write_all_at(b"kept", 0)?;
/// file.sync_data()?;
/// file.write_all_at(b"lost", 0)?;
///
/// let disk = disk.crash(CrashMode::LoseUnsynced);
/// let mut buf = [0; 4];
/// disk.open(Path::new("/a"), OpenMode::Read)?.read_exact_at(&mut buf, 0)?;
/// assert_eq!(&buf, b"kept");
/// assert!(file.len().is_err(), "handles of before the crash are dead");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SimDisk {
    host: Arc<Host>,
    generation: u64,
}

#[derive(Debug)]
struct Host {
    state: Mutex<State>,
    /// Told whenever a call that waits may go on.
    released: Condvar,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        let host = Host { state: Mutex::new(State::new()), released: Condvar::new() };
        Self { host: Arc::new(host), generation: 0 }
    }
}

/// How calls get in.
impl SimDisk {
    fn enter(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.host.state.lock();
        if !state.powered || state.generation != self.generation {
            return Err(io::Error::other("the simulated machine has crashed"));
        }
        Ok(state)
    }

    /// One call. If the power goes in it, its change is still made: in the cache, where the crash finds it.
    fn call<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.enter()?;
        let is_cut = state.count_call();
        let done = act(&mut state);
        // What a cut call made may be a handle, whose drop takes the lock again.
        drop(state);
        if is_cut { Err(power_cut()) } else { done }
    }

    /// Returns once no stalled write holds up `path`.
    fn wait_for_writes(&self, path: &Path) -> io::Result<()> {
        let mut state = self.enter()?;
        while state.faults.aimed.hits(path, DiskFault::StalledWrites) {
            self.host.released.wait(&mut state);
            if state.generation != self.generation {
                return Err(power_cut());
            }
        }
        Ok(())
    }

    /// One sync. If the power goes in it, nothing is synced.
    fn sync(&self, path: &Path, act: impl FnOnce(&mut Tree, SyncFate) -> io::Result<()>) -> io::Result<()> {
        let mut state = self.enter()?;
        if state.count_call() {
            return Err(power_cut());
        }
        state.syncs += 1;
        while state.faults.stall_syncs {
            self.host.released.wait(&mut state);
            if state.generation != self.generation {
                return Err(power_cut());
            }
        }
        if state.faults.ignore_syncs {
            return Ok(());
        }
        let is_hit = state.faults.aimed.hits(path, DiskFault::FailedSyncs);
        let fate = if state.faults.sync.fires() || is_hit { SyncFate::Fails } else { SyncFate::Succeeds };
        act(&mut state.tree, fate)
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        self.call(|state| {
            let inode = match mode {
                OpenMode::Create => {
                    state.check_space(path)?;
                    state.tree.create_file(path)?
                }
                OpenMode::Read | OpenMode::Write => state.tree.find(path)?,
            };
            state.tree.file(inode)?.handles += 1;
            let path = Arc::from(path);
            let file = SimFile { disk: self.clone(), path, inode, writable: mode != OpenMode::Read };
            Ok(Box::new(file) as Box<dyn DiskFile>)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(|state| state.tree.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(|state| state.tree.remove_file(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.call(|state| state.tree.remove_dir_all(path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.call(|state| {
            if state.tree.find(path).is_err() {
                state.check_space(path)?;
            }
            state.tree.create_dirs(path)
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let entries = self.call(|state| state.tree.list(dir))?;
        Ok(entries.into_iter().map(|(name, is_dir)| DirEntry { name, is_dir }).collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.sync(dir, |tree, fate| match fate {
            SyncFate::Succeeds => tree.sync_dir(dir),
            SyncFate::Fails => Err(faults::input_output_error()),
        })
    }

    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        self.call(|state| match state.tree.find(path) {
            Ok(inode) if state.tree.is_dir(inode) => Ok(Some(0)),
            Ok(inode) => Ok(Some(state.tree.file(inode)?.content.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.call(|state| {
            let inode = match state.tree.find(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => state.tree.create_file(path)?,
                found => found?,
            };
            if !state.locks.insert(inode) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(Box::new(SimLock { disk: self.clone(), inode }) as Box<dyn DiskLock>)
        })
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        self.call(|state| {
            let free = state.faults.capacity_bytes.map(|bytes| bytes.saturating_sub(state.tree.used_bytes()));
            Ok(free.unwrap_or(FREE_BYTES_UNBOUNDED))
        })
    }

    fn real_path(&self, _path: &Path) -> Option<PathBuf> {
        None
    }

    fn sync_count(&self) -> u64 {
        self.host.state.lock().syncs
    }

    fn bytes_written(&self) -> u64 {
        self.host.state.lock().bytes_written
    }
}

fn power_cut() -> io::Error {
    io::Error::other("the power of the simulated machine was cut in this call")
}
