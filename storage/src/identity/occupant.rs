//! Whose a replica's directory is, as far as its files still say.

use crate::disk::{Disk, OpenMode};
use crate::error::{Error, Result};
use crate::identity::{FileHeader, FileKind, FileOwner, HEADER_BYTES, ReplicaIdentity, ReplicaPaths};

/// Files of a log that are opened to learn whose it is.
const FILES_MAX: usize = 8;

/// The owner of the directory at `paths`, by its replica file; where that is damaged, by the log's files, which name
/// the same. `None` if nobody completed moving in. Says who it was, not that it may take part.
///
/// # Errors
/// As [`ReplicaIdentity::read`], if no file of the log says it either.
pub(crate) fn occupant(disk: &dyn Disk, paths: &ReplicaPaths) -> Result<Option<FileOwner>> {
    match ReplicaIdentity::read(disk, &paths.replica_file()) {
        Ok(found) => Ok(found.map(|found| found.owner())),
        Err(error @ (Error::Corrupt { .. } | Error::Malformed { .. })) => {
            owner_of_log(disk, paths).map(Some).ok_or(error)
        }
        Err(error) => Err(error),
    }
}

/// Whose the log is, as its own files say.
pub(crate) fn owner_of_log(disk: &dyn Disk, paths: &ReplicaPaths) -> Option<FileOwner> {
    let wal = paths.wal();
    let entries = disk.list(&wal).ok()?;
    entries.iter().take(FILES_MAX).find_map(|entry| {
        let path = wal.join(&entry.name);
        let mut bytes = [0; HEADER_BYTES];
        disk.open(&path, OpenMode::Read).ok()?.read_exact_at(&mut bytes, 0).ok()?;
        Some(FileHeader::decode(&bytes, FileKind::Log, &path).ok()?.owner)
    })
}
