//! What a node gives for a backup. The forms here are the JSON of the admin listener: names are only ever added.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::backend::BoxFuture;
use crate::operator::{OperatorError, SnapshotTaken};

/// A backend's ability to be backed up.
pub trait BackupSource: fmt::Debug + Send + Sync {
    /// Who leads what, and where operators reach it. May block.
    fn map(&self) -> BackupMap;

    /// Publishes a snapshot of `group`, which this node must lead: it holds everything that was acknowledged before the
    /// call. Takes as long as the state takes to be written, an hour at most.
    fn fresh_snapshot(&self, group: u64) -> BoxFuture<'_, Result<SnapshotTaken, OperatorError>>;

    /// The file of this node's snapshot of `group` at `(term, index)`, from `offset` on.
    ///
    /// # Errors
    /// [`crate::operator::OperatorCode::NoSnapshot`] if it is not there (any more).
    fn snapshot(
        &self,
        group: u64,
        position: (u64, u64),
        offset: u64,
    ) -> BoxFuture<'_, Result<Box<dyn SnapshotPieces>, OperatorError>>;
}

/// A snapshot file, read piece by piece at the node's rate. It stays readable as long as this lives.
pub trait SnapshotPieces: fmt::Debug + Send {
    /// Bytes that are still to come.
    fn left(&self) -> u64;

    /// The next bytes; `None` at the end.
    fn next_piece(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, OperatorError>>;
}

/// Who leads what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMap {
    /// The cluster's id: 32 hexadecimal digits.
    pub cluster: String,
    /// The name that its id is made of, if the node was told.
    #[serde(default)]
    pub cluster_name: Option<String>,
    /// The node that says so.
    pub node: u64,
    /// By id.
    pub nodes: Vec<BackupNode>,
    /// The groups there are, group 0 included, by id.
    pub groups: Vec<GroupLeader>,
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupNode {
    /// Its id.
    pub node: u64,
    /// Address and port of its admin listener, if it has one.
    pub admin: Option<String>,
}

/// Who leads a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLeader {
    /// The group.
    pub group: u64,
    /// The node that leads it; `None` while that is not known.
    pub leader: Option<u64>,
}
