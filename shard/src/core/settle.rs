//! What time and changes of role decide: nobody who asked waits for ever.

use quorate_storage::Term;
use quorate_storage::planted::{self, Planted};

use super::group::Group;
use super::proposals::Pending;
use crate::error::Error;

/// Ticks after which a failed read of committed entries is asked for again.
const FETCH_RETRY_TICKS: u32 = 20;

impl Group {
    pub(super) fn tick(&mut self) {
        if self.may_tick() {
            self.raw.tick();
        }
        if self.raw.mut_store().tick(self.config.patience_ticks()) {
            self.raw.raft.maybe_free_inflight_buffers();
        }
        self.persist_commit();
        self.tick_reads();
        self.tick_joint();
        if let Some(transfer) = &mut self.transfer {
            transfer.age_ticks += 1;
        }
        if let Some((_, age_ticks)) = &mut self.apply.fetch {
            *age_ticks += 1;
            if *age_ticks > FETCH_RETRY_TICKS {
                self.apply.fetch = None;
            }
        }
    }

    /// Holds back the tick that would make a replica campaign that must not.
    fn may_tick(&self) -> bool {
        let raft = &self.raw.raft;
        let is_due = raft.election_elapsed + 1 >= raft.randomized_election_timeout();
        self.is_leader() || !is_due || !raft.promotable() || self.is_electable()
    }

    fn tick_reads(&mut self) {
        for ticket in self.reads.tick(self.config.patience_ticks()) {
            let busy = self.busy();
            self.fail(ticket, busy);
        }
    }

    /// raft-rs may miss to leave joint consensus when leadership changed meanwhile: leave it ourselves.
    fn tick_joint(&mut self) {
        let is_stuck = self.membership.conf_state.is_joint()
            && self.is_serving()
            && !self.raw.raft.has_pending_conf()
            && self.raw.raft.lead_transferee.is_none();
        if !is_stuck {
            self.membership.joint_ticks = 0;
            return;
        }
        self.membership.joint_ticks += 1;
        if self.membership.joint_ticks >= self.config.election_ticks_max {
            self.membership.joint_ticks = 0;
            let leave = raft::eraftpb::ConfChangeV2::default();
            // If it is dropped, it is proposed again.
            let _ = self.raw.propose_conf_change(Vec::new(), leave);
        }
    }

    /// Answers everyone whose outcome the last step of raft-rs has decided.
    pub(super) fn settle(&mut self) {
        let leads = self.is_leader().then_some(Term(self.raw.raft.term));
        // Those of older terms were settled when this leadership began.
        if self.proposals.last_term().is_some_and(|term| leads != Some(term)) {
            self.settle_proposals();
        }
        if self.reads.term().is_some_and(|term| leads != Some(term)) {
            self.settle_reads();
        }
        if self.transfer.is_some() {
            self.settle_transfer();
        }
    }

    /// A lost leader's entries may still commit: "not leader" is said only where another entry has.
    fn settle_proposals(&mut self) {
        let leads = self.is_leader().then_some(Term(self.raw.raft.term));
        let log = &self.raw.raft.raft_log;
        let mut settled = Vec::new();
        self.proposals.settle(|pending: &Pending| {
            if leads == Some(pending.id.term) || planted::is(Planted::TicketOfAnotherTerm) {
                return false;
            }
            let is_committed = pending.id.index.get() <= log.committed;
            let term = log.term(pending.id.index.get()).ok().filter(|term| *term != 0).map(Term);
            if is_committed && term == Some(pending.id.term) {
                return false; // It is on its way to the applier, or already behind it.
            }
            let is_overwritten = is_committed && term.is_some() || planted::is(Planted::LostLeaderRefuses);
            settled.push((pending.ticket, is_overwritten));
            true
        });
        for (ticket, is_overwritten) in settled {
            let group = self.membership.descriptor.group;
            let error = if is_overwritten { self.not_leader() } else { Error::Indeterminate { group } };
            self.fail(ticket, error);
        }
    }

    /// raft-rs forgets its rounds at every change of role. A read has no effect: it may go elsewhere.
    fn settle_reads(&mut self) {
        for ticket in self.reads.take_all() {
            let error = self.not_leader();
            self.fail(ticket, error);
        }
    }

    fn settle_transfer(&mut self) {
        let Some(transfer) = &self.transfer else { return };
        let leader = super::convert::replica(self.raw.raft.leader_id);
        let is_late = transfer.age_ticks > self.config.patience_ticks();
        let outcome = if self.is_leader() {
            if self.raw.raft.lead_transferee.is_some() {
                return;
            }
            Some(self.busy()) // Given up after one election timeout: this replica goes on leading.
        } else if leader == Some(transfer.to) {
            None
        } else if leader.is_some() || is_late {
            Some(self.not_leader())
        } else {
            return;
        };
        let ticket = transfer.ticket;
        self.transfer = None;
        match outcome {
            None => self.done(ticket),
            Some(error) => self.fail(ticket, error),
        }
    }
}
