//! A snapshot file without its records: for a start that skips, and needs what stands before them.

use std::path::Path;

use crate::disk::Disk;
use crate::error::Result;
use crate::ids::GroupUid;
use crate::snapshot::checked_file::CheckedFile;
use crate::snapshot::fault::SnapshotFault;
use crate::snapshot::label::{check_name, read_head, read_state_header};
use crate::snapshot::layout::{BLOCK_MAGIC, FILE_BYTES_MIN, FOOTER_BYTES, INDEX_MAGIC, corrupt, u32_at};
use crate::snapshot::{SnapshotToken, StateHeader};

/// A snapshot's bytes from its state header on, read once. What is parsed of it may be used only after
/// [`SnapshotPayload::verify`].
///
/// Memory: the head, and 1 MiB for each of at most four threads that drain a large file.
#[derive(Debug)]
pub struct SnapshotPayload {
    file: CheckedFile,
    token: SnapshotToken,
}

impl SnapshotPayload {
    /// Opens the file at `path`, which should be the one of `token` and of the group `uid`, has its cached pages
    /// dropped, and reads as far as the state header. The size and the footer are compared with the token before a
    /// byte of the rest is looked at.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`]; [`Error::Corrupt`], with the [`SnapshotFault`]s `TooSmall`, `OtherSize` and
    /// `TokenCrc` in this order, or about the head; [`Error::NewerFormat`]; [`Error::Foreign`].
    pub(super) fn open(disk: &dyn Disk, path: &Path, token: SnapshotToken, uid: GroupUid) -> Result<Self> {
        let mut file = CheckedFile::open_front(disk, path)?;
        file.drop_cache()?;
        let bytes = file.bytes();
        if bytes < FILE_BYTES_MIN {
            return Err(SnapshotFault::TooSmall.error(path, 0, [FILE_BYTES_MIN, bytes]));
        }
        if bytes != token.bytes {
            return Err(SnapshotFault::OtherSize.error(path, 0, [token.bytes, bytes]));
        }
        let footer = u32_at(&file.last::<FOOTER_BYTES>()?, 0);
        if footer != token.crc {
            let sums = [token.crc, footer].map(u64::from);
            return Err(SnapshotFault::TokenCrc.error(path, bytes - FOOTER_BYTES as u64, sums));
        }
        let (header, label) = read_head(&mut file)?;
        header.check_group(uid, path)?;
        check_name(path, &label)?;
        if label.record.applied != token.id {
            let (expected, found) = (token.id.index.get(), label.record.applied.index.get());
            return Err(corrupt("snapshot label", path, 0, [expected, found]));
        }
        Ok(Self { file, token })
    }

    /// Parses the state header; `None` in a legacy file, whose records follow at once. To be called once, first.
    ///
    /// # Errors
    /// [`crate::Error::NewerFormat`] for an unknown version; [`crate::Error::Corrupt`], with the [`SnapshotFault`]s `UnknownMagic`
    /// and `InvalidLength`. They may be seen before the damage that a checksum would tell; the file is as useless.
    pub fn state_header(&mut self) -> Result<Option<StateHeader>> {
        if let Some(header) = read_state_header(&mut self.file)? {
            return Ok(Some(header));
        }
        match self.file.peek("snapshot section")? {
            BLOCK_MAGIC | INDEX_MAGIC => Ok(None),
            unknown => {
                let magics = [u32_at(&BLOCK_MAGIC, 0), u32_at(&unknown, 0)].map(u64::from);
                Err(SnapshotFault::UnknownMagic.error(self.file.path(), self.file.offset(), magics))
            }
        }
    }

    /// Reads what is left, without looking into it.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] if what was parsed reaches into the footer; [`crate::Error::Io`].
    pub fn drain(&mut self) -> Result<()> {
        let (at, footer_at) = (self.file.offset(), self.footer_at());
        if at > footer_at {
            return Err(corrupt("snapshot footer", self.file.path(), footer_at, [at, footer_at]));
        }
        self.file.skip_to(footer_at)
    }

    /// Whether everything that was read is what its writer wrote. Drains what is left.
    ///
    /// # Errors
    /// As [`SnapshotPayload::drain`]; [`crate::Error::Corrupt`] with [`SnapshotFault::FileCrc`]: nothing that was parsed may be used.
    pub fn verify(mut self) -> Result<()> {
        self.drain()?;
        let (expected, found) = (self.token.crc, self.file.crc());
        if expected == found {
            return Ok(());
        }
        let sums = [expected, found].map(u64::from);
        Err(SnapshotFault::FileCrc.error(self.file.path(), self.footer_at(), sums))
    }

    fn footer_at(&self) -> u64 {
        self.token.bytes - FOOTER_BYTES as u64
    }
}
