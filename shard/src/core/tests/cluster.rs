//! The shells of a few cores, as one deterministic machine.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use quorate_storage::log::LogSkeleton;
use quorate_storage::snapshot::{SnapshotLabel, SnapshotToken};
use quorate_storage::state::{AppliedRecord, StateDigest};
use quorate_storage::{
    ConfState, Entry, EntryId, EntryKind, GroupDescriptor, GroupId, GroupUid, HardState, Incarnation, Index,
    KeyRange, NodeId, ReplicaDescriptor, ReplicaId, Term, Timestamp,
};
use quorate_transport::{RaftMessage, RaftMessageKind};

use crate::core::{
    Applying, CoreConfig, Evidence, Fetch, Group, Input, LogPersist, Output, Reply, Start, Ticket,
};
use crate::error::Error;

pub(super) const BORN: EntryId = EntryId { term: Term(1), index: Index(1) };

/// SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// How a call ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Applied(EntryId),
    Refused(Error),
    Done,
    Failed(Error),
    Read,
}

/// What one replica has on disk.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) base: EntryId,
    pub(super) entries: BTreeMap<Index, Entry>,
    pub(super) hard_state: HardState,
    pub(super) snapshot: Option<(SnapshotToken, Box<SnapshotLabel>)>,
    /// Snapshot files that were received and verified.
    received: BTreeMap<EntryId, Box<SnapshotLabel>>,
    pub(super) syncs: u64,
}

impl Disk {
    fn write(&mut self, record: &LogPersist) {
        self.syncs += u64::from(record.sync);
        if let Some(token) = record.batch.install {
            self.base = token.id;
            self.entries.clear();
            self.snapshot = Some((token, self.received[&token.id].clone()));
        }
        if let Some(first) = record.batch.entries.first() {
            self.entries.split_off(&first.index);
        }
        for entry in &record.batch.entries {
            assert_eq!(entry.index, self.last().index.next(), "a gap in the log");
            self.entries.insert(entry.index, entry.clone());
        }
        if let Some(hard_state) = record.batch.hard_state {
            assert!(hard_state.commit <= self.last().index, "commit beyond the log");
            self.hard_state = hard_state;
        }
    }

    pub(super) fn last(&self) -> EntryId {
        self.entries.values().next_back().map_or(self.base, Entry::id)
    }

    pub(super) fn skeleton(&self) -> LogSkeleton {
        let mut skeleton = LogSkeleton::default();
        skeleton.reset(self.base);
        for entry in self.entries.values() {
            skeleton.push(entry.id(), entry.kind == EntryKind::ConfChange);
        }
        skeleton
    }

    fn read(&self, fetch: &Fetch) -> Option<Vec<Entry>> {
        let mut bytes = 0;
        let wanted = self.entries.range(fetch.low..fetch.high).map(|(_, entry)| entry.clone());
        let entries: Vec<_> = wanted
            .take_while(|entry| {
                let is_first = bytes == 0;
                bytes += entry.payload.len() as u64 + 1;
                is_first || bytes <= fetch.bytes_max
            })
            .collect();
        (entries.first().map(|first| first.index) == Some(fetch.low)).then_some(entries)
    }
}

/// One replica and its shell.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: ReplicaId,
    pub(super) group: Option<Group>,
    pub(super) disk: Disk,
    /// The state machine: its record, and what it applied.
    pub(super) record: AppliedRecord,
    pub(super) applied: Vec<Entry>,
    pub(super) unwritten: VecDeque<LogPersist>,
    unapplied: VecDeque<Applying>,
    unread: VecDeque<Fetch>,
    pub(super) snapshot_wanted: bool,
    pub(super) evidence: Option<Evidence>,
}

