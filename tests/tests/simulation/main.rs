//! The same engine on a simulated network, disk and clock: one seed decides everything.

mod determinism;
mod protocol;
