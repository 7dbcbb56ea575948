//! What the actor looks at once a tick: its status and its disk.

use std::time::Duration;

use quorate_storage::ReplicaId;
use quorate_telemetry::stats::GroupState;

use crate::actor::ending::Ending;
use crate::actor::run::Actor;
use crate::core::{Input, Role};

/// A log write or an apply batch that takes longer than this many election timeouts hangs.
const STALL_ELECTIONS: u32 = 2;

impl Actor {
    /// What the followers need of the log.
    pub(crate) fn note_followers(&mut self) {
        let (core, now) = (self.core.0.status(), self.deps.clock.monotonic());
        let grace = self.config.snapshots.follower_grace;
        let hold = self.followers.slowest(self.replica, &core, now, grace);
        self.shared.set_log_hold(hold);
    }

    pub(crate) fn note_status(&self) {
        let core = self.core.0.status();
        let descriptor = self.core.0.descriptor();
        let stats = &self.shared.stats;
        stats.raft.term.set(core.role.term.get());
        stats.raft.leader.set(core.role.leader.map_or(0, ReplicaId::get));
        stats.raft.commit.set(core.commit.get());
        stats.raft.first.set(core.first.get());
        stats.raft.last.set(core.last.get());
        stats.requests.pending_proposals.set(self.pending.len() as u64);
        if !matches!(self.ending, Some(Ending::Quarantined)) {
            stats.set_state(self.state(core.role));
        }
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

    /// Campaigns, if this replica is to and nobody leads.
    pub(crate) fn seek_office(&mut self) {
        let Some(office) = self.timers.office.as_mut() else { return };
        if self.core.0.role().leader.is_some() {
            self.timers.office = None;
        } else if office.next_ticks > 0 {
            office.next_ticks -= 1;
        } else {
            office.next_ticks = office.every_ticks;
            self.inputs.push(Input::Campaign);
        }
    }

    fn state(&self, role: Role) -> GroupState {
        if self.waiting.is_some() {
            return GroupState::Waiting;
        }
        let is_voter = self.core.0.conf_state().voters.contains(&self.replica);
        match role.leader {
            _ if self.shared.is_replaying() => GroupState::Replaying,
            _ if role.is_leader => GroupState::Leader,
            None => GroupState::NoLeader,
            Some(_) if is_voter => GroupState::Follower,
            Some(_) => GroupState::Learner,
        }
    }

    /// A disk that hangs answers nothing, neither the log writer nor the applier; a leader on it gives its office
    /// away if it can.
    pub(crate) fn check_stall(&mut self) {
        let patience: Duration = self.config.tick * self.config.core.election_ticks_max * STALL_ELECTIONS;
        let is_log_stalled = self.log.in_flight_for() > patience;
        let is_apply_stalled = self.applier.in_flight_for() > patience;
        if is_log_stalled || is_apply_stalled {
            if self.timers.stalled_ticks == 0 {
                tracing::warn!(group = %self.shared.group, is_log_stalled, is_apply_stalled, "the disk hangs");
            }
            // Again after each election timeout: a transfer may come to nothing.
            if self.timers.stalled_ticks.is_multiple_of(self.config.core.election_ticks_max) {
                self.hand_over();
            }
            self.timers.stalled_ticks = self.timers.stalled_ticks.saturating_add(1);
        } else {
            self.timers.stalled_ticks = 0;
        }
        self.shared.update_status(|status| {
            status.is_log_stalled = is_log_stalled;
            status.is_apply_stalled = is_apply_stalled;
        });
    }
}
