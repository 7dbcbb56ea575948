//! What goes wrong, and when: plain data, so that a schedule can be kept, run again, and made smaller.

use serde::{Deserialize, Serialize};

use super::settings::OPERATIONS;

/// Everything that decides a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Decides latencies, election timeouts, what clients do, what survives a crash.
    pub seed: u64,
    /// Simulated seconds under faults.
    pub seconds: u64,
    /// Operations of all clients.
    pub operations: u64,
    /// In the order of their times.
    pub faults: Vec<Planned>,
}

/// A fault and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Milliseconds since the beginning.
    pub at_ms: u64,
    /// What happens.
    pub fault: Fault,
}

/// What survives of what a disk was not asked to sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keeps {
    /// Everything: only the process dies.
    All,
    /// Nothing.
    Synced,
    /// Some sectors of each write, and some names.
    Sectors,
    /// Some pages of each write, and some names.
    Pages,
}

/// One fault. Nodes are counted from 0, groups from 1. A fault that must not happen now, because too much is broken
/// already for a majority to survive it, does not; then it has not fired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names of the fields say what they are; times are how long it lasts")]
pub enum Fault {
    /// A node dies and comes back.
    Crash { node: usize, keeps: Keeps, down_ms: u64 },
    /// All nodes die at once and come back, each at a time of its own.
    CrashAll { keeps: Keeps, down_ms: u64 },
    /// A node loses power within a call of its disk, so many calls from now.
    PowerCut { node: usize, calls: u64, keeps: Keeps, down_ms: u64 },
    /// A node is cut off from the others.
    Isolate { node: usize, ms: u64 },
    /// A node hears nothing of the others, who hear it.
    Deafen { node: usize, ms: u64 },
    /// Nothing gets from one node to another; everything does the other way.
    CutOneWay { from: usize, to: usize, ms: u64 },
    /// Two nodes are cut off from each other; the third has both.
    CutPair { one: usize, other: usize, ms: u64 },
    /// Packets get lost.
    Loss { permille: u64, ms: u64 },
    /// Packets take up to so long, and overtake each other.
    Delay { max_ms: u64, ms: u64 },
    /// Packets arrive twice.
    Duplicate { permille: u64, ms: u64 },
    /// A leader is told to hand over.
    Transfer { group: u64 },
    /// A replica publishes a snapshot.
    Snapshot { node: usize, group: u64 },
    /// A node loses its disk: each of its replicas is replaced by a new one.
    WipeNode { node: usize },
    /// A replica's directory is lost: it is replaced by a new one.
    WipeReplica { node: usize, group: u64 },
    /// A replica is removed from its group, and a new one added.
    Replace { node: usize, group: u64 },
    /// A disk is slow.
    SlowDisk { node: usize, ms: u64 },
    /// A disk has room for so much more.
    DiskFull { node: usize, room_kib: u64, ms: u64 },
    /// The next sync of a replica's files fails.
    FailSync { node: usize, group: u64, files: Files },
    /// The next write of a replica's files fails, or writes its first half and fails.
    FailWrite { node: usize, group: u64, files: Files, is_short: bool },
    /// Syncs do nothing, and say that they have. Nothing acknowledged may be lost for it: so nothing else of the node's
    /// groups is damaged meanwhile, only processes die of it, and at the end whoever found out replaces all its replicas.
    LyingDisk { node: usize, ms: u64 },
    /// A replica's store cannot be read at its next start, which is now.
    ReadFails { node: usize, group: u64 },
    /// A replica's store is gone.
    StateLost { node: usize, group: u64 },
    /// A replica's store as it is now is put back later.
    StateBack { node: usize, group: u64, ms: u64 },
    /// A replica is given the store of another one of its group.
    ForeignState { node: usize, group: u64, from: usize },
    /// A replica's store is found rotten.
    RottenStore { node: usize, group: u64 },
    /// A replica's store and snapshots are gone.
    SnapshotsLost { node: usize, group: u64 },
    /// The end of a replica's log is taken away: it must refuse to start, and is replaced.
    CutLog { node: usize, group: u64, cut: Cut },
    /// A bit of a replica's log flips at rest; its store may be lost with it, so that what has rotted is needed. It is
    /// fetched of others, or the replica is replaced.
    RotLog { node: usize, group: u64, loses_state: bool },
    /// A bit of one of a replica's snapshots flips at rest; its store may be lost with it.
    RotSnapshot { node: usize, group: u64, loses_state: bool },
    /// A wall clock is set.
    ClockJump { node: usize, by_ms: i64 },
    /// A node's process stands still.
    Freeze { node: usize, ms: u64 },
    /// The disks of all nodes lie from now on. Beyond what a group survives, and never drawn: to see that what is lost then
    /// is found out.
    AllDisksLie,
    /// A node's clock ticks faster, or slower.
    Skew { node: usize, ppm: i64, ms: u64 },
}

