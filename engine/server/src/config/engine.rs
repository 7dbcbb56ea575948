//! The settings in the words of the engine and of the frontends.

use quorate::config::{
    Bootstrap, ColdStartConfig, ConsistencyConfig, DiskConfig, HlcConfig, NodeAddress, RaftConfig,
    ScrubConfig, SnapshotConfig, cluster_id, slot_ranges,
};
use quorate::storage::cold_start::{Policy, VerifyMode};
use quorate::{Config, NodeId};

use super::settings::{ColdStart, NodeSettings, Snapshots, StartPolicy, StartVerify};
use crate::resp::{self, Limits};

/// Why conversions cannot fail.
const BOUNDED: &str = "the schema bounds it";

impl NodeSettings {
    /// For the engine.
    pub fn engine(&self) -> Config {
        let mut config = Config::new(&self.data_dir);
        config.cluster = cluster_id(&self.cluster);
        config.cluster_name = Some(self.cluster.clone());
        config.node = NodeId(self.node);
        config.listen = self.listen_peer();
        config.store = self.store.kind();
        config.bootstrap = Bootstrap {
            nodes: self.nodes.iter().map(address).collect(),
            ranges: slot_ranges(u16::try_from(self.bootstrap.groups).expect(BOUNDED)),
            replication: usize::try_from(self.bootstrap.replication).expect(BOUNDED),
        };
        config.raft = RaftConfig {
            tick: self.raft.tick.0,
            heartbeat_ticks: u32::try_from(self.raft.heartbeat_ticks).expect(BOUNDED),
            election_ticks: u32::try_from(self.raft.election_ticks).expect(BOUNDED),
        };
        config.snapshots = self.snapshots.engine();
        config.cold_start = self.cold_start.engine();
        config.disk = DiskConfig { reserve_bytes: self.disk.reserve.0, low_bytes: self.disk.low.0 };
        config.hlc = HlcConfig { window: self.hlc.window.0, renew: self.hlc.renew.engine() };
        config.scrub =
            ScrubConfig { interval: self.scrub.interval.0, bytes_per_second: self.scrub.bytes_per_second.0 };
        config.consistency = ConsistencyConfig { interval: self.consistency.interval.0 };
        config.log_writers = usize::try_from(self.threads.log_writers).expect(BOUNDED);
        config.appliers = usize::try_from(self.threads.appliers).expect(BOUNDED);
        config.memtable_bytes = self.memory.memtable.0;
        config.cache_bytes = self.memory.cache.0;
        config.deadline = self.requests.deadline.0;
        config
    }

    /// For the Redis listener.
    pub fn resp(&self) -> resp::Settings {
        let size = |bytes| usize::try_from(bytes).expect(BOUNDED);
        let limits = Limits {
            connections_max: size(self.resp.max_connections),
            request_bytes_max: size(self.resp.max_request.0),
            buffered_bytes_max: size(self.resp.max_buffered.0),
            request_arrival_max: self.resp.request_arrival.0,
            write_stall_max: self.resp.write_stall.0,
            ..Limits::default()
        };
        resp::Settings {
            limits,
            routing: self.routing.into(),
            password: self.resp.password.clone(),
            plaintext: self.resp.plaintext,
        }
    }
}

impl Snapshots {
    fn engine(&self) -> SnapshotConfig {
        let size = |count| usize::try_from(count).expect(BOUNDED);
        SnapshotConfig {
            log_bytes_min: self.log_bytes_min.0,
            age_max: self.age_max.0,
            entries: self.entries,
            trailing_entries: self.trailing_entries,
            trailing_bytes: self.trailing_bytes.0,
            follower_grace: self.follower_grace.0,
            kept: size(self.kept),
            bytes_per_second: self.bytes_per_second.0,
            publishing_max: size(self.publishing_max),
            transfers_max: size(self.transfers_max),
        }
    }
}

impl ColdStart {
    fn engine(&self) -> ColdStartConfig {
        ColdStartConfig {
            policy: match self.policy {
                StartPolicy::Snapshot => Policy::Snapshot,
                StartPolicy::CommittedTail => Policy::CommittedTail,
            },
            verify: match self.verify {
                StartVerify::Deferred => VerifyMode::Deferred,
                StartVerify::Eager => VerifyMode::Eager,
            },
            opening_max: usize::try_from(self.opening_max).expect(BOUNDED),
            restoring_max: usize::try_from(self.restoring_max).expect(BOUNDED),
            observer: None,
        }
    }
}

fn address(entry: &super::NodeEntry) -> NodeAddress {
    NodeAddress { node: NodeId(entry.id), peer: entry.peer, resp: entry.resp, admin: entry.admin }
}
