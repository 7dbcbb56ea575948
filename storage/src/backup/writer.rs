//! Writes a backup, beside its name until it is whole.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::{self, group_file_name};
use super::{BackupGroup, LOCK_FILE, MANIFEST_FILE, MANIFEST_HASH_FILE, Manifest, directory, read_whole};
use crate::disk::{Disk, DiskFile, DiskLock, OpenMode};
use crate::error::{Error, Result};
use crate::ids::{ClusterId, GroupId};
use crate::sha256::Sha256Hasher;
use crate::snapshot::SnapshotToken;

/// Bytes between two syncs of a file that is written: the system never has more to write at once.
const SYNC_BYTES: u64 = 8 << 20;

/// Behind the name of the directory while it is not whole.
const PART_SUFFIX: &str = ".part";

/// A backup that is being written, as `DIR.part`. Dropped before [`BackupWriter::finish`], it removes what it wrote; after
/// a crash `DIR.part` stays, without a manifest, and the next writer of `DIR` begins anew.
///
/// Order: each snapshot, synced and read back → the manifest's hash → the manifest → directory synced → renamed →
/// parent synced. So what has the name of a backup is one.
#[derive(Debug)]
pub struct BackupWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    part: PathBuf,
    /// Held until the directory has its name.
    _lock: Box<dyn DiskLock>,
    groups: Vec<BackupGroup>,
    is_finished: bool,
}

/// A group's snapshot that is arriving.
#[derive(Debug)]
pub struct GroupFile {
    group: GroupId,
    token: SnapshotToken,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    /// Bytes taken. Invariant: `received <= token.bytes`.
    received: u64,
    /// Bytes that were synced. Invariant: `synced <= received`.
    synced: u64,
    hasher: Sha256Hasher,
}

impl BackupWriter {
    /// Begins the backup that will be at `dir`; missing parents are made. What an attempt left that was interrupted is
    /// removed.
    ///
    /// # Errors
    /// [`Error::Occupied`] if there is something at `dir`, or `DIR.part` holds what is no part of a backup: nothing was
    /// touched. [`Error::Locked`] while another writer is at it; [`Error::Io`].
    pub fn create(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self> {
        let mut part = dir.as_os_str().to_owned();
        part.push(PART_SUFFIX);
        let part = PathBuf::from(part);
        directory::create(&*disk, &part)?;
        let lock_path = part.join(LOCK_FILE);
        let lock = disk.lock(&lock_path).map_err(|cause| match cause.kind() {
            std::io::ErrorKind::WouldBlock => Error::Locked { path: lock_path.clone() },
            _ => Error::io("lock", &lock_path, cause),
        })?;
        // Looked at under the lock: another writer may just have finished.
        if directory::is_there(&*disk, dir)? {
            drop(disk.remove_file(&lock_path));
            return Err(Error::Occupied { path: dir.to_path_buf() });
        }
        clear(&*disk, &part)?;
        let dir = dir.to_path_buf();
        Ok(Self { disk, dir, part, _lock: lock, groups: Vec::new(), is_finished: false })
    }

    /// Begins to take the snapshot of `group` that `token` speaks of. What was taken of it before is dropped.
    ///
    /// # Errors
    /// [`Error::NoRoom`] if it does not fit; [`Error::Io`].
    ///
    /// # Panics
    /// If the group is there already.
    pub fn begin(&self, group: GroupId, token: SnapshotToken) -> Result<GroupFile> {
        assert!(self.groups.iter().all(|kept| kept.group != group), "group {group} is there already");
        let path = self.part.join(group_file_name(group));
        let free_bytes =
            self.disk.free_bytes(&self.part).map_err(|cause| Error::io("stat", &self.part, cause))?;
        if free_bytes < token.bytes {
            return Err(Error::NoRoom { path, needed_bytes: token.bytes, free_bytes });
        }
        directory::remove_file_if_there(&*self.disk, &path)?;
        let file =
            self.disk.open(&path, OpenMode::Create).map_err(|cause| Error::io("create", &path, cause))?;
        let hasher = Sha256Hasher::default();
        Ok(GroupFile { group, token, path, file, received: 0, synced: 0, hasher })
    }

    /// Takes a snapshot that has arrived as a part of the backup: syncs it, reads it back from the device as
    /// [`read_whole`] does, and checks it against its token and against what arrived. `on_bytes` as for [`read_whole`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] if bytes are missing, or it is not what it should be; [`Error::Foreign`] if it is of another
    /// group; [`Error::NewerFormat`]; [`Error::Io`]. The group can be begun anew then.
    pub fn keep(&mut self, arrived: GroupFile, on_bytes: &mut dyn FnMut(u64)) -> Result<&BackupGroup> {
        let GroupFile { group, token, path, file, received, hasher, .. } = arrived;
        let corrupt = |what, [expected, found]: [u64; 2]| {
            Err(Error::Corrupt { what, file: path.clone(), offset: 0, expected, found })
        };
        if received != token.bytes {
            return corrupt("length of a snapshot", [token.bytes, received]);
        }
        file.sync_data().map_err(|cause| Error::io("sync", &path, cause))?;
        file.drop_cache().map_err(|cause| Error::io("drop the cache of", &path, cause))?;
        let whole = read_whole(&*self.disk, &path, token, on_bytes, &mut |_, _| Ok(()))?;
        let sent = hasher.finish();
        if whole.sha256 != sent {
            return corrupt("SHA-256 of the file", [sent.folded(), whole.sha256.folded()]);
        }
        let descriptor = &whole.label.record.descriptor;
        if descriptor.group != group {
            let (expected, found) = (group.to_string(), descriptor.group.to_string());
            return Err(Error::Foreign { what: "group", file: path, expected, found });
        }
        let kept = BackupGroup {
            group,
            uid: descriptor.uid,
            range: descriptor.range.clone(),
            range_epoch: descriptor.range_epoch,
            token,
            sha256: whole.sha256,
            digest: whole.digest(),
            records: whole.records,
        };
        let at = self.groups.partition_point(|other| other.group < group);
        self.groups.insert(at, kept);
        Ok(&self.groups[at])
    }

    /// Where the snapshot of a group that is kept can be read.
    pub fn path_of(&self, group: &BackupGroup) -> PathBuf {
        self.part.join(group.file_name())
    }

    /// Writes the manifest and gives the backup its name: durable on return. The cluster is told by its id and, if that is
    /// known, by its name.
    ///
    /// # Errors
    /// [`Error::Io`]; after a failed sync of the parent the backup may be there, whole.
    pub fn finish(
        mut self,
        (cluster, cluster_name): (ClusterId, Option<String>),
        begun_ms: u64,
        ended_ms: u64,
    ) -> Result<Manifest> {
        let groups = std::mem::take(&mut self.groups);
        let manifest = Manifest { cluster, cluster_name, begun_ms, ended_ms, groups };
        let bytes = manifest.encode();
        self.write(MANIFEST_HASH_FILE, manifest::hash_line(&bytes).as_bytes())?;
        self.write(MANIFEST_FILE, &bytes)?;
        let disk = &*self.disk;
        directory::sync(disk, &self.part)?;
        disk.rename(&self.part, &self.dir).map_err(|cause| Error::io("rename", &self.part, cause))?;
        self.is_finished = true;
        directory::sync_parent(disk, &self.dir)?;
        // It was held under the old name until here. One that stays is empty, and harms nobody.
        drop(disk.remove_file(&self.dir.join(LOCK_FILE)));
        Ok(manifest)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.part.join(name);
        let file =
            self.disk.open(&path, OpenMode::Create).map_err(|cause| Error::io("create", &path, cause))?;
        file.write_all_at(bytes, 0).map_err(|cause| Error::io("write", &path, cause))?;
        file.sync_data().map_err(|cause| Error::io("sync", &path, cause))
    }
}

impl Drop for BackupWriter {
    fn drop(&mut self) {
        if !self.is_finished {
            // Room is given back early; if this fails, the next writer of this backup does it.
            drop(self.disk.remove_dir_all(&self.part));
        }
    }
}

impl GroupFile {
    /// The group.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// What the snapshot should be.
    pub fn token(&self) -> &SnapshotToken {
        &self.token
    }

