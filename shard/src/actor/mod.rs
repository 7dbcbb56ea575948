//! The tokio actor of a group: the thin shell around [`crate::core::Group`].
//!
//! The actor feeds the core, hands its outputs to the log writer, the applier and the node, and never blocks:
//! disk work runs on worker pools and comes back as an event. A failure or a panic of anything it runs
//! quarantines this group and nothing else.

mod budget;
mod byte_rate;
pub(crate) mod compaction;
mod consistency;
pub(crate) mod create;
mod dispatch;
mod ending;
mod feed;
#[doc(hidden)]
pub mod fuzzing;
pub(crate) mod gate;
mod handle;
mod label;
pub(crate) mod launch;
pub(crate) mod mailbox;
mod observe;
pub(crate) mod on_worker;
pub(crate) mod open;
mod outbound;
mod pending;
mod periodic;
#[cfg(feature = "planted-bugs")]
pub(crate) mod planted;
mod publish;
pub(crate) mod publish_job;
pub(crate) mod publish_steps;
mod publish_trigger;
pub(crate) mod quarantine;
mod query;
mod read;
mod reads;
mod rebuild;
mod report;
mod restore;
mod run;
mod scrub;
pub(crate) mod shared;
mod snapshot_budget;
mod snapshot_chunk;
mod snapshot_receive;
mod snapshot_send;
mod snapshot_transfer;
mod spec;
pub(crate) mod start;
mod status;
pub(crate) mod time;
mod upkeep;
mod waiting;
mod waiting_wire;

#[cfg(test)]
mod tests;

pub use consistency::{ConsistencyReport, ReplicaAnswer, ReplicaReport, Verdict};
pub use create::{Birth, CreateSpec, create_group};
pub use handle::GroupHandle;
pub use mailbox::{Applied, StopMode};
pub use outbound::{
    DIVERGENCE_NOTICE, LOG_ENTRIES, Outbound, QUARANTINE_NOTICE, SNAPSHOT_CHUNK, SNAPSHOT_WANTED,
    STATE_DIGEST, group_of_request,
};
pub use quarantine::{Quarantine, Remedy};
pub use read::{ReadGuard, ReadLevel};
pub use scrub::{ScrubBudget, Scrubbed};
pub use snapshot_budget::{SnapshotBudget, SnapshotBudgetConfig};
pub use spec::{
    AppliedListener, BackgroundConfig, BloatConfig, ColdStartConfig, GroupConfig, GroupDeps, GroupWorkers,
    SnapshotConfig, StartSpec, StateContext, StateMachineFactory,
};
pub use start::{StartError, start_group};
pub use status::{ActorCounters, GroupStatus, Lifecycle};
