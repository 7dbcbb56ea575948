//! The crate's error: what went wrong, where, and what a caller may do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with durable state. Cheap to clone, because the first failure of a file latches and is
/// handed to every later caller.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused. The file must be treated as closed; nothing after the last
    /// successful sync may be counted on.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// Verb: "open", "write", "sync", …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: Arc<io::Error>,
    },

    /// Bytes on disk are not what was written. Nothing was changed.
    #[error(
        "corrupt {what} in {file} at byte {offset}: expected {expected:#x}, found {found:#x}",
        file = file.display()
    )]
    Corrupt {
        /// The structure: "batch header", "snapshot block", …
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Byte offset of the structure in the file.
        offset: u64,
        /// What the check wanted (a checksum, a length, a magic number).
        expected: u64,
        /// What is there.
        found: u64,
    },

    /// Acknowledged log is gone; this replica must rejoin as a new one.
    #[error("log lost in {file}{place}: {reason}", file = file.display(), place = at_byte(*offset))]
    LogLost {
        /// The file or directory the loss was seen in.
        file: PathBuf,
        /// Byte offset from which on it was seen; `None` where the directory is meant.
        offset: Option<u64>,
        /// What is missing.
        reason: &'static str,
    },

    /// The file was written by a newer release. It was left untouched.
    #[error("{file} has format version {found}, this release reads up to {supported}", file = file.display())]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its version.
        found: u16,
        /// The newest version this release knows.
        supported: u16,
    },

    /// The file or directory belongs to another cluster, group, replica or incarnation.
    #[error("{file} belongs to another {what}: expected {expected}, found {found}", file = file.display())]
    Foreign {
        /// "cluster", "group", "replica", "incarnation", …
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Whose it should be.
        expected: String,
        /// Whose it is.
        found: String,
    },

    /// Another process holds the directory.
    #[error("{path} is in use by another process", path = path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },

    /// The disk has no room for a file. Nothing was begun; try again once there is.
    #[error("no room for {path}: it takes {needed_bytes} bytes, {free_bytes} are free", path = path.display())]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// Bytes that must be free for it, the reserve included.
        needed_bytes: u64,
        /// Bytes that are.
        free_bytes: u64,
    },

    /// Something that must be there is not.
    #[error("{path} is missing", path = path.display())]
    Missing {
        /// The file or directory.
        path: PathBuf,
    },

    /// The entries asked for are no longer (or not yet) in the log.
    #[error("entry {index} is outside the log ({first} to {last})")]
    OutOfRange {
        /// The index asked for.
        index: u64,
        /// First index of the log.
        first: u64,
        /// Last index of the log.
        last: u64,
    },

    /// An earlier failure closed this writer or store for good.
    #[error("closed by an earlier failure: {cause}")]
    Closed {
        /// The first failure.
        cause: Arc<Error>,
    },

    /// The third-party store failed. The store is a cache: it can be rebuilt from snapshot and log.
    #[error("state store failed to {action}: {source}")]
    Store {
        /// Verb: "open", "write", "read", …
        action: &'static str,
        /// The cause.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },

    /// Bytes that are no encoding of the expected structure.
    #[error("malformed {what}")]
    Malformed {
        /// The structure.
        what: &'static str,
    },

    /// Another node reported a storage error of its own.
    #[error("on the other node: {text}")]
    Remote {
        /// Its text.
        text: String,
    },

    /// A value is over its limit. Nothing was written.
    #[error("{what} has {bytes} bytes, the limit is {bytes_max}")]
    TooLarge {
        /// "key", "value", "entry", …
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
}

impl Error {
    /// An [`Error::Io`] about `path`.
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_path_buf(), source: Arc::new(source) }
    }

    /// Whether there was no room on the disk (or in the quota) for a write.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => has_no_room(source),
            Self::Store { source, .. } => {
                let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(source.as_ref());
                while let Some(error) = cause {
                    if error.downcast_ref::<io::Error>().is_some_and(has_no_room) {
                        return true;
                    }
                    cause = error.source();
                }
                false
            }
            Self::Closed { cause } => cause.is_disk_full(),
            _ => false,
        }
    }

    /// Whether a state store gave other bytes than were written to it, or none: it must not be trusted any more, and
    /// can be rebuilt from snapshot and log. Not whether it was merely stopped.
    pub fn is_store_failure(&self) -> bool {
        match self {
            Self::Corrupt { .. } | Self::Store { .. } | Self::Io { .. } => true,
            Self::Closed { cause } => cause.is_store_failure(),
            _ => false,
        }
    }

    /// The file or directory it is about, and where in that file in bytes, if that is known.
    pub fn location(&self) -> Option<(&Path, Option<u64>)> {
        match self {
            Self::Corrupt { file, offset, .. } => Some((file, Some(*offset))),
            Self::LogLost { file, offset, .. } => Some((file, *offset)),
            Self::NewerFormat { file, .. } | Self::Foreign { file, .. } => Some((file, None)),
            Self::Io { path, .. }
            | Self::Locked { path }
            | Self::NoRoom { path, .. }
            | Self::Missing { path } => Some((path, None)),
            Self::Closed { cause } => cause.location(),
            _ => None,
        }
    }

    /// Whether bytes on disk were found damaged (as against refused, missing or newer).
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Corrupt { .. } | Self::Malformed { .. } | Self::LogLost { .. } => true,
            Self::Closed { cause } => cause.is_corruption(),
            _ => false,
        }
    }
}

/// " at byte N", if there is one.
fn at_byte(offset: Option<u64>) -> String {
    offset.map_or_else(String::new, |offset| format!(" at byte {offset}"))
}

fn has_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_known_also_behind_a_store_or_a_latch() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let write = Error::io("write", Path::new("a"), full());
        let store = Error::Store { action: "flush", source: Arc::new(full()) };
        let closed = Error::Closed { cause: Arc::new(store.clone()) };
        for error in [&write, &store, &closed] {
            assert!(error.is_disk_full() && error.is_store_failure(), "{error}");
        }
        let failed = Error::io("write", Path::new("a"), io::Error::from_raw_os_error(5));
        assert!(!failed.is_disk_full() && failed.is_store_failure());
        let stopped = Error::Closed { cause: Arc::new(Error::Missing { path: "a".into() }) };
        assert!(!stopped.is_disk_full() && !stopped.is_store_failure());
    }
}
