//! The gate in front of raft-rs's `step`: raft-rs panics on messages that no correct replica sends, so each
//! message is checked against this replica's identity, log and role first. What is refused is dropped and
//! counted, as if the network had lost it.

use std::collections::{BTreeMap, BTreeSet};

use quorate_storage::{
    ConfChange, EntryId, EntryKind, GroupDescriptor, GroupUid, Incarnation, Index, NUMBER_MAX, ReplicaId,
    Term,
};
use quorate_transport::{RaftMessage, RaftMessageKind as Kind};

use super::io::Evidence;
use super::start::{check_conf_state, check_described};

/// A term further ahead of ours than this was not reached by elections.
const TERM_JUMP_MAX: u64 = 1 << 32;
/// Longest context that any replica sends.
const CONTEXT_BYTES_MAX: usize = 64;
/// Incarnations remembered of senders that the descriptor does not bind.
const LEARNED_MAX: usize = 64;

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Another group uid: a predecessor or successor of this group.
    OtherGroup,
    /// Addressed to another replica.
    OtherReplica,
    /// Addressed to another incarnation of this replica.
    OtherIncarnation,
    /// The sender claims to be this replica, or nobody.
    ImpossibleSender,
    /// A response of a replica that is not in the membership.
    UnknownSender,
    /// The sender was removed from the group.
    RemovedSender,
    /// The sender's incarnation is not the one its replica id is bound to.
    SenderIncarnation,
    /// A term, index or length that no living group reaches.
    HugeNumber,
    /// Term and index do not go together, or fields are set that this kind does not have.
    Malformed,
    /// The entries are not contiguous, or their terms go back.
    BrokenEntries,
    /// A conf change that cannot be decoded.
    BrokenConfChange,
    /// Snapshot label and message contradict each other, or the label is not of this group.
    BrokenSnapshot,
    /// A snapshot whose body was not received and verified first.
    UnverifiedSnapshot,
    /// Acknowledges, or commits, entries this log does not have.
    BeyondLog,
    /// Contradicts an entry that is committed here.
    Diverged,
    /// Not for a replica in this role, of an election that is over, or of a second leader in one term.
    WrongRole,
    /// This replica must not campaign now: its tail is not durable or its start not yet caught up.
    NotElectable,
    /// A kind that replicas of this release do not send.
    Unsupported,
    /// No room: too many entries wait for the disk or for the applier, or too many inputs wait.
    Overloaded,
}

impl Refusal {
    /// All of them, in order.
    pub const ALL: [Self; 19] = [
        Self::OtherGroup,
        Self::OtherReplica,
        Self::OtherIncarnation,
        Self::ImpossibleSender,
        Self::UnknownSender,
        Self::RemovedSender,
        Self::SenderIncarnation,
        Self::HugeNumber,
        Self::Malformed,
        Self::BrokenEntries,
        Self::BrokenConfChange,
        Self::BrokenSnapshot,
        Self::UnverifiedSnapshot,
        Self::BeyondLog,
        Self::Diverged,
        Self::WrongRole,
        Self::NotElectable,
        Self::Unsupported,
        Self::Overloaded,
    ];

    /// The reason as a metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OtherGroup => "other_group",
            Self::OtherReplica => "other_replica",
            Self::OtherIncarnation => "other_incarnation",
            Self::ImpossibleSender => "impossible_sender",
            Self::UnknownSender => "unknown_sender",
            Self::RemovedSender => "removed_sender",
            Self::SenderIncarnation => "sender_incarnation",
            Self::HugeNumber => "huge_number",
            Self::Malformed => "malformed",
            Self::BrokenEntries => "broken_entries",
            Self::BrokenConfChange => "broken_conf_change",
            Self::BrokenSnapshot => "broken_snapshot",
            Self::UnverifiedSnapshot => "unverified_snapshot",
            Self::BeyondLog => "beyond_log",
            Self::Diverged => "diverged",
            Self::WrongRole => "wrong_role",
            Self::NotElectable => "not_electable",
            Self::Unsupported => "unsupported",
            Self::Overloaded => "overloaded",
        }
    }
}

