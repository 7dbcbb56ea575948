//! A snapshot file, read for somebody elsewhere at the node's rate.

use std::sync::Arc;

use bytes::Bytes;
use quorate_storage::snapshot::{SnapshotChunks, SnapshotToken, file_name};
use quorate_storage::{EntryId, Error as StorageError, GroupId};

use crate::error::Result;
use crate::node::Core;
use crate::node::open::blocking;

/// Bytes read at once.
const PIECE_BYTES: usize = 256 << 10;

/// The bytes of one snapshot file from an offset on. As long as this lives they can be read, whether the file is pruned
/// meanwhile or not.
#[derive(Debug)]
pub struct SnapshotBody {
    core: Arc<Core>,
    group: GroupId,
    chunks: Arc<SnapshotChunks>,
    offset: u64,
}

impl SnapshotBody {
    /// Opens the snapshot of `group` at `id` on this node.
    ///
    /// # Errors
    /// [`StorageError::Missing`] if it is not there (any more).
    pub(super) async fn open(core: Arc<Core>, group: GroupId, id: EntryId, offset: u64) -> Result<Self> {
        let path = core.data()?.group(group).snapshots().join(file_name(id));
        let disk = Arc::clone(&core.seams.disk);
        let open = move || {
            let size = disk.size(&path).map_err(|cause| StorageError::io("look up", &path, cause))?;
            let bytes = size.ok_or_else(|| StorageError::Missing { path: path.clone() })?;
            // Whether it is what its token says, the receiver checks.
            SnapshotChunks::open(&*disk, &path, &SnapshotToken { id, bytes, crc: 0 })
        };
        let chunks = Arc::new(blocking(&core, group, open).await??);
        Ok(Self { core, group, chunks, offset })
    }

    /// Size of the whole file.
    pub fn total(&self) -> u64 {
        self.chunks.total()
    }

    /// Bytes that are still to come.
    pub fn left(&self) -> u64 {
        self.total().saturating_sub(self.offset)
    }

    /// The next bytes, 256 KiB at most, once the node's snapshot budget lets them pass; `None` at the end.
    ///
    /// # Errors
    /// [`StorageError::Io`]; [`crate::Error::Stopped`].
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>> {
        self.core.check_running()?;
        let wanted = self.left().min(PIECE_BYTES as u64);
        self.core.deps.snapshots.take_bytes(wanted).await;
        let (chunks, offset) = (Arc::clone(&self.chunks), self.offset);
        let read = move || chunks.read_chunk(offset, PIECE_BYTES);
        let Some(chunk) = blocking(&self.core, self.group, read).await?? else { return Ok(None) };
        self.offset += chunk.bytes.len() as u64;
        Ok(Some(chunk.bytes))
    }
}
