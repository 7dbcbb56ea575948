//! The switch from a replica's directory to one that was made to take its place: the two renames behind an offline
//! repair, and how they are completed after a crash.
//!
//! `groups/<group>.repaired` is made whole and durable first, its replica file last. Then `groups/<group>` gets the name
//! of the evidence, then the new directory gets its name; a sync of `groups` behind each. So whoever finds a repaired
//! directory knows: with `groups/<group>` beside it, the switch has not begun, and it is of no use; without, the
//! switch has begun, and completing it loses nothing.

use std::path::{Path, PathBuf};

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::identity::{ReplicaIdentity, ReplicaPaths, small_file};
use crate::ids::GroupId;

/// Ends the name of a directory that is to take a group's place.
const REPAIRED_SUFFIX: &str = ".repaired";

/// Where the directory is made that is to take the place of `group`'s.
pub(crate) fn repaired_path(root: &Path, group: GroupId) -> PathBuf {
    root.join("groups").join(format!("{group}{REPAIRED_SUFFIX}"))
}

/// Where the directory of `replica` is kept once it is out of service for ever.
pub(crate) fn evidence_path(root: &Path, replica: &ReplicaIdentity) -> PathBuf {
    root.join("groups").join(format!("{}.quarantined-{}", replica.group, replica.incarnation))
}

/// Puts the repaired directory, which must be whole and durable, in the place of `old`'s. Durable on return.
///
/// # Errors
/// [`Error::Io`]; what is then done by [`complete_switches`].
pub(crate) fn switch(disk: &dyn Disk, root: &Path, old: &ReplicaIdentity) -> Result<()> {
    let (groups, group) = (root.join("groups"), root.join("groups").join(old.group.to_string()));
    let aside = evidence_path(root, old);
    disk.rename(&group, &aside).map_err(|cause| Error::io("rename", &group, cause))?;
    small_file::sync_dir(disk, &groups)?;
    complete(disk, root, old.group)
}

/// Completes the switches below `root` that a crash interrupted, and removes repaired directories whose switch had not
/// begun. Durable on return.
///
/// # Errors
/// [`Error::Io`]; what reading a repaired directory's replica file says.
pub(crate) fn complete_switches(disk: &dyn Disk, root: &Path) -> Result<()> {
    let groups = root.join("groups");
    for group in repaired_groups(disk, root)? {
        if is_switching(disk, root, group)? {
            complete(disk, root, group)?;
        } else if is_there(disk, &groups.join(group.to_string()))? {
            let leftover = repaired_path(root, group);
            disk.remove_dir_all(&leftover).map_err(|cause| Error::io("remove", &leftover, cause))?;
            small_file::sync_dir(disk, &groups)?;
        }
    }
    Ok(())
}

/// Whether the switch of `group` has begun and is not complete.
///
/// # Errors
/// As [`complete_switches`].
pub(crate) fn is_switching(disk: &dyn Disk, root: &Path, group: GroupId) -> Result<bool> {
    if is_there(disk, &root.join("groups").join(group.to_string()))? {
        return Ok(false);
    }
    let paths = ReplicaPaths::new(repaired_path(root, group));
    Ok(ReplicaIdentity::read(disk, &paths.replica_file())?.is_some())
}

fn complete(disk: &dyn Disk, root: &Path, group: GroupId) -> Result<()> {
    let (groups, repaired) = (root.join("groups"), repaired_path(root, group));
    let path = groups.join(group.to_string());
    disk.rename(&repaired, &path).map_err(|cause| Error::io("rename", &repaired, cause))?;
    small_file::sync_dir(disk, &groups)
}

fn repaired_groups(disk: &dyn Disk, root: &Path) -> Result<Vec<GroupId>> {
    let groups = root.join("groups");
    let entries = disk.list(&groups).map_err(|cause| Error::io("list", &groups, cause))?;
    let number = |name: &str| name.strip_suffix(REPAIRED_SUFFIX)?.parse().ok().map(GroupId);
    Ok(entries.iter().filter(|entry| entry.is_dir).filter_map(|entry| number(&entry.name)).collect())
}

fn is_there(disk: &dyn Disk, path: &Path) -> Result<bool> {
    let size = disk.size(path).map_err(|cause| Error::io("look up", path, cause))?;
    Ok(size.is_some())
}