    /// Bytes taken so far: where a stream that broke goes on.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether every byte is there.
    pub fn is_complete(&self) -> bool {
        self.received == self.token.bytes
    }

    /// Takes the next bytes. Durable only once they are kept.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if they reach behind the end: nothing was taken. [`Error::Io`].
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let (expected, found) = (self.token.bytes - self.received, bytes.len() as u64);
        if found > expected {
            let (file, offset) = (self.path.clone(), self.received);
            return Err(Error::Corrupt { what: "length of a snapshot", file, offset, expected, found });
        }
        self.file
            .write_all_at(bytes, self.received)
            .map_err(|cause| Error::io("write", &self.path, cause))?;
        self.hasher.update(bytes);
        self.received += found;
        if self.received - self.synced >= SYNC_BYTES {
            self.synced = self.received;
            self.file.sync_data().map_err(|cause| Error::io("sync", &self.path, cause))?;
        }
        Ok(())
    }
}

/// Removes what an interrupted attempt left, the manifest first: without it nothing looks like a backup.
fn clear(disk: &dyn Disk, part: &Path) -> Result<()> {
    let entries = disk.list(part).map_err(|cause| Error::io("list", part, cause))?;
    let is_ours = |name: &str| {
        let group = name.strip_prefix("group-").and_then(|rest| rest.strip_suffix(".snap"));
        [MANIFEST_FILE, MANIFEST_HASH_FILE, LOCK_FILE].contains(&name)
            || group.is_some_and(|group| group.parse::<u64>().is_ok())
    };
    if let Some(other) = entries.iter().find(|entry| entry.is_dir || !is_ours(&entry.name)) {
        return Err(Error::Occupied { path: part.join(&other.name) });
    }
    directory::remove_file_if_there(disk, &part.join(MANIFEST_FILE))?;
    for entry in entries.iter().filter(|entry| entry.name != LOCK_FILE) {
        directory::remove_file_if_there(disk, &part.join(&entry.name))?;
    }
    directory::sync(disk, part)
}
