//! Takes a backup of a running cluster: asks, group by group, the node that leads it for a fresh snapshot and gets the
//! file, verifies it, and gives the whole its name in the end. Blocking.
//!
//! What may pass (a change of leaders, a node that restarts, a connection that breaks) is waited for; a transfer goes on
//! where it stopped, as long as the node still has the file.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use quorate::backup::{BackupRun, GroupFile, Manifest};
use quorate::disk::RealDisk;
use quorate::storage::snapshot::SnapshotToken;
use quorate::storage::{Error as StorageError, Index, Term};
use quorate::{ClusterId, EntryId, GroupId};
use quorate_telemetry::Clock;
use serde::de::DeserializeOwned;

use super::BackupMap;
use crate::client::{AdminClient, ClientError};
use crate::operator::{OperatorCode, SnapshotTaken};

/// Before something that failed is tried again.
const PAUSE: Duration = Duration::from_millis(250);
/// Snapshots of one group that may arrive damaged, one after the other.
const DAMAGED_MAX: u32 = 3;
/// Bytes taken from a connection at once.
const PIECE_BYTES: usize = 256 << 10;

/// What is taken, and how long what may pass is waited for.
#[derive(Clone, Debug)]
pub struct TakeOptions {
    /// The directory to be made.
    pub dir: PathBuf,
    /// How long nothing at all may arrive.
    pub patience: Duration,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Groups that are there.
    pub groups: usize,
    /// Groups there will be; 1 as long as the catalog is not there.
    pub groups_total: usize,
    /// Bytes that have arrived.
    pub bytes: u64,
}

/// Why there is no backup. Nothing at its place looks like one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// A node's answer, or its silence.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The node gave another thing than a cluster's id.
    #[error("{text:?} is no id of a cluster")]
    Cluster {
        /// What it gave.
        text: String,
    },
    /// The backup's own files, or what is in them.
    #[error(transparent)]
    Engine(#[from] quorate::Error),
    /// A group's snapshot could not be had.
    #[error("group {group}: {cause}")]
    Group {
        /// The group.
        group: GroupId,
        /// Why.
        cause: GroupCause,
    },
}

/// Why a group's snapshot could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupCause {
    /// Nobody leads it: its replicas are stopped, out of service or cut off.
    #[error("no node leads it")]
    NoLeader,
    /// The catalog has it, the node that was asked does not know it (any more).
    #[error("it was dropped while the backup was taken")]
    Dropped,
    /// Its leader cannot be asked.
    #[error("node {node} leads it, and has no admin listener")]
    NoAdmin {
        /// The leader.
        node: u64,
    },
    /// Its leader's answer, or its silence.
    #[error("node {node}: {source}")]
    Node {
        /// The leader.
        node: u64,
        /// What it said.
        source: ClientError,
    },
    /// The connection broke.
    #[error("node {node} stopped sending: {source}")]
    Broken {
        /// The leader.
        node: u64,
        /// The cause.
        source: std::io::Error,
    },
    /// What arrived is not what it should be, or could not be written.
    #[error(transparent)]
    Kept(quorate::Error),
}

impl GroupCause {
    /// Whether it may be otherwise a moment later.
    fn may_pass(&self) -> bool {
        match self {
            Self::NoLeader | Self::Broken { .. } => true,
            Self::Dropped | Self::NoAdmin { .. } => false,
            Self::Node { source, .. } => may_pass(source),
            Self::Kept(error) => is_damage(error),
        }
    }
}

/// Takes the backup. `client` is of any node of the cluster; the others are asked with the same token.
///
/// # Errors
/// [`BackupError`], once it cannot pass or patience is over.
pub fn take(
    client: &AdminClient,
    options: &TakeOptions,
    clock: &Arc<dyn Clock>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Manifest, BackupError> {
    let map: BackupMap = read(client, client.get("/backup")?)?;
    let cluster = (cluster_id(&map.cluster)?, map.cluster_name);
    let disk = Arc::new(RealDisk::new());
    let run = BackupRun::create(disk, &options.dir, cluster, wall_ms(&**clock))?;
    let (now, patience) = (Progress::default(), options.patience);
    let mut taking =
        Taking { client, patience, clock: Arc::clone(clock), run, now, progress, last: clock.monotonic() };
    while let Some(group) = taking.run.next_group() {
        taking.group(group).map_err(|cause| BackupError::Group { group, cause })?;
    }
    Ok(taking.run.finish(wall_ms(&**clock))?)
}

/// A backup under way.
struct Taking<'a> {
    client: &'a AdminClient,
    patience: Duration,
    clock: Arc<dyn Clock>,
    run: BackupRun,
    now: Progress,
    progress: &'a mut dyn FnMut(&Progress),
    /// When something arrived for the last time.
    last: Duration,
}

