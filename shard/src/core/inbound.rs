//! What other replicas send: past the gate, then to raft-rs.

use quorate_storage::planted::{self, Planted};
use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::{Index, ReplicaId, Term};
use quorate_transport::{RaftMessage, RaftMessageKind};

use super::convert;
use super::gate::{Refusal, View};
use super::group::Group;
use super::visible::Published;

impl Group {
    pub(super) fn message(&mut self, mut message: RaftMessage) {
        self.misread(&mut message);
        if message.kind == RaftMessageKind::Append && self.is_overloaded() {
            self.gate.refusals.add(Refusal::Overloaded);
            return;
        }
        if self.is_of_deposed(&message) {
            self.gate.refusals.add(Refusal::WrongRole);
            return;
        }
        if self.admits(&message) {
            // An error here says that raft-rs ignored the message, too.
            let _ = self.raw.step(convert::message_to_raft(message));
        }
    }

    /// See [`Planted::VoteGivenTwice`], [`Planted::VoteForShorterLog`] and [`Planted::AppendUnchecked`].
    fn misread(&mut self, message: &mut RaftMessage) {
        let is_request =
            matches!(message.kind, RaftMessageKind::RequestVote | RaftMessageKind::RequestPreVote);
        if is_request && planted::is(Planted::VoteForShorterLog) {
            message.log.term = message.term;
        }
        if message.kind == RaftMessageKind::RequestVote && planted::is(Planted::VoteGivenTwice) {
            self.raw.raft.vote = raft::INVALID_ID;
        }
        if message.kind == RaftMessageKind::Append && planted::is(Planted::AppendUnchecked) {
            let ours = self.raw.store().skeleton().term(message.log.index);
            message.log.term = ours.unwrap_or(message.log.term);
        }
    }

    pub(super) fn snapshot_received(&mut self, message: RaftMessage, token: SnapshotToken) {
        if !self.admits(&message) {
            return;
        }
        let Some(label) = message.snapshot.clone() else { return };
        assert!(label.record.applied == token.id, "a snapshot's label contradicts its token");
        let _ = self.raw.step(convert::message_to_raft(message));
        // raft-rs ignores one that is behind its commit, or that its log covers.
        let is_taken =
            self.raw.snap().is_some_and(|taken| taken.get_metadata().index == token.id.index.get());
        if is_taken {
            self.apply.received = Some(Published { token, label });
        }
    }

    /// Whether a leader that is quarantined said this before it was: it would be followed again, and for nothing.
    fn is_of_deposed(&self, message: &RaftMessage) -> bool {
        let is_a_leaders = matches!(message.kind, RaftMessageKind::Append | RaftMessageKind::Heartbeat);
        is_a_leaders && self.deposed == Some((message.from, message.term))
    }

    fn admits(&mut self, message: &RaftMessage) -> bool {
        let raft = &self.raw.raft;
        let term_at = |index: Index| {
            let is_known =
                (raft.raft_log.first_index() - 1..=raft.raft_log.last_index()).contains(&index.get());
            if is_known { raft.raft_log.term(index.get()).ok().map(Term) } else { None }
        };
        let is_member = |replica: ReplicaId| raft.prs().get(replica.get()).is_some();
        let view = View {
            descriptor: &self.membership.descriptor,
            replica: self.replica,
            incarnation: self.incarnation,
            term: Term(raft.term),
            role: raft.state,
            leader: raft.leader_id,
            commit: Index(raft.raft_log.committed),
            last: Index(raft.raft_log.last_index()),
            is_electable: self.is_electable(),
            term_at: &term_at,
            is_member: &is_member,
        };
        match self.gate.validate(message, &view) {
            Ok(()) => true,
            Err((refusal, evidence)) => {
                self.gate.refusals.add(refusal);
                self.out.evidence = self.out.evidence.or(evidence);
                false
            }
        }
    }

    /// Entries that only memory holds are bounded; a leader sends refused ones again.
    fn is_overloaded(&self) -> bool {
        const FACTOR: u64 = 4;
        let budget = self.config.uncommitted_bytes_max.saturating_mul(FACTOR);
        self.raw.store().tail_bytes() > budget.saturating_add(self.config.tail_bytes_max)
    }
}
