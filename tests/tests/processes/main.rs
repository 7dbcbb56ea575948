//! The real binary, real sockets, real files, SIGKILL.

mod kill_nine;
mod nodes;
mod stopping;
