//! An open file of a simulated disk, and a lock.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::faults::{self, DiskFault};
use super::tree::Inode;
use super::{SimDisk, State, SyncFate};
use crate::disk::{DiskFile, DiskLock};

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    /// As it was opened: aimed faults go by it, also after a rename.
    pub(super) path: Arc<Path>,
    pub(super) inode: Inode,
    pub(super) writable: bool,
}

#[derive(Debug)]
pub(super) struct SimLock {
    pub(super) disk: SimDisk,
    pub(super) inode: Inode,
}

impl SimFile {
    fn change(&self, act: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.disk.call(act)
    }
}

impl DiskFile for SimFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.call(|state| {
            if state.faults.aimed.hits(&self.path, DiskFault::FailedReads) {
                return Err(faults::input_output_error());
            }
            state.tree.file(self.inode)?.content.read(buf, offset)
        })
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.disk.wait_for_writes(&self.path)?;
        self.change(|state| state.write((self.inode, &self.path), buf, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync(&self.path, |tree, fate| {
            let content = &mut tree.file(self.inode)?.content;
            match fate {
                SyncFate::Succeeds => {
                    content.sync();
                    Ok(())
                }
                SyncFate::Fails => {
                    content.sync_failed();
                    Err(faults::input_output_error())
                }
            }
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.call(|state| Ok(state.tree.file(self.inode)?.content.len()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|state| {
            if len > state.tree.file(self.inode)?.content.len() {
                state.check_space(&self.path)?;
            }
            state.make_room(self.inode, len)?;
            state.tree.file(self.inode)?.content.set_len(len);
            Ok(())
        })
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        self.change(|state| {
            state.check_space(&self.path)?;
            state.make_room(self.inode, len)?;
            let content = &mut state.tree.file(self.inode)?.content;
            content.set_len(len.max(content.len()));
            Ok(())
        })
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.disk.call(|state| {
            state.tree.file(self.inode)?.content.drop_cache();
            Ok(())
        })
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.host.state.lock();
        if state.generation == self.disk.generation
            && let Ok(file) = state.tree.file(self.inode)
        {
            file.handles -= 1;
        }
    }
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.host.state.lock();
        if state.generation == self.disk.generation {
            state.locks.remove(&self.inode);
        }
    }
}
