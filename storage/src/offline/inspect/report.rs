//! What an inspection tells: plain numbers and texts, for tables and for JSON. Fields are only ever added.

use std::path::PathBuf;

use serde::Serialize;

use crate::entry::{ConfState, EntryId};
use crate::identity::Divergence;
use crate::ids::ReplicaId;
use crate::offline::Finding;
use crate::offline::finding::lossy;
use crate::state::StateDigest;

/// A data directory.
#[derive(Clone, Debug, Serialize)]
pub struct InspectReport {
    /// The directory.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// Whose it is; `None` if the node file cannot be read.
    pub node: Option<NodeReport>,
    /// Every group that has a directory, ascending.
    pub groups: Vec<GroupReport>,
    /// What could not be read.
    pub findings: Vec<Finding>,
}

/// The node file.
#[derive(Clone, Debug, Serialize)]
pub struct NodeReport {
    /// The node.
    pub node: u64,
    /// The cluster, in hex.
    pub cluster: String,
    /// The directory's own identity, in hex.
    pub incarnation: String,
}

/// A group's directory.
#[derive(Clone, Debug, Serialize)]
pub struct GroupReport {
    /// The group.
    pub group: u64,
    /// Who lives there; `None` if the replica file is not there (nobody completed moving in) or cannot be read.
    pub replica: Option<ReplicaReport>,
    /// That its state was proven wrong; it does not start then.
    pub diverged: Option<DivergenceReport>,
    /// What a start would find in the log; `None` if it would refuse it.
    pub log: Option<LogReport>,
    /// The log's files, oldest first.
    pub segments: Vec<SegmentReport>,
    /// Files in the snapshot directory.
    pub snapshots: Vec<SnapshotReport>,
    /// Generations of the state, ascending.
    pub generations: Vec<GenerationReport>,
    /// What the cold-start gate would do; `None` if it would not be asked, or too little is known.
    pub cold_start: Option<GateReport>,
}

/// The replica file.
#[derive(Clone, Debug, Serialize)]
pub struct ReplicaReport {
    /// The group's identity, in hex.
    pub uid: String,
    /// Raft's id of the replica.
    pub replica: u64,
    /// The directory's own identity, in hex.
    pub incarnation: String,
    /// It was removed for ever.
    pub is_tombstone: bool,
}

/// The mark of a replica that a majority of its group proved wrong.
#[derive(Clone, Debug, Serialize)]
pub struct DivergenceReport {
    /// The file.
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// The applied index that was compared.
    pub index: u64,
    /// The digest of this replica's state there, in hex.
    pub own: String,
    /// That of the majority's, in hex.
    pub majority: String,
}

/// A position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PositionReport {
    /// Term of the entry.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

/// A log as a start would find it.
#[derive(Clone, Debug, Serialize)]
pub struct LogReport {
    /// The position before the first entry.
    pub base: PositionReport,
    /// First index.
    pub first: u64,
    /// The last entry; the base if there is none.
    pub last: PositionReport,
    /// First index and term of each run of equal terms.
    pub terms: Vec<PositionReport>,
    /// Indexes of conf changes.
    pub conf_changes: Vec<u64>,
    /// The newest hard state.
    pub hard_state: HardStateReport,
    /// Snapshots that the log records, oldest first.
    pub snapshots: Vec<TokenReport>,
    /// Whether the log was stopped cleanly.
    pub is_clean: bool,
    /// Batches that a start would cut: 0 or 1.
    pub torn_batches: u64,
}

/// A hard state.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct HardStateReport {
    /// Highest term seen.
    pub term: u64,
    /// Who got the vote in it.
    pub vote: Option<u64>,
    /// Highest index known to be committed.
    pub commit: u64,
}

/// A snapshot as the log records it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TokenReport {
    /// The last entry in it.
    pub applied: PositionReport,
    /// Size of its file.
    pub bytes: u64,
    /// Its file's footer, in decimal.
    pub crc: u32,
}

/// A file of the log.
#[derive(Clone, Debug, Serialize)]
pub struct SegmentReport {
    /// The file.
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// Its number.
    pub number: u64,
    /// `sealed`, `closed` (without a seal), `open` or `leftover` (without a use).
    pub role: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Sequence of its first batch.
    pub first_sequence: u64,
    /// Batches in it.
    pub batches: u64,
    /// Lowest index of an entry in it, truncated ones included.
    pub first: Option<u64>,
    /// Highest index of an entry in it, truncated ones included.
    pub last: Option<u64>,
    /// Whether all of it is proven; else all but the last batch.
    pub is_proven: bool,
    /// Where a batch starts that was never proven whole.
    pub torn_at: Option<u64>,
    /// Truncations: the last entry that stayed.
    pub truncations: Vec<PositionReport>,
    /// Compactions: the last entry that went.
    pub compactions: Vec<PositionReport>,
    /// Snapshot records.
    pub snapshots: Vec<SnapshotRecordReport>,
    /// The newest hard state in it.
    pub hard_state: Option<HardStateReport>,
}

