//! A tree opened without a change to its directory.
//!
//! Opening a tree removes tables and version files that no version names. So it is opened in a directory of links
//! to its files: what opening removes there are links.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::check_version;
use super::shared::LsmShared;
use super::tree::LsmTree;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::kv::lsm::{Panicked, failed, real_path};
use crate::kv::store::KvReader;

/// The directory of a tree that holds others.
const TABLES: &str = "tables";

/// A reader of the tree in `dir`, and its marker. `shadow` is an empty directory outside of it, which must live as
/// long as the reader.
///
/// # Errors
/// [`Error::Io`] about `shadow`: nothing was learned of the tree. Everything else is the tree's.
pub(crate) fn open_shadow(
    shared: &Arc<LsmShared>,
    disk: &dyn Disk,
    dir: &Path,
    shadow: &Path,
) -> Result<(Arc<dyn KvReader>, Option<bytes::Bytes>)> {
    let real = real_path(disk, dir)?;
    let real = std::path::absolute(&real).map_err(|source| Error::io("find", &real, source))?;
    check_version(disk, dir)?;
    link_files(disk, dir, &real, shadow)?;
    let tables = dir.join(TABLES);
    // Without tables, or a current version, the tree becomes an empty one: as it would in its directory.
    if disk.size(&tables).map_err(|source| Error::io("look up", &tables, source))?.is_some() {
        let shadow_tables = shadow.join(TABLES);
        std::fs::create_dir(&shadow_tables).map_err(|source| Error::io("create", &shadow_tables, source))?;
        link_files(disk, &tables, &real.join(TABLES), &shadow_tables)?;
    }
    let open = || LsmTree::open(shared, shadow);
    let tree = std::panic::catch_unwind(std::panic::AssertUnwindSafe(open))
        .unwrap_or_else(|_| Err(failed("open", Panicked)))
        .map_err(|error| rename(error, dir))?;
    let marker = tree.marker();
    Ok((tree, marker))
}

fn link_files(disk: &dyn Disk, dir: &Path, real: &Path, shadow: &Path) -> Result<()> {
    let entries = disk.list(dir).map_err(|source| Error::io("list", dir, source))?;
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        let link: PathBuf = shadow.join(&entry.name);
        symlink(real.join(&entry.name), &link).map_err(|source| Error::io("link", &link, source))?;
    }
    Ok(())
}

/// What the shadow's tree says of itself is true of the tree.
fn rename(error: Error, dir: &Path) -> Error {
    match error {
        Error::Corrupt { what, offset, expected, found, .. } => {
            Error::Corrupt { what, file: dir.to_path_buf(), offset, expected, found }
        }
        other => other,
    }
}
