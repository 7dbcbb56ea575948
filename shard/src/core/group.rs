//! The group core: [`Input`] in, [`Output`] out.

use std::collections::VecDeque;

use quorate_storage::planted::{self, Planted};
use quorate_storage::{ConfState, EntryId, GroupDescriptor, HardState, Incarnation, Index, ReplicaId, Term};
use quorate_transport::RaftMessageKind;
use raft::{RaftState, RawNode, SnapshotStatus, StateRole};

use super::config::CoreConfig;
use super::convert;
use super::durability::Durability;
use super::gate::{Gate, Refusal, RefusalCounts};
use super::io::{Fetch, Input, Output, Reply, Role, Ticket};
use super::logging;
use super::proposals::Proposals;
use super::reads::Reads;
use super::start::{Start, StartRefused};
use super::visible::{Published, VisibleLog};
use crate::error::{Error, LeaderHint};

/// One replica of one group: raft-rs and everything it needs to be safe, without I/O, clock, tasks or
/// randomness of its own.
///
/// Feed any number of inputs, then drain once: what was proposed in between becomes one ready, and one sync.
/// The outputs of a drain are to be carried out in the order of [`Output`]'s fields.
///
/// # Panics
/// Every method panics when an invariant is broken, by a defect or by a shell that reports what was never
/// asked for. The group is to be quarantined then, and the core dropped; it holds no locks.
pub struct Group {
    pub(super) raw: RawNode<VisibleLog>,
    pub(super) config: CoreConfig,
    pub(super) seed: u64,
    pub(super) replica: ReplicaId,
    pub(super) incarnation: Incarnation,
    pub(super) gate: Gate,
    pub(super) membership: Membership,
    pub(super) durability: Durability,
    pub(super) apply: ApplyProgress,
    pub(super) proposals: Proposals,
    pub(super) reads: Reads,
    pub(super) transfer: Option<Transfer>,
    /// A leader that is quarantined, and its term: it does not lead in it again.
    pub(super) deposed: Option<(ReplicaId, Term)>,
    /// Inputs that wait while the only voter waits for its log writer.
    pub(super) waiting: VecDeque<Input>,
    /// Whether it leaves leading to others.
    pub(super) abstains: bool,
    pub(super) role: Role,
    pub(super) out: Output,
}

/// Who belongs to the group, as of the last entry handed to the applier.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) descriptor: GroupDescriptor,
    pub(super) conf_state: ConfState,
    /// Ticks since joint consensus could have been left.
    pub(super) joint_ticks: u32,
}

/// ```text
/// start floor <= reported <= handed <= commit;  raft's applied <= reported
/// ```
#[derive(Debug)]
pub(super) struct ApplyProgress {
    /// The last entry handed to the applier.
    pub(super) handed: Index,
    /// What the applier has reported.
    pub(super) reported: Index,
    /// No campaign before everything up to here is applied: the commit this core started with.
    pub(super) start_commit: Index,
    /// Batches handed and not reported: last index and bytes.
    pub(super) batches: VecDeque<(Index, u64)>,
    pub(super) bytes: u64,
    /// The read of committed entries that is under way, and its age.
    pub(super) fetch: Option<(u64, u32)>,
    /// The received snapshot that raft-rs has been told of.
    pub(super) received: Option<Published>,
    /// Nothing is handed out: the state machine lacks what precedes it.
    pub(super) is_waiting: bool,
}

/// Leadership on its way to another replica.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) ticket: Ticket,
    pub(super) to: ReplicaId,
    pub(super) age_ticks: u32,
}

