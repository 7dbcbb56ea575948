//! What a log is made with: where it is, and how large its files are.

use std::path::PathBuf;
use std::sync::Arc;

use quorate_telemetry::Rng;

use crate::disk::Disk;
use crate::identity::FileOwner;

/// How large segments are made. Not part of the format: it may change from start to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Size of a segment in bytes; at least 8 KiB. A batch that needs more gets a segment of its own.
    pub segment_bytes: u64,
    /// Size of a log's first segment, so that a small group stays small; at least 8 KiB.
    pub first_segment_bytes: u64,
    /// How far room is overwritten with zeros ahead of small batches, in bytes, up to 256 KiB; 0 for not at all.
    /// On ext4 the first write to preallocated room costs its sync a journal commit; zeroing 256 KiB with one
    /// sync made 1,024 appends of 4 KiB about a third faster, for twice the bytes written.
    pub zero_ahead_bytes: u64,
}

/// Where and whose a log is.
#[derive(Clone, Debug)]
pub struct LogPlace {
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// The replica's `wal` directory. Nothing else may write in it.
    pub dir: PathBuf,
    /// The replica.
    pub owner: FileOwner,
    /// Draws file ids.
    pub rng: Arc<dyn Rng>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { segment_bytes: 4 << 20, first_segment_bytes: 256 << 10, zero_ahead_bytes: 256 << 10 }
    }
}
