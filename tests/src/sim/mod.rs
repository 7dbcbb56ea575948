//! The full stack on a simulated network, disk and clock: real actors, transport, log and snapshots.

mod net;
mod trace;

pub use net::TurmoilNet;
pub use trace::Trace;