/// How many messages were dropped, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusalCounts([u64; Refusal::ALL.len()]);

impl RefusalCounts {
    /// Messages dropped for this reason since the core was opened.
    pub fn of(&self, reason: Refusal) -> u64 {
        self.0[reason as usize]
    }

    /// Messages dropped for any reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn add(&mut self, reason: Refusal) {
        self.0[reason as usize] += 1;
    }
}

/// What the gate sees of the replica behind it.
pub(super) struct View<'a> {
    pub(super) descriptor: &'a GroupDescriptor,
    pub(super) replica: ReplicaId,
    pub(super) incarnation: Incarnation,
    pub(super) term: Term,
    pub(super) role: raft::StateRole,
    pub(super) leader: u64,
    pub(super) commit: Index,
    pub(super) last: Index,
    pub(super) is_electable: bool,
    /// The term of an entry of this log, `None` where it is compacted or behind the end.
    pub(super) term_at: &'a dyn Fn(Index) -> Option<Term>,
    /// Whether raft-rs tracks this replica.
    pub(super) is_member: &'a dyn Fn(ReplicaId) -> bool,
}

/// Checks messages; remembers who the senders are.
#[derive(Debug, Default)]
pub(super) struct Gate {
    learned: BTreeMap<ReplicaId, Incarnation>,
    removed: BTreeSet<ReplicaId>,
    pub(super) refusals: RefusalCounts,
}

impl Gate {
    /// The incarnation a replica id was seen with, where the descriptor does not say.
    pub(super) fn learned(&self, replica: ReplicaId) -> Option<Incarnation> {
        self.learned.get(&replica).copied()
    }

    /// Notes who is gone after a membership change; their ids are never used again.
    pub(super) fn membership_changed(&mut self, before: &GroupDescriptor, after: &GroupDescriptor) {
        for gone in before.replicas.iter().filter(|old| after.replica(old.replica).is_none()) {
            self.learned.remove(&gone.replica);
            self.removed.insert(gone.replica);
        }
    }

    /// Whether raft-rs may see the message. A snapshot must have been verified by the shell.
    ///
    /// # Errors
    /// Why it must not, and what it proves against this replica's log, if it does.
    pub(super) fn validate(
        &mut self,
        message: &RaftMessage,
        view: &View<'_>,
    ) -> Result<(), (Refusal, Option<Evidence>)> {
        let plain = |refusal| (refusal, None);
        check_addressee(message, view).map_err(plain)?;
        self.check_sender(message, view).map_err(plain)?;
        check_numbers(message, view).map_err(plain)?;
        check_shape(message).map_err(plain)?;
        if message.term < view.term {
            return Ok(()); // raft-rs answers or ignores it without looking at the log.
        }
        match message.kind {
            Kind::Append => check_append(message, view)?,
            Kind::Heartbeat => check_heartbeat(message, view)?,
            Kind::Snapshot => check_snapshot(message, view)?,
            _ => {}
        }
        check_role(message, view).map_err(plain)?;
        self.learn(message, view);
        Ok(())
    }

    fn check_sender(&self, message: &RaftMessage, view: &View<'_>) -> Result<(), Refusal> {
        let from = message.from;
        if from == view.replica || from.get() == raft::INVALID_ID {
            return Err(Refusal::ImpossibleSender);
        }
        if self.removed.contains(&from) {
            return Err(Refusal::RemovedSender);
        }
        let described = view.descriptor.replica(from).map(|replica| replica.incarnation);
        let bound = described.filter(|incarnation| !incarnation.is_zero()).or_else(|| self.learned(from));
        if message.from_incarnation.is_zero() || bound.is_some_and(|bound| bound != message.from_incarnation)
        {
            return Err(Refusal::SenderIncarnation);
        }
        // A leader or candidate may be a member that this replica has not heard of yet; a response may not.
        let is_response = matches!(
            message.kind,
            Kind::AppendResponse
                | Kind::HeartbeatResponse
                | Kind::RequestVoteResponse
                | Kind::RequestPreVoteResponse
        );
        if is_response && !(view.is_member)(from) { Err(Refusal::UnknownSender) } else { Ok(()) }
    }

