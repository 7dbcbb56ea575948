//! What a core is started on: it refuses, or it runs.

use quorate_shard::core::{CoreConfig, Group, Input, Start};
use quorate_storage::log::{LogSkeleton, LogState};
use quorate_storage::snapshot::{SnapshotLabel, SnapshotToken};
use quorate_storage::{ConfState, Entry, EntryId, EntryKind, HardState, Incarnation, Index, ReplicaId, Term};

use crate::fuzz::fixture::{OWN, VOTERS, conf_change, encoded, entry, record, replica};
use crate::fuzz::source::Source;

/// Ticks of a replica that was started: it campaigns within them.
const TICKS: usize = 24;

/// A log as it was recovered, under a state that holds what precedes it.
pub(crate) fn starts_or_refuses(state: &LogState) {
    let held = record(state.skeleton.base, VOTERS);
    run(Start {
        descriptor: held.descriptor,
        replica: OWN,
        incarnation: replica(OWN.get()).incarnation,
        conf_state: held.conf_state,
        hard_state: state.hard_state,
        skeleton: state.skeleton.clone(),
        floor: held.applied,
        is_waiting: false,
        tail: Vec::new(),
        snapshot: None,
        seed: 1,
        config: CoreConfig::default(),
    });
}

/// Every field of a start is drawn.
pub(super) fn raft_start(bytes: &[u8]) {
    let mut source = Source(bytes);
    let skeleton = skeleton(&mut source);
    let (base, last) = (skeleton.base, skeleton.last);
    let flags = source.byte();
    let index = Index(source.near(last.get()));
    let floor = match flags & 3 {
        0 => base,
        1 => EntryId { term: Term(source.near(base.term.get())), index },
        _ => EntryId { term: skeleton.term(index).unwrap_or_default(), index },
    };
    let mut held = record(floor, 1 + source.below(3) as u64);
    if flags & 4 != 0 {
        held.conf_state = conf_state(&mut source);
    }
    let last_term = skeleton.term(last).unwrap_or_default().get();
    let hard_state = HardState {
        term: Term(source.near(last_term.saturating_add(3))),
        vote: (flags & 8 != 0).then(|| ReplicaId(source.near(2))),
        commit: Index(source.near(last.get().saturating_sub(4))),
    };
    let snapshot = (flags & 16 != 0).then(|| {
        let id =
            EntryId { term: Term(source.near(base.term.get())), index: Index(source.near(base.index.get())) };
        let label = Box::new(SnapshotLabel { record: record(id, VOTERS) });
        (SnapshotToken { id, bytes: 4_096, crc: 7 }, label)
    });
    let incarnation = if flags & 32 != 0 { Incarnation(source.id()) } else { replica(OWN.get()).incarnation };
    let replica = if flags & 64 != 0 { ReplicaId(source.near(1)) } else { OWN };
    let tail = tail(&mut source, &skeleton);
    run(Start {
        descriptor: held.descriptor,
        replica,
        incarnation,
        conf_state: held.conf_state,
        hard_state,
        skeleton,
        floor,
        is_waiting: flags & 128 != 0,
        tail,
        snapshot,
        seed: 1,
        config: CoreConfig::default(),
    });
}

fn run(start: Start) {
    let Ok(mut group) = Group::open(start) else { return };
    for _ in 0..TICKS {
        let out = group.step(Input::Tick);
        // Nothing is read: entries are not fetched, and what is applied stays out.
        if let Some(last) = out.persist.last() {
            let _ = group.step(Input::Persisted { ready: last.ready });
        }
    }
}

fn skeleton(source: &mut Source<'_>) -> LogSkeleton {
    let base = EntryId { term: Term(source.near(3)), index: Index(source.near(3)) };
    let mut at = EntryId { index: Index(base.index.get().saturating_add(1)), ..base };
    let mut runs = Vec::new();
    for _ in 0..source.below(4) {
        runs.push((at.index, at.term));
        at.index = Index(source.near(at.index.get().saturating_add(4)));
        at.term = Term(source.near(at.term.get().saturating_add(3)));
    }
    let last = if runs.is_empty() { base.index } else { Index(source.near(at.index.get())) };
    let mut conf_changes: Vec<_> =
        (0..source.below(3)).map(|_| Index(source.near(last.get().saturating_sub(4)))).collect();
    if source.byte() & 7 != 7 {
        conf_changes.sort_unstable();
        conf_changes.dedup();
    }
    LogSkeleton { base, last, runs, conf_changes }
}

fn conf_state(source: &mut Source<'_>) -> ConfState {
    let mut ids = |count| (0..source.below(count)).map(|_| ReplicaId(source.near(2) % 8)).collect::<Vec<_>>();
    let (voters, voters_outgoing, learners, learners_next) = (ids(5), ids(3), ids(3), ids(3));
    ConfState { voters, voters_outgoing, learners, learners_next, auto_leave: source.byte() & 1 == 0 }
}

/// The last entries, as the log should have them.
fn tail(source: &mut Source<'_>, skeleton: &LogSkeleton) -> Vec<Entry> {
    let count = source.below(6) as u64;
    let first = skeleton.last.get().saturating_sub(count);
    let one = |index: u64| {
        let index = Index(index);
        let term = skeleton.term(index).unwrap_or_default();
        let plain = Entry { kind: EntryKind::Normal, ..entry(EntryId { term, index }) };
        if !skeleton.conf_changes.contains(&index) {
            return plain;
        }
        Entry { kind: EntryKind::ConfChange, payload: encoded(conf_change().encode()), ..plain }
    };
    (first..skeleton.last.get()).map(|index| one(index.saturating_add(1))).collect()
}

/// A plain start, one of a log that is only a base, one that waits; and with everything drawn.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let varied = |flags: u8| {
        let base = vec![3, 4, 3, 3, 3, 3, 3, 3, 3, 1, 4, flags];
        let rest = (0..64_u8).map(|at| at.wrapping_mul(flags | 1) % 200);
        base.into_iter().chain(rest).collect()
    };
    vec![vec![3, 3, 0, 0, 0], varied(0), varied(2), varied(0x1e), varied(0x80), varied(0x66)]
}
