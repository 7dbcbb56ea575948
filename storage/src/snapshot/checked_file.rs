//! Reads a snapshot file from front to back and sums up its checksum on the way.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::snapshot::fault::SnapshotFault;
use crate::snapshot::hash::HashedFile;
use crate::snapshot::layout::{self, FILE_BYTES_MIN, corrupt};
use crate::snapshot::verify::{READERS_MAX, readers};

/// Bytes read at once of a file that is read whole.
const READ_AHEAD_BYTES: u64 = 256 * 1024;

/// Bytes read at once of a file of which only the front is wanted.
const FRONT_BYTES: u64 = 4 * 1024;

/// A file, a position in it, and the CRC-32 of everything before the position.
#[derive(Debug)]
pub(super) struct CheckedFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    /// Size of the file when it was opened.
    bytes: u64,
    /// Invariant: `offset <= bytes`.
    offset: u64,
    /// Bytes from `offset` on that were read ahead.
    ahead: Bytes,
    read_ahead_bytes: u64,
    hasher: crc32fast::Hasher,
}

impl CheckedFile {
    /// # Errors
    /// [`Error::Missing`] if there is no such file, [`Error::Io`].
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Self> {
        let file = open_existing(disk, path)?;
        let bytes = file.len().map_err(|cause| Error::io("stat", path, cause))?;
        let (path, hasher) = (path.to_path_buf(), crc32fast::Hasher::new());
        let read_ahead_bytes = READ_AHEAD_BYTES;
        Ok(Self { file, path, bytes, offset: 0, ahead: Bytes::new(), read_ahead_bytes, hasher })
    }

    /// As [`Self::open`], for who wants the first few KiB.
    pub(super) fn open_front(disk: &dyn Disk, path: &Path) -> Result<Self> {
        Ok(Self { read_ahead_bytes: FRONT_BYTES, ..Self::open(disk, path)? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The CRC-32 of everything taken so far.
    pub(super) fn crc(&self) -> u32 {
        self.hasher.clone().finalize()
    }

    /// The next `N` bytes, without moving.
    pub(super) fn peek<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        self.fill(N, what)?;
        Ok(std::array::from_fn(|i| self.ahead[i]))
    }

    /// The next `length` bytes. Never allocates more than the file has left.
    ///
    /// # Errors
    /// [`Error::Corrupt`] about `what` if the file ends before.
    pub(super) fn take(&mut self, length: usize, what: &'static str) -> Result<Bytes> {
        self.fill(length, what)?;
        let bytes = self.ahead.split_to(length);
        self.hasher.update(&bytes);
        self.offset += length as u64;
        Ok(bytes)
    }

    /// Takes the next `N` bytes as an array.
    pub(super) fn take_array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let bytes = self.take(N, what)?;
        Ok(std::array::from_fn(|i| bytes[i]))
    }

    /// Sums up everything before `end` without handing it out; of a large file by a few threads at once.
    ///
    /// # Panics
    /// If `end` lies before the position or behind the file.
    pub(super) fn skip_to(&mut self, end: u64) -> Result<()> {
        assert!(self.offset <= end && end <= self.bytes, "{end} is not ahead of {}", self.offset);
        let range = self.offset..end;
        let readers = readers(end - self.offset, READERS_MAX);
        let rest = HashedFile { file: self.file.as_ref(), path: &self.path, range, before_read: &|_| {} };
        self.hasher.combine(&rest.crc(readers)?);
        (self.offset, self.ahead) = (end, Bytes::new());
        Ok(())
    }

    /// Has the system forget what it holds of the file in memory: what is read next comes from the device.
    pub(super) fn drop_cache(&self) -> Result<()> {
        self.file.drop_cache().map_err(|cause| Error::io("drop the cache of", &self.path, cause))
    }

    /// The last `N` bytes of the file. Does not move, and is not summed up.
    pub(super) fn last<const N: usize>(&self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        let at = self.bytes.checked_sub(N as u64);
        let at =
            at.ok_or_else(|| SnapshotFault::TooSmall.error(&self.path, 0, [FILE_BYTES_MIN, self.bytes]))?;
        self.file.read_exact_at(&mut bytes, at).map_err(|cause| Error::io("read", &self.path, cause))?;
        Ok(bytes)
    }

    fn fill(&mut self, length: usize, what: &'static str) -> Result<()> {
        if self.ahead.len() >= length {
            return Ok(());
        }
        let left = self.bytes - self.offset;
        if length as u64 > left {
            return Err(corrupt(what, &self.path, self.offset, [length as u64, left]));
        }
        let target = layout::length(left.min(self.read_ahead_bytes.max(length as u64)));
        let mut buffer = BytesMut::zeroed(target);
        let have = self.ahead.len();
        buffer[..have].copy_from_slice(&self.ahead);
        self.file
            .read_exact_at(&mut buffer[have..], self.offset + have as u64)
            .map_err(|cause| Error::io("read", &self.path, cause))?;
        self.ahead = buffer.freeze();
        Ok(())
    }
}

/// Opens a file for reading; its absence is [`Error::Missing`].
pub(super) fn open_existing(disk: &dyn Disk, path: &Path) -> Result<Box<dyn DiskFile>> {
    disk.open(path, OpenMode::Read).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => Error::Missing { path: path.to_path_buf() },
        _ => Error::io("open", path, cause),
    })
}
