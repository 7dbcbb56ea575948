//! Each law says no to what it forbids.

use bytes::Bytes;
use quorate_storage::kv::{KvCommand, KvOutcome, Op, OpResult};
use quorate_storage::log::LogSkeleton;
use quorate_storage::payload::{Payload, ProposalId, Tag};
use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::state::StateDigest;
use quorate_storage::{
    Entry, EntryId, EntryKind, GroupId, GroupUid, HardState, Incarnation, Index, RangeEpoch, ReplicaId, Term,
    Timestamp,
};
use quorate_transport::{RaftMessage, RaftMessageKind};

use super::{Checked, Law, Laws, States, Who};

const GROUP: GroupId = GroupId(1);
const PROPOSAL: ProposalId = ProposalId { stream: 7, sequence: 1 };

fn who(replica: u64) -> Who {
    (GROUP, ReplicaId(replica))
}

fn breaks(checked: Checked, law: Law) {
    let violation = checked.expect_err("it was let pass");
    assert_eq!(violation.law, law, "{violation}");
}

fn write(index: u64, term: u64, value: &'static str) -> Entry {
    let ops = vec![Op::Put(Bytes::from_static(b"key"), Bytes::from_static(value.as_bytes()))];
    let body = KvCommand { conditions: Vec::new(), ops }.encode().expect("it is short");
    let payload =
        Payload { tag: Tag::Command, range_epoch: RangeEpoch(1), proposal: PROPOSAL, body }.encode();
    Entry { term: Term(term), index: Index(index), kind: EntryKind::Normal, payload }
}

#[test]
fn two_leaders_in_a_term_break_election_safety() {
    let mut laws = Laws::default();
    assert_eq!(laws.election.leads(who(1), Term(3)).ok(), Some(true));
    assert_eq!(laws.election.leads(who(1), Term(3)).ok(), Some(false), "the same one");
    breaks(laws.election.leads(who(2), Term(3)).map(drop), Law::ElectionSafety);
}

#[test]
fn a_vote_or_an_acknowledgement_that_is_not_on_the_disk_breaks_the_promise() {
    let message = |kind, index| RaftMessage {
        group: GROUP,
        uid: GroupUid::default(),
        from: ReplicaId(1),
        from_incarnation: Incarnation::ZERO,
        to: ReplicaId(2),
        to_incarnation: Incarnation::ZERO,
        kind,
        term: Term(3),
        log: EntryId { term: Term(0), index: Index(index) },
        commit: EntryId::default(),
        entries: Vec::new(),
        snapshot: None,
        request_snapshot: Index(0),
        reject: false,
        reject_hint: Index(0),
        context: Bytes::new(),
        priority: 0,
    };
    let on_disk =
        |term, vote: u64| HardState { term: Term(term), vote: Some(ReplicaId(vote)), commit: Index(0) };
    let vote = message(RaftMessageKind::RequestVoteResponse, 0);
    Laws::promises(&vote, on_disk(3, 2), Index(4)).expect("it is there");
    Laws::promises(&vote, on_disk(4, 1), Index(4)).expect("it was overtaken");
    breaks(Laws::promises(&vote, on_disk(3, 1), Index(4)), Law::PromisesAreDurable);
    breaks(Laws::promises(&vote, on_disk(2, 2), Index(4)), Law::PromisesAreDurable);
    let request = message(RaftMessageKind::RequestVote, 4);
    breaks(Laws::promises(&request, on_disk(3, 2), Index(4)), Law::PromisesAreDurable);
    let acknowledged = message(RaftMessageKind::AppendResponse, 5);
    Laws::promises(&acknowledged, on_disk(3, 2), Index(5)).expect("it is there");
    breaks(Laws::promises(&acknowledged, on_disk(3, 2), Index(4)), Law::PromisesAreDurable);
}

#[test]
fn one_index_and_term_with_two_entries_or_two_pasts_breaks_log_matching() {
    let mut laws = Laws::default();
    laws.logs.appended(GROUP, Term(1), &[write(5, 2, "a")]).expect("the first of it");
    laws.logs.appended(GROUP, Term(1), &[write(5, 2, "a")]).expect("the same in another log");
    breaks(laws.logs.appended(GROUP, Term(1), &[write(5, 2, "b")]), Law::LogMatching);
    breaks(laws.logs.appended(GROUP, Term(2), &[write(5, 2, "a")]), Law::LogMatching);
}

#[test]
fn a_leader_without_a_committed_entry_breaks_leader_completeness() {
    let mut laws = Laws::default();
    let committed = EntryId { term: Term(2), index: Index(4) };
    laws.completeness.committed(GROUP, Term(2), committed);
    let mut log = LogSkeleton::default();
    log.reset(EntryId { term: Term(1), index: Index(1) });
    for index in 2..=4 {
        log.push(EntryId { term: Term(1), index: Index(index) }, false);
    }
    laws.completeness.leads(who(1), Term(2), &log).expect("it was committed in no earlier term");
    breaks(laws.completeness.leads(who(1), Term(3), &log), Law::LeaderCompleteness);
    log.push(committed, false);
    laws.completeness.leads(who(1), Term(3), &log).expect("it has the entry now");
}

