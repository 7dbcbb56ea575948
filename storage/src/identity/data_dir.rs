//! A node's data directory: locked, known to be ours, with the replicas in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_telemetry::Rng;

use crate::disk::{Disk, DiskLock};
use crate::error::{Error, Result};
use crate::identity::header::foreign;
use crate::identity::occupant::occupant;
use crate::identity::{
    FileOwner, NodeIdentity, ReplicaIdentity, ReplicaPaths, complete_switches, evidence_path, peers_file,
    small_file,
};
use crate::ids::{ClusterId, GroupId, Incarnation, NodeId, ReplicaId};

/// The data directory of a running node. Clones share the lock, which is released with the last one.
#[derive(Clone, Debug)]
pub struct DataDir {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    identity: NodeIdentity,
    rng: Arc<dyn Rng>,
    _lock: Box<dyn DiskLock>,
}

impl DataDir {
    /// Locks the directory at `path` and checks that it is this node's, or makes it so if it is new. Durable on
    /// return. Removals and offline repairs
    /// of replicas that a crash interrupted are completed.
    ///
    /// # Errors
    /// [`Error::Locked`] while another process or handle has it; [`Error::Foreign`] if it is of another cluster
    /// or node; [`Error::NewerFormat`] if a newer release wrote it: nothing but the lock was touched then.
    /// [`Error::Missing`] if there are groups but no node file; [`Error::Corrupt`]; [`Error::Io`].
    pub fn open_or_create(
        disk: Arc<dyn Disk>,
        path: &Path,
        cluster: ClusterId,
        node: NodeId,
        rng: &dyn Rng,
    ) -> Result<Self> {
        disk.create_dir_all(path).map_err(|cause| Error::io("create", path, cause))?;
        let lock = lock(&*disk, path)?;
        let node_file = path.join("node");
        let identity = if let Some(found) = NodeIdentity::read(&*disk, &node_file)? {
            found.check(cluster, node, &node_file)?;
            found
        } else {
            create(
                &*disk,
                path,
                NodeIdentity { cluster, node, incarnation: Incarnation(rng.next_id()) },
                rng,
            )?
        };
        let (root, rng) = (path.to_path_buf(), rng.stream(node.get()));
        let dir = Self { inner: Arc::new(Inner { disk, root, identity, rng, _lock: lock }) };
        complete_switches(&*dir.inner.disk, &dir.inner.root)?;
        dir.complete_burials()?;
        Ok(dir)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.inner.root
    }

    /// Whose it is.
    pub fn identity(&self) -> &NodeIdentity {
        &self.inner.identity
    }

    /// Drawn when the directory was created.
    pub fn incarnation(&self) -> Incarnation {
        self.inner.identity.incarnation
    }

    /// Where the replica of `group` is, or would be.
    pub fn group(&self, group: GroupId) -> ReplicaPaths {
        ReplicaPaths::new(self.groups_dir().join(group.to_string()))
    }

