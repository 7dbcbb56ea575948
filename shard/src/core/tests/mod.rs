//! Groups of cores on a virtual disk and network; everything is decided by a seed.

mod cluster;
mod elections;
mod fuzz;
mod membership;
mod random;
mod replication;
mod starts;
