//! The trust file of a store that does not survive a power cut: {boot id, clean}. What such a store holds
//! counts only if it was stopped cleanly, or if the machine has been up ever since.
//!
//! Bytes of `trust`: format version (2), boot id (16), clean (1), CRC-32 of these (4). Little-endian.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_telemetry::BootId;

use crate::disk::{Disk, OpenMode};
use crate::error::{Error, Result};

const NAME: &str = "trust";
const PART_NAME: &str = "trust.part";
const FORMAT: u16 = 1;
pub(crate) const FILE_BYTES: usize = 23;
const CRC_AT: usize = 19;

/// The mark of one open store.
#[derive(Debug)]
pub(crate) struct Trust {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    boot: BootId,
    is_trusted: bool,
}

impl Trust {
    /// Decides whether the store in `dir` is trusted under `boot`. If so it is marked, durably, as not clean
    /// from now on; if not, it keeps no mark, and is never trusted again.
    ///
    /// A store that `is_new` holds nothing that could be lost.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path, boot: BootId, is_new: bool) -> Result<Self> {
        let mut this = Self { disk, dir: dir.to_path_buf(), boot, is_trusted: is_new };
        if let Some((marked_boot, is_clean)) = this.read()? {
            this.is_trusted = is_clean || marked_boot == boot;
        }
        if this.is_trusted {
            this.write(false)?;
        } else {
            this.remove()?;
        }
        Ok(this)
    }

    /// Whether a start under `boot` would trust the store in `dir`. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn would_trust(disk: Arc<dyn Disk>, dir: &Path, boot: BootId) -> Result<bool> {
        let this = Self { disk, dir: dir.to_path_buf(), boot, is_trusted: false };
        Ok(this.read()?.is_some_and(|(marked_boot, is_clean)| is_clean || marked_boot == boot))
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// Marks a clean stop; the caller's checkpoint has succeeded. A store that was not trusted gets no mark.
    pub(crate) fn mark_clean(&self) -> Result<()> {
        if self.is_trusted { self.write(true) } else { Ok(()) }
    }

    /// The mark; `None` if there is none that can be read.
    fn read(&self) -> Result<Option<(BootId, bool)>> {
        let path = self.dir.join(NAME);
        let bytes = self.disk.size(&path).map_err(|source| Error::io("look up", &path, source))?;
        if bytes != Some(FILE_BYTES as u64) {
            return Ok(None);
        }
        let file =
            self.disk.open(&path, OpenMode::Read).map_err(|source| Error::io("open", &path, source))?;
        let mut mark = [0; FILE_BYTES];
        file.read_exact_at(&mut mark, 0).map_err(|source| Error::io("read", &path, source))?;
        Ok(decode(&mark))
    }

    fn write(&self, is_clean: bool) -> Result<()> {
        let (part, path) = (self.dir.join(PART_NAME), self.dir.join(NAME));
        let failed = |action, source| Error::io(action, &part, source);
        if self.disk.size(&part).map_err(|source| failed("look up", source))?.is_some() {
            self.disk.remove_file(&part).map_err(|source| failed("remove", source))?;
        }
        let file = self.disk.open(&part, OpenMode::Create).map_err(|source| failed("create", source))?;
        file.write_all_at(&encode(self.boot, is_clean), 0).map_err(|source| failed("write", source))?;
        file.sync_data().map_err(|source| failed("sync", source))?;
        self.disk.rename(&part, &path).map_err(|source| failed("rename", source))?;
        self.disk.sync_dir(&self.dir).map_err(|source| Error::io("sync", &self.dir, source))
    }

    fn remove(&self) -> Result<()> {
        let path = self.dir.join(NAME);
        if self.disk.size(&path).map_err(|source| Error::io("look up", &path, source))?.is_some() {
            self.disk.remove_file(&path).map_err(|source| Error::io("remove", &path, source))?;
            self.disk.sync_dir(&self.dir).map_err(|source| Error::io("sync", &self.dir, source))?;
        }
        Ok(())
    }
}

pub(crate) fn encode(boot: BootId, is_clean: bool) -> [u8; FILE_BYTES] {
    let mut bytes = [0; FILE_BYTES];
    bytes[..2].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[2..18].copy_from_slice(&boot.0);
    bytes[18] = u8::from(is_clean);
    let crc = crc32fast::hash(&bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

pub(crate) fn decode(bytes: &[u8; FILE_BYTES]) -> Option<(BootId, bool)> {
    let crc = crc32fast::hash(&bytes[..CRC_AT]).to_le_bytes();
    let is_ours = bytes[..2] == FORMAT.to_le_bytes() && bytes[CRC_AT..] == crc && bytes[18] <= 1;
    is_ours.then(|| (BootId(std::array::from_fn(|i| bytes[2 + i])), bytes[18] == 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{CrashMode, SimDisk};

    const DIR: &str = "/";
    const BOOT: BootId = BootId([1; 16]);
    const NEXT_BOOT: BootId = BootId([2; 16]);

    fn open(disk: &SimDisk, boot: BootId, is_new: bool) -> Trust {
        Trust::open(Arc::new(disk.clone()), Path::new(DIR), boot, is_new).unwrap()
    }

    #[test]
    fn a_store_is_trusted_under_its_boot_and_after_a_clean_stop_only() {
        let disk = SimDisk::new();
        assert!(open(&disk, BOOT, true).is_trusted(), "a new store");
        let disk = disk.crash(CrashMode::KeepAll);
        assert!(open(&disk, BOOT, false).is_trusted(), "a crash of the process");
        open(&disk, BOOT, false).mark_clean().unwrap();
        let disk = disk.crash(CrashMode::LoseUnsynced);
        assert!(open(&disk, NEXT_BOOT, false).is_trusted(), "a power cut after a clean stop");
        let disk = disk.crash(CrashMode::LoseUnsynced);
        assert!(!open(&disk, BOOT, false).is_trusted(), "a power cut");
    }

    #[test]
    fn a_store_that_was_not_proven_keeps_no_mark() {
        let disk = SimDisk::new();
        open(&disk, BOOT, true);
        let unproven = open(&disk, NEXT_BOOT, false);
        unproven.mark_clean().unwrap();
        assert!(!open(&disk, NEXT_BOOT, false).is_trusted());
        assert!(!open(&disk, BOOT, false).is_trusted());
    }

    #[test]
    fn a_damaged_mark_is_none() {
        let bytes = encode(BOOT, true);
        for bit in 0..FILE_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "bit {bit} went unnoticed");
        }
    }
}
