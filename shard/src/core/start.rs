//! What a core starts from, and the checks that stand between it and raft-rs, which panics on surprise.

use quorate_storage::cold_start::start_commit;
use quorate_storage::log::LogSkeleton;
use quorate_storage::planted::{self, Planted};
use quorate_storage::snapshot::{SnapshotLabel, SnapshotToken};
use quorate_storage::{
    ConfState, Entry, EntryId, GroupDescriptor, HardState, Incarnation, Index, NUMBER_MAX, ReplicaId, Term,
};

use super::config::CoreConfig;

/// Everything a core has to know of the past. Memory only: nothing is read later.
#[derive(Clone, Debug)]
pub struct Start {
    /// The group, as of `floor`. Replicas whose incarnation is zero are bound by their first message.
    pub descriptor: GroupDescriptor,
    /// This replica; not 0.
    pub replica: ReplicaId,
    /// This replica's directory.
    pub incarnation: Incarnation,
    /// Membership as of `floor`; empty for a replica that waits for its first snapshot.
    pub conf_state: ConfState,
    /// As recovered from the log.
    pub hard_state: HardState,
    /// Bounds and terms of the log.
    pub skeleton: LogSkeleton,
    /// The position up to which the state machine holds everything.
    pub floor: EntryId,
    /// The state machine does not: the replica waits for a snapshot. `floor` is the log's base then, and `conf_state`
    /// empty. See [`Group::is_waiting`](crate::core::Group::is_waiting).
    pub is_waiting: bool,
    /// The last entries of the log, contiguous up to its end; may be empty.
    pub tail: Vec<Entry>,
    /// The newest usable snapshot.
    pub snapshot: Option<(SnapshotToken, Box<SnapshotLabel>)>,
    /// Decides this replica's election timeouts. Must differ between the replicas of a group.
    pub seed: u64,
    /// Timing and budgets.
    pub config: CoreConfig,
}

