//! Quorate: an embeddable multi-raft storage engine for sharded databases.
//!
//! One [`Node`] hosts many Raft groups. Each group owns its log, its snapshots and its state machine; a
//! router sends every request to the group that serves its key, wherever that group is led.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let dir = tempfile::tempdir().unwrap();
//! let node = quorate::Builder::new(dir.path()).open().await?;
//! node.put("language", "Rust").await?;
//! let value = node.get("language", quorate::ReadLevel::Linearizable).await?;
//! assert_eq!(value.as_deref(), Some(&b"Rust"[..]));
//! node.shutdown().await?;
//! # Ok::<(), quorate::Error>(())
//! # }).unwrap();
//! ```
//!
//! # Limits
//! Keys up to 32 KiB, values up to 8 MiB, 4,096 operations a batch. Linux only. Nothing but
//! timestamps depends on clocks: nodes whose clocks are more than half a second off the others' give none.
//!
//! # What it is not
//! Not a database: it has no query language, no transactions across groups (yet) and no access control of
//! its own.

mod builder;
pub mod config;
mod error;
mod group;
mod kv;
mod membership;
mod node;
mod repair;
mod seams;

pub use quorate_shard::actor::{
    ConsistencyReport, GroupStatus, GroupWorkers, Lifecycle, Quarantine, ReadLevel, Remedy, ReplicaAnswer,
    ReplicaReport, Scrubbed, StateContext, StateMachineFactory, Verdict,
};
pub use quorate_shard::disk_space::Room;
pub use quorate_shard::{Error as GroupError, LeaderHint};
pub use quorate_storage as storage;
pub use quorate_storage::kv::{KeysPage, KvOutcome, Op, OpFailure, OpResult, StoreKind, When};
pub use quorate_storage::{ClusterId, EntryId, GroupId, KeyRange, NodeId, ReplicaId, Timestamp, disk};
pub use quorate_transport::Error as TransportError;

pub use builder::{Builder, open_with_seams};
pub use config::Config;
pub use error::{Error, Result};
pub use group::{Applied, Group};
pub use kv::{ScanOptions, WriteBatch, Written};
pub use node::{
    DiskRoom, GroupReadiness, Node, Placement, Readiness, StartProgress, Topology, TopologyGroup,
    TopologyNode,
};
pub use repair::{Condition, NotRepairable, RepairPlan, RepairStep};
pub use seams::Seams;