impl Group {
    /// Opens a core. Nothing is sent or persisted before the first [`Group::drain`].
    ///
    /// # Errors
    /// [`StartRefused`]: this replica must not run on what it has.
    pub fn open(start: Start) -> Result<Self, StartRefused> {
        let hard_state = start.check()?;
        let Start { descriptor, replica, incarnation, conf_state, skeleton, floor, tail, .. } = start;
        let initial = RaftState {
            hard_state: convert::hard_state_to_raft(hard_state),
            conf_state: convert::conf_state_to_raft(&conf_state),
        };
        let is_late = planted::is(Planted::ElectableTooLate);
        let start_commit = if is_late { skeleton.last } else { hard_state.commit };
        let mut log = VisibleLog::new(initial, skeleton, start.config.append_bytes_max);
        log.seed(tail.into_iter().map(convert::entry_to_raft).collect());
        if let Some((token, label)) = start.snapshot {
            log.publish(Published { token, label });
        }
        let raft_config = start.config.raft(replica.get(), floor.index.get());
        let logger = logging::logger(descriptor.group, replica);
        let raw = RawNode::new(&raft_config, log, &logger).map_err(|error| {
            tracing::error!(group = descriptor.group.get(), %error, "raft refused the start");
            StartRefused::Raft
        })?;
        let mut group = Self {
            raw,
            config: start.config,
            seed: start.seed,
            replica,
            incarnation,
            gate: Gate::default(),
            membership: Membership { descriptor, conf_state, joint_ticks: 0 },
            durability: Durability::new(start.hard_state),
            apply: ApplyProgress::new((floor.index, start.is_waiting), start_commit),
            proposals: Proposals::default(),
            reads: Reads::default(),
            transfer: None,
            deposed: None,
            waiting: VecDeque::new(),
            abstains: false,
            role: Role { is_leader: false, is_serving: false, leader: None, term: hard_state.term },
            out: Output::default(),
        };
        group.after_raft();
        Ok(group)
    }

    /// [`Group::feed`], then [`Group::drain`].
    pub fn step(&mut self, input: Input) -> Output {
        self.feed(input);
        self.drain()
    }

    /// Takes one input. Its effects show in the next [`Group::drain`].
    pub fn feed(&mut self, input: Input) {
        match input {
            Input::Persisted { ready } => {
                self.persisted(ready);
                while !self.waits_for_writer()
                    && let Some(input) = self.waiting.pop_front()
                {
                    self.take(input);
                }
            }
            input if self.waits_for_writer() => self.wait(input),
            input => self.take(input),
        }
    }

    /// Everything to be done after the inputs since the last drain.
    pub fn drain(&mut self) -> Output {
        self.append_gathered();
        self.begin_reads();
        self.after_raft();
        self.take_readies();
        self.fetch_committed();
        let fetches = self.raw.mut_store().take_append_fetches();
        self.out.fetches.extend(fetches);
        if self.raw.mut_store().take_snapshot_wanted() {
            self.out.snapshot_wanted = Some(self.apply.handed);
        }
        let through = self.apply.handed.min(Index(self.raw.raft.raft_log.persisted));
        let patience_ticks = self.config.patience_ticks();
        self.raw.mut_store().evict(through, self.config.tail_bytes_max, patience_ticks);
        self.note_role();
        self.check_invariants();
        std::mem::take(&mut self.out)
    }

    /// The role as of the last drain.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The group as of the last entry handed to the applier.
    pub fn descriptor(&self) -> &GroupDescriptor {
        &self.membership.descriptor
    }

    /// The membership as of the last entry handed to the applier.
    pub fn conf_state(&self) -> &ConfState {
        &self.membership.conf_state
    }

    /// Messages that were dropped at the gate.
    pub fn refusals(&self) -> &RefusalCounts {
        &self.gate.refusals
    }

