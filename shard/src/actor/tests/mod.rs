//! Whole actors on simulated workers, disk and time: every test is one order of events, decided by a seed.

mod clock;
mod cluster;
mod cold_start;
mod consistency;
mod crash_points;
mod failures;
mod kept;
mod kv;
mod machine;
mod network;
mod node;
mod offline_repair;
mod partitions;
mod quarantine;
mod rebuild;
mod repair;
mod scrub;
mod single;
mod snapshots;
mod starts;
mod store;
mod threads;
mod trace;
mod volatile;
mod waiting;
mod weather;
