//! The five seams of a node, bundled: what production and a simulation put behind them.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use quorate_shard::actor::GroupWorkers;
use quorate_storage::disk::{Disk, RealDisk};
use quorate_telemetry::clock::SystemClock;
use quorate_telemetry::rng::SystemRng;
use quorate_telemetry::workers::ThreadWorkers;
use quorate_telemetry::{Clock, Rng, SharedRecorder, Workers};
use quorate_transport::{Net, TcpNet};

use crate::config::Config;
use crate::error::{Error, Result};

/// Threads that read state and old log entries.
const READ_THREADS: usize = 2;
/// Threads that write snapshots and compact stores.
const BACKGROUND_THREADS: usize = 2;

/// Everything through which a node touches the world.
#[derive(Clone)]
pub struct Seams {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Connections.
    pub net: Arc<dyn Net>,
    /// Blocking work.
    pub workers: GroupWorkers,
    /// Where metrics go.
    pub recorder: SharedRecorder,
}

impl fmt::Debug for Seams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seams")
            .field("clock", &self.clock)
            .field("disk", &self.disk)
            .field("net", &self.net)
            .finish_non_exhaustive()
    }
}

impl Seams {
    /// The real world: system clock, TCP, the file system, threads as `config` says, and metrics to nowhere.
    ///
    /// # Errors
    /// [`Error::Config`] if the threads cannot be had.
    pub fn production(config: &Config) -> Result<Self> {
        Ok(Self {
            clock: Arc::new(SystemClock::new()),
            rng: Arc::new(SystemRng::new()),
            disk: Arc::new(RealDisk::new()),
            net: Arc::new(TcpNet),
            workers: GroupWorkers {
                log: pool("log", config.log_writers)?,
                apply: pool("apply", config.appliers)?,
                read: pool("read", READ_THREADS)?,
                background: pool("background", BACKGROUND_THREADS)?,
                open: pool("open", config.cold_start.opening_max)?,
                restore: pool("restore", config.cold_start.restoring_max)?,
            },
            recorder: Arc::new(metrics::NoopRecorder),
        })
    }
}

fn pool(name: &str, threads: usize) -> Result<Arc<dyn Workers>> {
    let refuse = |why| Error::Config { field: "threads", why };
    let threads =
        NonZeroUsize::new(threads).ok_or_else(|| refuse("at least one thread of each kind is needed"))?;
    let workers = ThreadWorkers::new(name, threads);
    Ok(Arc::new(workers.map_err(|_| refuse("the system gives no more threads"))?))
}
