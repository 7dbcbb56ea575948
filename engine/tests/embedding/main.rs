//! The public embedding API on real disks and real loopback TCP.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod backups;
mod broken_transfers;
mod clock;
mod cluster;
mod diverged;
mod failures;
mod groups;
mod machine;
mod membership;
mod offline_repair;
mod operations;
mod reads;
mod refusals;
mod reopening;
mod rot;
mod rotting_store;
mod single;
mod snapshots;
mod topology;
mod waiting;
mod writing;