    /// The groups that have a replica here, ascending: completed and not removed. One whose replica file cannot
    /// be read is among them, so that its start says why.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn groups(&self) -> Result<Vec<GroupId>> {
        let mut groups = self.directories()?;
        groups.retain(|&group| match self.replica(group) {
            Ok(found) => found.is_some_and(|found| !found.tombstone),
            Err(_) => true,
        });
        Ok(groups)
    }

    /// Who lives in the directory of `group`, tombstones included; `None` if nobody completed moving in.
    ///
    /// # Errors
    /// As [`ReplicaIdentity::read`], and [`Error::Foreign`] if the file is of another group number.
    pub fn replica(&self, group: GroupId) -> Result<Option<ReplicaIdentity>> {
        let path = self.group(group).replica_file();
        let found = ReplicaIdentity::read(&*self.inner.disk, &path)?;
        match found {
            Some(found) if found.group != group => Err(foreign("group", &path, group, found.group)),
            found => Ok(found),
        }
    }

    /// Whose the directory of `group` is, tombstones included: as [`DataDir::replica`], but a replica file that is
    /// damaged is no end, for the log's files name their replica too. For removing it, not for running it.
    ///
    /// # Errors
    /// As [`DataDir::replica`], if nothing says it.
    pub fn occupant(&self, group: GroupId) -> Result<Option<ReplicaId>> {
        let found = occupant(&*self.inner.disk, &self.group(group))?;
        Ok(found.map(|owner| owner.replica))
    }

    /// Creates the directory that a replica of `group` is to be made in; durable on return. A leftover that
    /// nobody completed is emptied first, and so is one that a tombstone stands in (the tombstone stays).
    ///
    /// # Errors
    /// [`Error::Foreign`] if a replica lives there; [`Error::Io`].
    pub fn prepare(&self, group: GroupId) -> Result<ReplicaPaths> {
        let paths = self.group(group);
        let disk = &*self.inner.disk;
        if let Some(found) = self.replica(group)?
            && !found.tombstone
        {
            let (expected, found) = ("nobody".to_owned(), found.replica.to_string());
            return Err(foreign("replica", &paths.replica_file(), expected, found));
        }
        disk.create_dir_all(paths.root()).map_err(|cause| Error::io("create", paths.root(), cause))?;
        self.empty(&paths)?;
        small_file::sync_dir(disk, &self.groups_dir())?;
        Ok(paths)
    }

    /// Removes the replica of `group` for ever: its tombstone is durable before anything else is removed, so
    /// that a crash in between cannot bring it back. Durable on return. Fine if nothing is there. The replica
    /// must have been stopped.
    ///
    /// # Errors
    /// [`Error::Io`]; whatever reading the replica file says.
    pub fn bury(&self, group: GroupId) -> Result<()> {
        let (paths, disk) = (self.group(group), &*self.inner.disk);
        if !self.directories()?.contains(&group) {
            return Ok(());
        }
        if let Some(found) = self.replica(group)? {
            let buried = ReplicaIdentity { tombstone: true, ..found };
            buried.write(disk, &paths.replica_file(), &*self.inner.rng)?;
            return self.empty(&paths);
        }
        disk.remove_dir_all(paths.root()).map_err(|cause| Error::io("remove", paths.root(), cause))?;
        small_file::sync_dir(disk, &self.groups_dir())
    }

    /// Moves the directory of a replica that is out of service for ever to `groups/<group>.quarantined-<incarnation>`,
    /// where a human may look at it and every start leaves it alone; gives the new path. Durable on return. The replica
    /// must have been stopped, and its group must have let it go.
    ///
    /// # Errors
    /// [`Error::Missing`] if no replica is there; [`Error::Io`]; those of [`DataDir::occupant`].
    pub fn set_aside(&self, group: GroupId) -> Result<PathBuf> {
        let (paths, disk) = (self.group(group), &*self.inner.disk);
        let Some(found) = occupant(disk, &paths)? else {
            return Err(Error::Missing { path: paths.replica_file() });
        };
        let FileOwner { group: uid, replica, incarnation } = found;
        let found = ReplicaIdentity { group, uid, replica, incarnation, tombstone: false };
        let aside = evidence_path(&self.inner.root, &found);
        disk.rename(paths.root(), &aside).map_err(|cause| Error::io("rename", paths.root(), cause))?;
        small_file::sync_dir(disk, &self.groups_dir())?;
        Ok(aside)
    }

    /// Which data directories the other nodes had when [`DataDir::remember_peers`] was last called.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::NewerFormat`], [`Error::Io`].
    pub fn peers(&self) -> Result<BTreeMap<NodeId, Incarnation>> {
        peers_file::read(&*self.inner.disk, &self.inner.root.join("peers"))
    }

    /// Remembers which data directories the other nodes have. Durable on return; two syncs.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remember_peers(&self, peers: &BTreeMap<NodeId, Incarnation>) -> Result<()> {
        let path = self.inner.root.join("peers");
        peers_file::write(&*self.inner.disk, &path, peers, &*self.inner.rng)
    }

    fn complete_burials(&self) -> Result<()> {
        for group in self.directories()? {
            // Whatever is wrong with one group's file is told when that group is opened.
            if let Ok(Some(ReplicaIdentity { tombstone: true, .. })) = self.replica(group) {
                self.empty(&self.group(group))?;
            }
        }
        Ok(())
    }

    /// Removes everything in a replica's directory but the replica file.
    fn empty(&self, paths: &ReplicaPaths) -> Result<()> {
        let disk = &*self.inner.disk;
        let keeper = paths.replica_file();
        let entries = disk.list(paths.root()).map_err(|cause| Error::io("list", paths.root(), cause))?;
        for entry in entries {
            let path = paths.root().join(&entry.name);
            if path == keeper {
                continue;
            }
            let removed = if entry.is_dir { disk.remove_dir_all(&path) } else { disk.remove_file(&path) };
            removed.map_err(|cause| Error::io("remove", &path, cause))?;
        }
        small_file::sync_dir(disk, paths.root())
    }

    fn directories(&self) -> Result<Vec<GroupId>> {
        group_directories(&*self.inner.disk, &self.inner.root)
    }

    fn groups_dir(&self) -> PathBuf {
        self.inner.root.join("groups")
    }
}

/// The numbers that name directories below `groups` of the data directory at `root`, ascending.
pub(crate) fn group_directories(disk: &dyn Disk, root: &Path) -> Result<Vec<GroupId>> {
    let dir = root.join("groups");
    let entries = disk.list(&dir).map_err(|cause| Error::io("list", &dir, cause))?;
    let mut groups: Vec<GroupId> = entries
        .iter()
        .filter(|entry| entry.is_dir)
        .filter_map(|entry| entry.name.parse().ok().map(GroupId))
        .filter(|group| entries.iter().any(|entry| entry.name == group.to_string()))
        .collect();
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}

/// Takes the lock of the data directory at `root`.
///
/// # Errors
/// [`Error::Locked`] while another process or handle has it; [`Error::Io`].
pub(crate) fn lock(disk: &dyn Disk, root: &Path) -> Result<Box<dyn DiskLock>> {
    let path = root.join("node.lock");
    disk.lock(&path).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::WouldBlock => Error::Locked { path },
        _ => Error::io("lock", &path, cause),
    })
}

/// Makes a new directory this node's. The node file comes last: a directory without one is still new.
fn create(disk: &dyn Disk, root: &Path, identity: NodeIdentity, rng: &dyn Rng) -> Result<NodeIdentity> {
    let (node_file, groups) = (root.join("node"), root.join("groups"));
    disk.create_dir_all(&groups).map_err(|cause| Error::io("create", &groups, cause))?;
    let entries = disk.list(&groups).map_err(|cause| Error::io("list", &groups, cause))?;
    if !entries.is_empty() {
        return Err(Error::Missing { path: node_file });
    }
    if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        small_file::sync_dir(disk, parent)?;
    }
    small_file::sync_dir(disk, root)?;
    identity.write(disk, &node_file, rng)?;
    Ok(identity)
}