/// Why a replica cannot start from what it has. Nothing was changed; the group is to be quarantined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartRefused {
    /// The config contradicts itself.
    #[error("invalid config: {0}")]
    Config(&'static str),
    /// The replica id is 0 or too large.
    #[error("{0} is no replica id")]
    ReplicaId(ReplicaId),
    /// Acknowledged log is gone: entries known to be committed are not in the log.
    #[error("log lost: commit is {commit}, the log ends at {last}")]
    CommitBeyondLog {
        /// Commit index of the hard state.
        commit: Index,
        /// Last index of the log.
        last: Index,
    },
    /// Acknowledged log is gone: the state machine is ahead of the log.
    #[error("log lost: the state holds {floor}, the log ends at {last}")]
    FloorBeyondLog {
        /// What the state machine holds.
        floor: Index,
        /// Last index of the log.
        last: Index,
    },
    /// Entries between the state and the log are missing.
    #[error("gap: the state holds {floor}, the log begins at {first}")]
    Gap {
        /// What the state machine holds.
        floor: Index,
        /// First index of the log.
        first: Index,
    },
    /// State and log disagree about the entry at the floor.
    #[error("diverged at {index}: the state has term {state}, the log {log}")]
    Diverged {
        /// The floor.
        index: Index,
        /// Its term in the state machine's record.
        state: Term,
        /// Its term in the log.
        log: Term,
    },
    /// The hard state is older than the log: it was lost, and with it perhaps a vote.
    #[error("hard state lost: its term is {term}, the log ends in term {last}")]
    HardStateLost {
        /// Term of the hard state.
        term: Term,
        /// Term of the last entry.
        last: Term,
    },
    /// The membership contradicts itself or the descriptor.
    #[error("invalid membership: {0}")]
    Membership(&'static str),
    /// The bounds, terms or entries of the log contradict each other.
    #[error("invalid log: {0}")]
    Log(&'static str),
    /// The snapshot is not one of this group, or not of this log.
    #[error("invalid snapshot: {0}")]
    Snapshot(&'static str),
    /// raft-rs refused a start that had passed every check; it logged why.
    #[error("raft refused the start")]
    Raft,
}

impl Start {
    /// The checks of {snapshot, first, last, hard state, floor, membership} that raft-rs would panic on, and
    /// those it forgets. Returns the hard state to start with: commit is raised to the floor.
    pub(super) fn check(&self) -> Result<HardState, StartRefused> {
        if let Some(rule) = self.config.contradiction() {
            return Err(StartRefused::Config(rule));
        }
        if self.replica.get() == raft::INVALID_ID || self.replica.get() > NUMBER_MAX {
            return Err(StartRefused::ReplicaId(self.replica));
        }
        self.check_log()?;
        self.check_positions()?;
        self.check_membership()?;
        self.check_snapshot()?;
        self.checked_hard_state()
    }

    fn check_log(&self) -> Result<(), StartRefused> {
        let LogSkeleton { base, last, runs, .. } = &self.skeleton;
        if last.get() > NUMBER_MAX || base.index > *last {
            return Err(StartRefused::Log("bounds"));
        }
        if (base.index == Index(0)) != (base.term == Term(0)) {
            return Err(StartRefused::Log("term of the base"));
        }
        if !self.skeleton.is_sound() {
            return Err(StartRefused::Log("positions of terms or of conf changes"));
        }
        let starts_right = runs.first().is_none_or(|&(_, term)| term >= base.term && term > Term(0));
        let ascends = runs.windows(2).all(|pair| pair[0].1 < pair[1].1);
        let in_bounds = runs.last().is_none_or(|&(_, term)| term.get() <= NUMBER_MAX);
        if !starts_right || !ascends || !in_bounds {
            return Err(StartRefused::Log("terms"));
        }
        let tail_first = Index((last.get() + 1).saturating_sub(self.tail.len() as u64));
        let matches = (tail_first.get()..).zip(&self.tail).all(|(index, entry)| {
            entry.index == Index(index)
                && index > base.index.get()
                && self.skeleton.term(entry.index) == Some(entry.term)
        });
        if matches { Ok(()) } else { Err(StartRefused::Log("tail")) }
    }

    fn check_positions(&self) -> Result<(), StartRefused> {
        let (floor, last, first) = (self.floor.index, self.skeleton.last, self.skeleton.first());
        if self.hard_state.commit > last {
            return Err(StartRefused::CommitBeyondLog { commit: self.hard_state.commit, last });
        }
        if floor > last {
            return Err(StartRefused::FloorBeyondLog { floor, last });
        }
        if first > floor.next() {
            return Err(StartRefused::Gap { floor, first });
        }
        match self.skeleton.term(floor) {
            Some(log) if log != self.floor.term => {
                Err(StartRefused::Diverged { index: floor, state: self.floor.term, log })
            }
            _ => Ok(()),
        }
    }

    fn check_membership(&self) -> Result<(), StartRefused> {
        if self.is_waiting {
            let is_sound = self.conf_state == ConfState::default() && self.floor == self.skeleton.base;
            return if is_sound {
                Ok(())
            } else {
                Err(StartRefused::Membership("a state that is waited for"))
            };
        }
        if self.conf_state == ConfState::default() {
            // Fed from the first entry with no membership, raft-rs would elect a joiner alone.
            let is_joining = self.floor.index == Index(0) && self.skeleton.last == Index(0);
            return if is_joining || planted::is(Planted::JoinerWithoutMembers) {
                Ok(())
            } else {
                Err(StartRefused::Membership("a log without members"))
            };
        }
        check_conf_state(&self.conf_state).map_err(StartRefused::Membership)?;
        check_described(&self.conf_state, &self.descriptor).map_err(StartRefused::Membership)?;
        match self.descriptor.replica(self.replica) {
            Some(own) if !own.incarnation.is_zero() && own.incarnation != self.incarnation => {
                Err(StartRefused::Membership("this replica id belongs to another incarnation"))
            }
            _ => Ok(()),
        }
    }

    fn check_snapshot(&self) -> Result<(), StartRefused> {
        let Some((token, label)) = &self.snapshot else { return Ok(()) };
        if label.record.applied != token.id || label.record.descriptor.uid != self.descriptor.uid {
            return Err(StartRefused::Snapshot("label"));
        }
        if token.id.index > self.skeleton.last {
            return Err(StartRefused::Snapshot("it ends behind the log"));
        }
        if self.skeleton.term(token.id.index).is_some_and(|term| term != token.id.term) {
            return Err(StartRefused::Snapshot("term"));
        }
        Ok(())
    }

    fn checked_hard_state(&self) -> Result<HardState, StartRefused> {
        let HardState { term, vote, commit } = self.hard_state;
        let last = self.skeleton.term(self.skeleton.last).unwrap_or_default();
        let is_born = self.skeleton.runs.is_empty() && self.hard_state == HardState::default();
        if term.get() > NUMBER_MAX || vote.is_some_and(|vote| vote.get() == raft::INVALID_ID) {
            return Err(StartRefused::Log("hard state"));
        }
        if term < last && !is_born {
            return Err(StartRefused::HardStateLost { term, last });
        }
        let vote = vote.filter(|_| !planted::is(Planted::VoteForgotten));
        Ok(HardState { term: term.max(last), vote, commit: start_commit(commit, self.floor.index) })
    }
}

/// What raft-rs demands of a membership that it is given (it panics otherwise).
pub(super) fn check_conf_state(conf_state: &ConfState) -> Result<(), &'static str> {
    let ConfState { voters, voters_outgoing, learners, learners_next, auto_leave } = conf_state;
    for set in [voters, voters_outgoing, learners, learners_next] {
        let mut sorted = set.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("a replica counts twice");
        }
        if sorted.iter().any(|id| id.get() == raft::INVALID_ID || id.get() > NUMBER_MAX) {
            return Err("a replica id is 0 or too large");
        }
    }
    if voters.is_empty() {
        return Err("no voter");
    }
    if learners.iter().any(|id| voters.contains(id) || voters_outgoing.contains(id)) {
        return Err("a learner is a voter");
    }
    if learners_next.iter().any(|id| voters.contains(id) || !voters_outgoing.contains(id)) {
        return Err("a coming learner is no leaving voter");
    }
    if *auto_leave && voters_outgoing.is_empty() {
        return Err("nothing to leave");
    }
    Ok(())
}

/// Every member must be described, or nobody knows where it lives.
pub(super) fn check_described(
    conf_state: &ConfState,
    descriptor: &GroupDescriptor,
) -> Result<(), &'static str> {
    let ConfState { voters, voters_outgoing, learners, .. } = conf_state;
    let members = voters.iter().chain(voters_outgoing).chain(learners);
    if members.into_iter().all(|id| descriptor.replica(*id).is_some()) {
        Ok(())
    } else {
        Err("a member is not described")
    }
}
