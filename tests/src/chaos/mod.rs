//! Chaos on real processes: `quorate node` processes under load through the Redis protocol, behind a proxy that breaks
//! their connections, killed, stopped and damaged; judged by [`crate::checker`].

mod clients;
mod control_group;
pub mod failover;
mod fault;
mod machine_faults;
mod nemesis;
mod packet_filter;
mod picture;
mod proxy;
mod report;
mod run;
mod sandbox;
mod small_disk;
mod tracer;

pub use self::fault::Kind;
pub use self::report::{Injected, Report};
pub use self::run::{Options, run};
pub use self::sandbox::run_inside;

/// Why a run has no verdict.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something of the harness failed.
    #[error("{what}: {source}")]
    Io {
        /// What.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The history is none.
    #[error(transparent)]
    History(#[from] crate::checker::HistoryError),
}
