//! The data directory of a new cluster's node, made out of a backup.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_telemetry::Rng;

use super::directory;
use crate::disk::{Disk, DiskLock};
use crate::error::{Error, Result};
use crate::identity::{NodeIdentity, ReplicaIdentity, ReplicaPaths, lock};
use crate::ids::{ClusterId, Incarnation, NodeId, ReplicaId};
use crate::log::{LogConfig, LogPlace, SegmentedLog};
use crate::snapshot::{SnapshotDir, SnapshotLabel, SnapshotSink, SnapshotToken, check_room};
use crate::state::AppliedRecord;

/// In `groups` from the first write of a restore until its last: with it, and without a node file, no node starts.
const UNFINISHED: &str = "restoring";

/// Names that a directory may have in it before a restore: the lock, and what a file system keeps in its root.
const HARMLESS: [&str; 2] = ["node.lock", "lost+found"];

/// A replica that is born with a snapshot.
#[derive(Clone, Debug)]
pub struct NewReplica {
    /// Raft's peer id.
    pub replica: ReplicaId,
    /// What its snapshot says: the group as it will be, at which index, and the directory's incarnation.
    pub record: AppliedRecord,
}

/// A data directory that is being made, under its lock.
///
/// Order: the mark of an unfinished restore → the replicas, each complete before the next → the node file → the mark goes.
/// A start refuses a directory with the mark and without a node file ([`Error::Unfinished`]), and the same restore begins
/// it anew; with the node file it is complete, whether the mark is still there or not.
#[derive(Debug)]
pub struct RestoringDir {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    identity: NodeIdentity,
    rng: Arc<dyn Rng>,
    _lock: Box<dyn DiskLock>,
}

impl RestoringDir {
    /// Begins to make the directory at `root` that of `node` of `cluster`. It must be empty, or not be there, or be what a
    /// restore left that did not finish: that is removed. It will take about `needed_bytes`.
    ///
    /// # Errors
    /// [`Error::Occupied`] if something else is there, [`Error::NoRoom`] if less is free: nothing but the lock was made.
    /// [`Error::Locked`]; [`Error::Io`].
    pub fn begin(
        disk: Arc<dyn Disk>,
        root: &Path,
        (cluster, node): (ClusterId, NodeId),
        needed_bytes: u64,
        rng: Arc<dyn Rng>,
    ) -> Result<Self> {
        directory::create(&*disk, root)?;
        let lock = lock(&*disk, root)?;
        let groups = root.join("groups");
        if is_unfinished(&*disk, root)? {
            clear(&*disk, &groups)?;
        } else {
            check_empty(&*disk, root)?;
        }
        check_room(&*disk, root, root, needed_bytes)?;
        let mark = groups.join(UNFINISHED);
        directory::create(&*disk, &groups)?;
        directory::create(&*disk, &mark)?;
        let identity = NodeIdentity { cluster, node, incarnation: Incarnation(rng.next_id()) };
        Ok(Self { disk, root: root.to_path_buf(), identity, rng, _lock: lock })
    }

    /// Makes a replica: its snapshot, whose records `fill` gives; its log, which begins behind the snapshot; its identity
    /// file. Durable on return. Its state is built out of the snapshot by its first start.
    ///
    /// # Errors
    /// [`Error::Io`]; whatever `fill` says.
    pub fn make(
        &self,
        new: &NewReplica,
        fill: &mut dyn FnMut(&mut dyn SnapshotSink) -> Result<()>,
    ) -> Result<SnapshotToken> {
        let NewReplica { replica, record } = new;
        let (group, uid) = (record.descriptor.group, record.descriptor.uid);
        let incarnation = record.incarnation;
        let identity = ReplicaIdentity { group, uid, replica: *replica, incarnation, tombstone: false };
        let groups = self.root.join("groups");
        let paths = ReplicaPaths::new(groups.join(group.to_string()));
        let (disk, rng) = (&self.disk, &self.rng);
        directory::create(&**disk, paths.root())?;
        let snapshots = SnapshotDir::new(Arc::clone(disk), paths.snapshots(), identity.owner());
        snapshots.create()?;
        let label = SnapshotLabel { record: record.clone() };
        let mut writer = snapshots.writer(&label, &**rng)?;
        fill(&mut writer)?;
        let token = writer.finish()?;
        let (dir, owner) = (paths.wal(), identity.owner());
        let place = LogPlace { disk: Arc::clone(disk), dir, owner, rng: Arc::clone(rng) };
        drop(SegmentedLog::create(place, LogConfig::default(), token)?);
        identity.create(&**disk, &paths.replica_file(), &**rng)?;
        Ok(token)
    }

    /// Completes the directory: a node can start in it once this has returned. Durable on return.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self) -> Result<NodeIdentity> {
        let (disk, groups) = (&*self.disk, self.root.join("groups"));
        directory::sync(disk, &groups)?;
        self.identity.write(disk, &self.root.join("node"), &*self.rng)?;
        let mark = groups.join(UNFINISHED);
        disk.remove_dir_all(&mark).map_err(|cause| Error::io("remove", &mark, cause))?;
        directory::sync(disk, &groups)?;
        Ok(self.identity)
    }
}

/// Whether a restore into the directory at `root` did not finish.
pub(crate) fn is_unfinished(disk: &dyn Disk, root: &Path) -> Result<bool> {
    let mark = root.join("groups").join(UNFINISHED);
    Ok(directory::is_there(disk, &mark)? && !directory::is_there(disk, &root.join("node"))?)
}

/// Removes what an unfinished restore made. The mark stays.
fn clear(disk: &dyn Disk, groups: &Path) -> Result<()> {
    let entries = disk.list(groups).map_err(|cause| Error::io("list", groups, cause))?;
    for entry in entries.iter().filter(|entry| entry.name != UNFINISHED) {
        let path = groups.join(&entry.name);
        disk.remove_dir_all(&path).map_err(|cause| Error::io("remove", &path, cause))?;
    }
    directory::sync(disk, groups)
}

/// Refuses a directory with anything in it. An empty `groups` is what the very beginning of a restore may leave.
fn check_empty(disk: &dyn Disk, root: &Path) -> Result<()> {
    let list = |dir: &Path| disk.list(dir).map_err(|cause| Error::io("list", dir, cause));
    for entry in list(root)? {
        let path = root.join(&entry.name);
        let is_harmless = HARMLESS.contains(&entry.name.as_str())
            || entry.name == "groups" && entry.is_dir && list(&path)?.is_empty();
        if !is_harmless {
            return Err(Error::Occupied { path });
        }
    }
    Ok(())
}
