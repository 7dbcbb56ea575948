//! Background work of a tree: memtables become tables, tables are merged.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lsm_tree::{AbstractTree, InternalValue, Memtable};

use super::failed;
use super::tree::{LsmTree, SEQNO_BASE};
use crate::error::{Error, Result};
use crate::ids::Index;
use crate::kv::store::MARKER_KEY;

/// Runs in level 0 from which on they are merged.
pub(super) const L0_RUNS_TO_COMPACT: usize = 4;

/// Runs in level 0 at which a flush merges before it adds another: writes then wait for it.
const L0_RUNS_MAX: usize = 16;

/// Tables of a tree that is being built after which they are moved down: each move is a table list more to be synced.
const TABLES_TO_MOVE: usize = 16;

/// Most steps of one compaction job; it queues itself again after them.
const COMPACTION_STEPS_MAX: usize = 16;

/// A memtable on its way to a table.
struct Rotated {
    memtable: Arc<Memtable>,
    /// Index the table will hold, if its marker says so.
    index: Option<Index>,
    bytes: u64,
}

impl LsmTree {
    /// Frees memory if budgets say so: by a queued flush, or, when the queue does not keep up, at once.
    pub(super) fn relieve(self: &Arc<Self>) -> Result<()> {
        let active_bytes = self.active_bytes.load(Ordering::Relaxed);
        let group_bytes_max = self.shared.group_memtable_bytes_max();
        if active_bytes >= 2 * group_bytes_max {
            return self.flush();
        }
        if active_bytes >= group_bytes_max {
            self.queue_flush();
        }
        self.shared.relieve();
        Ok(())
    }

    /// Makes every batch so far durable, if it is not. One flush at a time; blocks while one runs.
    pub(super) fn flush(self: &Arc<Self>) -> Result<()> {
        self.check_usable()?;
        let result = self.flush_once();
        self.latch(result)?;
        if !self.is_being_built() {
            if self.tree.l0_run_count() >= L0_RUNS_TO_COMPACT {
                self.queue_compaction();
            }
        } else if self.tree.level_table_count(0).is_some_and(|tables| tables >= TABLES_TO_MOVE) {
            // Its tables ascend and do not overlap: they go to the lowest level as they are, for one new table list.
            // Left in the highest one, all of them would be merged with the first few that follow.
            let moved = self.compact(1);
            self.latch(moved)?;
        }
        Ok(())
    }

    /// A restore writes the marker last.
    fn is_being_built(&self) -> bool {
        self.head.lock().marker.is_none()
    }

    fn flush_once(&self) -> Result<()> {
        let _one_at_a_time = self.tree.get_flush_lock();
        // Looked at under the lock: another tree may have been opened in the directory since.
        if self.is_stopped.load(Ordering::Acquire) {
            return Ok(());
        }
        if self.tree.l0_run_count() >= L0_RUNS_MAX {
            self.compact(L0_RUNS_MAX)?;
        }
        let Some(rotated) = self.rotate() else { return Ok(()) };
        let newest = NewestVersions { entries: rotated.memtable.iter(), last_key: None };
        let flushed = self.tree.flush_to_tables(newest).map_err(|source| failed("flush", source))?;
        let (tables, _) = flushed.unwrap_or_default();
        {
            // Before `switch`: a view takes `head` first, and then `switch`.
            let watermark = self.watermark();
            let _switch = self.switch.write();
            self.tree
                .register_tables(&tables, None, None, &[rotated.memtable.id()], watermark)
                .map_err(|source| failed("flush", source))?;
        }
        if let Some(index) = rotated.index {
            self.durable.fetch_max(index.get(), Ordering::AcqRel);
        }
        self.shared.give_back_bytes(rotated.bytes);
        Ok(())
    }

    /// Ends the active memtable with the marker, between two batches. `None` if nothing was written to it.
    fn rotate(&self) -> Option<Rotated> {
        let head = self.head.lock();
        let bytes = self.active_bytes.swap(0, Ordering::Relaxed);
        if bytes == 0 {
            return None;
        }
        let index = head.encode().map(|marker| {
            self.tree.insert(MARKER_KEY, marker, SEQNO_BASE + head.index.get());
            head.index
        });
        let memtable = self.tree.rotate_memtable()?;
        Some(Rotated { memtable, index, bytes })
    }

    /// Versions of the table list, and of a key, that no one needs any more are below this: all but the newest,
    /// because readers hold what they read.
    fn watermark(&self) -> u64 {
        SEQNO_BASE + self.head.lock().index.get() + 1
    }

    /// Merges tables until nothing is left to do; whether that is so.
    fn compact(&self, steps_max: usize) -> Result<bool> {
        let _one_at_a_time = self.compacting.lock();
        for _ in 0..steps_max {
            if self.is_stopped.load(Ordering::Acquire) {
                return Ok(true);
            }
            let before = self.tree.current_version().id();
            self.tree
                .compact(self.shared.strategy(), self.watermark())
                .map_err(|source| failed("compact", source))?;
            if self.tree.current_version().id() == before {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn queue_flush(self: &Arc<Self>) {
        if self.is_flush_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let tree = self.clone();
        let job = move || {
            tree.is_flush_queued.store(false, Ordering::Release);
            if tree.check_usable().is_ok()
                && let Err(cause) = tree.flush()
            {
                tracing::error!(dir = %tree.dir.display(), %cause, "the state store cannot be flushed");
            }
        };
        // Once the workers have stopped, the writer flushes by itself.
        let _ = self.shared.submit(self.worker_key, Box::new(job));
    }

    fn queue_compaction(self: &Arc<Self>) {
        if self.is_compaction_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let tree = self.clone();
        let job = move || {
            tree.is_compaction_queued.store(false, Ordering::Release);
            if tree.check_usable().is_err() {
                return;
            }
            let compacted = tree.compact(COMPACTION_STEPS_MAX);
            match tree.latch(compacted) {
                Ok(true) => {}
                Ok(false) => tree.queue_compaction(),
                Err(cause) => {
                    tracing::error!(dir = %tree.dir.display(), %cause, "the state store cannot be compacted");
                }
            }
        };
        // Merging may take long: another key, so that flushes of this tree go on beside it.
        let _ = self.shared.submit(self.worker_key + 1, Box::new(job));
    }

    /// No background work is under way when this returns, and none will begin.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        drop(self.compacting.lock());
        drop(self.tree.get_flush_lock());
    }

    fn latch<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(cause) = &result {
            let mut failure = self.failure.lock();
            failure.get_or_insert_with(|| Error::clone(cause));
        }
        result
    }
}

/// The newest version of every key of a memtable.
struct NewestVersions<I> {
    /// By key; newer versions of a key first.
    entries: I,
    last_key: Option<lsm_tree::UserKey>,
}

impl<I: Iterator<Item = InternalValue>> Iterator for NewestVersions<I> {
    type Item = lsm_tree::Result<InternalValue>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = self.entries.next()?;
            if self.last_key.as_ref() != Some(&entry.key.user_key) {
                self.last_key = Some(entry.key.user_key.clone());
                return Some(Ok(entry));
            }
        }
    }
}
