//! A snapshot file cut into chunks, as it travels between nodes.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};

use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::snapshot::SnapshotToken;
use crate::snapshot::checked_file::open_existing;
use crate::snapshot::fault::SnapshotFault;
use crate::snapshot::layout;

/// No chunk is longer, in bytes.
pub const CHUNK_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A piece of a snapshot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// Where it stands in the file.
    pub offset: u64,
    /// Size of the whole file.
    pub total: u64,
    /// CRC-32 of `bytes`.
    pub crc: u32,
    /// The piece. Never empty.
    pub bytes: Bytes,
}

/// Reads a snapshot file in chunks, for a sender. Stays readable when the file is removed meanwhile.
#[derive(Debug)]
pub struct SnapshotChunks {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    total: u64,
}

impl SnapshotChunks {
    /// Opens the file of `token`. Its content is verified by the receiver, as a whole.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; [`Error::Corrupt`] if its size is not the token's.
    pub fn open(disk: &dyn Disk, path: &Path, token: &SnapshotToken) -> Result<Self> {
        let file = open_existing(disk, path)?;
        let total = file.len().map_err(|cause| Error::io("stat", path, cause))?;
        if total != token.bytes {
            return Err(SnapshotFault::OtherSize.error(path, 0, [token.bytes, total]));
        }
        Ok(Self { file, path: path.to_path_buf(), total })
    }

    /// Size of the file in bytes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The chunk at `offset`, of `bytes_max` bytes (at most [`CHUNK_BYTES_MAX`]; less at the end of the file);
    /// `None` at or behind the end. One read.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read_chunk(&self, offset: u64, bytes_max: usize) -> Result<Option<SnapshotChunk>> {
        let left = self.total.saturating_sub(offset);
        let length = layout::length(left.min(bytes_max.clamp(1, CHUNK_BYTES_MAX) as u64));
        if length == 0 {
            return Ok(None);
        }
        let mut bytes = BytesMut::zeroed(length);
        self.file.read_exact_at(&mut bytes, offset).map_err(|cause| Error::io("read", &self.path, cause))?;
        let bytes = bytes.freeze();
        Ok(Some(SnapshotChunk { offset, total: self.total, crc: crc32fast::hash(&bytes), bytes }))
    }
}
