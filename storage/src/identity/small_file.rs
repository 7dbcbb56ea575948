//! Small files that are read and replaced as a whole: outer header, body of a fixed length, CRC-32 of the body.

use std::path::Path;

use crate::disk::{Disk, OpenMode};
use crate::error::{Error, Result};
use crate::identity::{FileHeader, FileKind, HEADER_BYTES};

const CRC_BYTES: usize = 4;

/// Reads the file at `path`: its header, and a body of `N` bytes. `None` if there is no such file.
///
/// # Errors
/// As [`FileHeader::decode`]; [`Error::Corrupt`] for another length or checksum; [`Error::Io`].
pub(super) fn read<const N: usize>(
    disk: &dyn Disk,
    path: &Path,
    kind: FileKind,
) -> Result<Option<(FileHeader, [u8; N])>> {
    let Some(size) = disk.size(path).map_err(|cause| Error::io("stat", path, cause))? else {
        return Ok(None);
    };
    let whole = HEADER_BYTES + N + CRC_BYTES;
    let file = disk.open(path, OpenMode::Read).map_err(|cause| Error::io("open", path, cause))?;
    let mut bytes = vec![0; usize::try_from(size).map_or(whole, |size| size.min(whole))];
    file.read_exact_at(&mut bytes, 0).map_err(|cause| Error::io("read", path, cause))?;
    let header = FileHeader::decode(&bytes, kind, path)?;
    header.check_clear(path)?;
    let corrupt = |what, expected, found| Error::Corrupt {
        what,
        file: path.to_path_buf(),
        offset: HEADER_BYTES as u64,
        expected,
        found,
    };
    if size != whole as u64 {
        return Err(corrupt("identity file length", whole as u64, size));
    }
    let body: [u8; N] = std::array::from_fn(|i| bytes[HEADER_BYTES + i]);
    let stored = u32::from_le_bytes(std::array::from_fn(|i| bytes[HEADER_BYTES + N + i]));
    let computed = crc32fast::hash(&body);
    if stored != computed {
        return Err(corrupt("identity file", u64::from(computed), u64::from(stored)));
    }
    Ok(Some((header, body)))
}

/// Writes or replaces the file at `path`: beside it, synced, renamed, directory synced. Durable on return; at a
/// crash the old or the new file is there, whole. Two syncs.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn replace(disk: &dyn Disk, path: &Path, header: &FileHeader, body: &[u8]) -> Result<()> {
    let temporary = path.with_extension("tmp");
    let dir = path.parent().unwrap_or(Path::new("."));
    if let Err(cause) = disk.remove_file(&temporary)
        && cause.kind() != std::io::ErrorKind::NotFound
    {
        return Err(Error::io("remove", &temporary, cause));
    }
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    let file = disk.open(&temporary, OpenMode::Create);
    let file = file.map_err(|cause| Error::io("create", &temporary, cause))?;
    file.write_all_at(&bytes, 0).map_err(|cause| Error::io("write", &temporary, cause))?;
    file.sync_data().map_err(|cause| Error::io("sync", &temporary, cause))?;
    disk.rename(&temporary, path).map_err(|cause| Error::io("rename", &temporary, cause))?;
    sync_dir(disk, dir)
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<()> {
    disk.sync_dir(dir).map_err(|cause| Error::io("sync", dir, cause))
}
