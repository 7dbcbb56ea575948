//! Everything a simulated machine's disk is, behind one lock, and how a call changes it.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::faults::{self, DiskFault, Faults};
use super::tree::{Inode, Tree};

/// What one host's disk holds, what is armed to go wrong on it, and what was counted.
#[derive(Debug)]
pub(super) struct State {
    pub(super) tree: Tree,
    /// Raised by every crash; handles of an older one are dead.
    pub(super) generation: u64,
    pub(super) powered: bool,
    pub(super) faults: Faults,
    pub(super) locks: BTreeSet<Inode>,
    pub(super) calls: u64,
    pub(super) syncs: u64,
    pub(super) bytes_written: u64,
}

/// How a sync ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SyncFate {
    Succeeds,
    Fails,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            tree: Tree::new(),
            generation: 0,
            powered: true,
            faults: Faults::default(),
            locks: BTreeSet::new(),
            calls: 0,
            syncs: 0,
            bytes_written: 0,
        }
    }

    /// Whether the power goes in this call.
    pub(super) fn count_call(&mut self) -> bool {
        self.calls += 1;
        let is_cut = self.faults.power_cut.fires();
        self.powered &= !is_cut;
        is_cut
    }

    pub(super) fn write(&mut self, (inode, path): (Inode, &Path), buf: &[u8], offset: u64) -> io::Result<()> {
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
    pub(super) fn check_space(&mut self, path: &Path) -> io::Result<()> {
        if self.faults.aimed.hits(path, DiskFault::NoSpace) { Err(faults::no_space()) } else { Ok(()) }
    }

    pub(super) fn make_room(&mut self, inode: Inode, len: u64) -> io::Result<()> {
        let Some(capacity_bytes) = self.faults.capacity_bytes else { return Ok(()) };
        let grown = len.saturating_sub(self.tree.file(inode)?.content.len());
        if grown > 0 && self.tree.used_bytes() + grown > capacity_bytes {
            return Err(faults::no_space());
        }
        Ok(())
    }
}
