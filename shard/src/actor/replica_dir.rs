//! A replica's directory: what is where in it, and whose it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_storage::disk::{Disk, OpenMode};
use quorate_storage::identity::{FileHeader, FileKind, FileOwner, HEADER_BYTES};
use quorate_storage::log::LogPlace;
use quorate_storage::snapshot::SnapshotDir;
use quorate_storage::{Error, Result};
use quorate_telemetry::Rng;

/// `<data>/groups/<group>`.
#[derive(Debug)]
pub(crate) struct ReplicaDir {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl ReplicaDir {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self { disk, dir }
    }

    pub(crate) fn snapshots(&self, owner: FileOwner) -> SnapshotDir {
        SnapshotDir::new(Arc::clone(&self.disk), self.dir.join("snapshots"), owner)
    }

    pub(crate) fn log(&self, owner: FileOwner, rng: Arc<dyn Rng>) -> LogPlace {
        LogPlace { disk: Arc::clone(&self.disk), dir: self.dir.join("wal"), owner, rng }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Whose directory it is; [`Error::Missing`] if no replica was made here.
    pub(crate) fn owner(&self) -> Result<FileOwner> {
        let path = self.identity_path();
        if self.disk.size(&path).map_err(|cause| Error::io("stat", &path, cause))?.is_none() {
            return Err(Error::Missing { path });
        }
        let mut bytes = [0; HEADER_BYTES];
        let file = self.disk.open(&path, OpenMode::Read).map_err(|cause| Error::io("open", &path, cause))?;
        file.read_exact_at(&mut bytes, 0).map_err(|cause| Error::io("read", &path, cause))?;
        Ok(FileHeader::decode(&bytes, FileKind::Replica, &path)?.owner)
    }

    pub(crate) fn check_owner(&self, found: FileOwner, expected: FileOwner) -> Result<()> {
        if found == expected {
            return Ok(());
        }
        let (expected, found) = (format!("{expected:?}"), format!("{found:?}"));
        Err(Error::Foreign { what: "replica", file: self.identity_path(), expected, found })
    }

    /// Removes what a creation that was interrupted left, and makes the directory.
    pub(crate) fn clear(&self) -> Result<()> {
        let failed = |action| move |cause| Error::io(action, &self.dir, cause);
        self.disk.remove_dir_all(&self.dir).map_err(failed("remove"))?;
        self.disk.create_dir_all(&self.dir).map_err(failed("create"))?;
        self.dir.parent().map_or(Ok(()), |parent| self.sync_dir(parent))
    }

    /// Says whose directory it is. Durable on return.
    pub(crate) fn write_owner(&self, owner: FileOwner, rng: &dyn Rng) -> Result<()> {
        let path = self.identity_path();
        let temporary = path.with_extension("tmp");
        let failed = |action| {
            let temporary = temporary.clone();
            move |cause| Error::io(action, &temporary, cause)
        };
        let file = self.disk.open(&temporary, OpenMode::Create).map_err(failed("create"))?;
        let header = FileHeader::new(FileKind::Replica, owner, rng);
        file.write_all_at(&header.encode(), 0).map_err(failed("write"))?;
        file.sync_data().map_err(failed("sync"))?;
        self.disk.rename(&temporary, &path).map_err(failed("rename"))?;
        self.sync_dir(&self.dir)
    }

    fn identity_path(&self) -> PathBuf {
        self.dir.join("replica")
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.disk.sync_dir(dir).map_err(|cause| Error::io("sync", dir, cause))
    }
}
