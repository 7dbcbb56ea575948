//! Simulated machines that run one node each.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate::config::{NodeAddress, uniform_ranges};
use quorate::disk::Disk;
use quorate::storage::log::LogConfig;
use quorate::{Config, GroupWorkers, Node, NodeId, Seams, StoreKind};
use quorate_storage::disk::{CrashMode, SimDisk};
use quorate_telemetry::clock::SimClock;
use quorate_telemetry::rng::SeededRng;
use quorate_telemetry::workers::{SimWorkers, SimWorkersConfig};
use quorate_telemetry::{BootId, Rng, Workers};

use super::{Trace, TurmoilNet};

/// Host names, by node id from 1.
pub const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
/// Where a node keeps its files on its disk.
pub const DATA: &str = "/data";
/// Where nodes listen.
const PEER_PORT: u16 = 7380;
/// Wall time at the start, since the Unix epoch.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);
/// How long a job of a worker takes at most.
const JOB_TIME_MAX: Duration = Duration::from_micros(300);
/// The same of a slow machine.
const SLOW_JOB_TIME_MAX: Duration = Duration::from_millis(80);
/// Size of the reserve file, and the room below which a node refuses writes.
const RESERVE_BYTES: u64 = 64 << 10;
const LOW_BYTES: u64 = 256 << 10;

/// How the nodes of a cluster are set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// User groups.
    pub groups: u16,
    /// A snapshot is published after so many entries.
    pub snapshot_entries: u64,
    /// Between two comparisons of a group's replicas.
    pub consistency_interval: Duration,
}

/// A machine that outlives the node on it: its disk and clock stay when the process is killed.
#[derive(Clone, Debug)]
pub struct SimHost {
    /// Its name in the simulation.
    pub name: &'static str,
    /// Its disk.
    pub disk: SimDisk,
    /// Its clock.
    pub clock: SimClock,
    /// Whether the workers of its next start are slow.
    pub is_slow: bool,
    node: NodeId,
    boot: u8,
    setup: Setup,
    rng: Arc<SeededRng>,
    trace: Trace,
}

/// Three machines that one seed decides.
pub fn hosts(seed: u64, setup: Setup, trace: &Trace) -> Vec<SimHost> {
    (1..)
        .zip(NODES)
        .map(|(node, name)| SimHost {
            name,
            disk: SimDisk::new(),
            clock: SimClock::new(EPOCH, BootId([1; 16])),
            is_slow: false,
            node: NodeId(node),
            boot: 1,
            setup,
            rng: Arc::new(SeededRng::new(seed.wrapping_mul(31).wrapping_add(node))),
            trace: trace.clone(),
        })
        .collect()
}

impl SimHost {
    /// Its node's id.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The process is gone; with `mode` other than [`CrashMode::KeepAll`] the power was, and with it what was not synced.
    /// Call it when turmoil has crashed the host.
    pub fn crash(&mut self, mode: CrashMode) {
        self.disk = self.disk.crash(mode);
        if mode != CrashMode::KeepAll {
            self.boot = self.boot.wrapping_add(1);
        }
    }

    /// The process is about to be started again; its clock is right then. `elapsed` is the simulation's time.
    pub fn boot(&self, elapsed: Duration) {
        self.clock.restart(EPOCH + elapsed, BootId([self.boot; 16]));
    }

    /// Its clock is right from now on.
    pub fn set_clock(&self, elapsed: Duration) {
        self.clock.set_rate_ppm(1_000_000);
        self.clock.set_wall(EPOCH + elapsed);
    }

    /// A replica's directory is gone from now on.
    ///
    /// # Errors
    /// As the disk's.
    pub fn wipe(&self, group: u64) -> std::io::Result<()> {
        let groups = Path::new(DATA).join("groups");
        self.disk.remove_dir_all(&groups.join(group.to_string()))?;
        self.disk.sync_dir(&groups)
    }

    /// Starts the node. Call it inside the host's runtime; `start` counts the starts of this host.
    ///
    /// # Errors
    /// As the engine's.
    pub async fn open(&self, start: u64) -> Result<Node, quorate::Error> {
        let rng = self.rng.stream(start);
        let job_time_max = if self.is_slow { SLOW_JOB_TIME_MAX } else { JOB_TIME_MAX };
        let workers = |label| -> Arc<dyn Workers> {
            let threads = NonZeroUsize::new(2).expect("two");
            Arc::new(SimWorkers::new(rng.stream(label), SimWorkersConfig { threads, job_time_max }))
        };
        let seams = Seams {
            clock: Arc::new(self.clock.clone()),
            rng: rng.stream(0),
            disk: Arc::new(self.disk.reopen()) as Arc<dyn Disk>,
            net: Arc::new(TurmoilNet { host: self.name, trace: self.trace.clone() }),
            workers: GroupWorkers {
                log: workers(1),
                apply: workers(2),
                read: workers(3),
                background: workers(4),
                open: workers(5),
                restore: workers(6),
            },
            recorder: Arc::new(metrics::NoopRecorder),
        };
        quorate::open_with_seams(self.config(), seams).await
    }

    fn config(&self) -> Config {
        let mut config = Config::new(DATA);
        config.node = self.node;
        config.store = StoreKind::Memory;
        config.listen = Some(SocketAddr::from(([0, 0, 0, 0], PEER_PORT)));
        config.bootstrap.nodes = addresses();
        config.bootstrap.ranges = uniform_ranges(self.setup.groups);
        config.disk.reserve_bytes = RESERVE_BYTES;
        config.disk.low_bytes = LOW_BYTES;
        config.consistency.interval = self.setup.consistency_interval;
        // Everything small, so that a short run goes through many files, snapshots and compactions.
        config.log =
            LogConfig { segment_bytes: 32 << 10, first_segment_bytes: 16 << 10, zero_ahead_bytes: 4 << 10 };
        config.snapshots.entries = Some(self.setup.snapshot_entries);
        config.snapshots.trailing_entries = self.setup.snapshot_entries / 4;
        config.snapshots.trailing_bytes = 16 << 10;
        config.snapshots.kept = 2;
        config.snapshots.follower_grace = Duration::from_secs(2);
        config
    }
}

fn addresses() -> Vec<NodeAddress> {
    (1..)
        .zip(NODES)
        .map(|(node, name)| NodeAddress {
            node: NodeId(node),
            peer: SocketAddr::new(turmoil::lookup(name), PEER_PORT),
            resp: None,
            admin: None,
        })
        .collect()
}
