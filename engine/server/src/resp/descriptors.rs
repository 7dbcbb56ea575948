//! File descriptors for connections: a process has a limited number, and the engine's files need theirs.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is taken for a limit when the system has none.
const UNLIMITED: usize = 1 << 20;

/// Held by connections of all listeners: the limit is the process's.
static HELD: AtomicUsize = AtomicUsize::new(0);

/// A connection's descriptor, counted for as long as this lives.
#[derive(Debug)]
pub(super) struct Descriptor(());

impl Descriptor {
    /// Counts one more, if the connections of this process leave enough to everything else.
    pub(super) fn take() -> Option<Self> {
        let held_max = connections_max();
        let more = |held| (held < held_max).then_some(held + 1);
        HELD.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(()))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        HELD.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many connections this process may have. At its first call the process's limit is raised as far as the system
/// allows.
pub(super) fn connections_max() -> usize {
    static CONNECTIONS_MAX: OnceLock<usize> = OnceLock::new();
    *CONNECTIONS_MAX.get_or_init(|| {
        let connections_max = share(raise_limit());
        tracing::info!(connections_max, "connections are limited by file descriptors");
        connections_max
    })
}

/// The limit after raising it.
fn raise_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit on open files");
            limit.current
        }
    }
}

/// Half, so that a flood of connections never keeps the engine from opening a file.
fn share(limit: Option<u64>) -> usize {
    limit.and_then(|limit| usize::try_from(limit).ok()).map_or(UNLIMITED, |limit| limit.min(UNLIMITED)) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_half_of_the_descriptors_to_the_engine() {
        assert_eq!(share(Some(1024)), 512);
        assert_eq!(share(Some(u64::MAX)), UNLIMITED / 2);
        assert_eq!(share(None), UNLIMITED / 2);
        assert!(connections_max() > 0);
        let current = getrlimit(Resource::Nofile);
        assert_eq!(current.current, current.maximum, "the limit is raised");
    }
}