    fn learn(&mut self, message: &RaftMessage, view: &View<'_>) {
        let is_bound = view.descriptor.replica(message.from).is_some_and(|from| !from.incarnation.is_zero());
        if !is_bound && self.learned.len() < LEARNED_MAX {
            self.learned.entry(message.from).or_insert(message.from_incarnation);
        }
    }
}

fn check_addressee(message: &RaftMessage, view: &View<'_>) -> Result<(), Refusal> {
    let uid: GroupUid = view.descriptor.uid;
    if message.uid != uid || message.group != view.descriptor.group {
        return Err(Refusal::OtherGroup);
    }
    if message.to != view.replica {
        return Err(Refusal::OtherReplica);
    }
    if !message.to_incarnation.is_zero() && message.to_incarnation != view.incarnation {
        return Err(Refusal::OtherIncarnation);
    }
    Ok(())
}

fn check_numbers(message: &RaftMessage, view: &View<'_>) -> Result<(), Refusal> {
    let RaftMessage { term, log, commit, reject_hint, request_snapshot, .. } = message;
    let numbers = [
        term.get(),
        log.term.get(),
        log.index.get(),
        commit.term.get(),
        commit.index.get(),
        reject_hint.get(),
        request_snapshot.get(),
        message.from.get(),
    ];
    let is_huge = numbers.iter().any(|number| *number > NUMBER_MAX);
    if is_huge || term.get() > view.term.get().saturating_add(TERM_JUMP_MAX) {
        return Err(Refusal::HugeNumber);
    }
    if message.context.len() > CONTEXT_BYTES_MAX {
        return Err(Refusal::HugeNumber);
    }
    Ok(())
}

fn check_shape(message: &RaftMessage) -> Result<(), Refusal> {
    let is_append = message.kind == Kind::Append;
    if message.term == Term(0) || (!is_append && !message.entries.is_empty()) {
        return Err(Refusal::Malformed);
    }
    if message.snapshot.is_some() != (message.kind == Kind::Snapshot) {
        return Err(Refusal::BrokenSnapshot);
    }
    if message.request_snapshot != Index(0) || message.priority != 0 {
        return Err(Refusal::Unsupported); // This release never asks for one, and prefers nobody.
    }
    match message.kind {
        Kind::ReadIndex | Kind::ReadIndexResponse | Kind::TransferLeader => Err(Refusal::Unsupported),
        Kind::Append | Kind::RequestVote | Kind::RequestPreVote => {
            let is_position = (message.log.index == Index(0)) == (message.log.term == Term(0));
            let is_past = message.log.term <= message.term;
            if is_position && is_past { Ok(()) } else { Err(Refusal::Malformed) }
        }
        _ => Ok(()),
    }
}

fn check_append(message: &RaftMessage, view: &View<'_>) -> Result<(), (Refusal, Option<Evidence>)> {
    let mut before = message.log;
    for entry in &message.entries {
        let follows = entry.index == before.index.next() && entry.term >= before.term;
        if !follows || entry.term == Term(0) || entry.term > message.term {
            return Err((Refusal::BrokenEntries, None));
        }
        if entry.kind == EntryKind::ConfChange && ConfChange::decode(&entry.payload).is_err() {
            return Err((Refusal::BrokenConfChange, None));
        }
        before = entry.id();
    }
    let positions =
        std::iter::once(message.log).chain(message.entries.iter().map(quorate_storage::Entry::id));
    for EntryId { term, index } in positions.take_while(|id| id.index <= view.commit) {
        // A leader of this or a later term has every entry that is committed here (thesis, 3.6.3).
        if let Some(ours) = (view.term_at)(index)
            && ours != term
        {
            let evidence = Evidence::Diverged { index, ours, theirs: term, from: message.from };
            return Err((Refusal::Diverged, Some(evidence)));
        }
    }
    Ok(())
}

