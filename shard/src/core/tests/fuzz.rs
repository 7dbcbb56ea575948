//! Messages that no correct replica sends, against live groups: dropped, never a panic.

use bytes::Bytes;
use quorate_storage::{ConfState, Entry, EntryId, EntryKind, GroupUid, Incarnation, Index, ReplicaId, Term};
use quorate_transport::{RaftMessage, RaftMessageKind as Kind};

use super::cluster::{Cluster, Dice, born, replica};
use crate::core::{Input, Refusal};
use quorate_storage::snapshot::{SnapshotLabel, SnapshotToken};

const KINDS: [Kind; 13] = [
    Kind::Append,
    Kind::AppendResponse,
    Kind::RequestVote,
    Kind::RequestVoteResponse,
    Kind::RequestPreVote,
    Kind::RequestPreVoteResponse,
    Kind::Snapshot,
    Kind::Heartbeat,
    Kind::HeartbeatResponse,
    Kind::TransferLeader,
    Kind::TimeoutNow,
    Kind::ReadIndex,
    Kind::ReadIndexResponse,
];

/// Close to what the group has, so that the message gets far; now and then far off.
fn number(dice: &mut Dice, around: u64) -> u64 {
    match dice.below(40) {
        0 => 0,
        1 => u64::MAX,
        2 => dice.next(),
        3 => 1 << 61,
        _ => (around + dice.below(7) as u64).saturating_sub(3),
    }
}

fn position(dice: &mut Dice, at: EntryId) -> EntryId {
    EntryId { term: Term(number(dice, at.term.get())), index: Index(number(dice, at.index.get())) }
}

fn entries(dice: &mut Dice, before: EntryId) -> Vec<Entry> {
    let mut at = before;
    (0..dice.below(4))
        .map(|_| {
            at.index = Index(at.index.get().wrapping_add(if dice.one_in(20) { dice.next() } else { 1 }));
            at.term = Term(at.term.get().wrapping_add(u64::from(dice.one_in(6))));
            let kind = if dice.one_in(8) { EntryKind::ConfChange } else { EntryKind::Normal };
            let payload = Bytes::from(vec![dice.next().to_le_bytes()[0]; dice.below(40)]);
            Entry { term: at.term, index: at.index, kind, payload }
        })
        .collect()
}

fn forged(dice: &mut Dice, cluster: &Cluster, to: ReplicaId) -> RaftMessage {
    let status = cluster.core(to.get()).status();
    let here = EntryId { term: status.role.term, index: status.last };
    let kind = KINDS[dice.below(KINDS.len())];
    let from = ReplicaId(if dice.one_in(10) { number(dice, 2) } else { 1 + dice.below(4) as u64 });
    let log = position(dice, here);
    let is_odd = dice.one_in(30);
    let mut message = RaftMessage {
        group: cluster.core(to.get()).descriptor().group,
        uid: cluster.core(to.get()).descriptor().uid,
        from,
        from_incarnation: replica(from.get().min(1 << 40)).incarnation,
        to,
        to_incarnation: replica(to.get()).incarnation,
        kind,
        term: Term(number(dice, here.term.get())),
        log,
        commit: position(dice, EntryId { term: here.term, index: status.commit }),
        entries: Vec::new(),
        snapshot: None,
        request_snapshot: Index(if is_odd { dice.next() } else { 0 }),
        reject: dice.one_in(3),
        reject_hint: Index(number(dice, here.index.get())),
        context: Bytes::from(vec![1; if is_odd { dice.below(200) } else { 8 * dice.below(2) }]),
        priority: if is_odd { i64::from_le_bytes(dice.next().to_le_bytes()) } else { 0 },
    };
    if kind == Kind::Append || dice.one_in(50) {
        message.entries = entries(dice, log);
    }
    if kind == Kind::Snapshot || dice.one_in(50) {
        message.snapshot = Some(Box::new(SnapshotLabel { record: label(dice, here) }));
    }
    match dice.below(100) {
        0 => message.uid = GroupUid([9; 16]),
        1 => message.to_incarnation = Incarnation([1; 16]),
        2 => message.from_incarnation = Incarnation([2; 16]),
        3 => message.to = ReplicaId(77),
        _ => {}
    }
    message
}

fn label(dice: &mut Dice, here: EntryId) -> quorate_storage::state::AppliedRecord {
    let mut ids = |count: usize| (0..dice.below(count)).map(|_| ReplicaId(dice.below(5) as u64)).collect();
    let conf_state = ConfState {
        voters: ids(4),
        learners: ids(2),
        voters_outgoing: ids(2),
        learners_next: ids(2),
        auto_leave: false,
    };
    let mut record = born(3);
    if dice.one_in(2) {
        record.conf_state = conf_state;
    }
    record.applied = position(dice, here);
    record
}

/// Forged messages, mixed into the life of a group. Returns how many got past the gate.
fn attack(seed: u64, count: usize) -> (u64, u64) {
    let mut dice = Dice(seed);
    let mut cluster = Cluster::new(3, seed);
    cluster.elect();
    let (mut passed, mut refused) = (0, 0);
    for round in 0..count {
        let to = ReplicaId(1 + dice.below(3) as u64);
        let message = forged(&mut dice, &cluster, to);
        let before = cluster.core(to.get()).refusals().total();
        let group = cluster.nodes.get_mut(&to).unwrap().group.as_mut().unwrap();
        let input = match &message.snapshot {
            Some(label) if message.kind == Kind::Snapshot => {
                let token = SnapshotToken { id: label.record.applied, bytes: 1, crc: 1 };
                Input::Snapshot { message, token }
            }
            _ => Input::Message(message),
        };
        // Whatever comes out is answered, but not delivered: the others see no consequence of the lie.
        let out = group.step(input);
        if let Some(last) = out.persist.last() {
            let ready = last.ready;
            if !dice.one_in(4) {
                let _ = group.step(Input::Persisted { ready });
            }
        }
        if dice.one_in(3) {
            let _ = group.step(Input::Tick);
        }
        let is_refused = group.refusals().total() > before;
        refused += u64::from(is_refused);
        passed += u64::from(!is_refused);
        if round % 64 == 63 {
            // Lies do last: go on with a group that knows nothing of them.
            cluster = Cluster::new(3, seed ^ round as u64);
            cluster.elect();
            for _ in 0..dice.below(3) {
                let leader = cluster.elect();
                cluster.propose(leader);
                cluster.settle();
            }
        }
    }
    (passed, refused)
}

