//! The numbers of one group.

use super::group_state::StateCell;
use super::quarantine::ReasonCell;
use super::{ColdStarts, Count, GroupState, Level, OutcomeCounts, QuarantineReason};

/// The numbers of one replica, touched by its actor, its log writer and its applier. Those three write to different
/// parts, each on cache lines of its own, so that they do not slow each other down.
///
/// It is handed out by the [collector](crate::collector::Collector::register) and outlives the group's actor: counts
/// go on when the group comes back.
#[derive(Debug, Default)]
pub struct GroupStats {
    state: StateCell,
    quarantined_for: ReasonCell,
    /// Written by the actor.
    pub raft: RaftStats,
    /// Written by the actor and by callers.
    pub requests: RequestStats,
    /// Written by the log writer.
    pub log: LogStats,
    /// Written by the applier.
    pub apply: ApplyStats,
    /// Written by whoever publishes or installs a snapshot.
    pub snapshots: SnapshotStats,
    /// Written by the background scan.
    pub scrub: ScrubStats,
    /// Written by whoever looks after the store's room.
    pub store: StoreStats,
    /// Written by the leader that compares the replicas.
    pub consistency: ConsistencyStats,
    /// Written once per start.
    pub cold_starts: ColdStarts,
}

/// What raft says.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct RaftStats {
    /// The current term.
    pub term: Level,
    /// Replica id of the leader; 0 when none is known.
    pub leader: Level,
    /// The commit index.
    pub commit: Level,
    /// Index of the first entry in the log.
    pub first: Level,
    /// Index of the last entry in the log.
    pub last: Level,
    /// How often this replica saw a leader it had not followed before.
    pub leader_changes: Count,
    /// Leases of the hybrid logical clock that this replica proposed as leader.
    pub leases: Count,
}

/// What callers asked for.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct RequestStats {
    /// Proposals taken and not answered yet.
    pub pending_proposals: Level,
    /// Proposals answered, by how they ended.
    pub proposals: OutcomeCounts,
    /// Reads answered, by how they ended.
    pub reads: OutcomeCounts,
    /// Timestamps given, and remote ones merged.
    pub timestamps: Count,
    /// Requests for that which were not met.
    pub timestamps_refused: Count,
}

/// What the log writer did.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct LogStats {
    /// Entries made durable.
    pub appended_entries: Count,
    /// Bytes written to log files, padding and headers included.
    pub written_bytes: Count,
    /// Batches written; each is one write and one sync.
    pub batches: Count,
    /// Unproven last batches cut at a start.
    pub torn_batches: Count,
    /// Unreadable entries that were fetched from other replicas.
    pub repaired_entries: Count,
    /// Unreadable entries, and what followed them, that were dropped because they cannot have been committed.
    pub dropped_entries: Count,
    /// Bytes of log files on disk now.
    pub bytes: Level,
}

/// What the applier did.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct ApplyStats {
    /// The applied index. Invariant: at most the commit index, unless read while both move.
    pub applied: Level,
    /// The index up to which the state machine is durable.
    pub durable: Level,
    /// Entries applied.
    pub entries: Count,
    /// The ceiling of the hybrid logical clock as of the applied index.
    pub hlc_ceiling: Level,
    /// Batches applied; each is one atomic batch of the store.
    pub batches: Count,
    /// Entries at or below the floor that were dropped as duplicates.
    pub duplicates_dropped: Count,
    /// Volatile entries replayed by the cold-start gate.
    pub volatile_replayed: Count,
}

/// Bits of a timestamp below its milliseconds.
const LOGICAL_BITS: u32 = 16;

impl ApplyStats {
    /// The ceiling in whole seconds of Unix time.
    pub fn hlc_ceiling_seconds(&self) -> u64 {
        (self.hlc_ceiling.get() >> LOGICAL_BITS) / 1_000
    }
}

/// What became of snapshots.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct SnapshotStats {
    /// Index of the newest snapshot.
    pub index: Level,
    /// Snapshots published.
    pub published: Count,
    /// Received snapshots installed.
    pub installed: Count,
    /// Snapshots that could not be published, sent, received or installed.
    pub failed: Count,
    /// Snapshot files found corrupt: read back after they were written, or received.
    pub corrupt: Count,
    /// Snapshots that were not begun because there was no room, or no place among those received at one time.
    pub refused: Count,
    /// Bytes of snapshots sent to other replicas.
    pub sent_bytes: Count,
    /// Bytes of snapshots received from other replicas.
    pub received_bytes: Count,
    /// Transfers that went on after a broken connection.
    pub resumed: Count,
    /// Times the replica came to wait for a snapshot of another one, because it had no intact one that its log reaches.
    pub waits: Count,
}

/// What the background scan came to.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct ScrubStats {
    /// Scans that found the state whole.
    pub completed: Count,
    /// When the latest of them ended, in seconds since the Unix epoch; 0 before the first.
    pub completed_at_seconds: Level,
    /// Scans broken off: the state was replaced, or the node stopped.
    pub interrupted: Count,
    /// Stores found rotten.
    pub rotten: Count,
    /// Bytes read.
    pub bytes: Count,
}

/// The room that the state store takes.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct StoreStats {
    /// Bytes of its files, as of the latest look.
    pub disk_bytes: Level,
    /// Bytes of the keys and values in it, as of the latest look.
    pub live_bytes: Level,
    /// Bloated stores that were built anew.
    pub rebuilt: Count,
    /// Rebuilds given up because too much was applied meanwhile.
    pub rebuilds_overtaken: Count,
    /// Rebuilds that failed: no room, an error, or a new store that did not give back what was written.
    pub rebuilds_failed: Count,
}

/// What comparisons of the replicas came to.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct ConsistencyStats {
    /// Comparisons.
    pub checks: Count,
    /// Those that had fewer than two states to compare.
    pub unverified: Count,
    /// Those in which a majority proved others wrong.
    pub diverged: Count,
    /// Those in which states differed without a majority.
    pub divided: Count,
}

impl GroupStats {
    /// The state the replica is in.
    pub fn state(&self) -> GroupState {
        self.state.get()
    }

    /// Tells the state the replica is in from now on.
    pub fn set_state(&self, state: GroupState) {
        self.state.set(state);
    }

    /// Tells that the replica is quarantined, and why.
    pub fn set_quarantined(&self, reason: QuarantineReason) {
        self.quarantined_for.set(reason);
        self.state.set(GroupState::Quarantined);
    }

    /// Why the replica is quarantined, if it is.
    pub fn quarantine_reason(&self) -> Option<QuarantineReason> {
        self.quarantined_for.get().filter(|_| self.is_quarantined())
    }

    /// Whether this replica leads.
    pub fn is_leader(&self) -> bool {
        self.state() == GroupState::Leader
    }

    /// Whether this replica is quarantined.
    pub fn is_quarantined(&self) -> bool {
        self.state() == GroupState::Quarantined
    }

    /// Entries committed and not applied yet.
    pub fn apply_lag(&self) -> u64 {
        self.raft.commit.get().saturating_sub(self.apply.applied.get())
    }
}
