//! Groups of cores on a virtual disk and network; everything is decided by a seed.

mod cluster;
mod elections;
mod replication;
