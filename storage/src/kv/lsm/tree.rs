//! One tree: its writes and reads.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use lsm_tree::{AbstractTree, AnyTree, Guard, SequenceNumberCounter, Tree};
use parking_lot::{Mutex, RwLock};

use super::shared::LsmShared;
use super::{LsmView, failed};
use crate::error::{Error, Result};
use crate::ids::Index;
use crate::kv::ScanRange;
use crate::kv::batch::Batch;
use crate::kv::store::{ALL_RECORDS, KvReader, MARKER_KEY, Visit};

/// Sequence number of log index 0. `lsm-tree` numbers the versions of its table list from 0 in the same space,
/// and shows a reader only versions with smaller numbers: every version there will ever be is below this.
pub(super) const SEQNO_BASE: u64 = 1 << 32;

/// What an entry of a memtable takes beside key and value: measured, rounded up.
const MEMTABLE_ENTRY_BYTES: u64 = 144;

/// A tree with its marker. Shared by the store, its readers and views, and background work.
pub(super) struct LsmTree {
    pub(super) tree: Tree,
    pub(super) dir: PathBuf,
    pub(super) shared: Arc<LsmShared>,
    /// Held for a batch, and for a rotation: so one never meets half of the other.
    pub(super) head: Mutex<Head>,
    /// Index of the newest whole batch: what readers read at.
    applied: AtomicU64,
    /// Held (shared) while a reader picks an index and reads at it, and (alone) while a flush switches a table
    /// in, which has only the newest versions. Whoever holds it never waits for `head`.
    pub(super) switch: RwLock<()>,
    /// Index of the newest persisted marker.
    pub(super) durable: AtomicU64,
    /// Bytes of the memtable that is being written.
    pub(super) active_bytes: AtomicU64,
    /// Held by a compaction.
    pub(super) compacting: Mutex<()>,
    pub(super) is_flush_queued: AtomicBool,
    pub(super) is_compaction_queued: AtomicBool,
    pub(super) is_stopped: AtomicBool,
    /// Set by every write, cleared by the node's tick.
    pub(super) was_written: AtomicBool,
    /// The first failure of a flush or a compaction; final.
    pub(super) failure: Mutex<Option<Error>>,
    /// Names its background work to the workers.
    pub(super) worker_key: u64,
}

/// What is beside the memtable.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) marker: Option<Bytes>,
    pub(super) index: Index,
}

impl Head {
    /// The value under the marker's key: index (8, little-endian), marker.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let marker = self.marker.as_ref()?;
        let mut bytes = self.index.get().to_le_bytes().to_vec();
        bytes.extend_from_slice(marker);
        Some(bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let (index, marker) = bytes.split_first_chunk().ok_or(Error::Malformed { what: "stored marker" })?;
        Ok(Self { marker: Some(Bytes::copy_from_slice(marker)), index: Index(u64::from_le_bytes(*index)) })
    }
}

impl LsmTree {
    /// Opens or creates the tree in `dir`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if tables hold more than the marker says: they are not of one history.
    pub(super) fn open(shared: &Arc<LsmShared>, dir: &Path) -> Result<Arc<Self>> {
        let config =
            lsm_tree::Config::new(dir, SequenceNumberCounter::default(), SequenceNumberCounter::default());
        let opened = shared.configure(config).open().map_err(|source| failed("open", source))?;
        let AnyTree::Standard(tree) = opened else {
            return Err(Error::Malformed { what: "kind of LSM tree" });
        };
        let stored = tree.get(MARKER_KEY, u64::MAX).map_err(|source| failed("read", source))?;
        let head = stored.map_or(Ok(Head::default()), |bytes| Head::decode(&bytes))?;
        let highest = tree.get_highest_persisted_seqno().unwrap_or(0).saturating_sub(SEQNO_BASE);
        let index = head.index.get();
        if highest > index {
            let file = dir.to_path_buf();
            return Err(Error::Corrupt { what: "marker", file, offset: 0, expected: highest, found: index });
        }
        Ok(Arc::new(Self {
            tree,
            dir: dir.to_path_buf(),
            shared: shared.clone(),
            head: Mutex::new(head),
            applied: AtomicU64::new(index),
            switch: RwLock::new(()),
            durable: AtomicU64::new(index),
            active_bytes: AtomicU64::new(0),
            compacting: Mutex::new(()),
            is_flush_queued: AtomicBool::new(false),
            is_compaction_queued: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
            was_written: AtomicBool::new(false),
            failure: Mutex::new(None),
            worker_key: shared.next_worker_key(),
        }))
    }

