//! The file of an in-memory store: batches one after the other, each proven by its checksum and chained to
//! the one before. What follows the first bad one is cut: it was never synced.
//!
//! Frame: length of the body (4), CRC-32 of the previous frame's CRC and the body (4), body. Body: index (8),
//! length of the marker + 1 or 0 (4), marker, then per write: key length (4), value length + 1 or 0 (4), key,
//! value. Little-endian.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::State;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::ids::Index;
use crate::kv::batch::Batch;

pub(crate) const NAME: &str = "batches";
const PART_NAME: &str = "batches.part";

/// Bytes before a frame's body.
const FRAME_HEADER_BYTES: usize = 8;

/// A body longer than this is no batch: the largest command is far below.
const BODY_BYTES_MAX: usize = 1 << 30;

/// Bytes after which a rewrite starts the next frame.
const REWRITE_FRAME_BYTES: usize = 1 << 20;

/// A file is rewritten when it exceeds this many times its live bytes, and [`REWRITE_SLACK_BYTES`].
const REWRITE_FACTOR: u64 = 4;
const REWRITE_SLACK_BYTES: u64 = 1 << 20;

/// The file, at its end.
#[derive(Debug)]
pub(super) struct BatchFile {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    file: Box<dyn DiskFile>,
    end: u64,
    chain_crc: u32,
}

impl BatchFile {
    /// Opens or creates the file in `dir` and feeds every proven batch to `state`. All of them are durable then: those that
    /// a process wrote before it died, or the file's own name, may have been in a cache only. What the cache keeps of a
    /// sync that failed never becomes durable: it is given up, so that only the device is read.
    pub(super) fn open(disk: Arc<dyn Disk>, dir: &Path, state: &mut State) -> Result<Self> {
        let path = dir.join(NAME);
        let is_new = disk.size(&path).map_err(|source| Error::io("look up", &path, source))?.is_none();
        if is_new {
            let file = create(disk.as_ref(), &path)?;
            disk.sync_dir(dir).map_err(|source| Error::io("sync", dir, source))?;
            return Ok(Self { disk, dir: dir.to_path_buf(), file, end: 0, chain_crc: 0 });
        }
        let file = disk.open(&path, OpenMode::Write).map_err(|source| Error::io("open", &path, source))?;
        let mut this = Self { disk, dir: dir.to_path_buf(), file, end: 0, chain_crc: 0 };
        this.sync()?;
        this.file.drop_cache().map_err(|source| Error::io("drop the cache of", &path, source))?;
        this.replay(state)?;
        this.sync()?;
        this.disk.sync_dir(dir).map_err(|source| Error::io("sync", dir, source))?;
        Ok(this)
    }

