//! A backup that is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::{self, MANIFEST_BYTES_MAX};
use super::{
    BackupGroup, MANIFEST_FILE, MANIFEST_HASH_FILE, Manifest, OnRecord, WholeSnapshot, directory, read_whole,
};
use crate::disk::{Disk, OpenMode};
use crate::error::{Error, Result};
use crate::sha256::Sha256Sum;
use crate::snapshot::{SnapshotReader, SnapshotSink, SnapshotSource as _};

/// Longest file with a hash in it that is looked at.
const HASH_BYTES_MAX: u64 = 4_096;

/// A backup, by its manifest. Opening it says nothing of the snapshots yet: [`Backup::check`] does.
#[derive(Clone, Debug)]
pub struct Backup {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    manifest: Manifest,
    hash: Sha256Sum,
}

impl Backup {
    /// Whether the directory at `dir` is one of a backup, whatever its state: it has a manifest or the file with its
    /// hash.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn is_at(disk: &dyn Disk, dir: &Path) -> Result<bool> {
        for name in [MANIFEST_FILE, MANIFEST_HASH_FILE] {
            if directory::is_there(disk, &dir.join(name))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the manifest of the backup at `dir`, and checks it against its hash.
    ///
    /// # Errors
    /// [`Error::Missing`] if the manifest or its hash is not there; [`Error::Corrupt`] if it is not what was written;
    /// [`Error::NewerFormat`]; [`Error::Malformed`]; [`Error::Io`].
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self> {
        let (path, hash_path) = (dir.join(MANIFEST_FILE), dir.join(MANIFEST_HASH_FILE));
        let bytes = read_file(&*disk, &path, MANIFEST_BYTES_MAX)?;
        let found = Sha256Sum::of(&bytes);
        let line = read_file(&*disk, &hash_path, HASH_BYTES_MAX)?;
        let Some(expected) = manifest::read_hash_line(&line) else {
            let (expected, found) = (manifest::hash_line(&bytes).len() as u64, line.len() as u64);
            return Err(Error::Corrupt { what: "hash line", file: hash_path, offset: 0, expected, found });
        };
        if expected != found {
            let (expected, found) = (expected.folded(), found.folded());
            return Err(Error::Corrupt {
                what: "SHA-256 of the manifest",
                file: path,
                offset: 0,
                expected,
                found,
            });
        }
        let manifest = Manifest::decode(&bytes, &path)?;
        Ok(Self { disk, dir: dir.to_path_buf(), manifest, hash: found })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// What belongs to it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the manifest, and by the hashes in it of the whole backup: no two backups have the same.
    pub fn hash(&self) -> Sha256Sum {
        self.hash
    }

    /// Where the snapshot of `group` is.
    pub fn path_of(&self, group: &BackupGroup) -> PathBuf {
        self.dir.join(group.file_name())
    }

    /// Reads the snapshot of `group` as [`read_whole`] does, and checks that it is what the manifest says.
    ///
    /// # Errors
    /// As [`read_whole`]; [`Error::Corrupt`] if it is not the manifest's.
    pub fn check(
        &self,
        group: &BackupGroup,
        on_bytes: &mut dyn FnMut(u64),
        on_record: OnRecord<'_>,
    ) -> Result<WholeSnapshot> {
        let path = self.path_of(group);
        let whole = read_whole(&*self.disk, &path, group.token, on_bytes, on_record)?;
        check_against(group, &whole, &path)?;
        Ok(whole)
    }

    /// Gives every record of `group`'s snapshot to `sink`, in key order; `on_bytes` as for [`read_whole`]. What was
    /// given counts only once this returns `Ok`.
    ///
    /// # Errors
    /// As [`SnapshotReader::open`] and [`SnapshotReader`]'s `next_record`; whatever `sink` says.
    pub fn copy_records(
        &self,
        group: &BackupGroup,
        sink: &mut dyn SnapshotSink,
        on_bytes: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let mut reader = SnapshotReader::open(&*self.disk, &self.path_of(group), group.token)?;
        let mut told = 0;
        while let Some((key, value)) = reader.next_record()? {
            sink.put(&key, &value)?;
            on_bytes(reader.bytes_read() - told);
            told = reader.bytes_read();
        }
        on_bytes(reader.bytes_read() - told);
        Ok(())
    }
}

/// Whether a snapshot is the one the manifest speaks of.
pub(super) fn check_against(group: &BackupGroup, whole: &WholeSnapshot, path: &Path) -> Result<()> {
    let corrupt = |what, [expected, found]: [u64; 2]| {
        Err(Error::Corrupt { what, file: path.to_path_buf(), offset: 0, expected, found })
    };
    if whole.sha256 != group.sha256 {
        return corrupt("SHA-256 of the file", [group.sha256.folded(), whole.sha256.folded()]);
    }
    if whole.records != group.records {
        return corrupt("count of records", [group.records, whole.records]);
    }
    let descriptor = &whole.label.record.descriptor;
    if whole.digest() != group.digest || !group.describes(descriptor) {
        return corrupt("label against the manifest", [group.group.get(), descriptor.group.get()]);
    }
    Ok(())
}

/// The whole of a small file.
fn read_file(disk: &dyn Disk, path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let size = disk.size(path).map_err(|cause| Error::io("look up", path, cause))?;
    let bytes = size.ok_or_else(|| Error::Missing { path: path.to_path_buf() })?;
    if bytes > bytes_max {
        return Err(Error::TooLarge { what: "file of a backup", bytes, bytes_max });
    }
    let length = usize::try_from(bytes).unwrap_or_else(|_| unreachable!("{bytes} bytes were bounded before"));
    let mut buffer = vec![0; length];
    let file = disk.open(path, OpenMode::Read).map_err(|cause| Error::io("open", path, cause))?;
    file.read_exact_at(&mut buffer, 0).map_err(|cause| Error::io("read", path, cause))?;
    Ok(buffer)
}
