//! Three nodes in one process, on disks and a network in memory, in time that stands still until all of them wait.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use quorate::config::{NodeAddress, cluster_id, uniform_ranges};
use quorate::storage::log::LogConfig;
use quorate::{Config, GroupId, GroupWorkers, Node, NodeId, Seams, StoreKind};
use quorate_storage::disk::SimDisk;
use quorate_telemetry::clock::SimClock;
use quorate_telemetry::rng::SeededRng;
use quorate_telemetry::workers::{SimWorkers, SimWorkersConfig};
use quorate_telemetry::{BootId, Rng, Workers};
use quorate_transport::net::MemoryNetwork;

/// Nodes of the cluster, each with a replica of every group.
pub const NODES: usize = 3;
/// The groups: the catalog's, and the one with the keys.
pub const GROUPS: [GroupId; 2] = [GroupId(0), GroupId(1)];
/// Where a node keeps its files on its disk.
pub const DATA: &str = "/data";

/// Where nodes listen.
const PEER_PORT: u16 = 7380;
/// Wall time at the start, since the Unix epoch.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);
/// What differs from one history to another.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// A snapshot is published after so many entries; `None`: only when it is asked for.
    pub snapshot_entries: Option<u64>,
    /// Small, so that a history of a few writes goes through several files.
    pub log: LogConfig,
}

impl Setup {
    /// Files of `segment_bytes`, a log's first one of `first_bytes`.
    pub const fn with_segments(segment_bytes: u64, first_bytes: u64) -> Self {
        let log = LogConfig { segment_bytes, first_segment_bytes: first_bytes, zero_ahead_bytes: 0 };
        Self { snapshot_entries: None, log }
    }
}

/// Size of the reserve file.
const RESERVE_BYTES: u64 = 4 << 10;

/// Runs `work` in a world of its own: one thread, virtual time.
pub fn simulate<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime.expect("a runtime without threads takes nothing").block_on(work)
}

/// The clock of a node that is started.
pub fn clock() -> SimClock {
    SimClock::new(EPOCH, BootId([1; 16]))
}

/// Starts node `at` (from 0) on `disk`; `seed` decides what it draws.
///
/// # Errors
/// As the engine's.
pub async fn open(
    at: usize,
    disk: &SimDisk,
    network: &MemoryNetwork,
    seed: u64,
    setup: Setup,
) -> Result<Node, quorate::Error> {
    let rng = SeededRng::new(seed.wrapping_mul(31).wrapping_add(at as u64));
    let workers = |label| -> Arc<dyn Workers> {
        let threads = NonZeroUsize::MIN;
        let config = SimWorkersConfig { threads, job_time_max: Duration::ZERO };
        Arc::new(SimWorkers::new(rng.stream(label), config))
    };
    let workers = GroupWorkers {
        log: workers(1),
        apply: workers(2),
        read: workers(3),
        background: workers(4),
        open: workers(5),
        restore: workers(6),
    };
    let seams = Seams {
        clock: Arc::new(clock()),
        rng: rng.stream(0),
        disk: Arc::new(disk.reopen()),
        net: Arc::new(network.node(ip(at))),
        workers,
        recorder: Arc::new(metrics::NoopRecorder),
    };
    let mut config = config(at);
    config.log = setup.log;
    config.snapshots.entries = setup.snapshot_entries;
    quorate::open_with_seams(config, seams).await
}

/// The id of node `at`.
pub fn node_id(at: usize) -> NodeId {
    NodeId(at as u64 + 1)
}

fn config(at: usize) -> Config {
    let mut config = Config::new(DATA);
    config.cluster = cluster_id("corruption");
    config.node = node_id(at);
    config.store = StoreKind::Memory;
    config.listen = Some(address(at));
    config.bootstrap.nodes = (0..NODES)
        .map(|at| NodeAddress { node: node_id(at), peer: address(at), resp: None, admin: None })
        .collect();
    config.bootstrap.ranges = uniform_ranges(1);
    config.snapshots.trailing_entries = 0;
    config.snapshots.trailing_bytes = 0;
    config.snapshots.kept = 2;
    config.disk.reserve_bytes = RESERVE_BYTES;
    config.disk.low_bytes = 0;
    config
}

fn ip(at: usize) -> IpAddr {
    let host = u8::try_from(at + 1).expect("a handful of nodes");
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, host))
}

fn address(at: usize) -> SocketAddr {
    SocketAddr::new(ip(at), PEER_PORT)
}
