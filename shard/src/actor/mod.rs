//! The tokio actor of a group: the thin shell around [`crate::core::Group`].
//!
//! The actor feeds the core, hands its outputs to the log writer, the applier and the node, and never blocks:
//! disk work runs on worker pools and comes back as an event. A failure or a panic of anything it runs
//! quarantines this group and nothing else.

mod budget;
mod create;
mod handle;
pub(crate) mod mailbox;
mod outbound;
pub(crate) mod quarantine;
mod read;
pub(crate) mod shared;
mod spec;
mod start;
mod status;

pub use create::{Birth, CreateSpec, create_group};
pub use handle::GroupHandle;
pub use mailbox::{Applied, StopMode};
pub use outbound::{Outbound, SNAPSHOT_CHUNK, snapshot_chunk_group};
pub use read::{ReadGuard, ReadLevel};
pub use spec::{
    AppliedListener, GroupConfig, GroupDeps, GroupWorkers, SnapshotConfig, StartSpec, StateContext,
    StateMachineFactory,
};
pub use start::{StartError, start_group};
pub use status::{ActorCounters, GroupStatus, Lifecycle};