    pub(super) fn write(&self, batch: &Batch) -> Result<()> {
        self.check_usable()?;
        let index = batch.index();
        let seqno = SEQNO_BASE + index.get();
        let mut head = self.head.lock();
        assert!(index >= head.index, "batch {index} after {}", head.index);
        let writes = batch.writes();
        let bytes = batch.bytes() as u64 + writes.len() as u64 * MEMTABLE_ENTRY_BYTES;
        for write in writes {
            match write.value {
                Some(value) => self.tree.insert(write.key, value, seqno),
                None => self.tree.remove(write.key, seqno),
            };
        }
        if let Some(marker) = batch.marker() {
            head.marker = Some(Bytes::copy_from_slice(marker));
        }
        head.index = index;
        // Readers see the whole batch from here on.
        self.applied.store(index.get(), Ordering::Release);
        // Every batch counts, also one that only moves the marker: it makes a flush worthwhile.
        self.active_bytes.fetch_add(bytes + 1, Ordering::Relaxed);
        self.shared.take_bytes(bytes + 1);
        self.was_written.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Called by the writer, between batches only.
    pub(super) fn view(self: &Arc<Self>) -> LsmView {
        let head = self.head.lock();
        let _switch = self.switch.read();
        LsmView { marker: head.marker.clone(), records: self.range(ALL_RECORDS), tree: self.clone() }
    }

    pub(super) fn marker(&self) -> Option<Bytes> {
        self.head.lock().marker.clone()
    }

    pub(super) fn durable_index(&self) -> Index {
        Index(self.durable.load(Ordering::Acquire))
    }

    pub(super) fn check_usable(&self) -> Result<()> {
        if let Some(cause) = self.failure.lock().as_ref() {
            return Err(Error::Closed { cause: Arc::new(cause.clone()) });
        }
        if self.is_stopped.load(Ordering::Acquire) {
            return Err(Error::Closed { cause: Arc::new(Error::Missing { path: self.dir.clone() }) });
        }
        Ok(())
    }

    /// Sequence number from which on a reader must not see entries. The caller holds `switch`.
    fn read_seqno(&self) -> u64 {
        SEQNO_BASE + self.applied.load(Ordering::Acquire) + 1
    }

    /// An iterator that holds what it goes through. The caller holds `switch`.
    fn range(
        &self,
        range: ScanRange<'_>,
    ) -> Box<dyn DoubleEndedIterator<Item = lsm_tree::IterGuardImpl> + Send> {
        let bounds = (Bound::Included(range.start), range.end.map_or(Bound::Unbounded, Bound::Excluded));
        self.tree.range::<&[u8], _>(bounds, self.read_seqno(), None)
    }
}

impl KvReader for LsmTree {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.check_usable()?;
        let _switch = self.switch.read();
        let value = self.tree.get(key, self.read_seqno()).map_err(|source| failed("read", source))?;
        // A copy: the value's memory may be a whole block.
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, range: ScanRange<'_>, visit: &mut Visit<'_>) -> Result<()> {
        self.check_usable()?;
        if range.end.is_some_and(|end| end <= range.start) {
            return Ok(());
        }
        let switch = self.switch.read();
        let records = self.range(range);
        drop(switch);
        if range.reverse { walk(records.rev(), visit) } else { walk(records, visit) }
    }
}

pub(super) fn walk(
    records: impl Iterator<Item = lsm_tree::IterGuardImpl>,
    visit: &mut Visit<'_>,
) -> Result<()> {
    for record in records {
        let (key, value) = record.into_inner().map_err(|source| failed("read", source))?;
        if visit(&key, &value)?.is_break() {
            break;
        }
    }
    Ok(())
}

impl std::fmt::Debug for LsmTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LsmTree").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Drop for LsmTree {
    fn drop(&mut self) {
        self.shared.give_back_bytes(self.active_bytes.load(Ordering::Relaxed));
    }
}
