//! The real binary, real sockets, real files, SIGKILL.

mod backups;
mod chaos;
mod client;
mod cluster_client;
mod cold_start;
mod hostile;
mod kill_nine;
mod limits;
mod nodes;
mod recorded;
mod repair;
mod stopping;
