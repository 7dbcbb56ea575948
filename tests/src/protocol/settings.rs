//! The size of a simulated world, and how its groups behave.

use std::path::PathBuf;
use std::time::Duration;

use quorate_shard::actor::{GroupConfig, SnapshotConfig};
use quorate_shard::core::CoreConfig;
use quorate_storage::cold_start::Policy;
use quorate_storage::log::LogConfig;
use quorate_storage::{GroupId, GroupUid};

/// Nodes.
pub const NODES: usize = 3;
/// Groups, each with a replica on every node.
pub const GROUPS: u64 = 4;
/// Clients.
pub(crate) const CLIENTS: usize = 8;
/// Operations of all clients together.
pub const OPERATIONS: u64 = 1_000;
/// Keys of a group.
pub(crate) const KEYS: u64 = 5;
/// One tick of raft's clock.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// Groups' wall clocks begin here, since the Unix epoch.
pub(crate) const EPOCH: Duration = Duration::from_secs(1_700_000_000);
/// Entries between two snapshots of a replica.
pub(crate) const SNAPSHOT_ENTRIES: u64 = 40;
/// Bytes of one piece of a snapshot on the network.
pub(crate) const CHUNK_BYTES: usize = 1_024;
/// The log is proven when it was idle for so long.
pub(crate) const PROOF_DELAY: Duration = Duration::from_millis(10);

/// The groups.
pub(crate) fn groups() -> impl Iterator<Item = GroupId> {
    (1..=GROUPS).map(GroupId)
}

pub(crate) fn uid(group: GroupId) -> GroupUid {
    GroupUid((u128::from(group.get()) << 64 | 0x51).to_le_bytes())
}

/// Where a group's replica lives on its node's disk.
pub(crate) fn dir(group: GroupId) -> PathBuf {
    PathBuf::from(format!("/data/groups/{group}"))
}

/// Small in everything, so that a short run passes every boundary.
pub(crate) fn config(policy: Policy) -> GroupConfig {
    let core = CoreConfig {
        election_ticks_min: 5,
        election_ticks_max: 10,
        heartbeat_ticks: 1,
        append_bytes_max: 4 << 10,
        append_inflight_max: 16,
        uncommitted_bytes_max: 64 << 10,
        committed_bytes_max: 2 << 10,
        applying_bytes_max: 16 << 10,
        tail_bytes_max: 1 << 10,
        lag_entries_max: 100,
        ..CoreConfig::default()
    };
    let mut config = GroupConfig {
        tick: TICK,
        core,
        apply_entries_max: 16,
        log: LogConfig { segment_bytes: 128 << 10, first_segment_bytes: 32 << 10, zero_ahead_bytes: 0 },
        snapshots: SnapshotConfig {
            entries: Some(SNAPSHOT_ENTRIES),
            trailing_entries: 10,
            trailing_bytes: 64 << 10,
            follower_grace: Duration::from_secs(5),
            kept: 2,
            send_deadline: Duration::from_secs(10),
            reserve_bytes: 4 << 10,
            ..SnapshotConfig::default()
        },
        ..GroupConfig::default()
    };
    config.cold_start.policy = policy;
    config
}
