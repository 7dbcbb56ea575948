//! How a node is set up. Every field has a default and a bound; [`Config::check`] names what is out of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
pub use quorate_shard::hlc::{HlcConfig, Renew};
use quorate_shard::hlc::{WINDOW_MAX, WINDOW_MIN};
use quorate_storage::cold_start::{ColdStartObserver, Policy, VerifyMode};
use quorate_storage::kv::StoreKind;
use quorate_storage::log::LogConfig;
use quorate_storage::{ClusterId, KeyRange, NodeId};

use crate::error::Error;

/// Most voters of group 0.
pub const CATALOG_VOTERS_MAX: usize = 5;

/// One of the nodes a cluster starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    /// Its id, never 0.
    pub node: NodeId,
    /// Where other nodes reach it.
    pub peer: SocketAddr,
    /// Where Redis clients reach it, if anywhere.
    pub resp: Option<SocketAddr>,
    /// Where operators reach it, if anywhere.
    pub admin: Option<SocketAddr>,
}

/// What the cluster's first leader creates. Ignored on a cluster that exists.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The nodes there are in the beginning; the first five of them vote in group 0. Empty: this node alone.
    pub nodes: Vec<NodeAddress>,
    /// One user group for each range. The ranges must not overlap.
    pub ranges: Vec<KeyRange>,
    /// Replicas of each group; cut to the number of nodes.
    pub replication: usize,
}

/// Raft's timing and limits.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// One tick. Default 50 ms.
    pub tick: Duration,
    /// Ticks between heartbeats. Default 2.
    pub heartbeat_ticks: u32,
    /// Ticks without a leader before an election, at least. The timeout is drawn between this and twice
    /// this. Default 10.
    pub election_ticks: u32,
}

impl RaftConfig {
    /// The longest an election timeout is drawn.
    pub fn election_timeout_max(&self) -> Duration {
        self.tick.saturating_mul(self.election_ticks.saturating_mul(2))
    }
}

/// When groups publish snapshots, what is kept of them and of the log, and how fast they travel.
#[derive(Clone, Debug)]
pub struct SnapshotConfig {
    /// A snapshot is due when the log behind the last one takes more bytes than this, or than half the newest
    /// snapshot, whichever is more. Default 16 MiB; 4 KiB to 1 TiB.
    pub log_bytes_min: u64,
    /// Also due after this time, if data has changed. Default 24 h; 1 s to 1 year.
    pub age_max: Duration,
    /// Also due after this many entries. For tests. Default: none; at least 1.
    pub entries: Option<u64>,
    /// Entries that stay in the log behind a snapshot, so that a short lag needs none. Default 4,096.
    pub trailing_entries: u64,
    /// Bytes of log that stay behind a snapshot for `trailing_entries` and for slow followers, at most. Default
    /// 64 MiB.
    pub trailing_bytes: u64,
    /// A follower that was not heard of for this long no longer holds the log. Default 60 s; up to 1 day.
    pub follower_grace: Duration,
    /// Snapshots kept, as far as they take no more than three times the newest. Default 3; 2 or 3.
    pub kept: usize,
    /// Bytes of snapshots that this node writes, reads back to verify them, sends or restores, and of stores that
    /// it builds anew, in a second. Default 64 MiB; 1 KiB to 16 GiB.
    pub bytes_per_second: u64,
    /// Snapshots that this node writes at one time. Default 2; 1 to 64.
    pub publishing_max: usize,
    /// Snapshots that this node sends, and apart from them receives, at one time. Default 2; 1 to 64.
    pub transfers_max: usize,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            log_bytes_min: 16 << 20,
            age_max: Duration::from_secs(24 * 3_600),
            entries: None,
            trailing_entries: 4_096,
            trailing_bytes: 64 << 20,
            follower_grace: Duration::from_secs(60),
            kept: 3,
            bytes_per_second: 64 << 20,
            publishing_max: 2,
            transfers_max: 2,
        }
    }
}

impl SnapshotConfig {
    fn check(&self) -> Result<(), Error> {
        let checks = [
            (
                "snapshots.log_bytes_min",
                (4 << 10..=1 << 40).contains(&self.log_bytes_min),
                "must be 4 KiB to 1 TiB",
            ),
            (
                "snapshots.age_max",
                (1..=366 * 86_400).contains(&self.age_max.as_secs()),
                "must be 1 s to 1 year",
            ),
            ("snapshots.entries", self.entries != Some(0), "must be at least 1"),
            ("snapshots.follower_grace", self.follower_grace.as_secs() <= 86_400, "must be at most 1 day"),
            ("snapshots.kept", (2..=3).contains(&self.kept), "must be 2 or 3"),
            (
                "snapshots.bytes_per_second",
                (1 << 10..=16 << 30).contains(&self.bytes_per_second),
                "must be 1 KiB to 16 GiB",
            ),
            ("snapshots.publishing_max", (1..=64).contains(&self.publishing_max), "must be 1 to 64"),
            ("snapshots.transfers_max", (1..=64).contains(&self.transfers_max), "must be 1 to 64"),
        ];
        match checks.into_iter().find(|(_, is_within, _)| !is_within) {
            Some((field, _, why)) => Err(Error::Config { field, why }),
            None => Ok(()),
        }
    }
}

