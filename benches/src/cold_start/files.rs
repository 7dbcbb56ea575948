//! The files of the one group that is measured.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

/// Has the kernel forget what it holds of every file under `dir`. They are synced first: dirty pages stay.
pub(super) fn drop_caches(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            drop_caches(&path)?;
        } else {
            let file = File::open(&path)?;
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

fn group(data: &Path) -> PathBuf {
    data.join("groups/1")
}

/// The newest snapshot of the group.
pub(super) fn newest_snapshot(data: &Path) -> io::Result<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(group(data).join("snapshots"))? {
        let path = entry?.path();
        files.extend(path.extension().is_some_and(|end| end == "snap").then_some(path));
    }
    files.sort();
    files.pop().ok_or_else(|| io::Error::other("no snapshot was published"))
}

/// The group's state is lost: its next start restores.
pub(super) fn remove_state(data: &Path) -> io::Result<()> {
    fs::remove_dir_all(group(data).join("state"))
}
