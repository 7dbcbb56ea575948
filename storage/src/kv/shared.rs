//! What the stores of a node share, and the choice between their kinds.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use quorate_telemetry::{Clock, Rng, Workers};

use super::lsm::{LsmEngine, LsmShared};
use super::memory::{MemoryEngine, MemoryLoss};
use super::sled::{OnHung, SledEngine, Watchdog, abort};
use super::store::KvEngine;
use crate::disk::Disk;

/// The kinds of store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StoreKind {
    /// `lsm-tree`: the default.
    #[default]
    Lsm,
    /// `sled`: trusted after a crash of the process, never after a power cut.
    Sled,
    /// In memory: for simulation and tests.
    Memory,
}

impl StoreKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Lsm, Self::Sled, Self::Memory];

    /// Its name in a configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lsm => "lsm",
            Self::Sled => "sled",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no store of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown store {name:?}: expected lsm, sled or memory")]
pub struct UnknownStore {
    /// The name.
    pub name: String,
}

impl FromStr for StoreKind {
    type Err = UnknownStore;

    fn from_str(name: &str) -> Result<Self, UnknownStore> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| UnknownStore { name: name.to_owned() })
    }
}

/// Limits of all stores of a node.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// `lsm`: bytes of all memtables; above it the largest one is flushed. Default 64 MiB, at least 1 MiB.
    pub memtable_bytes_max: u64,
    /// `lsm`: bytes of one group's memtable; above it it is flushed, at twice as much its writes wait. Default
    /// 16 MiB, at least 64 KiB.
    pub group_memtable_bytes_max: u64,
    /// `lsm`: a memtable of 16 KiB or more that was not written for this long is flushed. Default 10 s.
    pub flush_idle_after: Duration,
    /// `lsm`: bytes of the block cache. Default 32 MiB.
    pub block_cache_bytes_max: u64,
    /// `lsm`: open table files. Default 512.
    pub descriptors_max: usize,
    /// `sled`: bytes of cache of one group's database. Default 4 MiB, at least 1 MiB.
    pub sled_cache_bytes_max: u64,
    /// `sled`: an apply or a read that takes longer aborts the process. Default 30 s.
    pub hung_after: Duration,
    /// `memory`: what a crash loses; drawn at every opening if `None` (default).
    pub memory_loss: Option<MemoryLoss>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            memtable_bytes_max: 64 << 20,
            group_memtable_bytes_max: 16 << 20,
            flush_idle_after: Duration::from_secs(10),
            block_cache_bytes_max: 32 << 20,
            descriptors_max: 512,
            sled_cache_bytes_max: 4 << 20,
            hung_after: Duration::from_secs(30),
            memory_loss: None,
        }
    }
}

/// What the stores of a node share: caches, budgets, background work. One per node.
#[derive(Debug)]
pub struct StoreShared {
    lsm: Arc<LsmShared>,
    clock: Arc<dyn Clock>,
    watchdog: Arc<Watchdog>,
    config: StoreConfig,
}

impl StoreShared {
    /// Stores that flush and compact on `workers`. Those jobs take long: give them a pool of their own, not the
    /// one that applies.
    pub fn new(config: StoreConfig, workers: Arc<dyn Workers>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Self::with_on_hung(config, workers, clock, Box::new(abort))
    }

    /// [`StoreShared::new`], with something else than an abort of the process when a store hangs.
    pub fn with_on_hung(
        config: StoreConfig,
        workers: Arc<dyn Workers>,
        clock: Arc<dyn Clock>,
        on_hung: Box<OnHung>,
    ) -> Arc<Self> {
        let lsm = Arc::new(LsmShared::new(config.clone(), workers, clock.clone()));
        let watchdog = Arc::new(Watchdog::new(clock.clone(), config.hung_after, on_hung));
        Arc::new(Self { lsm, clock, watchdog, config })
    }

    /// The engine for one group's state.
    pub fn engine(&self, kind: StoreKind, disk: Arc<dyn Disk>, rng: Arc<dyn Rng>) -> Arc<dyn KvEngine> {
        match kind {
            StoreKind::Lsm => Arc::new(LsmEngine::new(self.lsm.clone(), disk)),
            StoreKind::Sled => Arc::new(SledEngine {
                disk,
                clock: self.clock.clone(),
                watchdog: self.watchdog.clone(),
                cache_bytes_max: self.config.sled_cache_bytes_max,
            }),
            StoreKind::Memory => Arc::new(MemoryEngine::new(disk, rng, self.config.memory_loss)),
        }
    }

    /// To be called about once a second: looks for stores that hang, and queues flushes of idle ones. Never
    /// blocks.
    pub fn tick(&self) {
        self.watchdog.check();
        self.lsm.tick();
    }

    /// Bytes of all memtables.
    pub fn memtable_bytes(&self) -> u64 {
        self.lsm.memtable_bytes()
    }
}