/// Some of a replica's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Files {
    /// The log.
    Log,
    /// The store.
    State,
    /// Snapshots.
    Snapshots,
}

/// How the end of a log is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cut {
    /// Behind it stands a hard state that knows more to be committed.
    BelowCommit,
    /// Behind it stands a state that holds more.
    BelowState,
    /// And other entries stand there now.
    Rewritten,
}

impl Fault {
    /// What counts it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Crash { keeps: Keeps::All, .. } => "process crash",
            Self::Crash { keeps: Keeps::Synced, .. } => "power cut",
            Self::Crash { .. } => "power cut, torn writes",
            Self::CrashAll { .. } => "all nodes at once",
            Self::PowerCut { .. } => "power cut within a call",
            Self::Isolate { .. } => "partition",
            Self::Deafen { .. } => "asymmetric partition",
            Self::CutOneWay { .. } => "one-way cut",
            Self::CutPair { .. } => "partial partition",
            Self::Loss { .. } => "packet loss",
            Self::Delay { .. } => "delay and reordering",
            Self::Duplicate { .. } => "duplicates",
            Self::Transfer { .. } => "leader transfer",
            Self::Snapshot { .. } => "snapshot",
            Self::WipeNode { .. } => "node wiped",
            Self::WipeReplica { .. } => "replica wiped",
            Self::Replace { .. } => "membership change",
            Self::SlowDisk { .. } => "slow disk",
            Self::DiskFull { .. } => "disk full",
            Self::FailSync { .. } => "sync failure",
            Self::FailWrite { is_short: false, .. } => "write failure",
            Self::FailWrite { is_short: true, .. } => "short write",
            Self::LyingDisk { .. } => "lying sync",
            Self::ReadFails { .. } => "read failure",
            Self::StateLost { .. } => "store lost",
            Self::StateBack { .. } => "old store put back",
            Self::ForeignState { .. } => "another replica's store",
            Self::RottenStore { .. } => "rotten store",
            Self::SnapshotsLost { .. } => "store and snapshots lost",
            Self::CutLog { .. } => "log cut",
            Self::RotLog { .. } => "bit rot in the log",
            Self::RotSnapshot { .. } => "bit rot in a snapshot",
            Self::AllDisksLie => "all disks lie",
            Self::ClockJump { .. } => "clock jump",
            Self::Freeze { .. } => "freeze",
            Self::Skew { .. } => "clock skew",
        }
    }

    /// How long it lasts, if it does.
    pub fn lasts_ms(&self) -> Option<u64> {
        match *self {
            Self::Isolate { ms, .. }
            | Self::Deafen { ms, .. }
            | Self::CutOneWay { ms, .. }
            | Self::CutPair { ms, .. }
            | Self::Loss { ms, .. }
            | Self::Delay { ms, .. }
            | Self::Duplicate { ms, .. }
            | Self::SlowDisk { ms, .. }
            | Self::DiskFull { ms, .. }
            | Self::LyingDisk { ms, .. }
            | Self::StateBack { ms, .. }
            | Self::Skew { ms, .. } => Some(ms),
            _ => None,
        }
    }
}

impl Schedule {
    /// A run without faults.
    pub fn calm(seed: u64, seconds: u64) -> Self {
        Self { seed, seconds, operations: OPERATIONS, faults: Vec::new() }
    }
}
