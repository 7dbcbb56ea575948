//! The frontends over real loopback sockets, with a backend in memory; and the engine's own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod admin;
mod arrival;
mod client;
mod cluster;
mod commands;
mod dev;
mod gated;
mod handshake;
mod malformed;
mod offline;
mod operating;
mod pipelining;
mod process;
mod routing;
mod scan;
mod stopping;
