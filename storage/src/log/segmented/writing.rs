//! From records to the device: one batch is one write and one sync (two in new room); segments follow each other, and go once nothing in
//! them is needed.

use std::path::Path;
use std::sync::Arc;

use super::opening::create_segment;
use super::{Cursor, SegmentedLog, remove};
use crate::disk::DiskFile;
use crate::entry::{EntryId, EntryKind, HardState};
use crate::error::{Error, Result};
use crate::ids::Index;
use crate::log::LogBatch;
use crate::log::batch::{BATCH_BYTES_MAX, BatchTable, ENTRY_BYTES_MAX, Record};
use crate::log::reader::{ClosedSegment, View};
use crate::log::segment::{HEAD_PAGE_BYTES, SegmentName, seal};
use crate::planted::{self, Planted};

/// Room a batch needs beside payloads, per entry: its rows, and at worst records of its own, in both tables.
const ENTRY_OVERHEAD_BYTES: u64 = 160;
/// Room for all else in a batch.
const BATCH_OVERHEAD_BYTES: u64 = 16 << 10;

impl SegmentedLog {
    /// Puts one batch's records into the builder, and into what is known of the log.
    pub(super) fn add(&mut self, batch: &LogBatch) {
        if let Some(token) = batch.install {
            self.builder.record(&Record::Snapshot { token, install: true });
            self.skeleton.reset(token.id);
            self.hard_state.term = self.hard_state.term.max(token.id.term);
            self.hard_state.commit = self.hard_state.commit.max(token.id.index);
        }
        if let Some(first) = batch.entries.first() {
            let before = first.index.prev();
            let term =
                self.skeleton.term(before).expect("entries follow the log without a gap, above its base");
            if first.index <= self.skeleton.last {
                self.builder.record(&Record::Truncate { last: EntryId { term, index: before } });
            }
            self.builder.entries(&batch.entries, term);
            for entry in &batch.entries {
                self.skeleton.push(entry.id(), entry.kind == EntryKind::ConfChange);
            }
            assert_eq!(
                self.skeleton.last.get() - before.get(),
                batch.entries.len() as u64,
                "entries leave no gap"
            );
        }
        if let Some(hard_state) = batch.hard_state {
            self.hard_state = hard_state;
        }
    }

    /// Whether a start would find the newest hard state.
    pub(super) fn is_hard_state_written(&self) -> bool {
        self.hard_state == self.shared.view.read().open.summary.end.hard_state
    }

    /// Whether all there is to write is a new commit index.
    pub(super) fn is_commit_only(&self) -> bool {
        let written = self.shared.view.read().open.summary.end.hard_state;
        !self.builder.has_records()
            && HardState { commit: self.hard_state.commit, ..written } == self.hard_state
    }

    /// Writes what the builder holds, a changed hard state and the payloads of `batches`. `last` was the last
    /// entry before. The first failure latches.
    pub(super) fn write(&mut self, last: EntryId, batches: &[LogBatch]) -> Result<()> {
        if !self.is_hard_state_written() {
            self.builder.record(&Record::HardState(self.hard_state));
        }
        if !self.builder.has_records() {
            return Ok(());
        }
        self.builder.begin_body();
        for batch in batches {
            self.builder.payloads(&batch.entries);
        }
        let written = self.write_batch(last);
        if let Err(error) = &written {
            self.latch = Some(Arc::new(error.clone()));
        }
        written
    }

    fn write_batch(&mut self, last: EntryId) -> Result<()> {
        let batch_bytes = self.builder.batch_bytes() as u64;
        if self.cursor.offset + batch_bytes > self.cursor.planned_bytes {
            self.roll(last, batch_bytes)?;
        }
        let (file, path, sequence, previous_crc) = {
            let open = &self.shared.view.read().open;
            (Arc::clone(&open.file), Arc::clone(&open.path), open.summary.sequence, open.summary.crc)
        };
        let bytes = self.builder.finish(self.cursor.file, sequence, previous_crc);
        file.write_all_at(bytes, self.cursor.offset).map_err(|source| Error::io("write", &path, source))?;
        let is_new_room = self.cursor.reaches_reserved(batch_bytes);
        if let Some(zeros) = self.cursor.zeros(batch_bytes, self.config.zero_ahead_bytes) {
            let end = self.cursor.offset + batch_bytes;
            file.write_all_at(zeros, end).map_err(|source| Error::io("write", &path, source))?;
            self.cursor.note_zeroed(end + zeros.len() as u64);
            self.written_bytes += zeros.len() as u64;
        }
        sync(file.as_ref(), &path, is_new_room)?;
        let table = BatchTable::at_front(bytes).expect("a batch just built is sound");
        let mut view = self.shared.view.write();
        view.open.summary.push(&table, self.cursor.offset).expect("a batch just built follows the log");
        view.first = self.skeleton.first();
        view.last = self.skeleton.last;
        self.cursor.offset += batch_bytes;
        view.open.end = self.cursor.offset;
        self.written_bytes += batch_bytes;
        Ok(())
    }