    /// Writes `batch` behind the others, unsynced.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<()> {
        let frame = self.frame(&encode(batch));
        let path = self.dir.join(NAME);
        self.file.write_all_at(&frame, self.end).map_err(|source| Error::io("write", &path, source))?;
        self.end += frame.len() as u64;
        Ok(())
    }

    /// Makes everything written durable.
    pub(super) fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(|source| Error::io("sync", &self.dir.join(NAME), source))
    }

    /// Whether the file has grown far beyond `live_bytes`.
    pub(super) fn is_worth_rewriting(&self, live_bytes: u64) -> bool {
        self.end > REWRITE_FACTOR * live_bytes + REWRITE_SLACK_BYTES
    }

    /// Replaces the file by one that holds `state` and nothing else. Durable on return.
    pub(super) fn rewrite(&mut self, state: &State) -> Result<()> {
        let part = self.dir.join(PART_NAME);
        let failed = |action, source| Error::io(action, &part, source);
        self.disk.remove_file(&part).or_else(ignore_missing).map_err(|source| failed("remove", source))?;
        let file = create(self.disk.as_ref(), &part)?;
        let mut next = Self { disk: self.disk.clone(), dir: self.dir.clone(), file, end: 0, chain_crc: 0 };
        next.append_state(state)?;
        next.sync()?;
        self.disk.rename(&part, &self.dir.join(NAME)).map_err(|source| failed("rename", source))?;
        self.disk.sync_dir(&self.dir).map_err(|source| Error::io("sync", &self.dir, source))?;
        *self = next;
        Ok(())
    }

    fn append_state(&mut self, state: &State) -> Result<()> {
        let mut batch = Batch::new(state.index);
        for (key, value) in &state.records {
            batch.put(&[key], &[value]);
            if batch.bytes() >= REWRITE_FRAME_BYTES {
                self.append(&batch)?;
                batch = Batch::new(state.index);
            }
        }
        if let Some(marker) = &state.marker {
            batch.set_marker(marker.to_vec());
        }
        self.append(&batch)
    }

    fn frame(&mut self, body: &[u8]) -> Vec<u8> {
        self.chain_crc = chained(self.chain_crc, body);
        let body_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        assert!(body.len() <= BODY_BYTES_MAX, "a batch of {} bytes", body.len());
        let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + body.len());
        frame.extend_from_slice(&body_bytes.to_le_bytes());
        frame.extend_from_slice(&self.chain_crc.to_le_bytes());
        frame.extend_from_slice(body);
        frame
    }

    /// [`BatchFile::open`] of an existing file, without a change to it. Also returns where the batches end.
    pub(super) fn read(disk: Arc<dyn Disk>, dir: &Path, state: &mut State) -> Result<u64> {
        let path = dir.join(NAME);
        let file = disk.open(&path, OpenMode::Read).map_err(|source| Error::io("open", &path, source))?;
        let mut this = Self { disk, dir: dir.to_path_buf(), file, end: 0, chain_crc: 0 };
        this.take_batches(state)?;
        Ok(this.end)
    }

    fn replay(&mut self, state: &mut State) -> Result<()> {
        let bytes = self.take_batches(state)?;
        if self.end < bytes {
            self.file.set_len(self.end).map_err(|source| Error::io("cut", &self.dir.join(NAME), source))?;
        }
        Ok(())
    }

    /// Feeds every proven batch to `state`; returns the size of the file. Batches without a marker count only once
    /// one with a marker follows: they are parts of one state.
    fn take_batches(&mut self, state: &mut State) -> Result<u64> {
        let path = self.dir.join(NAME);
        let bytes = self.file.len().map_err(|source| Error::io("measure", &path, source))?;
        let mut at = 0;
        let mut chain_crc = 0;
        let mut parts = Vec::new();
        while let Some((batch, crc, end)) = self.read_frame(at, bytes, chain_crc)? {
            (at, chain_crc) = (end, crc);
            let is_whole = batch.marker().is_some();
            parts.push(batch);
            if is_whole {
                parts.drain(..).for_each(|part| state.take(&part));
                (self.end, self.chain_crc) = (at, chain_crc);
            }
        }
        Ok(bytes)
    }

    /// The batch at `at`, its chained checksum and its end, if there is one.
    fn read_frame(&self, at: u64, file_bytes: u64, chain_crc: u32) -> Result<Option<(Batch, u32, u64)>> {
        let path = self.dir.join(NAME);
        let body_at = at + FRAME_HEADER_BYTES as u64;
        if body_at > file_bytes {
            return Ok(None);
        }
        let mut header = [0; FRAME_HEADER_BYTES];
        self.file.read_exact_at(&mut header, at).map_err(|source| Error::io("read", &path, source))?;
        let [l0, l1, l2, l3, c0, c1, c2, c3] = header;
        let body_bytes = u32::from_le_bytes([l0, l1, l2, l3]);
        let end = body_at + u64::from(body_bytes);
        if body_bytes as usize > BODY_BYTES_MAX || end > file_bytes {
            return Ok(None);
        }
        let mut body = vec![0; body_bytes as usize];
        self.file.read_exact_at(&mut body, body_at).map_err(|source| Error::io("read", &path, source))?;
        let crc = u32::from_le_bytes([c0, c1, c2, c3]);
        if crc != chained(chain_crc, &body) {
            return Ok(None);
        }
        let batch = decode(&body).ok_or(Error::Malformed { what: "batch of the in-memory store" })?;
        Ok(Some((batch, crc, end)))
    }
}

fn create(disk: &dyn Disk, path: &Path) -> Result<Box<dyn DiskFile>> {
    disk.open(path, OpenMode::Create).map_err(|source| Error::io("create", path, source))
}

fn ignore_missing(cause: std::io::Error) -> std::io::Result<()> {
    if cause.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(cause) }
}

fn chained(chain_crc: u32, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&chain_crc.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

fn encode(batch: &Batch) -> Vec<u8> {
    let optional = |part: Option<&[u8]>| {
        part.map_or(0, |part| u32::try_from(part.len()).unwrap_or(u32::MAX).saturating_add(1)).to_le_bytes()
    };
    let mut body = Vec::with_capacity(batch.bytes() + 16 + batch.writes().len() * 8);
    body.extend_from_slice(&batch.index().get().to_le_bytes());
    body.extend_from_slice(&optional(batch.marker()));
    body.extend_from_slice(batch.marker().unwrap_or_default());
    for write in batch.writes() {
        body.extend_from_slice(&u32::try_from(write.key.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend_from_slice(&optional(write.value));
        body.extend_from_slice(write.key);
        body.extend_from_slice(write.value.unwrap_or_default());
    }
    body
}

fn decode(mut body: &[u8]) -> Option<Batch> {
    let (index, rest) = body.split_first_chunk()?;
    body = rest;
    let mut batch = Batch::new(Index(u64::from_le_bytes(*index)));
    if let Some(bytes) = read_u32(&mut body)?.checked_sub(1) {
        batch.set_marker(body.split_off(..bytes as usize)?.to_vec());
    }
    while !body.is_empty() {
        let key_bytes = read_u32(&mut body)?;
        let value_bytes = read_u32(&mut body)?;
        let key = body.split_off(..key_bytes as usize)?;
        match value_bytes.checked_sub(1) {
            Some(bytes) => batch.put(&[key], &[body.split_off(..bytes as usize)?]),
            None => batch.delete(&[key]),
        }
    }
    Some(batch)
}

fn read_u32(body: &mut &[u8]) -> Option<u32> {
    let (number, rest) = body.split_first_chunk()?;
    *body = rest;
    Some(u32::from_le_bytes(*number))
}
