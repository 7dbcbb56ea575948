//! An honest shell around one core: it carries out what the core says, keeps a log in memory, and upholds what holds of
//! any replica, whatever the others say.

use std::collections::{BTreeMap, VecDeque};

use quorate_shard::core::{
    Applying, Committed, CoreConfig, Fetch, Group, Input, LogPersist, Output, Start, Ticket,
};
use quorate_storage::log::LogSkeleton;
use quorate_storage::snapshot::{SnapshotLabel, SnapshotToken};
use quorate_storage::state::AppliedRecord;
use quorate_storage::{ConfState, Entry, EntryId, EntryKind, HardState, Index, Term};
use quorate_transport::{RaftMessage, RaftMessageKind as Kind};

use crate::fuzz::fixture::{BORN, OWN, descriptor, entry, record, replica};
use crate::fuzz::source::Source;

/// Decides election timeouts.
const SEED: u64 = 7;

/// What the replica is before the input begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Follower,
    PreCandidate,
    Candidate,
    Leader,
    /// Of a group whose only voter it is.
    Alone,
    /// It joins, and has nothing yet.
    Joining,
    /// Its state is lost, and its log is whole.
    Waiting,
}

impl Role {
    const ALL: [Self; 7] = [
        Self::Follower,
        Self::PreCandidate,
        Self::Candidate,
        Self::Leader,
        Self::Alone,
        Self::Joining,
        Self::Waiting,
    ];

    pub(super) fn drawn(source: &mut Source<'_>) -> Self {
        Self::ALL[source.below(Self::ALL.len())]
    }

    /// The byte that draws it.
    pub(super) fn code(self) -> u8 {
        self as u8
    }
}

/// One replica.
pub(super) struct Shell {
    pub(super) group: Group,
    base: EntryId,
    entries: BTreeMap<Index, Entry>,
    hard_state: HardState,
    unwritten: VecDeque<LogPersist>,
    unapplied: VecDeque<Applying>,
    unread: VecDeque<Fetch>,
    record: AppliedRecord,
    received: Option<(SnapshotToken, Box<SnapshotLabel>)>,
    /// A label of its own state, published.
    published: Index,
    tickets: u64,
    /// It has seen proof that its log is wrong: nothing is fed any more.
    is_quarantined: bool,
}

impl Shell {
    /// A replica in `role`, with a log of a few terms.
    pub(super) fn new(role: Role) -> Self {
        let voters = if role == Role::Alone { 1 } else { 3 };
        let log = if role == Role::Joining { Vec::new() } else { log() };
        let base = if role == Role::Joining { EntryId::default() } else { BORN };
        let floor = if role == Role::Joining { base } else { EntryId { term: Term(1), index: Index(4) } };
        let floor = if role == Role::Waiting { base } else { floor };
        let mut held = record(floor, voters);
        if matches!(role, Role::Joining | Role::Waiting) {
            held.conf_state = ConfState::default();
        }
        let last = log.last().map_or(base, Entry::id);
        let commit = Index(last.index.get().saturating_sub(3));
        let hard_state = if role == Role::Joining {
            HardState::default()
        } else {
            HardState { term: Term(3), vote: None, commit }
        };
        let is_waiting = role == Role::Waiting;
        let start = start((&held, base), hard_state, &log, is_waiting);
        let group = Group::open(start).unwrap_or_else(|refused| panic!("{role:?}: {refused}"));
        let entries = log.into_iter().map(|entry| (entry.index, entry)).collect();
        let mut shell = Self {
            group,
            base,
            entries,
            hard_state,
            unwritten: VecDeque::new(),
            unapplied: VecDeque::new(),
            unread: VecDeque::new(),
            record: held,
            received: None,
            published: Index(0),
            tickets: 0,
            is_quarantined: false,
        };
        shell.take_up(role);
        shell
    }

    /// Makes the replica what it is to be.
    fn take_up(&mut self, role: Role) {
        if matches!(role, Role::Follower | Role::Joining | Role::Waiting) {
            return;
        }
        self.settle();
        self.feed(Input::Campaign);
        if role == Role::PreCandidate {
            return;
        }
        self.settle();
        if role == Role::Alone {
            return;
        }
        self.feed(Input::Message(self.vote(Kind::RequestPreVoteResponse, self.term().get() + 1)));
        self.settle();
        if role == Role::Leader {
            self.feed(Input::Message(self.vote(Kind::RequestVoteResponse, self.term().get())));
            self.settle();
        }
    }

