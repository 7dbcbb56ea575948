//! What a group is started with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::cold_start::{ColdStartObserver, Policy, VerifyMode};
use quorate_storage::disk::Disk;
use quorate_storage::log::LogConfig;
use quorate_storage::payload::Unsealer;
use quorate_storage::snapshot::{SnapshotLabel, SnapshotSource};
use quorate_storage::state::{StateMachine, StateReader};
use quorate_storage::{GroupId, GroupUid, Incarnation, Index, NodeId};
use quorate_telemetry::{Clock, GroupStats, NodeStats, Rng, Workers};

use crate::actor::outbound::Outbound;
use crate::actor::scrub::ScrubBudget;
use crate::actor::snapshot_budget::SnapshotBudget;
use crate::core::CoreConfig;
use crate::disk_space::DiskSpace;
use crate::hlc::{ClockWatch, HlcConfig};

/// What all groups of a node share.
#[derive(Clone, Debug)]
pub struct GroupDeps {
    /// The node.
    pub node: NodeId,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance. Each group draws from a stream of its own.
    pub rng: Arc<dyn Rng>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Where blocking work runs.
    pub workers: GroupWorkers,
    /// The way to other nodes.
    pub outbound: Arc<dyn Outbound>,
    /// Makes the state machines.
    pub machines: Arc<dyn StateMachineFactory>,
    /// The room on the node's disk.
    pub space: Arc<DiskSpace>,
    /// What the node's groups together may do for snapshots.
    pub snapshots: Arc<SnapshotBudget>,
    /// Whether the node's wall clock is fit to lead.
    pub clock_watch: Arc<ClockWatch>,
    /// Opens payloads above the cutover.
    pub unsealer: Arc<dyn Unsealer>,
    /// Where they record how long things take.
    pub stats: Arc<NodeStats>,
    /// What they may read to find out what has rotten.
    pub scrub: Arc<ScrubBudget>,
}

/// One pool for each kind of work, so that none waits behind another. Several may be the same pool.
#[derive(Clone, Debug)]
pub struct GroupWorkers {
    /// Log writes: short, synced.
    pub log: Arc<dyn Workers>,
    /// Applies and installed snapshots, keyed by group.
    pub apply: Arc<dyn Workers>,
    /// Reads of state and of old log entries.
    pub read: Arc<dyn Workers>,
    /// Snapshots, compaction, and other long work.
    pub background: Arc<dyn Workers>,
    /// Opening groups: as many at one time as it has threads. Short: what a start that restores nothing does.
    pub open: Arc<dyn Workers>,
    /// What of a start takes as long as the state is large: restores, and reading whole snapshots.
    pub restore: Arc<dyn Workers>,
}

/// Makes the state machine of a group.
pub trait StateMachineFactory: fmt::Debug + Send + Sync + 'static {
    /// Opens the state in [`StateContext::dir`], or makes an empty one. Called on a worker; may block, must not
    /// read the whole data.
    ///
    /// # Errors
    /// The group's start then restores from its snapshot where the store can be rebuilt, or is refused.
    fn open(&self, context: &StateContext) -> quorate_storage::Result<Box<dyn StateMachine>>;

    /// The judgement of [`StateMachine::check`], without a state machine: run on the caller's task before a
    /// command is proposed. Pure, cheap.
    ///
    /// # Errors
    /// Whatever `apply` would halt on.
    fn check(&self, body: &Bytes) -> quorate_storage::Result<()>;

    /// Whether a command, if it has an effect, only ever frees space: such commands are taken when the disk is full.
    /// Pure, cheap; asked about checked commands only.
    fn frees_space(&self, body: &Bytes) -> bool {
        let _ = body;
        false
    }

    /// Whether a received snapshot is one the state machine can be restored from: read to its end, the file verifies
    /// itself on the way; what else its `label` promises (the digest) is for the state machine to check. Called on a
    /// worker before raft hears of the snapshot; changes nothing. `file` is for the error only.
    ///
    /// # Errors
    /// A corruption puts the file aside, and another snapshot is asked for.
    fn verify_snapshot(
        &self,
        source: &mut dyn SnapshotSource,
        label: &SnapshotLabel,
        file: &Path,
    ) -> quorate_storage::Result<()> {
        let _ = (label, file);
        while source.next_record()?.is_some() {}
        Ok(())
    }
}

