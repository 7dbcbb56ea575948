//! The frontends over real loopback sockets, with a backend in memory; and the engine's own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod admin;
mod client;
mod commands;
mod dev;
mod gated;
mod malformed;
mod pipelining;
mod process;
mod routing;
mod stopping;