    /// The incarnation `replica` is bound to, or was first seen with.
    pub fn incarnation_of(&self, replica: ReplicaId) -> Option<Incarnation> {
        let described = self.membership.descriptor.replica(replica).map(|known| known.incarnation);
        described.filter(|known| !known.is_zero()).or_else(|| self.gate.learned(replica))
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Tick => self.tick(),
            Input::Message(message) if message.kind == RaftMessageKind::Snapshot => {
                self.gate.refusals.add(Refusal::UnverifiedSnapshot);
            }
            Input::Message(message) => self.message(message),
            Input::Snapshot { message, token } => self.snapshot_received(message, token),
            Input::Propose { ticket, payload } => self.propose(ticket, payload),
            Input::ProposeConfChange { ticket, change } => self.propose_conf_change(ticket, &change),
            Input::Read { ticket } => self.read(ticket),
            Input::Transfer { ticket, to } => self.transfer(ticket, to),
            Input::Campaign => self.campaign(),
            Input::Abstain(abstains) => self.abstains = abstains,
            Input::LeaderQuarantined { replica, term } => self.leader_quarantined(replica, term),
            Input::Persisted { ready } => self.persisted(ready),
            Input::Applied { through } => self.applied(through),
            Input::Fetched { fetch, entries } => self.fetched(&fetch, entries),
            Input::Unreachable { replica } => self.raw.report_unreachable(replica.get()),
            Input::SnapshotPublished { token, label } => {
                assert!(label.record.applied == token.id, "a snapshot's label contradicts its token");
                self.raw.mut_store().publish(Published { token, label });
            }
            Input::SnapshotSent { to, delivered } => {
                let status = if delivered { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
                self.raw.report_snapshot(to.get(), status);
            }
            Input::Compacted { through } => self.compacted(through),
            Input::StateLost => self.apply.is_waiting = true,
        }
        self.after_raft();
    }

    /// A group whose only voter is this replica takes nothing while a ready of its is not durable: there
    /// nothing else would keep a leader's tail durable (raft-rs asserts that it is).
    pub(super) fn waits_for_writer(&self) -> bool {
        self.is_only_voter() && self.durability.is_waiting()
    }

    pub(super) fn is_only_voter(&self) -> bool {
        self.raw.raft.promotable() && self.raw.raft.prs().is_singleton()
    }

    /// Keeps an input for later. What raft or the shell can repeat is dropped when there is no room.
    fn wait(&mut self, input: Input) {
        let is_full = self.waiting.len() >= self.config.waiting_inputs_max;
        match input {
            Input::Tick if is_full || matches!(self.waiting.back(), Some(Input::Tick)) => {}
            Input::Message(_) if is_full => self.gate.refusals.add(Refusal::Overloaded),
            Input::Propose { ticket, .. }
            | Input::ProposeConfChange { ticket, .. }
            | Input::Read { ticket }
            | Input::Transfer { ticket, .. }
                if is_full =>
            {
                let busy = self.busy();
                self.fail(ticket, busy);
            }
            input => self.waiting.push_back(input),
        }
    }

    fn fetched(&mut self, fetch: &Fetch, entries: Option<Vec<quorate_storage::Entry>>) {
        let entries =
            entries.map(|entries| entries.into_iter().map(convert::entry_to_raft).collect::<Vec<_>>());
        if self.apply.fetch.is_some_and(|(id, _)| id == fetch.id) {
            self.fetched_committed(entries);
            return;
        }
        let contexts = self.raw.mut_store().begin_fetched(fetch.id, entries);
        for context in contexts {
            self.raw.on_entries_fetched(context);
        }
        self.raw.mut_store().end_fetched();
    }

    fn compacted(&mut self, through: Index) {
        assert!(through <= self.apply.reported, "compacted through {through}, behind what is applied");
        self.raw.mut_store().compact(through);
    }

    /// raft-rs draws a new election timeout at every reset, from a random source that is not ours.
    pub(super) fn after_raft(&mut self) {
        let ticks = self.config.election_ticks(self.seed, self.raw.raft.term);
        self.raw.raft.set_randomized_election_timeout(ticks);
        self.settle();
    }

    /// Whether this replica may become leader: everything it has is durable, and everything it knew to be
    /// committed when it started is applied, an installed snapshot too (raft-rs would look for conf changes
    /// below it, and panic). One that abstains may not.
    pub(super) fn is_electable(&self) -> bool {
        if self.abstains && !self.is_only_voter() {
            return false;
        }
        let log = &self.raw.raft.raft_log;
        !self.apply.is_waiting
            && Index(log.applied) >= self.apply.start_commit
            && log.applied + 1 >= log.first_index()
            && log.persisted == log.last_index()
            && !self.durability.is_syncing()
    }

