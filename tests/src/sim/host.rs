//! Simulated machines that run one node each.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use quorate::config::{NodeAddress, uniform_ranges};
use quorate::disk::Disk;
use quorate::{Config, GroupWorkers, Node, NodeId, Seams, StoreKind};
use quorate_storage::disk::{CrashMode, SimDisk};
use quorate_telemetry::clock::SimClock;
use quorate_telemetry::rng::SeededRng;
use quorate_telemetry::workers::{SimWorkers, SimWorkersConfig};
use quorate_telemetry::{BootId, Rng, Workers};

use super::{Trace, TurmoilNet};

/// Host names, by node id from 1.
pub const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
/// Where nodes listen.
const PEER_PORT: u16 = 7380;
/// User groups.
const GROUPS: u16 = 2;
/// Wall time at the start, since the Unix epoch.
const EPOCH: Duration = Duration::from_secs(1_700_000_000);

/// A machine that outlives the node on it: its disk and clock stay when the process is killed.
#[derive(Clone, Debug)]
pub struct SimHost {
    /// Its name in the simulation.
    pub name: &'static str,
    node: NodeId,
    disk: SimDisk,
    clock: SimClock,
    rng: Arc<SeededRng>,
    trace: Trace,
}

/// Three machines that one seed decides.
pub fn hosts(seed: u64, trace: &Trace) -> Vec<SimHost> {
    (1..)
        .zip(NODES)
        .map(|(node, name)| SimHost {
            name,
            node: NodeId(node),
            disk: SimDisk::new(),
            clock: SimClock::new(EPOCH, BootId([1; 16])),
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

    /// From now on its disk answers syncs without carrying them out.
    pub fn ignore_syncs(&self) {
        self.disk.ignore_syncs(true);
    }

    /// Loses power: what was not synced is gone. Call it when turmoil has crashed the host.
    pub fn lose_power(&mut self, boot: u8) {
        self.disk = self.disk.crash(CrashMode::LoseUnsynced);
        self.clock.restart(EPOCH + Duration::from_secs(u64::from(boot) * 3_600), BootId([boot; 16]));
    }

    /// Starts the node. Call it inside the host's runtime; `start` counts the starts of this host.
    ///
    /// # Errors
    /// As the engine's.
    pub async fn open(&self, start: u64) -> Result<Node, quorate::Error> {
        let rng = self.rng.stream(start);
        let workers = |label| -> Arc<dyn Workers> {
            let config = SimWorkersConfig {
                threads: NonZeroUsize::new(2).expect("two"),
                job_time_max: Duration::from_micros(300),
            };
            Arc::new(SimWorkers::new(rng.stream(label), config))
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
        let mut config = Config::new("/data");
        config.node = self.node;
        config.store = StoreKind::Memory;
        config.listen = Some(SocketAddr::from(([0, 0, 0, 0], PEER_PORT)));
        config.bootstrap.nodes = addresses();
        config.bootstrap.ranges = uniform_ranges(GROUPS);
        quorate::open_with_seams(config, seams).await
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
