//! A data directory that nobody runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskLock};
use crate::error::{Error, Result};
use crate::identity::{ReplicaPaths, group_directories, lock};
use crate::ids::GroupId;

/// A data directory, held by its lock: no node runs it as long as this lives. Nothing in it is changed, but the empty
/// lock file is made if there is none.
#[derive(Debug)]
pub struct StoppedDir {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    _lock: Box<dyn DiskLock>,
}

impl StoppedDir {
    /// Takes the lock of the data directory at `root`.
    ///
    /// # Errors
    /// [`Error::Locked`] while a node, or another tool, has it; [`Error::Missing`] if that is no data directory (it
    /// has neither a node file nor groups): nothing was touched. [`Error::Io`].
    pub fn lock(disk: Arc<dyn Disk>, root: &Path) -> Result<Self> {
        let is_there = |name: &str| -> Result<bool> {
            let path = root.join(name);
            let size = disk.size(&path).map_err(|source| Error::io("look up", &path, source))?;
            Ok(size.is_some())
        };
        if !is_there("node")? && !is_there("groups")? {
            return Err(Error::Missing { path: root.join("node") });
        }
        let lock = lock(&*disk, root)?;
        Ok(Self { disk, root: root.to_path_buf(), _lock: lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(crate) fn node_file(&self) -> PathBuf {
        self.root.join("node")
    }

    pub(crate) fn group(&self, group: GroupId) -> ReplicaPaths {
        ReplicaPaths::new(self.root.join("groups").join(group.to_string()))
    }

    /// Every group that has a directory, ascending, or `wanted` if it has one.
    pub(crate) fn groups(&self, wanted: Option<GroupId>) -> Result<Vec<GroupId>> {
        let groups = self.root.join("groups");
        if self.disk.size(&groups).map_err(|source| Error::io("look up", &groups, source))?.is_none() {
            return Ok(Vec::new());
        }
        let mut groups = group_directories(&*self.disk, &self.root)?;
        groups.retain(|group| wanted.is_none_or(|wanted| wanted == *group));
        Ok(groups)
    }
}
