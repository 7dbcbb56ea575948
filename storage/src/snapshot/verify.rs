//! Whether a snapshot file is the one the log recorded, bit for bit.

use std::path::Path;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::snapshot::SnapshotToken;
use crate::snapshot::checked_file::open_existing;
use crate::snapshot::layout::{self, FILE_BYTES_MIN, FOOTER_BYTES, corrupt};

/// Bytes read at once.
const READ_BYTES: usize = 1024 * 1024;

/// Where verification reads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// Wherever the system has it.
    Cache,
    /// The device, as far as the system can be told: cached pages are dropped first.
    Device,
}

/// Whether the file at `path` is what `token` says. Reads the whole file once, in order, 1 MiB at a time; the
/// structure inside is not looked at.
///
/// In this order, each before anything of the next is trusted: the size is possible and the token's, the footer
/// is the token's, the checksum of everything before it is the footer.
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`]; [`Error::Corrupt`] naming the step: `snapshot size`, `snapshot footer`
/// (not the token's), `snapshot file` (not the footer's).
pub fn verify(disk: &dyn Disk, path: &Path, token: &SnapshotToken, from: ReadFrom) -> Result<()> {
    let file = open_existing(disk, path)?;
    if from == ReadFrom::Device {
        file.drop_cache().map_err(|cause| Error::io("drop the cache of", path, cause))?;
    }
    let bytes = file.len().map_err(|cause| Error::io("stat", path, cause))?;
    if bytes < FILE_BYTES_MIN || bytes != token.bytes {
        return Err(corrupt("snapshot size", path, 0, [token.bytes.max(FILE_BYTES_MIN), bytes]));
    }
    let footer_at = bytes - FOOTER_BYTES as u64;
    let read = |buffer: &mut [u8], at| {
        file.read_exact_at(buffer, at).map_err(|cause| Error::io("read", path, cause))
    };
    let mut footer = [0; FOOTER_BYTES];
    read(&mut footer, footer_at)?;
    let footer = u32::from_le_bytes(footer);
    if footer != token.crc {
        return Err(corrupt("snapshot footer", path, footer_at, [u64::from(token.crc), u64::from(footer)]));
    }
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; usize::try_from(footer_at).map_or(READ_BYTES, |bytes| bytes.min(READ_BYTES))];
    let mut at = 0;
    while at < footer_at {
        let length = layout::length((footer_at - at).min(READ_BYTES as u64));
        read(&mut buffer[..length], at)?;
        hasher.update(&buffer[..length]);
        at += length as u64;
    }
    let computed = hasher.finalize();
    if computed != footer {
        return Err(corrupt("snapshot file", path, footer_at, [u64::from(footer), u64::from(computed)]));
    }
    Ok(())
}
