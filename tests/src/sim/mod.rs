//! The full stack on a simulated network, disk and clock: real actors, transport, log and snapshots.

mod host;
mod net;
mod trace;

pub use host::{DATA, NODES, Setup, SimHost, hosts};
pub use net::TurmoilNet;
pub use trace::{Trace, TraceSum};
