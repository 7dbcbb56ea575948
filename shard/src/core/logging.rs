//! raft-rs logs through slog; this hands its lines to tracing with the group they belong to, one level lower
//! than raft-rs says, because what is news for one group is noise for thousands.

use quorate_storage::{GroupId, ReplicaId};
use slog::{Drain, Level, Logger, Never, OwnedKVList, Record};

/// A logger for one group's raft.
pub(super) fn logger(group: GroupId, replica: ReplicaId) -> Logger {
    Logger::root(ToTracing { group, replica }, slog::o!())
}

#[derive(Debug)]
struct ToTracing {
    group: GroupId,
    replica: ReplicaId,
}

impl Drain for ToTracing {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        let (group, replica, message) = (self.group.get(), self.replica.get(), record.msg());
        match record.level() {
            Level::Critical | Level::Error => tracing::error!(group, replica, "raft: {message}"),
            Level::Warning => tracing::warn!(group, replica, "raft: {message}"),
            Level::Info => tracing::debug!(group, replica, "raft: {message}"),
            Level::Debug | Level::Trace => tracing::trace!(group, replica, "raft: {message}"),
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        match level {
            Level::Critical | Level::Error | Level::Warning => true,
            Level::Info => tracing::enabled!(tracing::Level::DEBUG),
            Level::Debug | Level::Trace => tracing::enabled!(tracing::Level::TRACE),
        }
    }
}
