//! Control of a simulated disk from outside the machine it serves: crashes, faults, damage at rest. None of it counts
//! as a call.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_telemetry::SeededRng;

use super::SimDisk;
use super::content::Survival;
use super::faults::DiskFault;

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

impl SimDisk {
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

    /// Calls of the traits [`crate::disk::Disk`] and [`crate::disk::DiskFile`] so far that touched the disk (counters
    /// and locks' release do not).
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

    /// Whether every fault of [`SimDisk::fail`] and [`SimDisk::fail_once`] has struck a call since it was set.
    pub fn has_failed(&self) -> bool {
        self.host.state.lock().faults.aimed.have_all_struck()
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
