//! The group core: raft-rs without I/O, clocks, tasks or randomness of its own.
//!
//! [`Group`] takes [`Input`]s and gives [`Output`]s. The shell around it (the actor, or a simulator) carries
//! them out in order and reports back. raft-rs is named in this folder only.

use std::time::Duration;

mod config;
mod convert;
mod durability;
mod gate;
mod group;
mod inbound;
mod install;
mod io;
mod logging;
mod membership;
mod proposals;
mod reads;
mod ready;
mod requests;
mod settle;
mod start;
mod status;
mod visible;

#[cfg(test)]
mod tests;

pub use config::CoreConfig;
pub use gate::{Refusal, RefusalCounts};
pub use group::Group;
pub use install::InstallStep;
pub use io::{
    AppliedConf, Applying, Committed, Evidence, Fetch, Input, LogPersist, Output, Reply, Role, Ticket,
};
pub use start::{Start, StartRefused};
pub use status::{PeerMode, PeerStatus, Status};

/// What a caller is told to wait when there is no room, or while a new leader is not serving yet.
const BUSY_RETRY_AFTER: Duration = Duration::from_millis(20);