    fn vote(&self, kind: Kind, term: u64) -> RaftMessage {
        RaftMessage { term: Term(term), ..self.another_says(2, kind) }
    }

    /// A message of replica `from` to this one, of this term, and nothing in it.
    pub(super) fn another_says(&self, from: u64, kind: Kind) -> RaftMessage {
        let descriptor = self.group.descriptor();
        RaftMessage {
            group: descriptor.group,
            uid: descriptor.uid,
            from: from.into(),
            from_incarnation: replica(from).incarnation,
            to: OWN,
            to_incarnation: replica(OWN.get()).incarnation,
            kind,
            term: self.term(),
            log: EntryId::default(),
            commit: EntryId::default(),
            entries: Vec::new(),
            snapshot: None,
            request_snapshot: Index(0),
            reject: false,
            reject_hint: Index(0),
            context: bytes::Bytes::new(),
            priority: 0,
        }
    }

    pub(super) fn term(&self) -> Term {
        self.group.role().term
    }

    pub(super) fn last(&self) -> EntryId {
        self.entries.values().next_back().map_or(self.base, Entry::id)
    }

    pub(super) fn commit(&self) -> Index {
        self.group.status().commit
    }

    /// What its state machine holds.
    pub(super) fn record(&self) -> &AppliedRecord {
        &self.record
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Feeds the core, and carries out what it says.
    pub(super) fn feed(&mut self, input: Input) {
        if self.is_quarantined {
            return;
        }
        let before = self.group.status();
        let out = self.group.step(input);
        let after = self.group.status();
        assert!(after.role.term >= before.role.term, "the term went back");
        assert!(after.commit >= before.commit, "the commit index went back");
        assert!(after.commit <= after.last, "more is committed than there is");
        self.carry_out(out);
    }

    /// A snapshot message, whose body arrived and is what the message says.
    pub(super) fn receive_snapshot(&mut self, message: RaftMessage) {
        let Some(label) = message.snapshot.clone() else {
            return self.feed(Input::Message(message));
        };
        let token = SnapshotToken { id: label.record.applied, bytes: 4_096, crc: 7 };
        self.received = Some((token, label));
        self.feed(Input::Snapshot { message, token });
    }

    fn carry_out(&mut self, out: Output) {
        for persist in out.persist {
            self.append(&persist);
            self.unwritten.push_back(persist);
        }
        for message in &out.messages {
            assert_eq!(message.from, OWN, "it speaks for itself");
        }
        self.unapplied.extend(out.apply);
        self.unread.extend(out.fetches);
        self.is_quarantined |= out.evidence.is_some();
    }

    /// What the log writer is given: no promise is taken back, and no gap is left.
    fn append(&mut self, persist: &LogPersist) {
        if let Some(token) = persist.batch.install {
            self.entries.clear();
            self.base = token.id;
        }
        if let Some(first) = persist.batch.entries.first() {
            assert!(first.index > self.record.applied.index, "an applied entry is replaced");
            self.entries.split_off(&first.index);
        }
        for entry in &persist.batch.entries {
            assert_eq!(entry.index, self.last().index.next(), "a gap in the log");
            self.entries.insert(entry.index, entry.clone());
        }
        if let Some(HardState { term, vote, commit }) = persist.batch.hard_state {
            let before = self.hard_state;
            assert!(term >= before.term && commit >= before.commit, "a promise was taken back");
            assert!(
                term > before.term || before.vote.is_none() || vote == before.vote,
                "two votes in {term}"
            );
            assert!(commit <= self.last().index, "commit beyond the log");
            self.hard_state = HardState { term, vote, commit };
        }
    }

    /// Writes one record of the log.
    pub(super) fn write_one(&mut self) -> bool {
        let Some(persist) = self.unwritten.pop_front() else { return false };
        self.feed(Input::Persisted { ready: persist.ready });
        true
    }

    /// Applies one batch.
    pub(super) fn apply_one(&mut self) -> bool {
        let Some(batch) = self.unapplied.pop_front() else { return false };
        match batch {
            Applying::Entries(committed) => {
                for Committed { entry, conf, .. } in committed {
                    assert_eq!(entry.index, self.record.applied.index.next(), "applied out of order");
                    // Nothing is there any more once a snapshot was installed.
                    let ours = self.entries.get(&entry.index);
                    assert!(ours.is_none_or(|ours| *ours == entry), "another entry is applied");
                    self.record.applied = entry.id();
                    if let Some(conf) = conf {
                        self.record.conf_state = conf.conf_state;
                        self.record.descriptor = conf.descriptor;
                    }
                }
            }
            Applying::Restore { label, .. } => {
                assert!(label.record.applied.index > self.record.applied.index, "an older state is restored");
                self.record = label.record;
            }
        }
        let through = self.record.applied.index;
        self.feed(Input::Applied { through });
        true
    }

    /// Answers one wish for entries, truly or not at all.
    pub(super) fn read_one(&mut self, is_readable: bool) -> bool {
        let Some(fetch) = self.unread.pop_front() else { return false };
        let wanted: Vec<_> =
            self.entries.range(fetch.low..fetch.high).map(|(_, entry)| entry.clone()).collect();
        let is_there = wanted.first().is_some_and(|first| first.index == fetch.low);
        self.feed(Input::Fetched { fetch, entries: (is_there && is_readable).then_some(wanted) });
        true
    }

    /// Publishes what is applied, and perhaps drops the log up to it.
    pub(super) fn publish(&mut self, is_compacted: bool) {
        let applied = self.record.applied;
        if applied.index <= self.published.max(self.base.index) || self.group.is_waiting() {
            return;
        }
        self.published = applied.index;
        let token = SnapshotToken { id: applied, bytes: 4_096, crc: 7 };
        let label = Box::new(SnapshotLabel { record: self.record.clone() });
        self.feed(Input::SnapshotPublished { token, label });
        if is_compacted && self.entries.contains_key(&applied.index) {
            self.entries = self.entries.split_off(&applied.index.next());
            self.base = applied;
            self.feed(Input::Compacted { through: applied.index });
        }
    }

    /// Everything there is to do.
    pub(super) fn settle(&mut self) {
        /// Far more than a log of this length leads to.
        const ROUNDS_MAX: usize = 1_000;
        for _ in 0..ROUNDS_MAX {
            let is_busy = self.write_one() | self.apply_one() | self.read_one(true);
            if !is_busy || self.is_quarantined {
                return;
            }
        }
        panic!("the core does not come to rest");
    }
}

/// Entries of three terms, each begun by an empty one.
fn log() -> Vec<Entry> {
    let id = |(index, term)| EntryId { term: Term(term), index: Index(index) };
    let ids = [(2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (7, 3), (8, 3), (9, 3)].map(id);
    let plain = |id| Entry { kind: EntryKind::Normal, ..entry(id) };
    ids.into_iter().map(plain).collect()
}

/// What a core starts from.
fn start(
    (held, base): (&AppliedRecord, EntryId),
    hard_state: HardState,
    log: &[Entry],
    is_waiting: bool,
) -> Start {
    let mut skeleton = LogSkeleton::default();
    skeleton.reset(base);
    for entry in log {
        skeleton.push(entry.id(), entry.kind == EntryKind::ConfChange);
    }
    let snapshot = (base == BORN && !is_waiting).then(|| {
        let born = AppliedRecord { applied: BORN, descriptor: descriptor(3), ..held.clone() };
        (SnapshotToken { id: BORN, bytes: 4_096, crc: 7 }, Box::new(SnapshotLabel { record: born }))
    });
    Start {
        descriptor: held.descriptor.clone(),
        replica: OWN,
        incarnation: replica(OWN.get()).incarnation,
        conf_state: held.conf_state.clone(),
        hard_state,
        skeleton,
        floor: held.applied,
        is_waiting,
        tail: log.to_vec(),
        snapshot,
        seed: SEED,
        config: CoreConfig::default(),
    }
}
