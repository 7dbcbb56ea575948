//! A file system in memory that forgets at a crash what was not synced, and fails on command.
//!
//! One [`SimDisk`] is one host's disk. File content becomes durable by `sync_data`, names by `sync_dir`; a
//! [`crash`](SimDisk::crash) keeps nothing, everything, or seeded pieces of the rest. Everything is a function of
//! the calls made and the seeds given: no clock, no thread, no random source.

mod content;
mod faults;
mod file;
mod tree;

pub use self::faults::DiskFault;

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};
use quorate_telemetry::SeededRng;

use self::content::Survival;
use self::faults::Faults;
use self::file::{SimFile, SimLock};
use self::tree::{Inode, Tree};
use super::{DirEntry, Disk, DiskFile, DiskLock, OpenMode};

/// What `free_bytes` says of a disk without a capacity.
const FREE_BYTES_UNBOUNDED: u64 = 1 << 40;

/// What survives a crash of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashMode {
    /// Nothing: a power cut with everything still in caches.
    LoseUnsynced,
    /// Everything: only the process died. Caches stay as they are, so a later power cut still loses them.
    KeepAll,
    /// For each piece of each write, and each name, a coin decides: writes are torn and reordered.
    KeepPieces {
        /// Decides every coin.
        seed: u64,
        /// Size of a piece that is never torn: 512 or 4,096.
        piece_bytes: usize,
    },
}

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

#[derive(Debug)]
struct State {
    tree: Tree,
    /// Raised by every crash; handles of an older one are dead.
    generation: u64,
    powered: bool,
    faults: Faults,
    locks: BTreeSet<Inode>,
    calls: u64,
    syncs: u64,
    bytes_written: u64,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

/// Construction, and control from outside the simulated machine: none of this counts as a call.
impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        let state = State {
            tree: Tree::new(),
            generation: 0,
            powered: true,
            faults: Faults::default(),
            locks: BTreeSet::new(),
            calls: 0,
            syncs: 0,
            bytes_written: 0,
        };
        let host = Host { state: Mutex::new(state), released: Condvar::new() };
        Self { host: Arc::new(host), generation: 0 }
    }

    /// Crashes the machine, or its process: what was not synced survives as `mode` says, every handle (this one too) and lock is
    /// dead, armed faults are disarmed. Returns [`Self::reopen`]. Capacity and `ignore_syncs` stay as set.
    pub fn crash(&self, mode: CrashMode) -> Self {
        let mut state = self.host.state.lock();
        match mode {
            CrashMode::LoseUnsynced => state.tree.crash(&Survival::Nothing),
            CrashMode::KeepAll => {}
            CrashMode::KeepPieces { seed, piece_bytes } => {
                state.tree.crash(&Survival::Pieces(&SeededRng::new(seed), piece_bytes));
            }
        }
        state.tree.close_handles();
        state.generation += 1;
        state.powered = true;
        state.locks.clear();
        let faults = std::mem::take(&mut state.faults);
        state.faults.capacity_bytes = faults.capacity_bytes;
        state.faults.ignore_syncs = faults.ignore_syncs;
        drop(state);
        self.host.released.notify_all();
        self.reopen()
    }

    /// A live handle to this disk.
    pub fn reopen(&self) -> Self {
        let generation = self.host.state.lock().generation;
        Self { host: Arc::clone(&self.host), generation }
    }

    /// An independent disk with the same files, durable and cached; no faults, locks or counts. Cheap: pages are
    /// shared until they are written. To try many ends of one history.
    pub fn fork(&self) -> Self {
        let fork = Self::new();
        let mut tree = self.host.state.lock().tree.clone();
        tree.close_handles();
        fork.host.state.lock().tree = tree;
        fork
    }

    /// Calls of the [`Disk`], [`DiskFile`] traits so far that touched the disk (counters and locks' release do not).
    pub fn calls(&self) -> u64 {
        self.host.state.lock().calls
    }

    /// Cuts the power within the `nth` call from now (1 is the next): its change may or may not survive,
    /// it and all later calls fail, until [`Self::crash`] decides.
    pub fn cut_power_at_call(&self, nth: u64) {
        self.host.state.lock().faults.power_cut.arm(nth);
    }

    /// Whether the power is on: false between an armed power cut and [`Self::crash`].
    pub fn is_powered(&self) -> bool {
        self.host.state.lock().powered
    }

    /// The `nth` sync from now (of a file or a directory) fails with EIO. As on Linux, what it should have
    /// written counts as clean afterwards and is never written.
    pub fn fail_sync(&self, nth: u64) {
        self.host.state.lock().faults.sync.arm(nth);
    }

    /// The `nth` write from now fails with EIO and changes nothing.
    pub fn fail_write(&self, nth: u64) {
        self.host.state.lock().faults.write.arm(nth);
    }

    /// The `nth` write from now writes its first half and fails with EIO.
    pub fn shorten_write(&self, nth: u64) {
        self.host.state.lock().faults.short_write.arm(nth);
    }

    /// From now on every call on a file or directory whose path contains `part` goes wrong as `fault` says, until
    /// [`SimDisk::heal`] or a crash.
    pub fn fail(&self, part: &str, fault: DiskFault) {
        self.host.state.lock().faults.aimed.add(part, fault, false);
    }

    /// Like [`SimDisk::fail`], for the next such call only.
    pub fn fail_once(&self, part: &str, fault: DiskFault) {
        self.host.state.lock().faults.aimed.add(part, fault, true);
    }

    /// Whether every fault of [`SimDisk::fail_once`] has struck.
    pub fn has_failed(&self) -> bool {
        !self.host.state.lock().faults.aimed.has_single()
    }

    /// Ends what [`SimDisk::fail`] and [`SimDisk::fail_once`] began; calls that hang go on.
    pub fn heal(&self) {
        self.host.state.lock().faults.aimed.clear();
        self.host.released.notify_all();
    }

    /// Disarms failing syncs and writes and the power cut.
    pub fn clear_faults(&self) {
        let mut state = self.host.state.lock();
        state.faults.sync.disarm();
        state.faults.write.disarm();
        state.faults.short_write.disarm();
        state.faults.power_cut.disarm();
    }

    /// Files together hold at most `bytes`; `None` is no bound. Growing beyond fails with ENOSPC.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.host.state.lock().faults.capacity_bytes = bytes;
    }

    /// A lying disk: syncs return `Ok` and do nothing. To prove that a test would notice.
    pub fn ignore_syncs(&self, ignore: bool) {
        self.host.state.lock().faults.ignore_syncs = ignore;
    }

    /// File syncs block their thread until this is called with `false`, or the disk crashes.
    pub fn stall_syncs(&self, stall: bool) {
        self.host.state.lock().faults.stall_syncs = stall;
        self.host.released.notify_all();
    }

    /// Changes one byte at rest by XOR with `mask`, durably and in every cache.
    ///
    /// # Errors
    /// `NotFound`, or `UnexpectedEof` if the file is shorter.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let mut state = self.host.state.lock();
        let inode = state.tree.find(path)?;
        let content = &mut state.tree.file(inode)?.content;
        if offset >= content.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        content.rot(offset, |byte| byte ^ mask);
        Ok(())
    }

    /// Cuts a file at rest to `len` bytes, durably.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut state = self.host.state.lock();
        let inode = state.tree.find(path)?;
        state.tree.file(inode)?.content.cut(len);
        Ok(())
    }

    /// The parts of a file that were ever written, ascending: whole pages, cut at the file's end. The rest is room
    /// that was only reserved.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn written(&self, path: &Path) -> io::Result<Vec<Range<u64>>> {
        let mut state = self.host.state.lock();
        let inode = state.tree.find(path)?;
        Ok(state.tree.file(inode)?.content.written())
    }

    /// Every file with its size, sorted by path.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.host.state.lock().tree.files()
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum SyncFate {
    Succeeds,
    Fails,
}

