//! A crash in every call of one disk, in every model of what it leaves: of a group of one voter that writes entries of
//! many operations, and of one replica of three that publishes, installs, restores, repairs, is made or dropped.
//!
//! The run that nothing disturbs is recorded and counts the calls; then each of them is the last one of a run. Right
//! after the crash the files are read from outside: what the replica told others is there, the snapshot pointer is at
//! or below the marker, its file is whole, and the log reaches the fallback. Then the replica is started: that ends, it
//! catches up, everything acknowledged is on every replica, and the files are those that its log names.

mod ends;
mod entries;
mod install;
mod model;
mod on_disk;
mod points;
mod publish;
mod rebuild;
mod repair;
mod restore;
mod rot;
mod scenario;
mod world;
