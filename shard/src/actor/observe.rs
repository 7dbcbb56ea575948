//! What the actor looks at once a tick: its status and its disk.

use std::time::Duration;

use crate::actor::run::Actor;

/// A log write that takes longer than this many election timeouts hangs.
const STALL_ELECTIONS: u32 = 2;

impl Actor {
    pub(crate) fn note_status(&self) {
        let core = self.core.0.status();
        let descriptor = self.core.0.descriptor();
        self.shared.update_status(|status| {
            status.role = core.role;
            status.first = core.first;
            status.last = core.last;
            status.commit = core.commit;
            status.peers = core.peers;
            status.snapshot = self.publisher.newest().map(|token| token.id);
            if *status.descriptor != *descriptor {
                status.descriptor = std::sync::Arc::new(descriptor.clone());
            }
        });
    }

    /// A disk that hangs answers nothing; a leader on it gives its office away if it can (DESIGN 4).
    pub(crate) fn check_log_stall(&mut self) {
        let patience: Duration = self.config.tick * self.config.core.election_ticks_max * STALL_ELECTIONS;
        let is_stalled = self.log.in_flight_for() > patience;
        if is_stalled && !self.timers.is_stall_handled {
            self.timers.is_stall_handled = true;
            tracing::warn!(group = %self.shared.group, "a log write hangs");
            self.hand_over();
        }
        if !is_stalled {
            self.timers.is_stall_handled = false;
        }
        self.shared.update_status(|status| status.is_log_stalled = is_stalled);
    }
}