#[test]
fn forged_messages_never_make_a_core_panic() {
    let (mut passed, mut refused) = (0, 0);
    for seed in 0..8 {
        println!("seed {seed}");
        let (p, r) = attack(seed, 40_000);
        passed += p;
        refused += r;
    }
    println!("{passed} passed the gate, {refused} were refused");
    assert!(passed > 30_000 && refused > 50_000, "{passed} passed, {refused} refused");
}

#[test]
fn every_refusal_is_counted_in_its_own_place() {
    for (at, refusal) in Refusal::ALL.into_iter().enumerate() {
        assert_eq!(refusal as usize, at, "{}", refusal.name());
    }
}

fn genuine(cluster: &mut Cluster, kind: Kind) -> RaftMessage {
    for _ in 0..100 {
        if let Some(message) = cluster.wire.iter().find(|message| message.kind == kind) {
            return message.clone();
        }
        for id in cluster.ids() {
            cluster.feed(id, vec![Input::Tick]);
        }
    }
    panic!("nobody sends {kind:?}");
}

fn refused_as(cluster: &mut Cluster, message: RaftMessage, refusal: Refusal) {
    let to = message.to;
    cluster.feed(to, vec![Input::Message(message)]);
    assert_eq!(cluster.core(to.get()).refusals().of(refusal), 1, "{:?}", cluster.core(to.get()).refusals());
}

#[test]
fn a_leader_that_has_another_entry_where_one_is_committed_is_evidence_of_divergence() {
    let mut cluster = Cluster::new(3, 1);
    let leader = cluster.elect();
    for _ in 0..3 {
        cluster.propose(leader);
        cluster.settle();
    }
    cluster.ticks(3);
    let mut message = genuine(&mut cluster, Kind::Heartbeat);
    message.kind = Kind::Append;
    message.log = EntryId { term: Term(1), index: Index(2) };
    message.term = cluster.core(message.to.get()).term();
    let to = message.to;
    refused_as(&mut cluster, message, Refusal::Diverged);
    assert!(matches!(cluster.nodes[&to].evidence, Some(crate::core::Evidence::Diverged { .. })));
}

#[test]
fn a_commit_beyond_the_log_is_evidence_of_lost_log() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect();
    let mut message = genuine(&mut cluster, Kind::Heartbeat);
    message.commit.index = Index(1_000);
    let to = message.to;
    refused_as(&mut cluster, message, Refusal::BeyondLog);
    assert!(matches!(cluster.nodes[&to].evidence, Some(crate::core::Evidence::LogLost { .. })));
}

#[test]
fn messages_for_or_from_another_incarnation_or_group_are_dropped() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect();
    let message = genuine(&mut cluster, Kind::Heartbeat);
    let other = Incarnation([9; 16]);
    let uid = GroupUid([9; 16]);
    refused_as(
        &mut cluster,
        RaftMessage { to_incarnation: other, ..message.clone() },
        Refusal::OtherIncarnation,
    );
    refused_as(
        &mut cluster,
        RaftMessage { from_incarnation: other, ..message.clone() },
        Refusal::SenderIncarnation,
    );
    refused_as(&mut cluster, RaftMessage { uid, ..message.clone() }, Refusal::OtherGroup);
    refused_as(&mut cluster, RaftMessage { from: message.to, ..message }, Refusal::ImpossibleSender);
}

/// raft-rs refuses such a candidate its pre-vote, says so in the replica's own term, 0, and panics on that.
#[test]
fn a_joining_replica_drops_a_pre_vote_of_less_priority() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect();
    let mut message = genuine(&mut cluster, Kind::Heartbeat);
    let joining = ReplicaId(4);
    cluster.join(joining);
    (message.to, message.to_incarnation) = (joining, replica(joining.get()).incarnation);
    (message.kind, message.priority) = (Kind::RequestPreVote, -1);
    refused_as(&mut cluster, message, Refusal::Unsupported);
}

#[test]
fn an_unbound_sender_is_bound_by_its_first_message() {
    let mut cluster = Cluster::new(3, 1);
    cluster.elect();
    let mut message = genuine(&mut cluster, Kind::Heartbeat);
    message.kind = Kind::RequestPreVote;
    message.from = ReplicaId(9);
    message.log = EntryId { term: Term(1), index: Index(1) };
    message.term = Term(message.term.get() + 1);
    message.from_incarnation = Incarnation([1; 16]);
    let to = message.to;
    cluster.feed(to, vec![Input::Message(message.clone())]);
    assert_eq!(cluster.core(to.get()).refusals().total(), 0);
    assert_eq!(cluster.core(to.get()).incarnation_of(ReplicaId(9)), Some(Incarnation([1; 16])));
    message.from_incarnation = Incarnation([2; 16]);
    refused_as(&mut cluster, message, Refusal::SenderIncarnation);
}
