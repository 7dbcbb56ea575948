//! The Quorate server: the Redis protocol, the admin pages and the `quorate` command.
//!
//! The binary is one call to [`main`] with a [`Cluster`]; everything else is here, so that tests run
//! it in their own process. The frontends know the engine only as [`Backend`].

const _: () = assert!(
    !quorate::storage::planted::ENABLED,
    "a server is never built with the feature planted-bugs of quorate-storage"
);

pub mod admin;
pub mod backend;
pub mod backup;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod config;
pub mod dev;
pub mod engine;
pub mod exit;
pub mod key;
pub mod listen;
mod logging;
pub mod memory;
pub mod node;
pub mod operator;
pub mod options;
mod progress;
pub mod resp;
mod serve;
pub mod signals;

pub use admin::AdminServer;
pub use backend::{
    Access, Backend, BackendError, BoxFuture, Check, InfoSection, KeyPage, Routing, SlotRange, Topology,
    TopologyNode, When, Write, Written,
};
pub use cli::main;
pub use cluster::{Cluster, RunningCluster};
pub use engine::{EngineBackend, EngineCluster};
pub use exit::StartError;
pub use listen::ListenError;
pub use memory::MemoryBackend;
pub use options::{DevOptions, RoutingMode, Store};
pub use resp::{Limits, RespServer, Settings};