impl Taking<'_> {
    /// Gets one group's snapshot, however often it takes.
    fn group(&mut self, group: GroupId) -> Result<(), GroupCause> {
        let mut damaged = 0;
        loop {
            let Err(cause) = self.attempt(group) else { return Ok(()) };
            damaged += u32::from(matches!(cause, GroupCause::Kept(_)));
            if !cause.may_pass() || damaged >= DAMAGED_MAX || self.is_over() {
                return Err(cause);
            }
            tracing::debug!(%group, %cause, "asking again");
            std::thread::sleep(PAUSE);
        }
    }

    fn attempt(&mut self, group: GroupId) -> Result<(), GroupCause> {
        let (node, leader) = self.leader(group)?;
        let of_node = |source| GroupCause::Node { node, source };
        let answer = leader.publish_for_backup(group.get()).map_err(of_node)?;
        let taken: SnapshotTaken = read(&leader, answer).map_err(of_node)?;
        self.last = self.clock.monotonic();
        let id = EntryId { term: Term(taken.term), index: Index(taken.index) };
        let token = SnapshotToken { id, bytes: taken.bytes, crc: taken.crc };
        let mut file = self.run.begin(token).map_err(GroupCause::Kept)?;
        while !file.is_complete() {
            match self.stream(&leader, node, &mut file) {
                Ok(()) => {}
                // Goes on where it stopped.
                Err(GroupCause::Broken { .. }) if !self.is_over() => std::thread::sleep(PAUSE),
                Err(cause) => return Err(cause),
            }
        }
        self.run.keep(file, &mut |_| {}).map_err(GroupCause::Kept)?;
        self.last = self.clock.monotonic();
        self.tell(0);
        Ok(())
    }

    /// The node that leads `group`, and a client of it.
    fn leader(&self, group: GroupId) -> Result<(u64, AdminClient), GroupCause> {
        let asked = |source| GroupCause::Node { node: 0, source };
        let answer = self.client.get("/backup").map_err(asked)?;
        let map: BackupMap = read(self.client, answer).map_err(asked)?;
        let known = map.groups.iter().find(|known| known.group == group.get()).ok_or(GroupCause::Dropped)?;
        let node = known.leader.ok_or(GroupCause::NoLeader)?;
        if node == map.node {
            return Ok((node, self.client.clone()));
        }
        let admin = map.nodes.iter().find(|known| known.node == node).and_then(|known| known.admin.as_ref());
        let admin = admin.ok_or(GroupCause::NoAdmin { node })?;
        let leader = self.client.of(&format!("http://{admin}"));
        Ok((node, leader.map_err(|source| GroupCause::Node { node, source })?))
    }

    /// Takes what one connection gives, from where the file ends by now.
    fn stream(&mut self, leader: &AdminClient, node: u64, file: &mut GroupFile) -> Result<(), GroupCause> {
        let (group, id) = (file.group(), file.token().id);
        let path = format!("/backup/groups/{group}/{}/{}?offset={}", id.term, id.index, file.received());
        let mut body = leader.stream(&path).map_err(|source| match source {
            ClientError::Unreachable { .. } => {
                GroupCause::Broken { node, source: std::io::Error::other(source) }
            }
            source => GroupCause::Node { node, source },
        })?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let bytes = body.read(&mut piece).map_err(|source| GroupCause::Broken { node, source })?;
            if bytes == 0 {
                break;
            }
            file.put(&piece[..bytes]).map_err(|error| GroupCause::Kept(error.into()))?;
            self.last = self.clock.monotonic();
            self.tell(bytes as u64);
        }
        if file.is_complete() {
            return Ok(());
        }
        let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        Err(GroupCause::Broken { node, source })
    }

    fn is_over(&self) -> bool {
        self.clock.monotonic().saturating_sub(self.last) >= self.patience
    }

    fn tell(&mut self, more: u64) {
        (self.now.groups, self.now.groups_total) = self.run.counts();
        self.now.bytes += more;
        (self.progress)(&self.now);
    }
}

fn may_pass(error: &ClientError) -> bool {
    let codes = [
        OperatorCode::Busy,
        OperatorCode::Deadline,
        OperatorCode::NoReplica,
        OperatorCode::NoSnapshot,
        OperatorCode::Quarantined,
        OperatorCode::Stopped,
    ];
    matches!(error, ClientError::Unreachable { .. }) || codes.iter().any(|code| error.is(*code))
}

fn is_damage(error: &quorate::Error) -> bool {
    matches!(error, quorate::Error::Storage(cause) if cause.is_corruption() || matches!(cause, StorageError::Foreign { .. }))
}

fn cluster_id(text: &str) -> Result<ClusterId, BackupError> {
    let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32);
    let number = number.ok_or_else(|| BackupError::Cluster { text: text.to_owned() })?;
    Ok(ClusterId(number.to_be_bytes()))
}

/// An answer in the form that this release knows.
fn read<T: DeserializeOwned>(client: &AdminClient, answer: serde_json::Value) -> Result<T, ClientError> {
    let node = client.node().to_owned();
    serde_json::from_value(answer).map_err(|source| ClientError::Answer { node, source })
}

/// Milliseconds since the Unix epoch.
fn wall_ms(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.wall().as_millis()).unwrap_or(u64::MAX)
}