/// A group of cores.
pub(super) struct Cluster {
    pub(super) nodes: BTreeMap<ReplicaId, Node>,
    pub(super) wire: VecDeque<RaftMessage>,
    pub(super) outcomes: BTreeMap<Ticket, Outcome>,
    pub(super) payloads: BTreeMap<Ticket, Bytes>,
    /// The one history every replica must agree on.
    pub(super) history: BTreeMap<Index, Entry>,
    leaders: BTreeMap<Term, ReplicaId>,
    /// For a read: the newest index that was acknowledged to anyone when it was asked.
    asked: BTreeMap<Ticket, Index>,
    pub(super) acknowledged: Index,
    next_ticket: u64,
    pub(super) config: CoreConfig,
    pub(super) seed: u64,
    pub(super) cut: Vec<ReplicaId>,
    pub(super) trace: Vec<String>,
}

pub(super) fn replica(id: u64) -> ReplicaDescriptor {
    let incarnation = Incarnation(u128::from(id + 1000).to_be_bytes());
    ReplicaDescriptor { replica: ReplicaId(id), node: NodeId(id), incarnation }
}

pub(super) fn descriptor(voters: u64) -> GroupDescriptor {
    GroupDescriptor {
        group: GroupId(7),
        uid: GroupUid([7; 16]),
        range: KeyRange::all(),
        range_epoch: quorate_storage::RangeEpoch(1),
        conf_epoch: quorate_storage::ConfEpoch(1),
        replicas: (1..=voters).map(replica).collect(),
    }
}

fn label(record: &AppliedRecord) -> (SnapshotToken, Box<SnapshotLabel>) {
    let token = SnapshotToken { id: record.applied, bytes: 4096, crc: 7 };
    (token, Box::new(SnapshotLabel { record: record.clone() }))
}

pub(super) fn born(voters: u64) -> AppliedRecord {
    AppliedRecord {
        applied: BORN,
        conf_state: ConfState::of_voters((1..=voters).map(ReplicaId).collect()),
        descriptor: descriptor(voters),
        incarnation: Incarnation::ZERO,
        hlc_ceiling: Timestamp(0),
        cutover: None,
        wrapped_keys: Bytes::new(),
        digest: StateDigest::default(),
    }
}

impl Cluster {
    pub(super) fn new(voters: u64, seed: u64) -> Self {
        Self::with_config(voters, seed, CoreConfig::default())
    }

    pub(super) fn with_config(voters: u64, seed: u64, config: CoreConfig) -> Self {
        let mut cluster = Self {
            nodes: BTreeMap::new(),
            wire: VecDeque::new(),
            outcomes: BTreeMap::new(),
            payloads: BTreeMap::new(),
            history: BTreeMap::new(),
            leaders: BTreeMap::new(),
            asked: BTreeMap::new(),
            acknowledged: BORN.index,
            next_ticket: 0,
            config,
            seed,
            cut: Vec::new(),
            trace: Vec::new(),
        };
        for id in 1..=voters {
            cluster.add(ReplicaId(id), born(voters), BORN);
        }
        cluster
    }

    /// Adds a replica that waits for its first snapshot.
    pub(super) fn join(&mut self, id: ReplicaId) {
        let known = self.nodes.values().next().unwrap().record.descriptor.clone();
        let record = AppliedRecord {
            applied: EntryId::default(),
            conf_state: ConfState::default(),
            descriptor: known,
            ..born(1)
        };
        self.add(id, record, EntryId::default());
    }

    fn add(&mut self, id: ReplicaId, record: AppliedRecord, base: EntryId) {
        let snapshot = (base == BORN).then(|| label(&record));
        let disk = Disk {
            base,
            entries: BTreeMap::new(),
            hard_state: HardState::default(),
            snapshot,
            received: BTreeMap::new(),
            syncs: 0,
        };
        let node = Node {
            id,
            group: None,
            disk,
            record,
            applied: Vec::new(),
            unwritten: VecDeque::new(),
            unapplied: VecDeque::new(),
            unread: VecDeque::new(),
            snapshot_wanted: false,
            evidence: None,
        };
        self.nodes.insert(id, node);
        self.open(id);
    }