/// What the start of a group trusts and reads, and how many start at one time.
#[derive(Clone, Debug)]
pub struct ColdStartConfig {
    /// When a state that is as fresh as the newest snapshot is not restored. Default [`Policy::Snapshot`].
    pub policy: Policy,
    /// What is read of the newest snapshot where the start does not restore it. Default [`VerifyMode::Deferred`].
    pub verify: VerifyMode,
    /// Groups that are opened at one time. Default 8; 1 to 256.
    pub opening_max: usize,
    /// Groups among them whose state is restored at one time, or whose snapshot is read whole; the others do not wait
    /// for them. Default 2; 1 to 64.
    pub restoring_max: usize,
    /// Told of every start of a group that succeeded. Must not block. Default: none.
    pub observer: Option<Arc<dyn ColdStartObserver>>,
}

impl Default for ColdStartConfig {
    fn default() -> Self {
        let (policy, verify) = (Policy::default(), VerifyMode::default());
        Self { policy, verify, opening_max: 8, restoring_max: 2, observer: None }
    }
}

impl ColdStartConfig {
    fn check(&self) -> Result<(), Error> {
        let refuse = |field, why| Err(Error::Config { field, why });
        if !(1..=256).contains(&self.opening_max) {
            return refuse("cold_start.opening_max", "must be 1 to 256");
        }
        if !(1..=64).contains(&self.restoring_max) {
            return refuse("cold_start.restoring_max", "must be 1 to 64");
        }
        Ok(())
    }
}

/// The room that is kept on the data directory's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    /// Bytes of a file that is given back to the file system when the disk is almost full, so that raft's own
    /// bookkeeping, deletes and compaction can go on. 0 for none. Default 64 MiB; up to 1 TiB.
    pub reserve_bytes: u64,
    /// Free bytes below which writes are refused. 0: never refused. They are taken again once twice as much is free
    /// beside the reserve. Default 32 MiB; up to 1 TiB.
    pub low_bytes: u64,
}

impl DiskConfig {
    /// Most bytes of either.
    const BYTES_MAX: u64 = 1 << 40;

    fn check(&self) -> Result<(), Error> {
        let sizes = [("disk.reserve_bytes", self.reserve_bytes), ("disk.low_bytes", self.low_bytes)];
        match sizes.into_iter().find(|(_, bytes)| *bytes > Self::BYTES_MAX) {
            Some((field, _)) => Err(Error::Config { field, why: "must be at most 1 TiB" }),
            None => Ok(()),
        }
    }
}

/// The background scan of values and snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubConfig {
    /// Time between two scans of all that a replica keeps (and up to a quarter of it more, by chance). Zero: never.
    /// Default 168 h; up to 1 year.
    pub interval: Duration,
    /// Bytes that this node reads for scans in a second, all groups together. Default 64 MiB; 1 KiB to 16 GiB.
    pub bytes_per_second: u64,
}

/// The comparison of the replicas' states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsistencyConfig {
    /// Time between two comparisons of a group's replicas (and up to a quarter of it more, by chance). Zero: never.
    /// Default 1 h; up to 1 year.
    pub interval: Duration,
}

/// Refuses an interval that nobody lives to see the end of.
fn check_interval(field: &'static str, interval: Duration) -> Result<(), Error> {
    if interval <= Duration::from_secs(366 * 86_400) {
        return Ok(());
    }
    Err(Error::Config { field, why: "must be at most 1 year" })
}

impl ScrubConfig {
    fn check(&self) -> Result<(), Error> {
        if !(1 << 10..=16 << 30).contains(&self.bytes_per_second) {
            return Err(Error::Config { field: "scrub.bytes_per_second", why: "must be 1 KiB to 16 GiB" });
        }
        check_interval("scrub.interval", self.interval)
    }
}

