//! The public embedding API on real disks and real loopback TCP.

mod cluster;
mod failures;
mod groups;
mod machine;
mod membership;
mod reads;
mod refusals;
mod reopening;
mod single;
mod snapshots;
mod writing;
