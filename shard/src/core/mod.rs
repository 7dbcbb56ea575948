//! The group core: raft-rs without I/O, clocks, tasks or randomness of its own.

mod io;

pub use io::{AppliedConf, Applying, Committed, Fetch, Input, LogPersist, Output, Reply, Role, Ticket};
