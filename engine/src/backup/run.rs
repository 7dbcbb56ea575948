//! The order in which a backup is taken. No I/O but the backup's own files: who asks the nodes is the caller.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use quorate_shard::catalog::CATALOG_GROUP;
use quorate_storage::backup::{BackupGroup, BackupWriter, GroupFile, Manifest, read_whole};
use quorate_storage::disk::Disk;
use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::{ClusterId, GroupId};

use super::catalog::CatalogRecords;
use crate::error::Result;

/// A backup that is being taken: group 0 first, then, by ascending id, the groups of the catalog in it. Dropped before
/// [`BackupRun::finish`], it removes what it wrote.
///
/// For each [`BackupRun::next_group`]: have its leader publish ([`crate::Node::fresh_snapshot`]), [`begin`](Self::begin),
/// [`put`](GroupFile::put) the body, [`keep`](Self::keep). A group whose transfer failed is begun anew.
#[derive(Debug)]
pub struct BackupRun {
    disk: Arc<dyn Disk>,
    writer: BackupWriter,
    cluster: (ClusterId, Option<String>),
    begun_ms: u64,
    pending: VecDeque<GroupId>,
    kept: usize,
}

impl BackupRun {
    /// Begins the backup that will be at `dir`, of a cluster of this id, and of this name if that is known. `now_ms` is the wall clock. Blocking, like everything here.
    ///
    /// # Errors
    /// As [`BackupWriter::create`].
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        cluster: (ClusterId, Option<String>),
        now_ms: u64,
    ) -> Result<Self> {
        let writer = BackupWriter::create(Arc::clone(&disk), dir)?;
        let pending = VecDeque::from([CATALOG_GROUP]);
        Ok(Self { disk, writer, cluster, begun_ms: now_ms, pending, kept: 0 })
    }

    /// The group whose snapshot is wanted next; `None` when all are there.
    pub fn next_group(&self) -> Option<GroupId> {
        self.pending.front().copied()
    }

    /// Groups that are there, and groups there will be; 1 in all as long as the catalog is not there.
    pub fn counts(&self) -> (usize, usize) {
        (self.kept, self.kept + self.pending.len())
    }

    /// Begins to take the snapshot of [`BackupRun::next_group`].
    ///
    /// # Errors
    /// As [`BackupWriter::begin`].
    ///
    /// # Panics
    /// If no group is wanted.
    pub fn begin(&self, token: SnapshotToken) -> Result<GroupFile> {
        let group = self.next_group().expect("a group is wanted");
        Ok(self.writer.begin(group, token)?)
    }

    /// Takes what has arrived for [`BackupRun::next_group`], once it is verified and durable. `on_bytes` is told how many
    /// more bytes were read back.
    ///
    /// # Errors
    /// As [`BackupWriter::keep`]: the group can be begun anew. [`crate::Error::NoCatalog`], or another one about group 0's
    /// content: the backup is over.
    pub fn keep(&mut self, arrived: GroupFile, on_bytes: &mut dyn FnMut(u64)) -> Result<()> {
        let group = arrived.group();
        assert!(self.next_group() == Some(group), "group {group} is not what is wanted");
        let kept = self.writer.keep(arrived, on_bytes)?.clone();
        self.pending.pop_front();
        self.kept += 1;
        if group == CATALOG_GROUP {
            self.learn_groups(&kept)?;
        }
        Ok(())
    }

    /// Writes the manifest and gives the backup its name; durable on return.
    ///
    /// # Errors
    /// As [`BackupWriter::finish`].
    ///
    /// # Panics
    /// If a group is missing.
    pub fn finish(self, now_ms: u64) -> Result<Manifest> {
        assert!(self.pending.is_empty(), "{} groups are missing", self.pending.len());
        Ok(self.writer.finish(self.cluster, self.begun_ms, now_ms)?)
    }

    fn learn_groups(&mut self, catalog_group: &BackupGroup) -> Result<()> {
        let path = self.writer.path_of(catalog_group);
        let mut records = CatalogRecords::default();
        read_whole(&*self.disk, &path, catalog_group.token, &mut |_| {}, &mut |key, value| {
            records.take(key, value);
            Ok(())
        })?;
        self.pending.extend(records.decode()?.user_groups().map(|record| record.descriptor.group));
        Ok(())
    }
}
