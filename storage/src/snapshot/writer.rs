//! Writes one snapshot file and publishes it under its name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{Disk, DiskFile, OpenMode};
use crate::entry::EntryId;
use crate::error::{Error, Result};
use crate::identity::FileHeader;
use crate::snapshot::block::{BlockBuilder, BlockEntry};
use crate::snapshot::label::Front;
use crate::snapshot::layout::{
    INDEX_ENTRY_BYTES, INDEX_HEADER_BYTES, INDEX_MAGIC, SYNC_BYTES, TAIL_BYTES, TAIL_MAGIC, TEMPORARY_SUFFIX,
    file_name,
};
use crate::snapshot::{SnapshotLabel, SnapshotSink, SnapshotToken};

/// A snapshot that is being written, beside its final name. Dropped before [`SnapshotWriter::finish`], it
/// removes what it wrote.
///
/// Memory: one block, and 16 bytes per block written (25 MB for 100 GiB). Blocking; syncs every 256 KiB and at the end.
#[derive(Debug)]
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    id: EntryId,
    temporary: PathBuf,
    file: Box<dyn DiskFile>,
    /// Bytes written so far, and their checksum.
    offset: u64,
    synced: u64,
    hasher: crc32fast::Hasher,
    block: BlockBuilder,
    index: Vec<BlockEntry>,
    records: u64,
    last_key: Option<Bytes>,
    /// The first failure: what is in the file is unknown since.
    failed: Option<Arc<Error>>,
}

impl SnapshotWriter {
    /// Starts the snapshot `label` names, in `dir`. A leftover of an earlier attempt is overwritten.
    pub(super) fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        header: &FileHeader,
        label: &SnapshotLabel,
    ) -> Result<Self> {
        let id = label.record.applied;
        let temporary = dir.join(file_name(id) + TEMPORARY_SUFFIX);
        let front = Front::encode(header, label)?;
        remove_if_there(&*disk, &temporary)?;
        let file = disk
            .open(&temporary, OpenMode::Create)
            .map_err(|cause| Error::io("create", &temporary, cause))?;
        let mut writer = Self {
            disk,
            dir: dir.to_path_buf(),
            id,
            temporary,
            file,
            offset: 0,
            synced: 0,
            hasher: crc32fast::Hasher::new(),
            block: BlockBuilder::new(),
            index: Vec::new(),
            records: 0,
            last_key: None,
            failed: None,
        };
        writer.write(&front)?;
        Ok(writer)
    }

    /// Bytes of the file so far, without the block that is being filled.
    pub fn bytes(&self) -> u64 {
        self.offset
    }

    /// Records so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Completes the file, syncs it, gives it its name and syncs the directory: durable on return. Two syncs.
    ///
    /// # Errors
    /// [`Error::Io`]; nothing of the final name exists then, or the whole file does. [`Error::Closed`] after
    /// an earlier failure.
    pub fn finish(mut self) -> Result<SnapshotToken> {
        self.check_open()?;
        self.flush_block()?;
        let end = self.encode_end();
        self.write(&end)?;
        let crc = self.hasher.clone().finalize();
        self.write(&crc.to_le_bytes())?;
        self.file.sync_data().map_err(|cause| Error::io("sync", &self.temporary, cause))?;
        rename_into_place(&*self.disk, &self.temporary, &self.dir, &file_name(self.id))?;
        Ok(SnapshotToken { id: self.id, bytes: self.offset, crc })
    }

    /// Index and tail, without the footer.
    fn encode_end(&self) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        bytes.reserve(INDEX_HEADER_BYTES + self.index.len() * INDEX_ENTRY_BYTES + TAIL_BYTES);
        bytes.extend_from_slice(&(self.index.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&self.records.to_le_bytes());
        for entry in &self.index {
            bytes.extend_from_slice(&encode_entry(entry));
        }
        let crc = crc32fast::hash(&bytes[8..]);
        bytes[0..4].copy_from_slice(&INDEX_MAGIC);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&TAIL_MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    fn flush_block(&mut self) -> Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let (bytes, entry) = self.block.seal(self.index.len() as u64, self.offset);
        if let Err(cause) = self.file.write_all_at(bytes, self.offset) {
            return Err(self.fail(Error::io("write", &self.temporary, cause)));
        }
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        self.index.push(entry);
        self.block.reset();
        if self.offset - self.synced < SYNC_BYTES {
            return Ok(());
        }
        self.synced = self.offset;
        // Nobody reads it soon: the pages are worth more to the stores.
        let synced = self.file.sync_data().and_then(|()| self.file.drop_cache());
        synced.map_err(|cause| self.fail(Error::io("sync", &self.temporary, cause)))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Err(cause) = self.file.write_all_at(bytes, self.offset) {
            return Err(self.fail(Error::io("write", &self.temporary, cause)));
        }
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn fail(&mut self, error: Error) -> Error {
        self.failed = Some(Arc::new(error.clone()));
        error
    }

    fn check_open(&self) -> Result<()> {
        match &self.failed {
            Some(cause) => Err(Error::Closed { cause: Arc::clone(cause) }),
            None => Ok(()),
        }
    }
}

impl SnapshotSink for SnapshotWriter {
    /// # Errors
    /// [`Error::Malformed`] if `key` is not above the one before; [`Error::TooLarge`] if key and value are over
    /// [`super::RECORD_BYTES_MAX`]; [`Error::Io`], and [`Error::Closed`] after any of these.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.check_open()?;
        if self.last_key.as_ref().is_some_and(|last| key <= last.as_ref()) {
            return Err(self.fail(Error::Malformed { what: "order of snapshot records" }));
        }
        if let Err(error) = self.block.push(key, value) {
            return Err(self.fail(error));
        }
        self.last_key = Some(Bytes::copy_from_slice(key));
        self.records += 1;
        if self.block.is_full() { self.flush_block() } else { Ok(()) }
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        // Room is given back early; if this fails, the sweep at the next start does it. After a rename there
        // is nothing of this name.
        let _ = self.disk.remove_file(&self.temporary);
    }
}

/// One line of the index.
pub(super) fn encode_entry(entry: &BlockEntry) -> [u8; INDEX_ENTRY_BYTES] {
    let mut bytes = [0; INDEX_ENTRY_BYTES];
    bytes[0..8].copy_from_slice(&entry.offset.to_le_bytes());
    bytes[8..12].copy_from_slice(&entry.records.to_le_bytes());
    bytes[12..16].copy_from_slice(&entry.crc.to_le_bytes());
    bytes
}

/// Gives a synced file its name in the same directory; the name is durable on return.
pub(super) fn rename_into_place(disk: &dyn Disk, from: &Path, dir: &Path, name: &str) -> Result<()> {
    disk.rename(from, &dir.join(name)).map_err(|cause| Error::io("rename", from, cause))?;
    disk.sync_dir(dir).map_err(|cause| Error::io("sync", dir, cause))
}

/// Removes a file that may not be there. Not synced.
pub(super) fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.remove_file(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, cause)),
        _ => Ok(()),
    }
}