/// Where a state machine lives and whose it is.
#[derive(Clone, Debug)]
pub struct StateContext {
    /// The group.
    pub group: GroupId,
    /// The group's identity.
    pub uid: GroupUid,
    /// The replica's directory, to be stored in the applied record.
    pub incarnation: Incarnation,
    /// The state machine's own directory (it may not exist yet).
    pub dir: PathBuf,
}

/// Told of every applied batch, on the apply worker, before its proposals are answered. Must be quick.
pub trait AppliedListener: fmt::Debug + Send + Sync + 'static {
    /// `reader` shows the state at `through` or later. Called once at start, then after each batch and restore.
    fn applied(&self, through: Index, reader: &dyn StateReader);
}

/// How a group behaves. The defaults are those of a production node.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// One tick of raft's clock. 1 ms to 1 s.
    pub tick: Duration,
    /// Raft's timing in ticks, and its budgets.
    pub core: CoreConfig,
    /// Requests (and, apart, messages) that may wait in the mailbox.
    pub mailbox_inputs_max: u64,
    /// Bytes of the requests among them. (Messages may take as much as a leader sends without an answer.)
    pub mailbox_bytes_max: u64,
    /// Bytes queued for the log writer and the applier above which requests wait in the mailbox and appends of
    /// a leader are dropped.
    pub backlog_bytes_max: u64,
    /// Largest command in bytes.
    pub command_bytes_max: u64,
    /// Bytes of payload after which an apply batch ends.
    pub apply_bytes_max: u64,
    /// Entries after which an apply batch ends.
    pub apply_entries_max: usize,
    /// Sizes of the log's files.
    pub log: LogConfig,
    /// How long the log must be idle before its tail is proven.
    pub proof_delay: Duration,
    /// When snapshots are taken, and what is kept.
    pub snapshots: SnapshotConfig,
    /// When the replica looks after what it keeps.
    pub background: BackgroundConfig,
    /// When a start trusts the state it finds, and who hears of it.
    pub cold_start: ColdStartConfig,
    /// How the clock is leased.
    pub hlc: HlcConfig,
}

/// When a replica looks after what it keeps, without being asked.
#[derive(Clone, Copy, Debug)]
pub struct BackgroundConfig {
    /// Time between two scans of all that a replica keeps (and up to a quarter of it more, by chance). Zero: never.
    /// Default 168 h.
    pub scrub_interval: Duration,
    /// Time between two comparisons of the replicas' states (and up to a quarter of it more, by chance). Zero: never.
    /// Default 1 h.
    pub consistency_interval: Duration,
    /// When its store is built anew.
    pub bloat: BloatConfig,
}

/// When a store takes so much more room than what it holds that it is built anew: its files exceed `factor` times its
/// live bytes, and `slack_bytes`.
#[derive(Clone, Copy, Debug)]
pub struct BloatConfig {
    /// Time between two looks at it (and up to a quarter of it more, by chance). Zero: never. Default 10 min.
    pub interval: Duration,
    /// Default 4; at least 1.
    pub factor: u64,
    /// Default 64 MiB.
    pub slack_bytes: u64,
}

impl Default for BloatConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(600), factor: 4, slack_bytes: 64 << 20 }
    }
}

impl Default for BackgroundConfig {
    fn default() -> Self {
        Self {
            scrub_interval: Duration::from_secs(168 * 3_600),
            consistency_interval: Duration::from_secs(3_600),
            bloat: BloatConfig::default(),
        }
    }
}