/// A node's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's own directory.
    pub data_dir: PathBuf,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The name that its id is made of ([`cluster_id`]), for people; another name does not count. Default `quorate`.
    pub cluster_name: Option<String>,
    /// Its id, never 0. Default 1.
    pub node: NodeId,
    /// Where it listens for other nodes; `None` opens no port and needs no peers.
    pub listen: Option<SocketAddr>,
    /// What a new cluster looks like.
    pub bootstrap: Bootstrap,
    /// Which state store. Default `lsm`.
    pub store: StoreKind,
    /// Timing.
    pub raft: RaftConfig,
    /// Sizes of the logs' files. A change counts for files that are made from then on.
    pub log: LogConfig,
    /// Snapshots.
    pub snapshots: SnapshotConfig,
    /// How groups start.
    pub cold_start: ColdStartConfig,
    /// Room on the disk.
    pub disk: DiskConfig,
    /// The groups' clocks.
    pub hlc: HlcConfig,
    /// The background scan.
    pub scrub: ScrubConfig,
    /// The comparison of the replicas' states.
    pub consistency: ConsistencyConfig,
    /// Threads that write logs. Default 4.
    pub log_writers: usize,
    /// Threads that apply. Default 2.
    pub appliers: usize,
    /// Memory the state stores of all groups may use for unflushed writes. Default 64 MiB.
    pub memtable_bytes: u64,
    /// Memory for cached blocks of the state stores. Default 32 MiB.
    pub cache_bytes: u64,
    /// How long opening waits for leaders. Default 30 s.
    pub ready_timeout: Duration,
    /// How long an operation without a deadline of its own may take. Default 5 s.
    pub deadline: Duration,
    /// How long such an operation looks for a leader, before it ends without effect. Default: none, it looks until
    /// its deadline. An operation that was handed to a leader keeps its deadline.
    pub leader_wait: Option<Duration>,
}

impl Config {
    /// Everything defaulted: one voter, no port, one group for all keys.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            cluster: cluster_id("quorate"),
            cluster_name: Some("quorate".to_owned()),
            node: NodeId(1),
            listen: None,
            bootstrap: Bootstrap { nodes: Vec::new(), ranges: vec![KeyRange::all()], replication: 3 },
            store: StoreKind::Lsm,
            raft: RaftConfig { tick: Duration::from_millis(50), heartbeat_ticks: 2, election_ticks: 10 },
            log: LogConfig::default(),
            snapshots: SnapshotConfig::default(),
            cold_start: ColdStartConfig::default(),
            disk: DiskConfig { reserve_bytes: 64 << 20, low_bytes: 32 << 20 },
            hlc: HlcConfig::default(),
            scrub: ScrubConfig { interval: Duration::from_secs(168 * 3_600), bytes_per_second: 64 << 20 },
            consistency: ConsistencyConfig { interval: Duration::from_secs(3_600) },
            log_writers: 4,
            appliers: 2,
            memtable_bytes: 64 << 20,
            cache_bytes: 32 << 20,
            ready_timeout: Duration::from_secs(30),
            deadline: Duration::from_secs(5),
            leader_wait: None,
        }
    }

    /// Refuses what cannot work, naming the field.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |field, why| Err(Error::Config { field, why });
        if self.node.get() == 0 {
            return refuse("node", "0 is not a node id");
        }
        if self.log_writers == 0 || self.appliers == 0 {
            return refuse("log_writers", "at least one thread of each kind is needed");
        }
        if self.raft.tick.is_zero() || self.raft.heartbeat_ticks == 0 {
            return refuse("raft.tick", "time must pass");
        }
        if self.raft.election_ticks <= self.raft.heartbeat_ticks {
            return refuse("raft.election_ticks", "must be more than the heartbeat's");
        }
        if self.bootstrap.ranges.is_empty() || self.bootstrap.replication == 0 {
            return refuse("bootstrap", "a cluster starts with at least one group of one replica");
        }
        if !(WINDOW_MIN..=WINDOW_MAX).contains(&self.hlc.window) {
            return refuse("hlc.window", "must be 1 s to 60 s");
        }
        self.snapshots.check()?;
        self.cold_start.check()?;
        self.disk.check()?;
        self.check_log()?;
        self.scrub.check()?;
        check_interval("consistency.interval", self.consistency.interval)?;
        self.check_nodes()
    }

    fn check_log(&self) -> Result<(), Error> {
        let LogConfig { segment_bytes, first_segment_bytes, zero_ahead_bytes } = self.log;
        let is_size = |bytes| (8 << 10..=1 << 30).contains(&bytes);
        let checks = [
            ("log.segment_bytes", is_size(segment_bytes), "must be 8 KiB to 1 GiB"),
            ("log.first_segment_bytes", is_size(first_segment_bytes), "must be 8 KiB to 1 GiB"),
            ("log.zero_ahead_bytes", zero_ahead_bytes <= 256 << 10, "must be at most 256 KiB"),
        ];
        match checks.into_iter().find(|(_, is_within, _)| !is_within) {
            Some((field, _, why)) => Err(Error::Config { field, why }),
            None => Ok(()),
        }
    }

    fn check_nodes(&self) -> Result<(), Error> {
        let refuse = |why| Err(Error::Config { field: "bootstrap.nodes", why });
        let nodes = &self.bootstrap.nodes;
        if nodes.is_empty() {
            return Ok(());
        }
        let mut ids: Vec<_> = nodes.iter().map(|node| node.node).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() != nodes.len() || ids[0].get() == 0 {
            return refuse("node ids must be distinct and not 0");
        }
        if !ids.contains(&self.node) {
            return refuse("this node is not among them");
        }
        if nodes.len() > 1 && self.listen.is_none() {
            return refuse("several nodes need a listener");
        }
        Ok(())
    }
}

