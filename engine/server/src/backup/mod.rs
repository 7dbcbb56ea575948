//! Backups over the admin listeners: what a node gives for one ([`BackupSource`]), and who puts one together ([`take`]).

mod source;
mod take;

pub use source::{BackupMap, BackupNode, BackupSource, GroupLeader, SnapshotPieces};
pub use take::{BackupError, Progress, TakeOptions, take};
