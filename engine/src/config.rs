//! How a node is set up. Every field has a default and a bound; [`Config::check`] names what is out of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::kv::StoreKind;
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

/// When a group publishes a snapshot.
#[derive(Clone, Debug)]
pub struct SnapshotConfig {
    /// Bytes of log since the last one, at least. Default 16 MiB.
    pub log_bytes_min: u64,
    /// Entries since the last one; overrides the bytes. For tests. Default: none.
    pub entries: Option<u64>,
    /// Entries that stay in the log behind a snapshot, so that a short lag needs none. Default 4,096.
    pub trailing_entries: u64,
}

/// The room that is kept on the data directory's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    /// Bytes of a file that is given back to the file system when the disk is almost full, so that raft's own
    /// bookkeeping, deletes and compaction can go on. 0 for none. Default 64 MiB.
    pub reserve_bytes: u64,
    /// Free bytes below which writes are refused. 0: never refused. They are taken again once twice as much is free
    /// beside the reserve. Default 32 MiB.
    pub low_bytes: u64,
}

/// A node's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's own directory.
    pub data_dir: PathBuf,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
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
    /// Snapshots.
    pub snapshots: SnapshotConfig,
    /// Room on the disk.
    pub disk: DiskConfig,
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
}

impl Config {
    /// Everything defaulted: one voter, no port, one group for all keys.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            cluster: cluster_id("quorate"),
            node: NodeId(1),
            listen: None,
            bootstrap: Bootstrap { nodes: Vec::new(), ranges: vec![KeyRange::all()], replication: 3 },
            store: StoreKind::Lsm,
            raft: RaftConfig { tick: Duration::from_millis(50), heartbeat_ticks: 2, election_ticks: 10 },
            snapshots: SnapshotConfig { log_bytes_min: 16 << 20, entries: None, trailing_entries: 4_096 },
            disk: DiskConfig { reserve_bytes: 64 << 20, low_bytes: 32 << 20 },
            log_writers: 4,
            appliers: 2,
            memtable_bytes: 64 << 20,
            cache_bytes: 32 << 20,
            ready_timeout: Duration::from_secs(30),
            deadline: Duration::from_secs(5),
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
        self.check_nodes()
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
}