/// The id of a cluster of this name: a fixed hash, so every node derives the same one.
pub fn cluster_id(name: &str) -> ClusterId {
    ClusterId(quorate_storage::ids::hash_128("quorate cluster", name.as_bytes()))
}

/// Splits the slots of Redis Cluster (a two-byte big-endian prefix below 16,384) evenly into `groups` ranges
/// that together cover every key.
pub fn slot_ranges(groups: u16) -> Vec<KeyRange> {
    prefix_ranges(groups, 16_384)
}

/// Splits all keys evenly by their first two bytes into `groups` ranges.
pub fn uniform_ranges(groups: u16) -> Vec<KeyRange> {
    prefix_ranges(groups, 65_536)
}

fn prefix_ranges(groups: u16, prefixes: u64) -> Vec<KeyRange> {
    assert!(groups > 0, "no groups cannot cover the keys");
    let bound = |at: u64| {
        let prefix = u16::try_from(at * prefixes / u64::from(groups))
            .expect("an inner bound is below the last prefix");
        Bytes::copy_from_slice(&prefix.to_be_bytes())
    };
    (0..u64::from(groups))
        .map(|at| KeyRange {
            start: if at == 0 { Bytes::new() } else { bound(at) },
            end: (at + 1 < u64::from(groups)).then(|| bound(at + 1)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_ranges_cover_every_key_once() {
        for groups in [1, 3, 8, 64] {
            let ranges = slot_ranges(groups);
            for slot in 0..16_384u16 {
                let key = slot.to_be_bytes();
                assert_eq!(ranges.iter().filter(|range| range.contains(&key)).count(), 1, "slot {slot}");
            }
            assert!(ranges[0].contains(b"") && ranges.last().unwrap().contains(b"\xff\xff"));
        }
    }

    #[test]
    fn a_config_out_of_bounds_names_its_field() {
        let mut config = Config::new("x");
        config.check().unwrap();
        config.raft.election_ticks = 2;
        assert!(config.check().unwrap_err().to_string().contains("raft.election_ticks"));
    }

    #[test]
    fn log_files_are_bounded_and_name_their_field() {
        let check = |log| Config { log, ..Config::new("x") }.check().map_err(|error| error.to_string());
        let default = LogConfig::default();
        check(LogConfig { segment_bytes: 8 << 10, zero_ahead_bytes: 0, ..default }).unwrap();
        let small = LogConfig { segment_bytes: 4 << 10, ..default };
        assert!(check(small).unwrap_err().contains("log.segment_bytes"));
        let small = LogConfig { first_segment_bytes: 0, ..default };
        assert!(check(small).unwrap_err().contains("log.first_segment_bytes"));
        let far = LogConfig { zero_ahead_bytes: 1 << 20, ..default };
        assert!(check(far).unwrap_err().contains("log.zero_ahead_bytes"));
    }

    #[test]
    fn the_window_of_leases_is_bounded() {
        let check = |millis| {
            let hlc = HlcConfig { window: Duration::from_millis(millis), ..HlcConfig::default() };
            Config { hlc, ..Config::new("x") }.check().map_err(|error| error.to_string())
        };
        check(1_000).unwrap();
        check(60_000).unwrap();
        assert!(check(999).unwrap_err().contains("hlc.window"));
        assert!(check(60_001).unwrap_err().contains("hlc.window"));
    }

    #[test]
    fn disk_room_is_bounded_and_names_its_field() {
        let tib = 1 << 40;
        let check = |reserve_bytes, low_bytes| {
            let disk = DiskConfig { reserve_bytes, low_bytes };
            Config { disk, ..Config::new("x") }.check().map_err(|error| error.to_string())
        };
        check(0, 0).unwrap();
        check(tib, tib).unwrap();
        assert!(check(tib + 1, 0).unwrap_err().contains("disk.reserve_bytes"));
        assert!(check(0, tib + 1).unwrap_err().contains("disk.low_bytes"));
    }
}