#[test]
fn another_entry_result_or_state_breaks_state_machine_safety() {
    let mut laws = Laws::default();
    let expected = laws.states.applying(who(1), &write(2, 1, "a")).expect("the first of it");
    let done = KvOutcome::Applied { results: vec![OpResult::done(false)] }.encode();
    assert_eq!(expected.as_ref(), Some(&done), "the model applies it, too");
    breaks(laws.states.applying(who(2), &write(2, 1, "b")).map(drop), Law::StateMachineSafety);
    breaks(laws.states.applying(who(2), &write(4, 1, "a")).map(drop), Law::StateMachineSafety);
    let id = write(2, 1, "a").id();
    let other = KvOutcome::Applied { results: vec![OpResult::done(true)] }.encode();
    breaks(States::answered(who(2), id, expected.as_ref(), &other), Law::StateMachineSafety);
    laws.states.digest(who(1), Index(2), StateDigest(1)).expect("the first of it");
    breaks(laws.states.digest(who(2), Index(2), StateDigest(2)), Law::StateMachineSafety);
}

#[test]
fn going_back_breaks_applied_monotonic() {
    let mut laws = Laws::default();
    laws.applied.started(who(1), Index(4), true).expect("the first start");
    laws.applied.moved(who(1), Index(6), Index(5)).expect("it moves on");
    breaks(laws.applied.moved(who(1), Index(6), Index(5)), Law::AppliedMonotonic);
    breaks(laws.applied.started(who(1), Index(4), true), Law::AppliedMonotonic);
    breaks(laws.applied.recorded(who(1), Index(6)), Law::AppliedMonotonic);
    laws.applied.recorded(who(1), Index(5)).expect("it is durable as far");
    laws.applied.started(who(1), Index(4), false).expect("a restore may go back to its snapshot");
    laws.applied.moved(who(1), Index(6), Index(6)).expect("it moves on");
    breaks(laws.applied.started(who(1), Index(3), true), Law::AppliedMonotonic);
    laws.applied.left_at(who(1), Index(3));
    laws.applied
        .started(who(1), Index(3), true)
        .expect("a start that ended behind its restore went back, too");
}

#[test]
fn a_log_that_ends_above_its_second_newest_snapshot_is_too_short() {
    let token = |index| SnapshotToken {
        id: EntryId { term: Term(1), index: Index(index) },
        ..SnapshotToken::default()
    };
    let recorded = [token(4), token(9)];
    Laws::compacts(who(1), Index(4), &recorded).expect("the older one is of there");
    breaks(Laws::compacts(who(1), Index(5), &recorded), Law::LogReachesSnapshot);
    breaks(Laws::compacts(who(1), Index(5), &recorded[1..]), Law::LogReachesSnapshot);
}

#[test]
fn a_timestamp_at_the_ceiling_given_twice_or_below_an_earlier_terms_breaks_its_law() {
    let mut laws = Laws::default();
    breaks(laws.ceiling.given(who(1), 2, Timestamp(5)), Law::CeilingAboveTimestamps);
    laws.ceiling.applied(GROUP, Timestamp(10));
    laws.ceiling.given(who(1), 2, Timestamp(6)).expect("it is below");
    breaks(laws.ceiling.given(who(1), 2, Timestamp(6)), Law::CeilingAboveTimestamps);
    breaks(laws.ceiling.given(who(2), 3, Timestamp(6)), Law::CeilingAboveTimestamps);
    breaks(laws.ceiling.given(who(2), 3, Timestamp(10)), Law::CeilingAboveTimestamps);
    breaks(laws.ceiling.given(who(3), 3, Timestamp(5)), Law::CeilingAboveTimestamps);
    laws.ceiling.given(who(2), 3, Timestamp(7)).expect("it is above those of the term before");
}

#[test]
fn an_acknowledged_write_that_is_not_in_the_history_is_lost() {
    let mut laws = Laws::default();
    laws.acknowledged.write(GROUP, write(2, 1, "a").id(), PROPOSAL);
    breaks(laws.acknowledged.check(&laws.states), Law::NoAcknowledgedWriteLost);
    laws.states.applying(who(1), &write(2, 1, "a")).map(drop).expect("the first of it");
    laws.acknowledged.check(&laws.states).expect("now it is there");
}

#[test]
fn a_read_of_an_older_state_or_of_another_value_is_stale() {
    let mut laws = Laws::default();
    for (index, value) in [(2, "a"), (3, "b")] {
        laws.states.applying(who(1), &write(index, 1, value)).map(drop).expect("the first of it");
    }
    let (key, old, new) = (Bytes::from_static(b"key"), Bytes::from_static(b"a"), Bytes::from_static(b"b"));
    laws.read(who(1), &key, (Index(2), Index(2)), Some(&old)).expect("nobody was told of more");
    breaks(laws.read(who(1), &key, (Index(3), Index(2)), Some(&old)), Law::NoStaleRead);
    breaks(laws.read(who(1), &key, (Index(3), Index(3)), Some(&old)), Law::NoStaleRead);
    laws.read(who(1), &key, (Index(3), Index(3)), Some(&new)).expect("it is the newest");
    breaks(Laws::barrier(who(1), Index(3), Index(2)), Law::NoStaleRead);
    Laws::barrier(who(1), Index(3), Index(3)).expect("nobody was told of more");
}

#[test]
fn a_floor_that_nobody_has_applied_is_above_the_commit() {
    let mut laws = Laws::default();
    let entry = write(2, 1, "a");
    breaks(laws.floor(who(1), entry.id()), Law::FloorNotAboveCommit);
    laws.states.applying(who(1), &entry).map(drop).expect("the first of it");
    laws.floor(who(1), entry.id()).expect("it was applied");
    breaks(laws.floor(who(1), EntryId { term: Term(2), index: Index(2) }), Law::FloorNotAboveCommit);
}

#[test]
fn what_was_refused_must_not_be_applied() {
    let mut laws = Laws::default();
    laws.outcomes.refused((GROUP, PROPOSAL)).expect("nothing is known of it");
    breaks(laws.outcomes.applied((GROUP, PROPOSAL)), Law::RefusedHasNoEffect);
}
