//! What operators ask of one node beside its pages: its state in short, a snapshot now, the repair of a replica. The
//! forms here are the JSON of the admin listener: names are only ever added.

mod consistency;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::consistency::{Consistency, ReplicaState};

use crate::backend::BoxFuture;

/// A backend's ability to be operated.
pub trait Operator: fmt::Debug + Send + Sync {
    /// The node in short. May block.
    fn status(&self) -> NodeStatus;

    /// Gives a snapshot of this node's replica of `group` that holds the entry `at_least`, or else everything that is
    /// applied now, within `timeout`. What was begun goes on when the time is over: ask again, for the entry that
    /// [`OperatorError::at_least`] names, to be told of it.
    fn publish_snapshot(
        &self,
        group: u64,
        at_least: Option<u64>,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<SnapshotTaken, OperatorError>>;

    /// Compares the states of `group`'s replicas, wherever it is led, within `timeout`.
    fn check_consistency(
        &self,
        group: u64,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Consistency, OperatorError>>;

    /// What a repair of this node's replica of `group` would do. May block.
    ///
    /// # Errors
    /// [`OperatorCode::InService`] and the others that say why there is nothing to do here.
    fn plan_repair(&self, group: u64) -> Result<RepairPlan, OperatorError>;

    /// Replaces this node's replica of `group`, which is out of service, within `timeout`. A repair that was
    /// interrupted goes on when it is asked for again.
    fn repair(&self, group: u64, timeout: Duration) -> BoxFuture<'_, Result<Repaired, OperatorError>>;
}

/// A node in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its id.
    pub node: u64,
    /// Its cluster.
    pub cluster: String,
    /// Its release.
    pub version: String,
    /// The catalog it knows; `None` before the first.
    pub catalog_version: Option<u64>,
    /// Whether it should be given requests.
    pub is_ready: bool,
    /// Groups that it leads.
    pub groups_led: u64,
    /// The room on the disk of its data directory.
    pub disk: DiskStatus,
    /// The groups that have, or should have, a replica here, by id.
    pub groups: Vec<GroupLine>,
    /// Those of them whose replica here is out of service.
    pub out_of_service: Vec<OutOfService>,
}

/// The room on a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// `ample`, `short` (writes are refused, deletes go on) or `exhausted`.
    pub room: String,
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Bytes that must be free for writes to be taken.
    pub needed_bytes: u64,
}

/// One group in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLine {
    /// Its id.
    pub group: u64,
    /// The replica here; `None` if none was opened.
    pub replica: Option<u64>,
    /// `leader`, `follower`, `learner`, `no_leader`, `opening`, `quarantined`, `repairing` or `lost`.
    pub state: String,
    /// The node that leads it, as far as this node knows.
    pub leader_node: Option<u64>,
    /// Raft's term.
    pub term: u64,
    /// Last entry that the state holds.
    pub applied_index: u64,
    /// Last entry known to be committed.
    pub commit_index: u64,
    /// Position of the newest snapshot.
    pub snapshot_index: Option<u64>,
}

/// A replica that is out of service, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfService {
    /// Its group.
    pub group: u64,
    /// `quarantined`, `repairing` (entries of its log are being fetched from other nodes) or `lost` (its directory is
    /// gone).
    pub state: String,
    /// What it counts as in the metrics, if it is quarantined.
    pub reason: Option<String>,
    /// The story, for people.
    pub text: String,
    /// The file or directory it was seen in.
    pub file: Option<String>,
    /// Where in the file, in bytes.
    pub offset: Option<u64>,
    /// What brings it back: `repair` (an operator: `quorate repair`), `room` (on the disk), `rebuild` (which the node
    /// does itself), `wait` (for other nodes).
    pub remedy: String,
}

/// A snapshot that stands: durable, and recorded in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotTaken {
    /// Its group.
    pub group: u64,
    /// The last entry in it.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Checksum of the file.
    pub crc: u32,
}

/// What a repair would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairPlan {
    /// The group.
    pub group: u64,
    /// The node that gets a new replica.
    pub node: u64,
    /// `replace`, or where a former repair goes on: `join`, `promote`.
    pub step: String,
    /// The replica that leaves the group; with `replace` only.
    pub old_replica: Option<u64>,
    /// The one in its place, once it has its id.
    pub new_replica: Option<u64>,
    /// In what way the old one is out of service: `quarantined`, `repairing`, `lost`.
    pub condition: Option<String>,
    /// The story of that, for people.
    pub text: Option<String>,
    /// Where the old one's files will be kept, in the node's data directory.
    pub evidence: Option<String>,
    /// The other replicas: the new one is seeded by one of them.
    pub others: Vec<OtherReplica>,
}

/// A replica on another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherReplica {
    /// Its id.
    pub replica: u64,
    /// Its node.
    pub node: u64,
    /// The admin listener of that node, if it has one.
    pub admin: Option<String>,
}

/// A repair that is done: the new replica votes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repaired {
    /// The group.
    pub group: u64,
    /// The node.
    pub node: u64,
    /// Its new replica there.
    pub replica: u64,
}

/// What kind of failure it is, for scripts. A closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorCode {
    /// The request makes no sense.
    BadRequest,
    /// There is no such group.
    NoSuchGroup,
    /// The group has no replica on this node.
    NoReplica,
    /// There is no such snapshot here, or no longer.
    NoSnapshot,
    /// The replica on this node is in service: there is nothing to repair.
    InService,
    /// It is the group's only replica: `quorate repair DIR`, on the stopped node.
    OnlyReplica,
    /// The group refuses the change.
    Refused,
    /// The replica on this node is quarantined.
    Quarantined,
    /// No leader, or somebody else is at it, or no room in a queue: ask again.
    Busy,
    /// The node is stopping.
    Stopped,
    /// The time is over. What was begun goes on, or goes on when it is asked for again.
    Deadline,
    /// The disk has no room.
    NoRoom,
    /// Anything else.
    Failed,
}

impl OperatorCode {
    /// Its name in JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::NoSuchGroup => "no_such_group",
            Self::NoReplica => "no_replica",
            Self::NoSnapshot => "no_snapshot",
            Self::InService => "in_service",
            Self::OnlyReplica => "only_replica",
            Self::Refused => "refused",
            Self::Quarantined => "quarantined",
            Self::Busy => "busy",
            Self::Stopped => "stopped",
            Self::Deadline => "deadline",
            Self::NoRoom => "no_room",
            Self::Failed => "failed",
        }
    }

    /// The status of an answer that says so.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::NoSuchGroup | Self::NoReplica | Self::NoSnapshot => 404,
            Self::InService | Self::OnlyReplica | Self::Refused => 409,
            Self::Quarantined | Self::Busy | Self::Stopped => 503,
            Self::Deadline => 504,
            Self::NoRoom => 507,
            Self::Failed => 500,
        }
    }
}

/// Why a node did not do what an operator asked for.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{source}")]
pub struct OperatorError {
    /// What kind of failure it is.
    pub code: OperatorCode,
    /// Of a snapshot: the entry it has to hold, to be named when it is asked for again.
    pub at_least: Option<u64>,
    /// What went wrong.
    pub source: Arc<dyn std::error::Error + Send + Sync>,
}
