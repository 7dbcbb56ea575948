//! Everything durable of Quorate: identities, entries, the log, snapshots, state machines and the decision
//! what a restart must restore.
//!
//! All I/O here is synchronous and goes through the [`disk::Disk`] seam (third-party stores excepted); callers
//! run it on worker threads. Bytes from a disk are input: they are checked by length and CRC before anything
//! looks inside, and never panic.

pub mod backup;
pub mod cold_start;
pub mod conf_change;
pub mod descriptor;
pub mod disk;
pub mod entry;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
mod hex;
pub mod identity;
pub mod ids;
pub mod kv;
pub mod log;
pub mod offline;
pub mod payload;
#[doc(hidden)]
pub mod planted;
mod sha256;
pub mod snapshot;
pub mod state;

pub use conf_change::{ConfChange, ConfChangeOp};
pub use descriptor::{GroupDescriptor, KeyRange, ReplicaDescriptor};
pub use entry::{ConfState, Entry, EntryId, EntryKind, HardState};
pub use error::{Error, Result};
pub use ids::{
    ClusterId, ConfEpoch, FileId, GroupId, GroupUid, Incarnation, Index, NUMBER_MAX, NodeId, RangeEpoch,
    ReplicaId, Term, Timestamp,
};
pub use sha256::Sha256Sum;
