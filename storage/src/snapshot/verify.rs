//! Whether a snapshot file is the one the log recorded, bit for bit.

use std::fmt;
use std::path::Path;

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::snapshot::SnapshotToken;
use crate::snapshot::checked_file::open_existing;
use crate::snapshot::fault::SnapshotFault;
use crate::snapshot::hash::{HashedFile, PIECE_BYTES};
use crate::snapshot::layout::{FILE_BYTES_MIN, FOOTER_BYTES};

/// Most threads that read one file at a time.
pub(super) const READERS_MAX: u64 = 4;

/// A reader more for every so many bytes: a file below twice this is read by the calling thread alone.
const READER_BYTES_MIN: u64 = 32 * PIECE_BYTES;

/// Where verification reads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// Wherever the system has it.
    Cache,
    /// The device, as far as the system can be told: cached pages are dropped first.
    Device,
}

/// How a file is verified.
#[derive(Clone, Copy)]
pub struct Verification<'a> {
    /// Where it is read from.
    pub from: ReadFrom,
    /// Most threads that read at a time, 1 to 4; fewer on a machine of fewer cores and for a file under 128 MiB, and for
    /// one under 64 MiB the calling thread reads alone.
    pub readers_max: u64,
    /// Called before every read with its bytes (1 MiB at most), from any of the readers. It may block to hold a rate.
    pub before_read: &'a (dyn Fn(u64) + Sync),
}

impl Verification<'static> {
    /// As fast as it goes.
    pub fn new(from: ReadFrom) -> Self {
        Self { from, readers_max: READERS_MAX, before_read: &|_| {} }
    }
}

impl fmt::Debug for Verification<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Verification");
        debug.field("from", &self.from).field("readers_max", &self.readers_max).finish_non_exhaustive()
    }
}

/// How many threads read `bytes` at a time, where `readers_max` may: no more than the machine has cores.
pub(super) fn readers(bytes: u64, readers_max: u64) -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    readers_max.clamp(1, READERS_MAX).min(cores).min(bytes / READER_BYTES_MIN)
}

/// Whether the file at `path` is what `token` says: [`verify_with`] as fast as it goes.
///
/// # Errors
/// As [`verify_with`].
pub fn verify(disk: &dyn Disk, path: &Path, token: &SnapshotToken, from: ReadFrom) -> Result<()> {
    verify_with(disk, path, token, &Verification::new(from))
}

/// Whether the file at `path` is what `token` says. Reads the whole file once; the structure inside is not looked
/// at. A large file is hashed in pieces by a few threads at once, 1 MiB of memory each.
///
/// In this order, each before anything of the next is trusted: the size is possible and the token's, the footer
/// is the token's, the checksum of everything before it is the footer.
///
/// # Errors
/// [`Error::Missing`], [`Error::Io`]; [`Error::Corrupt`], whose [`SnapshotFault`] is the step that failed.
///
/// # Panics
/// If `before_read` does.
pub fn verify_with(
    disk: &dyn Disk,
    path: &Path,
    token: &SnapshotToken,
    how: &Verification<'_>,
) -> Result<()> {
    let file = open_existing(disk, path)?;
    if how.from == ReadFrom::Device {
        file.drop_cache().map_err(|cause| Error::io("drop the cache of", path, cause))?;
    }
    let bytes = file.len().map_err(|cause| Error::io("stat", path, cause))?;
    if bytes < FILE_BYTES_MIN {
        return Err(SnapshotFault::TooSmall.error(path, 0, [FILE_BYTES_MIN, bytes]));
    }
    if bytes != token.bytes {
        return Err(SnapshotFault::OtherSize.error(path, 0, [token.bytes, bytes]));
    }
    let footer_at = bytes - FOOTER_BYTES as u64;
    let mut footer = [0; FOOTER_BYTES];
    file.read_exact_at(&mut footer, footer_at).map_err(|cause| Error::io("read", path, cause))?;
    let footer = u32::from_le_bytes(footer);
    if footer != token.crc {
        return Err(SnapshotFault::TokenCrc.error(path, footer_at, [token.crc, footer].map(u64::from)));
    }
    let hashed = HashedFile { file: file.as_ref(), path, range: 0..footer_at, before_read: how.before_read };
    let computed = hashed.crc(readers(bytes, how.readers_max))?.finalize();
    if computed != footer {
        return Err(SnapshotFault::FileCrc.error(path, footer_at, [footer, computed].map(u64::from)));
    }
    Ok(())
}
