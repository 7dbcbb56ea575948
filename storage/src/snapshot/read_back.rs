//! Reads a snapshot file back from the device, piece by piece, for a caller that paces itself.

use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::snapshot::SnapshotToken;
use crate::snapshot::checked_file::open_existing;
use crate::snapshot::fault::SnapshotFault;
use crate::snapshot::layout::{self, FILE_BYTES_MIN, FOOTER_BYTES, u32_at};

/// What [`super::verify`] does, in steps. Memory: one piece while it is read.
#[derive(Debug)]
pub struct SnapshotReadBack {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    token: SnapshotToken,
    hasher: crc32fast::Hasher,
    /// Bytes read. Invariant: at most the footer's place.
    at: u64,
}

impl SnapshotReadBack {
    /// Opens the file at `path`, has its cached pages dropped, and checks its size and its footer against `token`.
    ///
    /// # Errors
    /// As [`super::verify`].
    pub(super) fn open(disk: &dyn Disk, path: &Path, token: SnapshotToken) -> Result<Self> {
        let file = open_existing(disk, path)?;
        file.drop_cache().map_err(|cause| Error::io("drop the cache of", path, cause))?;
        let bytes = file.len().map_err(|cause| Error::io("stat", path, cause))?;
        if bytes < FILE_BYTES_MIN {
            return Err(SnapshotFault::TooSmall.error(path, 0, [FILE_BYTES_MIN, bytes]));
        }
        if bytes != token.bytes {
            return Err(SnapshotFault::OtherSize.error(path, 0, [token.bytes, bytes]));
        }
        let mut footer = [0; FOOTER_BYTES];
        let footer_at = bytes - FOOTER_BYTES as u64;
        file.read_exact_at(&mut footer, footer_at).map_err(|cause| Error::io("read", path, cause))?;
        let found = u32_at(&footer, 0);
        if found != token.crc {
            return Err(SnapshotFault::TokenCrc.error(path, footer_at, [token.crc, found].map(u64::from)));
        }
        let (path, hasher) = (path.to_path_buf(), crc32fast::Hasher::new());
        Ok(Self { file, path, token, hasher, at: 0 })
    }

    /// Bytes that are still to be read.
    pub fn left(&self) -> u64 {
        self.footer_at() - self.at
    }

    /// Reads the next piece, of at most `bytes_max`. Whether that was the last: then the whole file is what its
    /// token says.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] with the last piece.
    pub fn step(&mut self, bytes_max: u64) -> Result<bool> {
        let mut piece = vec![0; layout::length(self.left().min(bytes_max.max(1)))];
        self.file.read_exact_at(&mut piece, self.at).map_err(|cause| Error::io("read", &self.path, cause))?;
        self.hasher.update(&piece);
        self.at += piece.len() as u64;
        if self.left() > 0 {
            return Ok(false);
        }
        let (expected, found) = (self.token.crc, self.hasher.clone().finalize());
        if expected != found {
            let sums = [expected, found].map(u64::from);
            return Err(SnapshotFault::FileCrc.error(&self.path, self.footer_at(), sums));
        }
        Ok(true)
    }

    fn footer_at(&self) -> u64 {
        self.token.bytes - FOOTER_BYTES as u64
    }
}
