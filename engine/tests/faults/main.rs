//! Nodes in this process, on simulated disks that are full, fail or hang: nothing acknowledged is lost, the node
//! lives, and leadership moves to where work can go on.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod full;
mod kinds;
mod machines;
mod writer;
