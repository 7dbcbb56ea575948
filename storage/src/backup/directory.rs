//! Directories and names that are durable when a call returns.

use std::path::Path;

use crate::disk::Disk;
use crate::error::{Error, Result};

/// Makes the directory at `path` and its missing parents. Durable on return, as far up as something was made.
pub(super) fn create(disk: &dyn Disk, path: &Path) -> Result<()> {
    let mut made = Vec::new();
    for dir in path.ancestors().filter(|dir| !dir.as_os_str().is_empty()) {
        if disk.size(dir).map_err(|cause| Error::io("look up", dir, cause))?.is_some() {
            break;
        }
        made.push(dir);
    }
    disk.create_dir_all(path).map_err(|cause| Error::io("create", path, cause))?;
    // One that is there already may be what a crash left of this very call: its name is synced, too.
    for dir in made.into_iter().rev().chain([path]) {
        sync_parent(disk, dir)?;
    }
    Ok(())
}

pub(super) fn sync(disk: &dyn Disk, dir: &Path) -> Result<()> {
    disk.sync_dir(dir).map_err(|cause| Error::io("sync", dir, cause))
}

/// Makes the name of `path` durable.
pub(super) fn sync_parent(disk: &dyn Disk, path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync(disk, Path::new(".")),
        Some(parent) => sync(disk, parent),
        None => Ok(()),
    }
}

pub(super) fn remove_file_if_there(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.remove_file(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, cause)),
        _ => Ok(()),
    }
}

pub(super) fn is_there(disk: &dyn Disk, path: &Path) -> Result<bool> {
    Ok(disk.size(path).map_err(|cause| Error::io("look up", path, cause))?.is_some())
}
