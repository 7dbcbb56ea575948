//! One of the three nodes, on real files and threads, in real time; the network is in memory.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate::config::{NodeAddress, cluster_id, uniform_ranges};
use quorate::disk::RealDisk;
use quorate::storage::log::LogConfig;
use quorate::{Config, GroupWorkers, Node, Seams, StoreKind};
use quorate_telemetry::clock::SystemClock;
use quorate_telemetry::rng::SeededRng;
use quorate_telemetry::{Rng as _, ThreadWorkers, Workers};
use quorate_transport::net::MemoryNetwork;

use super::Error;
use crate::corruption::cluster::{NODES, node_id};

const PEER_PORT: u16 = 7380;
/// Short, so that a case does not wait for elections.
const TICK: Duration = Duration::from_millis(20);
/// Several segments, also of a small history.
const LOG: LogConfig =
    LogConfig { segment_bytes: 1 << 20, first_segment_bytes: 256 << 10, zero_ahead_bytes: 0 };
const RESERVE_BYTES: u64 = 64 << 10;
/// Little: what is read comes from the files.
const CACHE_BYTES: u64 = 1 << 20;
const MEMTABLE_BYTES: u64 = 2 << 20;
/// No bound, as far as a test goes.
const BYTES_PER_SECOND: u64 = 16 << 30;
/// For one operation.
const DEADLINE: Duration = Duration::from_secs(10);

/// Starts the name of every thread of the nodes of lab `number`.
pub(super) fn threads(number: usize) -> String {
    format!("rot-{number}-")
}

/// Starts node `at` on the files in `dir`; `seed` decides what it draws, its identities among it: another one for each
/// start.
pub(super) async fn open(
    (store, network): (StoreKind, &MemoryNetwork),
    lab: usize,
    (at, dir): (usize, &Path),
    seed: u64,
) -> Result<Node, Error> {
    let rng = SeededRng::new(seed.wrapping_mul(NODES as u64).wrapping_add(at as u64));
    let pool = |name, threads| pool(&format!("{}{name}", self::threads(lab)), threads);
    let seams = Seams {
        clock: Arc::new(SystemClock::new()),
        rng: rng.stream(0),
        disk: Arc::new(RealDisk::new()),
        net: Arc::new(network.node(ip(at))),
        workers: GroupWorkers {
            log: pool("log", 1)?,
            apply: pool("apply", 1)?,
            read: pool("read", 1)?,
            background: pool("background", 1)?,
            open: pool("open", 2)?,
            restore: pool("restore", 1)?,
        },
        recorder: Arc::new(metrics::NoopRecorder),
    };
    Ok(quorate::open_with_seams(config(store, at, dir), seams).await?)
}

fn config(store: StoreKind, at: usize, dir: &Path) -> Config {
    let mut config = Config::new(dir);
    config.cluster = cluster_id("corruption");
    config.node = node_id(at);
    config.store = store;
    config.listen = Some(address(at));
    config.bootstrap.nodes = (0..NODES)
        .map(|at| NodeAddress { node: node_id(at), peer: address(at), resp: None, admin: None })
        .collect();
    config.bootstrap.ranges = uniform_ranges(1);
    config.raft.tick = TICK;
    config.log = LOG;
    // Snapshots are published when the history says so, and never by size or age.
    config.snapshots.log_bytes_min = 1 << 40;
    config.snapshots.trailing_entries = 0;
    config.snapshots.trailing_bytes = 0;
    config.snapshots.kept = 2;
    config.snapshots.bytes_per_second = BYTES_PER_SECOND;
    config.disk.reserve_bytes = RESERVE_BYTES;
    config.disk.low_bytes = 0;
    // Scans and comparisons are asked for.
    config.scrub.interval = Duration::ZERO;
    config.scrub.bytes_per_second = BYTES_PER_SECOND;
    config.consistency.interval = Duration::ZERO;
    config.memtable_bytes = MEMTABLE_BYTES;
    config.cache_bytes = CACHE_BYTES;
    config.deadline = DEADLINE;
    config
}

fn pool(name: &str, threads: usize) -> Result<Arc<dyn Workers>, Error> {
    let threads = NonZeroUsize::new(threads).expect("at least one");
    Ok(Arc::new(ThreadWorkers::new(name, threads)?))
}

fn ip(at: usize) -> IpAddr {
    let host = u8::try_from(at + 1).expect("a handful of nodes");
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, host))
}

fn address(at: usize) -> SocketAddr {
    SocketAddr::new(ip(at), PEER_PORT)
}
