//! What callers ask of a group: proposals, membership changes, read barriers, hand-over of leadership.

use bytes::Bytes;
use quorate_storage::planted::{self, Planted};
use quorate_storage::{ConfChange, ConfChangeOp, EntryId, Index, ReplicaId, Term};
use raft::StateRole;
use raft::eraftpb::{self, MessageType};

use super::group::{Group, Transfer};
use super::io::Ticket;
use super::membership;
use super::proposals::Pending;
use crate::error::Error;

/// A follower of a quarantined leader campaigns within so many ticks.
const TAKEOVER_TICKS_MAX: usize = 4;

impl Group {
    pub(super) fn propose(&mut self, ticket: Ticket, payload: Bytes) {
        match self.check_proposal(payload.len() as u64) {
            Ok(()) => self.proposals.gather(ticket, payload),
            Err(error) => self.fail(ticket, error),
        }
    }

    /// Appends everything gathered, as one message to raft-rs: one ready, one message to each follower.
    pub(super) fn append_gathered(&mut self) {
        let gathered = self.proposals.take_gathered();
        if gathered.is_empty() {
            return;
        }
        if let Err(error) = self.check_leadership() {
            for (ticket, _) in gathered {
                self.fail(ticket, error.clone());
            }
            return;
        }
        let first = self.raw.raft.raft_log.last_index() + 1;
        let term = Term(self.raw.raft.term);
        let copies = if planted::is(Planted::ProposedTwice) { 2 } else { 1 };
        let mut tickets = Vec::with_capacity(gathered.len());
        let mut entries = Vec::with_capacity(gathered.len());
        for (ticket, payload) in gathered {
            tickets.push(ticket);
            let entry = eraftpb::Entry { data: payload, ..Default::default() };
            entries.extend(std::iter::repeat_n(entry, copies));
        }
        let mut message = eraftpb::Message::default();
        message.set_msg_type(MessageType::MsgPropose);
        message.from = self.replica.get();
        message.set_entries(entries.into());
        let is_appended = self.raw.step(message).is_ok();
        for (index, ticket) in (first..).skip(copies - 1).step_by(copies).zip(tickets) {
            if is_appended {
                let id = EntryId { term, index: Index(index) };
                self.proposals.appended(Pending { ticket, id, is_conf_change: false });
            } else {
                let busy = self.busy();
                self.fail(ticket, busy);
            }
        }
    }

    pub(super) fn propose_conf_change(&mut self, ticket: Ticket, change: &ConfChange) {
        self.append_gathered();
        let checked = self.check_conf_change(change).and_then(|()| change.encode().map_err(Error::Invalid));
        let payload = match checked {
            Ok(payload) => payload,
            Err(error) => {
                self.fail(ticket, error);
                return;
            }
        };
        if self.raw.propose_conf_change(payload.to_vec(), membership::to_raft(change)).is_ok() {
            let log = &self.raw.raft.raft_log;
            let id = EntryId { term: Term(self.raw.raft.term), index: Index(log.last_index()) };
            self.proposals.appended(Pending { ticket, id, is_conf_change: true });
        } else {
            let busy = self.busy();
            self.fail(ticket, busy);
        }
    }

    pub(super) fn read(&mut self, ticket: Ticket) {
        if planted::is(Planted::FollowerReads) && !self.is_leader() {
            self.out.reads.push((ticket, self.apply.reported));
            return;
        }
        let refusal = if !self.is_leader() || !self.raw.raft.promotable() {
            Some(self.not_leader())
        } else if self.reads.waiting_count() >= self.config.waiting_reads_max {
            Some(self.busy())
        } else {
            None
        };
        match refusal {
            Some(error) => self.fail(ticket, error),
            None => self.reads.wait(ticket, Term(self.raw.raft.term)),
        }
    }

    /// Begins a round of ReadIndex for all who wait. raft-rs drops the request without a word before the
    /// first commit of its term: they wait on then, for some ticks.
    pub(super) fn begin_reads(&mut self) {
        if !self.is_leader() || !self.raw.raft.commit_to_current_term() {
            return;
        }
        if let Some(context) = self.reads.begin() {
            if planted::is(Planted::ReadWithoutRound) {
                let index = Index(self.raw.raft.raft_log.committed);
                let confirmed = self.reads.confirmed(&context);
                return self.out.reads.extend(confirmed.into_iter().map(|ticket| (ticket, index)));
            }
            self.raw.read_index(context.to_vec());
        }
    }

