//! A log with its entries that is read and never written: for those who look at a data directory that nobody runs.

use std::path::Path;
use std::sync::Arc;

use super::reader::{OpenSegment, Shared, View};
use super::recovery::{Recovery, Tail, recover};
use super::summary::{Checkpoint, Summary};
use super::{LogReader as _, LogState};
use crate::disk::{Disk, OpenMode};
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::identity::FileOwner;
use crate::ids::Index;

/// Bytes of entries that are read at once.
const CHUNK_BYTES: u64 = 1 << 20;

/// What a start would find, and the entries.
#[derive(Debug)]
pub(crate) struct UnchangedLog {
    pub(crate) state: LogState,
    shared: Shared,
}

impl UnchangedLog {
    /// Reads the log of `owner` in `dir`, without what a start would do to it: a torn tail is passed over, not cut.
    ///
    /// # Errors
    /// As [`super::SegmentedLog::open`].
    pub(crate) fn read(disk: &Arc<dyn Disk>, dir: &Path, owner: &FileOwner) -> Result<Self> {
        let Recovery { mut segments, tail, state, .. } = recover(disk.as_ref(), dir, owner, OpenMode::Read)?;
        let newest = segments.pop().expect("a recovered log has a segment");
        let (number, path) = (newest.name.number, Arc::from(newest.path.as_path()));
        let id = newest.head.header.file;
        let open = match tail {
            Tail::Open { file, end, .. } => OpenSegment {
                number,
                path,
                id,
                file: Arc::from(file),
                bytes: newest.bytes,
                summary: newest.summary,
                end,
            },
            Tail::Ended => {
                let file = disk.open(&path, OpenMode::Read);
                let file = Arc::from(file.map_err(|source| Error::io("open", &path, source))?);
                // Nothing follows it: what stands for the segment that would is empty.
                let skeleton = &state.skeleton;
                let (hard_state, snapshots) = (state.hard_state, state.snapshots.clone());
                let start = Checkpoint { base: skeleton.base, hard_state, snapshots };
                let summary = Summary::new(start, 1, 0);
                let open = OpenSegment { number, path, id, file, bytes: 0, summary, end: 0 };
                segments.push(newest);
                open
            }
        };
        let closed = segments.into_iter().map(Into::into).collect();
        let view = View { first: state.skeleton.first(), last: state.skeleton.last, closed, open };
        let shared = Shared::new(Arc::clone(disk), view);
        Ok(Self { state, shared })
    }

    /// Gives every entry from `low` up to, and without, `high` to `visit`, in pieces, as far as they can be read. The
    /// index behind the last one.
    ///
    /// # Errors
    /// Those of `visit`.
    pub(crate) fn read_on(
        &self,
        low: Index,
        high: Index,
        visit: &mut dyn FnMut(Vec<Entry>) -> Result<()>,
    ) -> Result<Index> {
        let (mut at, mut chunk_bytes) = (low, CHUNK_BYTES);
        while at < high {
            match self.shared.entries(at, high, chunk_bytes) {
                Ok(entries) => {
                    at = entries.last().map_or(high, |last| last.index.next());
                    visit(entries)?;
                }
                // Those before the damaged one, one by one.
                Err(_) if chunk_bytes > 1 => chunk_bytes = 1,
                Err(_) => break,
            }
        }
        Ok(at)
    }
}