/// When a start trusts the state it finds, what it reads of a snapshot it does not restore, and who hears of it.
#[derive(Clone, Debug, Default)]
pub struct ColdStartConfig {
    /// When a state that is as fresh as the newest snapshot is good enough.
    pub policy: Policy,
    /// What is read of the newest snapshot where the start skips its restore.
    pub verify: VerifyMode,
    /// Told of every start that succeeded, once. Must not block.
    pub observer: Option<Arc<dyn ColdStartObserver>>,
}

/// When snapshots are taken, what is kept of them and of the log, and how they travel. What the groups of a node share
/// is in [`crate::actor::SnapshotBudgetConfig`].
#[derive(Clone, Debug)]
pub struct SnapshotConfig {
    /// A snapshot is due when the log behind the last one takes more bytes than this, or than half the newest
    /// snapshot, whichever is more (and up to a quarter of that, by chance). Default 16 MiB; at least 1 byte.
    pub log_bytes_min: u64,
    /// Also due after this time if data has changed (and up to a quarter of it, by chance). A restart counts anew.
    /// Default 24 h; at least 1 s.
    pub age_max: Duration,
    /// Also due after this many entries. For tests. Default: none.
    pub entries: Option<u64>,
    /// Entries kept in the log behind the newest snapshot, for followers that lag a little. Default 4,096.
    pub trailing_entries: u64,
    /// Bytes of log that are kept behind the newest snapshot for `trailing_entries` and slow followers. (What follows
    /// the second newest snapshot is kept in any case.) Default 64 MiB.
    pub trailing_bytes: u64,
    /// A follower that was not heard of for this long no longer holds the log. Default 60 s.
    pub follower_grace: Duration,
    /// Snapshot files kept, as far as they take no more than three times the newest. Default 3; at least 2.
    pub kept: usize,
    /// Bytes of a file in one transfer request. Default 256 KiB; at most 4 MiB.
    pub chunk_bytes: u32,
    /// For a whole transfer, beside the time its bytes take at the node's rate; and for a receiver to hear of its
    /// sender before it gives up. Default 60 s; at least 1 s.
    pub send_deadline: Duration,
    /// Largest file that is received. Default 1 TiB.
    pub file_bytes_max: u64,
    /// Bytes of the disk that a snapshot must leave free. Default 64 MiB.
    pub reserve_bytes: u64,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(50),
            core: CoreConfig::default(),
            mailbox_inputs_max: 1_024,
            mailbox_bytes_max: 4 << 20,
            backlog_bytes_max: 32 << 20,
            command_bytes_max: 9 << 20,
            apply_bytes_max: 1 << 20,
            apply_entries_max: 4_096,
            log: LogConfig::default(),
            proof_delay: Duration::from_millis(10),
            snapshots: SnapshotConfig::default(),
            background: BackgroundConfig::default(),
            cold_start: ColdStartConfig::default(),
            hlc: HlcConfig::default(),
        }
    }
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
            chunk_bytes: 256 << 10,
            send_deadline: Duration::from_secs(60),
            file_bytes_max: 1 << 40,
            reserve_bytes: 64 << 20,
        }
    }
}

/// Which group to start.
#[derive(Clone, Debug)]
pub struct StartSpec {
    /// The group.
    pub group: GroupId,
    /// The replica's directory: `<data>/groups/<group>`.
    pub dir: PathBuf,
    /// How it behaves.
    pub config: GroupConfig,
    /// Campaign at once: the first voter of a new group, so that it has a leader without waiting for a timeout.
    pub campaigns_at_once: bool,
    /// Where it counts; shared with the node's collector.
    pub stats: Arc<GroupStats>,
    /// Told of every applied batch.
    pub listener: Option<Arc<dyn AppliedListener>>,
    /// Nobody else is known to have a replica of the group: what is lost here nobody can give back.
    pub is_alone: bool,
    /// The store was found rotten: whatever it says of itself, the state is restored from snapshot and log.
    pub store_is_rotten: bool,
}
