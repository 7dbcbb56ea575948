//! Receives a snapshot file in chunks and puts it in place once it is verified.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::ids::GroupUid;
use crate::snapshot::checked_file::CheckedFile;
use crate::snapshot::chunk::{CHUNK_BYTES_MAX, SnapshotChunk};
use crate::snapshot::dir::check_room;
use crate::snapshot::fault::SnapshotFault;
use crate::snapshot::label::Front;
use crate::snapshot::layout::{FILE_BYTES_MIN, PART_SUFFIX, SYNC_BYTES, corrupt, file_name};
use crate::snapshot::verify::{ReadFrom, verify};
use crate::snapshot::writer::{remove_if_there, rename_into_place};
use crate::snapshot::{SnapshotLabel, SnapshotToken};

/// What a node lets a received snapshot take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolLimits {
    /// Largest file accepted, in bytes.
    pub file_bytes_max: u64,
    /// Bytes that must stay free on the disk once the file is complete.
    pub reserve_bytes: u64,
}

/// A snapshot that is being received, as `<name>.snap.part` in the directory it will live in. Dropped before
/// [`SnapshotSpool::finish`], it removes what it received.
///
/// Chunks come in order; after a broken stream the sender goes on at [`SnapshotSpool::received`].
#[derive(Debug)]
pub struct SnapshotSpool {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    group: GroupUid,
    token: SnapshotToken,
    part: PathBuf,
    file: Box<dyn DiskFile>,
    /// Bytes taken. Invariant: `received <= token.bytes`.
    received: u64,
    /// Bytes that were synced. Invariant: `synced <= received`.
    synced: u64,
}

impl SnapshotSpool {
    pub(super) fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        group: GroupUid,
        token: SnapshotToken,
        limits: SpoolLimits,
    ) -> Result<Self> {
        let part = dir.join(file_name(token.id) + PART_SUFFIX);
        if token.bytes > limits.file_bytes_max {
            let (bytes, bytes_max) = (token.bytes, limits.file_bytes_max);
            return Err(Error::TooLarge { what: "snapshot", bytes, bytes_max });
        }
        if token.bytes < FILE_BYTES_MIN {
            return Err(SnapshotFault::TooSmall.error(&part, 0, [FILE_BYTES_MIN, token.bytes]));
        }
        remove_if_there(&*disk, &part)?;
        check_room(&*disk, dir, &part, token.bytes.saturating_add(limits.reserve_bytes))?;
        let file = disk.open(&part, OpenMode::Create).map_err(|cause| Error::io("create", &part, cause))?;
        let (dir, received, synced) = (dir.to_path_buf(), 0, 0);
        let spool = Self { disk, dir, group, token, part, file, received, synced };
        // Taken now, so that several that are received at once do not count on the same room.
        spool
            .file
            .preallocate(token.bytes)
            .map_err(|cause| Error::io("reserve room for", &spool.part, cause))?;
        Ok(spool)
    }

    /// Bytes received so far: the offset the next chunk must have.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The snapshot that is received.
    pub fn token(&self) -> &SnapshotToken {
        &self.token
    }

    /// Whether every byte is there.
    pub fn is_complete(&self) -> bool {
        self.received == self.token.bytes
    }

    /// Takes the next chunk. Not durable before [`Self::finish`], though synced every 256 KiB. A refused chunk changes
    /// nothing: the stream can go on at [`Self::received`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] if its checksum, its offset or its total is wrong, or it is empty or reaches behind
    /// the end; [`Error::TooLarge`] over [`CHUNK_BYTES_MAX`]; [`Error::Io`].
    pub fn put(&mut self, chunk: &SnapshotChunk) -> Result<()> {
        let refuse = |what, expected, found| corrupt(what, &self.part, self.received, [expected, found]);
        let bytes = chunk.bytes.len() as u64;
        if chunk.bytes.len() > CHUNK_BYTES_MAX {
            return Err(Error::TooLarge { what: "snapshot chunk", bytes, bytes_max: CHUNK_BYTES_MAX as u64 });
        }
        if chunk.total != self.token.bytes {
            return Err(refuse("snapshot chunk total", self.token.bytes, chunk.total));
        }
        if chunk.offset != self.received {
            return Err(refuse("snapshot chunk offset", self.received, chunk.offset));
        }
        let left = self.token.bytes - self.received;
        if bytes == 0 || bytes > left {
            return Err(refuse("snapshot chunk length", left, bytes));
        }
        let crc = crc32fast::hash(&chunk.bytes);
        if crc != chunk.crc {
            return Err(refuse("snapshot chunk", u64::from(crc), u64::from(chunk.crc)));
        }
        self.file
            .write_all_at(&chunk.bytes, self.received)
            .map_err(|cause| Error::io("write", &self.part, cause))?;
        self.received += bytes;
        if self.received - self.synced >= SYNC_BYTES {
            self.synced = self.received;
            // Its pages stay: they are verified next, and then restored. Read back from the device at full speed, they
            // would hold up every log on it.
            self.file.sync_data().map_err(|cause| Error::io("sync", &self.part, cause))?;
        }
        Ok(())
    }

    /// Syncs the file, reads it back and verifies it against the token, gives it its name and syncs the
    /// directory: durable on return, and usable as soon as the log records the token. Reads the file once; two
    /// syncs. If the very same snapshot is there already, that one stays.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if bytes are missing or the file is not the token's; [`Error::Foreign`] if it is of
    /// another group; [`Error::NewerFormat`]; [`Error::Io`]. Nothing of the final name appears then, except
    /// that after a failed sync of the directory the whole file may be there.
    pub fn finish(self) -> Result<(SnapshotToken, SnapshotLabel)> {
        if !self.is_complete() {
            let lengths = [self.token.bytes, self.received];
            return Err(SnapshotFault::OtherSize.error(&self.part, 0, lengths));
        }
        self.file.sync_data().map_err(|cause| Error::io("sync", &self.part, cause))?;
        verify(&*self.disk, &self.part, &self.token, ReadFrom::Cache)?;
        let front = Front::read(&mut CheckedFile::open(&*self.disk, &self.part)?)?;
        front.header.check_group(self.group, &self.part)?;
        let held = front.label.record.applied;
        if held != self.token.id {
            let indexes = [self.token.id.index.get(), held.index.get()];
            return Err(corrupt("snapshot label", &self.part, 0, indexes));
        }
        self.place()?;
        Ok((self.token, front.label))
    }

    /// Never replaces another file of that position: the log may have recorded it.
    fn place(&self) -> Result<()> {
        let name = file_name(self.token.id);
        let path = self.dir.join(&name);
        match verify(&*self.disk, &path, &self.token, ReadFrom::Cache) {
            // Its name may not be durable yet.
            Ok(()) => self.disk.sync_dir(&self.dir).map_err(|cause| Error::io("sync", &self.dir, cause)),
            Err(Error::Missing { .. }) => rename_into_place(&*self.disk, &self.part, &self.dir, &name),
            Err(_) => Err(Error::io("install", &path, std::io::ErrorKind::AlreadyExists.into())),
        }
    }
}

impl Drop for SnapshotSpool {
    fn drop(&mut self) {
        // Room is given back early; if this fails, the sweep at the next start does it. After a rename there
        // is nothing of this name.
        let _ = self.disk.remove_file(&self.part);
    }
}