    pub(super) fn start_of(&self, id: ReplicaId) -> Start {
        let node = &self.nodes[&id];
        Start {
            descriptor: node.record.descriptor.clone(),
            replica: id,
            incarnation: replica(id.get()).incarnation,
            conf_state: node.record.conf_state.clone(),
            hard_state: node.disk.hard_state,
            skeleton: node.disk.skeleton(),
            floor: node.record.applied,
            is_waiting: false,
            tail: Vec::new(),
            snapshot: node.disk.snapshot.clone(),
            seed: self.seed ^ id.get(),
            config: self.config,
        }
    }

    pub(super) fn open(&mut self, id: ReplicaId) {
        // The gate: state that is older than the snapshot the log was reset to is restored from it.
        let node = self.nodes.get_mut(&id).unwrap();
        if let Some((token, label)) = &node.disk.snapshot
            && node.record.applied.index < token.id.index
        {
            node.record = label.record.clone();
            node.applied.clear();
        }
        let group = Group::open(self.start_of(id)).unwrap();
        self.nodes.get_mut(&id).unwrap().group = Some(group);
    }

    /// The process dies: what the log writer had not done is lost.
    pub(super) fn crash(&mut self, id: ReplicaId) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.group = None;
        node.unwritten.clear();
        node.unapplied.clear();
        node.unread.clear();
    }

    pub(super) fn is_up(&self, id: ReplicaId) -> bool {
        self.nodes[&id].group.is_some()
    }

    pub(super) fn node(&self, id: u64) -> &Node {
        &self.nodes[&ReplicaId(id)]
    }

    pub(super) fn core(&self, id: u64) -> &Group {
        self.node(id).group.as_ref().unwrap()
    }

    /// Feeds several inputs and drains once.
    pub(super) fn feed(&mut self, id: ReplicaId, inputs: Vec<Input>) {
        let Some(group) = self.nodes.get_mut(&id).unwrap().group.as_mut() else { return };
        for input in inputs {
            group.feed(input);
        }
        let out = group.drain();
        self.carry_out(id, out);
    }

    fn carry_out(&mut self, id: ReplicaId, out: Output) {
        if let Some(role) = out.role {
            self.trace.push(format!("{id} {role:?}"));
            if role.is_leader {
                // Election safety (Raft, figure 3).
                let leader = *self.leaders.entry(role.term).or_insert(id);
                assert_eq!(leader, id, "two leaders in term {}", role.term);
            }
        }
        let group = self.nodes[&id].group.as_ref().unwrap();
        let is_voter =
            group.conf_state().voters.contains(&id) || group.conf_state().voters_outgoing.contains(&id);
        assert!(!group.role().is_leader || is_voter, "{id} leads without a vote");
        for (ticket, reply) in out.replies {
            let outcome = match reply {
                Reply::Done => Outcome::Done,
                Reply::Failed(error) => Outcome::Failed(error),
            };
            self.answer(ticket, outcome);
        }
        for (ticket, index) in out.reads {
            assert!(index >= self.asked[&ticket], "a stale read: {index} < {}", self.asked[&ticket]);
            self.answer(ticket, Outcome::Read);
        }
        let node = self.nodes.get_mut(&id).unwrap();
        for message in &out.messages {
            self.trace.push(format!("{id} -> {} {:?} {:?}", message.to, message.kind, message.log));
        }
        self.wire.extend(out.messages);
        node.unwritten.extend(out.persist);
        node.unapplied.extend(out.apply);
        node.unread.extend(out.fetches);
        node.snapshot_wanted |= out.snapshot_wanted.is_some();
        node.evidence = node.evidence.or(out.evidence);
    }

    fn answer(&mut self, ticket: Ticket, outcome: Outcome) {
        self.trace.push(format!("{ticket:?} {outcome:?}"));
        let before = self.outcomes.insert(ticket, outcome);
        assert!(before.is_none(), "{ticket:?} was answered twice: {before:?}");
    }

    /// Writes one record of a replica's log.
    pub(super) fn write_one(&mut self, id: ReplicaId) -> bool {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(record) = node.unwritten.pop_front() else { return false };
        node.disk.write(&record);
        self.feed(id, vec![Input::Persisted { ready: record.ready }]);
        true
    }

    /// Applies one batch of a replica.
    pub(super) fn apply_one(&mut self, id: ReplicaId) -> bool {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(batch) = node.unapplied.pop_front() else { return false };
        match batch {
            Applying::Entries(batch) => {
                for committed in batch {
                    let ends_here = committed.conf.is_some();
                    self.apply_entry(id, committed);
                    let _ = ends_here;
                }
            }
            Applying::Restore { token, label } => {
                assert!(token.id.index > node.record.applied.index);
                node.record = label.record.clone();
                node.applied.clear();
            }
        }
        let through = self.nodes[&id].record.applied.index;
        self.feed(id, vec![Input::Applied { through }]);
        true
    }

    fn apply_entry(&mut self, id: ReplicaId, committed: crate::core::Committed) {
        let crate::core::Committed { entry, ticket, conf } = committed;
        let node = self.nodes.get_mut(&id).unwrap();
        assert_eq!(entry.index, node.record.applied.index.next(), "applied out of order");
        node.record.applied = entry.id();
        // State machine safety (Raft, figure 3).
        let agreed = self.history.entry(entry.index).or_insert_with(|| entry.clone());
        assert_eq!(*agreed, entry, "replicas disagree at {}", entry.index);
        node.applied.push(entry.clone());
        let refused = conf.as_ref().and_then(|conf| conf.refused.clone());
        if let Some(conf) = conf {
            node.record.conf_state = conf.conf_state;
            node.record.descriptor = conf.descriptor;
        }
        if let Some(ticket) = ticket {
            if let Some(payload) = self.payloads.get(&ticket) {
                assert_eq!(*payload, entry.payload, "{ticket:?} got another's result");
            }
            self.acknowledged = self.acknowledged.max(entry.index);
            let outcome = refused.map_or(Outcome::Applied(entry.id()), Outcome::Refused);
            self.answer(ticket, outcome);
        }
    }

    /// Answers one fetch of a replica.
    pub(super) fn read_one(&mut self, id: ReplicaId) -> bool {
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(fetch) = node.unread.pop_front() else { return false };
        let entries = node.disk.read(&fetch);
        self.feed(id, vec![Input::Fetched { fetch, entries }]);
        true
    }

    /// Takes a snapshot if a follower waits for one.
    pub(super) fn snapshot_one(&mut self, id: ReplicaId) -> bool {
        let node = self.nodes.get_mut(&id).unwrap();
        let is_newer = node.disk.snapshot.as_ref().is_none_or(|known| known.0.id != node.record.applied);
        if !std::mem::take(&mut node.snapshot_wanted) || !is_newer || node.group.is_none() {
            return false;
        }
        self.publish(id);
        true
    }

    pub(super) fn publish(&mut self, id: ReplicaId) {
        let node = self.nodes.get_mut(&id).unwrap();
        let (token, label) = label(&node.record);
        node.disk.snapshot = Some((token, label.clone()));
        self.feed(id, vec![Input::SnapshotPublished { token, label }]);
    }

    /// Drops the log up to the snapshot.
    pub(super) fn compact(&mut self, id: ReplicaId) {
        let node = self.nodes.get_mut(&id).unwrap();
        let through = node.disk.snapshot.as_ref().unwrap().0.id;
        if through.index <= node.disk.base.index || through.index > node.disk.last().index {
            return;
        }
        node.disk.entries = node.disk.entries.split_off(&through.index.next());
        node.disk.base = through;
        self.feed(id, vec![Input::Compacted { through: through.index }]);
    }

    pub(super) fn deliver(&mut self, message: RaftMessage) {
        let (from, to) = (message.from, message.to);
        let is_cut = self.cut.contains(&from) || self.cut.contains(&to);
        let is_lost = is_cut || !self.nodes.contains_key(&to) || !self.is_up(to);
        if message.kind == RaftMessageKind::Snapshot {
            self.feed(from, vec![Input::SnapshotSent { to, delivered: !is_lost }]);
            if !is_lost {
                let label = message.snapshot.clone().unwrap();
                let token = SnapshotToken { id: label.record.applied, bytes: 4096, crc: 7 };
                self.nodes.get_mut(&to).unwrap().disk.received.insert(token.id, label);
                self.feed(to, vec![Input::Snapshot { message, token }]);
            }
        } else if is_lost {
            if self.nodes.contains_key(&from) {
                self.feed(from, vec![Input::Unreachable { replica: to }]);
            }
        } else {
            self.feed(to, vec![Input::Message(message)]);
        }
    }

    pub(super) fn deliver_one(&mut self) -> bool {
        let Some(message) = self.wire.pop_front() else { return false };
        self.deliver(message);
        true
    }

    /// Carries out everything there is to do, on a network that loses nothing.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            let mut did_something = self.deliver_one();
            for id in self.ids() {
                did_something |= self.write_one(id) | self.apply_one(id) | self.read_one(id);
                did_something |= self.snapshot_one(id);
            }
            if !did_something {
                return;
            }
        }
        panic!("the cluster does not come to rest");
    }

    pub(super) fn ids(&self) -> Vec<ReplicaId> {
        self.nodes.keys().copied().collect()
    }

    pub(super) fn tick(&mut self) {
        for id in self.ids() {
            self.feed(id, vec![Input::Tick]);
            self.settle();
        }
    }

    pub(super) fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            self.tick();
        }
    }

    pub(super) fn leader(&self) -> Option<ReplicaId> {
        let groups = self.nodes.values().filter_map(|node| Some((node.id, node.group.as_ref()?)));
        let leaders = groups.filter(|(id, group)| group.role().is_serving && !self.cut.contains(id));
        leaders.max_by_key(|(_, group)| group.role().term).map(|(id, _)| id)
    }

    pub(super) fn elect(&mut self) -> ReplicaId {
        for _ in 0..400 {
            if let Some(leader) = self.leader() {
                return leader;
            }
            self.tick();
        }
        panic!("no leader");
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    pub(super) fn proposal(&mut self) -> (Ticket, Input) {
        let ticket = self.ticket();
        let payload = Bytes::from(format!("value {}", ticket.0));
        self.payloads.insert(ticket, payload.clone());
        (ticket, Input::Propose { ticket, payload })
    }

    pub(super) fn propose(&mut self, id: ReplicaId) -> Ticket {
        let (ticket, input) = self.proposal();
        self.feed(id, vec![input]);
        ticket
    }

    pub(super) fn read(&mut self, id: ReplicaId) -> Ticket {
        let ticket = self.ticket();
        self.asked.insert(ticket, self.acknowledged);
        self.feed(id, vec![Input::Read { ticket }]);
        ticket
    }

    /// What is certain of an outcome holds in the history.
    pub(super) fn check_outcomes(&self) {
        for (ticket, payload) in &self.payloads {
            let is_there = self.history.values().any(|entry| entry.payload == *payload);
            match self.outcomes.get(ticket) {
                Some(Outcome::Failed(error)) if !error.is_maybe_committed() => {
                    assert!(!is_there, "{ticket:?} was refused with {error}, but is in the history");
                }
                Some(Outcome::Applied(id)) => {
                    assert_eq!(self.history[&id.index].payload, *payload, "{ticket:?} was lost");
                }
                _ => {}
            }
        }
    }
}
