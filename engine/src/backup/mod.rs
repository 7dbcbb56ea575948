//! Backups of a cluster, and new clusters made of them.
//!
//! [`Node::backup`](crate::Node::backup) takes one of the groups that a node leads: all there are, where it is alone. Of
//! more nodes a backup is put together by whoever can ask each of them: [`BackupRun`] says for which group next,
//! [`Node::fresh_snapshot`](crate::Node::fresh_snapshot) publishes on its leader, and
//! [`Node::snapshot_body`](crate::Node::snapshot_body) reads the file. [`restore`] makes the data directory of one node of
//! a new cluster.
//!
//! **What a backup is consistent in**: each group is in it as it was at one index of its log, and holds everything that
//! was acknowledged before the backup began. There is no point in time across groups: of two writes to different groups
//! during the backup, the later may be in it without the earlier. The groups are those the catalog had when it was taken,
//! first of all.

mod body;
mod catalog;
mod local;
mod plan;
mod restore;
mod run;
#[cfg(test)]
mod tests;

pub use body::SnapshotBody;
pub use local::{BackupProgress, FreshSnapshot};
pub use quorate_storage::backup::{Backup, BackupGroup, GroupFile, Manifest};
pub use restore::{RestoreProgress, Restored, restore};
pub use run::BackupRun;