    pub(super) fn transfer(&mut self, ticket: Ticket, to: ReplicaId) {
        self.append_gathered();
        if to == self.replica && self.is_leader() {
            self.done(ticket);
            return;
        }
        match self.check_transfer(to) {
            Ok(()) => {
                self.raw.transfer_leader(to.get());
                self.transfer = Some(Transfer { ticket, to, age_ticks: 0 });
            }
            Err(error) => self.fail(ticket, error),
        }
    }

    pub(super) fn campaign(&mut self) {
        if !self.is_leader() && self.raw.raft.promotable() && self.is_electable() {
            // An error says that raft-rs did nothing.
            let _ = self.raw.campaign();
        }
    }

    /// Forgets a leader that is quarantined, as after an election timeout: then this replica votes for others, too, and
    /// campaigns itself within a few ticks, not all replicas in the same.
    pub(super) fn leader_quarantined(&mut self, replica: ReplicaId, term: Term) {
        let raft = &mut self.raw.raft;
        let is_followed = raft.state == StateRole::Follower && raft.leader_id == replica.get();
        if !is_followed || raft.term != term.get() || replica == self.replica {
            return;
        }
        self.deposed = Some((replica, term));
        raft.become_follower(term.get(), raft::INVALID_ID);
        self.after_raft();
        let timeout = self.raw.raft.randomized_election_timeout();
        let stagger = timeout % TAKEOVER_TICKS_MAX + 1;
        self.raw.raft.election_elapsed = timeout.saturating_sub(stagger);
    }

    fn check_leadership(&self) -> Result<(), Error> {
        if !self.is_leader() || !self.raw.raft.promotable() {
            return Err(self.not_leader());
        }
        if self.raw.raft.lead_transferee.is_some() {
            return Err(Error::Transferring { group: self.membership.descriptor.group });
        }
        if self.is_serving() { Ok(()) } else { Err(self.busy()) }
    }

    fn check_proposal(&self, bytes: u64) -> Result<(), Error> {
        self.check_leadership()?;
        let gathered = self.proposals.gathered_bytes();
        let uncommitted = self.raw.raft.uncommitted_size() as u64;
        let is_alone = uncommitted == 0 && gathered.is_none();
        let total = uncommitted.saturating_add(gathered.unwrap_or(0)).saturating_add(bytes);
        if is_alone || total <= self.config.uncommitted_bytes_max { Ok(()) } else { Err(self.busy()) }
    }

    fn check_conf_change(&self, change: &ConfChange) -> Result<(), Error> {
        self.check_leadership()?;
        if change.ops.is_empty() {
            return Err(Error::ConfChangeRefused("it has no steps"));
        }
        membership::check(change, &self.membership.descriptor, &self.membership.conf_state)?;
        if self.raw.raft.has_pending_conf() {
            return Err(Error::ConfChangePending { group: self.membership.descriptor.group });
        }
        for op in &change.ops {
            match op {
                ConfChangeOp::Promote(learner) => self.check_close_behind(*learner)?,
                ConfChangeOp::Remove(replica) if *replica == self.replica => {
                    return Err(Error::ConfChangeRefused("the leader must hand over before it is removed"));
                }
                ConfChangeOp::AddLearner(_) | ConfChangeOp::Remove(_) => {}
            }
        }
        Ok(())
    }

    fn check_transfer(&self, to: ReplicaId) -> Result<(), Error> {
        if !self.is_leader() {
            return Err(self.not_leader());
        }
        if self.transfer.is_some() || self.raw.raft.lead_transferee.is_some() {
            return Err(Error::Transferring { group: self.membership.descriptor.group });
        }
        if !self.membership.conf_state.voters.contains(&to) {
            return Err(Error::ConfChangeRefused("only a voter can lead"));
        }
        self.check_close_behind(to)
    }

    /// Whether `replica` was heard of lately and is close behind this leader. raft-rs takes a replica that was
    /// just added for active, so one that has acknowledged nothing yet is behind however short the log is.
    fn check_close_behind(&self, replica: ReplicaId) -> Result<(), Error> {
        let last = self.raw.raft.raft_log.last_index();
        let progress = self.raw.raft.prs().get(replica.get());
        let entries = last - progress.map_or(0, |progress| progress.matched).min(last);
        let is_alive = progress.is_some_and(|progress| progress.recent_active && progress.matched > 0);
        if is_alive && entries <= self.config.lag_entries_max {
            Ok(())
        } else {
            Err(Error::Lagging { replica, entries })
        }
    }
}
