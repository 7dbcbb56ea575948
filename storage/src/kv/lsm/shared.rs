//! What the trees of a node share: caches, the memtable budget, workers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use lsm_tree::compaction::Leveled;
use lsm_tree::{Cache, Config, DescriptorTable};
use parking_lot::Mutex;
use quorate_telemetry::{Clock, Job, Stopped, Workers};

use super::tree::LsmTree;
use crate::kv::shared::StoreConfig;

/// One per node.
pub(crate) struct LsmShared {
    config: StoreConfig,
    cache: Arc<Cache>,
    descriptors: Arc<DescriptorTable>,
    strategy: Arc<Leveled>,
    workers: Arc<dyn Workers>,
    clock: Arc<dyn Clock>,
    /// Bytes of all memtables, the ones being flushed included.
    memtable_bytes: AtomicU64,
    next_worker_key: AtomicU64,
    trees: Mutex<Vec<Registered>>,
}

struct Registered {
    tree: Weak<LsmTree>,
    /// When it was last seen written, by the node's tick.
    written_at: Duration,
}

/// A memtable of fewer bytes is not worth a table: every fourth one has tables of 64 MiB merged with it. It is flushed once a snapshot needs it to be durable, and costs a node of 1,000 idle groups 16 MiB at most.
const IDLE_BYTES_MIN: u64 = 16 << 10;

/// Worker keys of trees start here, apart from what others of the node may use.
const WORKER_KEY_BASE: u64 = 0x6c73_6d00_0000_0000;

impl LsmShared {
    pub(crate) fn new(config: StoreConfig, workers: Arc<dyn Workers>, clock: Arc<dyn Clock>) -> Self {
        Self {
            cache: Arc::new(Cache::with_capacity_bytes(config.block_cache_bytes_max)),
            descriptors: Arc::new(DescriptorTable::new(config.descriptors_max)),
            strategy: Arc::new(Leveled::default()),
            config,
            workers,
            clock,
            memtable_bytes: AtomicU64::new(0),
            next_worker_key: AtomicU64::new(WORKER_KEY_BASE),
            trees: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn configure(&self, config: Config) -> Config {
        config.use_cache(self.cache.clone()).use_descriptor_table(Some(self.descriptors.clone()))
    }

    pub(super) fn register(&self, tree: &Arc<LsmTree>) {
        let mut trees = self.trees.lock();
        trees.retain(|registered| registered.tree.strong_count() > 0);
        trees.push(Registered { tree: Arc::downgrade(tree), written_at: self.clock.monotonic() });
    }

    /// A tree uses this key and the next one.
    pub(super) fn next_worker_key(&self) -> u64 {
        self.next_worker_key.fetch_add(2, Ordering::Relaxed)
    }

    pub(super) fn submit(&self, key: u64, job: Job) -> Result<(), Stopped> {
        self.workers.submit(key, job)
    }

    pub(super) fn strategy(&self) -> Arc<Leveled> {
        self.strategy.clone()
    }

    pub(super) fn group_memtable_bytes_max(&self) -> u64 {
        self.config.group_memtable_bytes_max
    }

    pub(super) fn take_bytes(&self, bytes: u64) {
        self.memtable_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give_back_bytes(&self, bytes: u64) {
        self.memtable_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of all memtables.
    pub(crate) fn memtable_bytes(&self) -> u64 {
        self.memtable_bytes.load(Ordering::Relaxed)
    }

    /// Over the node's budget: the tree with the largest memtable is flushed.
    pub(super) fn relieve(&self) {
        if self.memtable_bytes() < self.config.memtable_bytes_max {
            return;
        }
        let trees = self.trees.lock();
        let largest = trees
            .iter()
            .filter_map(|registered| registered.tree.upgrade())
            .filter(|tree| !tree.is_flush_queued.load(Ordering::Acquire))
            .max_by_key(|tree| tree.active_bytes.load(Ordering::Relaxed));
        drop(trees);
        if let Some(tree) = largest {
            tree.queue_flush();
        }
    }

    /// Flushes what has not been written for a while: an idle group holds no memtable to speak of.
    pub(crate) fn tick(&self) {
        let now = self.clock.monotonic();
        let mut idle = Vec::new();
        let mut trees = self.trees.lock();
        trees.retain_mut(|registered| {
            let Some(tree) = registered.tree.upgrade() else { return false };
            if tree.was_written.swap(false, Ordering::Relaxed) {
                registered.written_at = now;
            } else if tree.active_bytes.load(Ordering::Relaxed) >= IDLE_BYTES_MIN
                && now.saturating_sub(registered.written_at) >= self.config.flush_idle_after
            {
                idle.push(tree);
            }
            true
        });
        drop(trees);
        for tree in idle {
            tree.queue_flush();
        }
    }
}

impl std::fmt::Debug for LsmShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LsmShared")
            .field("config", &self.config)
            .field("memtable_bytes", &self.memtable_bytes())
            .finish_non_exhaustive()
    }
}
