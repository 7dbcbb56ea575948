//! Data directories as files: found, copied, proven unchanged.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::corruption::place::FileKind;

/// Directories below a data directory: `groups/1/state/2/db/blobs`.
const DEPTH_MAX: usize = 8;

/// Every file below `root`, by its path from there, with its size, in order.
pub(super) fn below(root: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    walk(root, Path::new(""), DEPTH_MAX, &mut files)?;
    files.sort();
    Ok(files)
}

fn walk(root: &Path, at: &Path, depth: usize, files: &mut Vec<(PathBuf, u64)>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(at))? {
        let entry = entry?;
        let (path, metadata) = (at.join(entry.file_name()), entry.metadata()?);
        if metadata.is_dir() {
            if depth == 0 {
                return Err(io::Error::other("too many directories in each other"));
            }
            walk(root, &path, depth - 1, files)?;
        } else {
            files.push((path, metadata.len()));
        }
    }
    Ok(())
}

/// Makes `to` what `from` is. Files that nobody ever writes to again are linked, but `damaged`, which will be.
pub(super) fn restore(from: &Path, to: &Path, damaged: Option<&Path>) -> io::Result<()> {
    match fs::remove_dir_all(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    copy(from, to, Path::new(""), damaged)
}

fn copy(from: &Path, to: &Path, at: &Path, damaged: Option<&Path>) -> io::Result<()> {
    fs::create_dir_all(to.join(at))?;
    for entry in fs::read_dir(from.join(at))? {
        let entry = entry?;
        let path = at.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(from, to, &path, damaged)?;
            continue;
        }
        let is_final = matches!(FileKind::of(&path), Some(FileKind::Snapshot | FileKind::Table));
        if is_final && damaged != Some(path.as_path()) {
            fs::hard_link(entry.path(), to.join(&path))?;
        } else {
            fs::copy(entry.path(), to.join(&path))?;
        }
    }
    Ok(())
}

/// A checksum of every file below `root`: nobody may have written to what was linked.
pub(super) fn fingerprint(root: &Path) -> io::Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    for (path, bytes) in below(root)? {
        hasher.update(path.to_string_lossy().as_bytes());
        hasher.update(&bytes.to_le_bytes());
        hasher.update(&fs::read(root.join(path))?);
    }
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_directory_is_the_same_and_its_damage_stays_its_own() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        fs::create_dir_all(from.join("groups/1/snapshots")).unwrap();
        let (log, snapshot) = (Path::new("groups/1/1.wal"), Path::new("groups/1/snapshots/1-1.snap"));
        for file in [log, snapshot] {
            fs::write(from.join(file), b"bytes").unwrap();
        }
        let before = fingerprint(&from).unwrap();
        restore(&from, &to, Some(snapshot)).unwrap();
        assert_eq!(fingerprint(&to).unwrap(), before);
        for file in [log, snapshot] {
            fs::write(to.join(file), b"other").unwrap();
        }
        assert_ne!(fingerprint(&to).unwrap(), before);
        assert_eq!(fingerprint(&from).unwrap(), before);
        restore(&from, &to, None).unwrap();
        assert_eq!(fingerprint(&to).unwrap(), before);
    }
}
