//! Raft groups: a core without I/O, the actor around it, and the router over all of them.
//!
//! The only crate that names raft-rs. The core is a plain state machine ([`core::Input`] in,
//! [`core::Output`] out); the actor is the thin shell that feeds it and hands its outputs to the log writer,
//! the transport and the applier.

#[cfg(panic = "abort")]
compile_error!("Quorate quarantines a group by unwinding: build with panic = \"unwind\"");

pub mod actor;
mod applier;
pub mod catalog;
#[cfg(test)]
mod cold_start_model;
pub mod core;
pub mod disk_space;
pub mod error;
pub mod hlc;
mod log_writer;
pub mod registry;
pub mod repair;
pub mod router;
pub mod rpc;
pub mod shell;

pub use error::{Error, LeaderHint, Result};
pub use registry::Registry;