    /// Seals the open segment and goes on in a new one. Three syncs.
    fn roll(&mut self, last: EntryId, batch_bytes: u64) -> Result<()> {
        // Only this writer changes the view, so what is read stays; readers go on meanwhile.
        let view = self.shared.view.read();
        let open = &view.open;
        let sealed_bytes = seal(open.file.as_ref(), &open.path, &open.summary, self.cursor.offset)?;
        let name = SegmentName { number: open.number + 1, first: last.index.next() };
        let planned_bytes = self.config.segment_bytes.max(HEAD_PAGE_BYTES + batch_bytes);
        let (open, cursor) = create_segment(&self.place, name, &open.summary, last, planned_bytes)?;
        drop(view);
        let mut view = self.shared.view.write();
        let sealed = std::mem::replace(&mut view.open, open);
        view.closed.push(ClosedSegment {
            number: sealed.number,
            path: sealed.path,
            id: sealed.id,
            first: sealed.summary.first(),
            refs: None,
            repairs: Arc::from(sealed.summary.repairs),
            bytes: sealed_bytes,
        });
        self.written_bytes += sealed_bytes - self.cursor.offset + HEAD_PAGE_BYTES;
        self.cursor = Cursor { zero_next_bytes: self.cursor.zero_next_bytes, ..cursor };
        Ok(())
    }

    /// Removes the closed segments that hold nothing above the base, oldest first. A removal that fails or is
    /// undone by a crash is repeated by the next start.
    pub(super) fn remove_obsolete(&mut self) {
        let obsolete = self.shared.view.read().count_obsolete();
        if obsolete == 0 {
            return;
        }
        let segments: Vec<ClosedSegment> = self.shared.view.write().closed.drain(..obsolete).collect();
        self.shared.forget_closed();
        for segment in segments {
            remove(self.place.disk.as_ref(), &segment.path);
        }
    }
}

impl View {
    /// How many of the oldest segments hold nothing above the base.
    fn count_obsolete(&self) -> usize {
        let firsts: Vec<Option<Index>> =
            self.closed.iter().map(|segment| segment.first).chain([self.open.summary.first()]).collect();
        let is_obsolete = |at: &usize| {
            let next = firsts[at + 1..].iter().flatten().min().copied();
            firsts[*at].is_none() || next.unwrap_or(self.last.next()) <= self.first
        };
        (0..self.closed.len()).take_while(is_obsolete).count()
    }
}

/// Makes a batch durable.
///
/// In room that was only reserved a sync also has to record that the blocks are written now. If the file system shuts down
/// under it (its journal failed), Linux may skip that record and still return success; whatever is asked next then fails.
/// So it is asked once more: `docs/decisions/0007-sync-twice-in-new-room.md`.
fn sync(file: &dyn DiskFile, path: &Path, is_new_room: bool) -> Result<()> {
    let failed = |source| Error::io("sync", path, source);
    if planted::is(Planted::SyncLeftOut) {
        return Ok(());
    }
    let synced = file.sync_data();
    if planted::is(Planted::SyncRetried) && synced.is_err() {
        return file.sync_data().map_err(failed);
    }
    synced.map_err(failed)?;
    if is_new_room {
        file.sync_data().map_err(failed)?;
    }
    Ok(())
}

/// Refuses what no batch could hold, before anything is done.
pub(super) fn check_sizes(batches: &[LogBatch]) -> Result<()> {
    let mut total = BATCH_OVERHEAD_BYTES;
    for entry in batches.iter().flat_map(|batch| &batch.entries) {
        let bytes = entry.payload.len() as u64;
        if bytes > ENTRY_BYTES_MAX as u64 {
            return Err(Error::TooLarge { what: "entry", bytes, bytes_max: ENTRY_BYTES_MAX as u64 });
        }
        total += bytes + ENTRY_OVERHEAD_BYTES;
    }
    total += batches.len() as u64 * ENTRY_OVERHEAD_BYTES;
    if total > BATCH_BYTES_MAX as u64 {
        return Err(Error::TooLarge { what: "log batch", bytes: total, bytes_max: BATCH_BYTES_MAX as u64 });
    }
    Ok(())
}