    /// Whether this replica waits for a snapshot: its log is whole from its base on, and its state machine does not hold
    /// what precedes it.
    ///
    /// It votes, appends and acknowledges like any other: those promises are about term, vote and log, which are durable
    /// and intact, and raft asks nobody for a membership or a state before they are made (a joining replica has
    /// neither). It never campaigns, and committed entries are kept from the applier. A snapshot that the leader sends
    /// because its log no longer reaches back ends the waiting; any other takes a new core, which starts from it.
    pub fn is_waiting(&self) -> bool {
        self.apply.is_waiting
    }

    /// Whether this replica sends a snapshot to one that waits: it has a state, and it leads or knows of no leader. The one
    /// that waits may have the longest log: then nobody is elected before it has a state.
    pub fn helps_waiting(&self) -> bool {
        !self.apply.is_waiting && (self.role.is_leader || self.role.leader.is_none())
    }

    /// Whether the log's base, or a durable entry of it, has this position.
    pub fn has_durable(&self, id: EntryId) -> bool {
        let log = &self.raw.raft.raft_log;
        id.index.get() <= log.persisted && self.raw.store().skeleton().term(id.index) == Some(id.term)
    }

    pub(super) fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// Whether this replica leads and has applied the empty entry of its own term.
    pub(super) fn is_serving(&self) -> bool {
        self.is_leader() && self.raw.raft.promotable() && self.raw.raft.apply_to_current_term()
    }

    fn note_role(&mut self) {
        let role = Role {
            is_leader: self.is_leader(),
            is_serving: self.is_serving(),
            leader: convert::replica(self.raw.raft.leader_id),
            term: Term(self.raw.raft.term),
        };
        if role != self.role {
            self.role = role;
            self.out.role = Some(role);
        }
    }

    pub(super) fn fail(&mut self, ticket: Ticket, error: Error) {
        self.out.replies.push((ticket, Reply::Failed(error)));
    }

    /// The answer to what only a leader can do.
    pub fn not_leader(&self) -> Error {
        let leader = convert::replica(self.raw.raft.leader_id).filter(|leader| *leader != self.replica);
        let hint = leader.and_then(|leader| {
            let node = self.membership.descriptor.replica(leader)?.node;
            Some(LeaderHint { replica: leader, node })
        });
        Error::NotLeader { group: self.membership.descriptor.group, hint }
    }

    /// The answer to what there is no room for.
    pub fn busy(&self) -> Error {
        Error::Busy { group: self.membership.descriptor.group, retry_after: super::BUSY_RETRY_AFTER }
    }

    fn check_invariants(&self) {
        let log = &self.raw.raft.raft_log;
        let ApplyProgress { handed, reported, .. } = self.apply;
        assert!(Index(log.applied) <= reported, "raft applied {} > reported {reported}", log.applied);
        assert!(reported <= handed, "applied {reported} > handed {handed}");
        assert!(handed.get() <= log.committed, "handed {handed} > committed {}", log.committed);
        assert!(log.committed <= log.last_index(), "committed {} > last {}", log.committed, log.last_index());
        assert!(log.persisted <= log.last_index(), "persisted {} > last {}", log.persisted, log.last_index());
    }
}

impl ApplyProgress {
    fn new((floor, is_waiting): (Index, bool), start_commit: Index) -> Self {
        assert!(floor <= start_commit, "the floor {floor} is above the commit {start_commit}");
        Self {
            handed: floor,
            reported: floor,
            start_commit,
            batches: VecDeque::new(),
            bytes: 0,
            fetch: None,
            received: None,
            is_waiting,
        }
    }
}

/// An actor moves between threads.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Group>();
};

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group")
            .field("group", &self.membership.descriptor.group)
            .field("replica", &self.replica)
            .field("role", &self.role)
            .field("handed", &self.apply.handed)
            .finish_non_exhaustive()
    }
}

/// The hard state of a raft as ours.
pub(super) fn hard_state_of(raw: &RawNode<VisibleLog>) -> HardState {
    convert::hard_state_from_raft(&raw.raft.hard_state())
}

/// Position of a raft entry.
pub(super) fn id_of(entry: &raft::eraftpb::Entry) -> EntryId {
    EntryId { term: Term(entry.term), index: Index(entry.index) }
}