/// A snapshot record in the log.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SnapshotRecordReport {
    /// What it records.
    pub token: TokenReport,
    /// Whether the log was reset to it.
    pub is_installed: bool,
}

/// A file in the snapshot directory.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotReport {
    /// The file.
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// `usable` (recorded, of the right size), `wrong_size`, `orphan` (not recorded), or for other files their
    /// kind: `writing`, `receiving`, `bad`, `other`. The log records a file that is `missing`.
    pub status: &'static str,
    /// Its checksum as the log records it, or its footer if it does not.
    pub crc: Option<u32>,
    /// What it says it holds.
    pub label: Option<RecordReport>,
}

/// An applied record.
#[derive(Clone, Debug, Serialize)]
pub struct RecordReport {
    /// The last entry applied.
    pub applied: PositionReport,
    /// The membership.
    pub conf_state: ConfStateReport,
    /// The state digest, in hex.
    pub digest: String,
    /// The directory the record was written in, in hex.
    pub incarnation: String,
    /// Ceiling of the hybrid logical clock.
    pub hlc_ceiling: u64,
    /// Index strictly above which payloads are encrypted.
    pub cutover: Option<u64>,
    /// Counts how often the group's range changed.
    pub range_epoch: u64,
    /// Counts how often its membership changed.
    pub conf_epoch: u64,
}

/// A membership, as ids of replicas.
#[derive(Clone, Debug, Serialize)]
pub struct ConfStateReport {
    /// Voters.
    pub voters: Vec<u64>,
    /// Voters of the outgoing configuration.
    pub voters_outgoing: Vec<u64>,
    /// Learners.
    pub learners: Vec<u64>,
    /// Outgoing voters that become learners.
    pub learners_next: Vec<u64>,
}

/// One generation of a state.
#[derive(Clone, Debug, Serialize)]
pub struct GenerationReport {
    /// Its directory.
    #[serde(serialize_with = "lossy")]
    pub dir: PathBuf,
    /// `current`, `old` (replaced) or `unfinished`: the next start removes the last two.
    pub status: &'static str,
    /// Bytes of its files.
    pub bytes: u64,
    /// `lsm`, `sled` or `memory`; `None` for an empty directory.
    pub store: Option<&'static str>,
    /// What it holds, as its marker says.
    pub record: Option<RecordReport>,
    /// Live records, as its marker says.
    pub records: Option<u64>,
    /// Bytes of their keys and values.
    pub record_bytes: Option<u64>,
    /// Whether a start would count on what it holds.
    pub is_trusted: Option<bool>,
    /// Why its marker was not read.
    pub not_inspected: Option<String>,
}

/// What the cold-start gate would decide, with the default policy.
#[derive(Clone, Debug, Serialize)]
pub struct GateReport {
    /// `skipped`, `executed`, `fallback` or `refused`.
    pub outcome: &'static str,
    /// Why, for a fallback or a refusal; else `none`.
    pub reason: &'static str,
    /// The position from which raft would go on.
    pub floor: PositionReport,
    /// Index of the snapshot that would be restored.
    pub restore_from: Option<u64>,
    /// The store's applied index.
    pub held: Option<u64>,
    /// Index of the newest usable snapshot.
    pub snapshot: Option<u64>,
    /// Commit index of the hard state.
    pub commit: u64,
}

impl DivergenceReport {
    pub(super) fn of(file: PathBuf, found: &Divergence) -> Self {
        let hex = |digest: StateDigest| format!("{:032x}", digest.0);
        Self { file, index: found.index.get(), own: hex(found.own), majority: hex(found.majority) }
    }
}

impl From<EntryId> for PositionReport {
    fn from(id: EntryId) -> Self {
        Self { term: id.term.get(), index: id.index.get() }
    }
}

impl From<&ConfState> for ConfStateReport {
    fn from(conf: &ConfState) -> Self {
        let ids = |replicas: &[ReplicaId]| replicas.iter().map(|replica| replica.get()).collect();
        Self {
            voters: ids(&conf.voters),
            voters_outgoing: ids(&conf.voters_outgoing),
            learners: ids(&conf.learners),
            learners_next: ids(&conf.learners_next),
        }
    }
}