impl State {
    /// Whether the power goes in this call.
    fn count_call(&mut self) -> bool {
        self.calls += 1;
        let is_cut = self.faults.power_cut.fires();
        self.powered &= !is_cut;
        is_cut
    }

    fn write(&mut self, (inode, path): (Inode, &Path), buf: &[u8], offset: u64) -> io::Result<()> {
        if self.faults.write.fires() || self.faults.aimed.hits(path, DiskFault::FailedWrites) {
            return Err(faults::input_output_error());
        }
        self.check_space(path)?;
        self.make_room(inode, offset + buf.len() as u64)?;
        let is_short =
            self.faults.short_write.fires() || self.faults.aimed.hits(path, DiskFault::ShortWrites);
        let buf = if is_short { &buf[..buf.len() / 2] } else { buf };
        self.tree.file(inode)?.content.write(buf, offset);
        self.bytes_written += buf.len() as u64;
        if is_short { Err(faults::input_output_error()) } else { Ok(()) }
    }

    /// Refuses what would take room, if that is to fail for `path`.
    fn check_space(&mut self, path: &Path) -> io::Result<()> {
        if self.faults.aimed.hits(path, DiskFault::NoSpace) { Err(faults::no_space()) } else { Ok(()) }
    }

    fn make_room(&mut self, inode: Inode, len: u64) -> io::Result<()> {
        let Some(capacity_bytes) = self.faults.capacity_bytes else { return Ok(()) };
        let grown = len.saturating_sub(self.tree.file(inode)?.content.len());
        if grown > 0 && self.tree.used_bytes() + grown > capacity_bytes {
            return Err(faults::no_space());
        }
        Ok(())
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