fn check_heartbeat(message: &RaftMessage, view: &View<'_>) -> Result<(), (Refusal, Option<Evidence>)> {
    // A leader never commits past what this replica acknowledged: it has lost log, or a disk that lied.
    if message.commit.index > view.last {
        let evidence =
            Evidence::LogLost { commit: message.commit.index, last: view.last, from: message.from };
        return Err((Refusal::BeyondLog, Some(evidence)));
    }
    Ok(())
}

fn check_snapshot(message: &RaftMessage, view: &View<'_>) -> Result<(), (Refusal, Option<Evidence>)> {
    let Some(label) = &message.snapshot else { return Err((Refusal::BrokenSnapshot, None)) };
    let record = &label.record;
    let EntryId { term, index } = record.applied;
    let is_position = index.get() > 0 && index.get() <= NUMBER_MAX && term.get() > 0 && term <= message.term;
    let is_ours =
        record.descriptor.uid == view.descriptor.uid && record.descriptor.group == view.descriptor.group;
    let is_member = record.conf_state.contains(view.replica);
    let is_sound = check_conf_state(&record.conf_state).is_ok()
        && check_described(&record.conf_state, &record.descriptor).is_ok();
    if !(is_position && is_ours && is_member && is_sound) {
        return Err((Refusal::BrokenSnapshot, None));
    }
    match (view.term_at)(index) {
        Some(ours) if ours != term && index <= view.commit => {
            let evidence = Evidence::Diverged { index, ours, theirs: term, from: message.from };
            Err((Refusal::Diverged, Some(evidence)))
        }
        _ => Ok(()),
    }
}

fn check_role(message: &RaftMessage, view: &View<'_>) -> Result<(), Refusal> {
    use raft::StateRole;
    let is_same_term = message.term == view.term;
    match message.kind {
        // One term has one leader.
        Kind::Append | Kind::Heartbeat | Kind::Snapshot if is_same_term => {
            let is_known = view.leader == raft::INVALID_ID || view.leader == message.from.get();
            if is_known { Ok(()) } else { Err(Refusal::WrongRole) }
        }
        Kind::AppendResponse | Kind::HeartbeatResponse if is_same_term => {
            if view.role != StateRole::Leader {
                return Err(Refusal::WrongRole);
            }
            let acknowledged = if message.reject { message.reject_hint } else { message.log.index };
            let is_ours = message.kind == Kind::HeartbeatResponse || acknowledged <= view.last;
            if is_ours && message.commit.index <= view.last { Ok(()) } else { Err(Refusal::BeyondLog) }
        }
        // A vote makes a leader at once, and a leader's tail must be durable.
        Kind::RequestVoteResponse if is_same_term && !message.reject => {
            let is_candidate = view.role == StateRole::Candidate;
            if !is_candidate {
                Err(Refusal::WrongRole)
            } else if view.is_electable {
                Ok(())
            } else {
                Err(Refusal::NotElectable)
            }
        }
        // raft-rs counts a granted pre-vote of any later term.
        Kind::RequestPreVoteResponse if !message.reject => {
            let is_asked = view.role == StateRole::PreCandidate && message.term.get() == view.term.get() + 1;
            if is_asked { Ok(()) } else { Err(Refusal::WrongRole) }
        }
        Kind::TimeoutNow => {
            if !is_same_term || view.leader != message.from.get() || view.role != StateRole::Follower {
                Err(Refusal::WrongRole)
            } else if view.is_electable {
                Ok(())
            } else {
                Err(Refusal::NotElectable)
            }
        }
        _ => Ok(()),
    }
}
