//! Telling tasks that something has changed, in the order in which they wait. (`tokio::sync::watch` wakes several
//! receivers in an order drawn at random, which no seed decides.)

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Counts changes and wakes who waits for them.
#[derive(Debug, Default)]
pub struct Signal {
    count: AtomicU64,
    waiting: Notify,
}

impl Signal {
    /// Something has changed.
    pub fn notify(&self) {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.waiting.notify_waiters();
    }

    /// Follows the changes from now on.
    pub fn follow(self: &Arc<Self>) -> Changes {
        let mut changes = Changes { signal: Arc::clone(self), seen: 0 };
        changes.mark_seen();
        changes
    }
}

/// One follower of a [`Signal`].
#[derive(Debug)]
pub struct Changes {
    signal: Arc<Signal>,
    seen: u64,
}

impl Changes {
    /// Takes everything up to now as seen. To be called before what may have changed is looked at.
    pub fn mark_seen(&mut self) {
        self.seen = self.signal.count.load(Ordering::Acquire);
    }

    /// Whether something has changed that was not seen.
    pub fn is_changed(&self) -> bool {
        self.signal.count.load(Ordering::Acquire) != self.seen
    }

    /// Waits for a change that was not seen, and takes it as seen.
    pub async fn changed(&mut self) {
        loop {
            // Made before the count is looked at: it hears of every later change.
            let notified = self.signal.waiting.notified();
            if self.is_changed() {
                break;
            }
            notified.await;
        }
        self.mark_seen();
    }
}
