use quorate_storage::{ConfState, Entry, EntryId, EntryKind, HardState, Index, ReplicaId, Term};

use super::cluster::Cluster;
use crate::core::{CoreConfig, Group, Start, StartRefused};

/// A replica with entries 2 to 5 of term 2, commit 4, floor 3.
fn start() -> Start {
    let mut start = Cluster::new(3, 1).start_of(ReplicaId(1));
    for index in 2..=5 {
        start.skeleton.push(EntryId { term: Term(2), index: Index(index) }, false);
    }
    start.hard_state = HardState { term: Term(2), vote: None, commit: Index(4) };
    start.floor = EntryId { term: Term(2), index: Index(3) };
    start
}

fn refusal(change: impl FnOnce(&mut Start)) -> StartRefused {
    let mut start = start();
    change(&mut start);
    Group::open(start).expect_err("the start must be refused")
}

#[test]
fn a_sound_replica_starts_with_its_commit_raised_to_the_floor() {
    let mut start = start();
    start.floor.index = Index(5);
    let group = Group::open(start).unwrap();
    assert_eq!(group.status().commit, Index(5));
    assert_eq!(group.status().applied, Index(5));
}

#[test]
fn a_log_that_ends_before_commit_or_state_is_lost_log() {
    let refused = refusal(|start| start.hard_state.commit = Index(6));
    assert_eq!(refused, StartRefused::CommitBeyondLog { commit: Index(6), last: Index(5) });
    let refused = refusal(|start| start.floor.index = Index(6));
    assert_eq!(refused, StartRefused::FloorBeyondLog { floor: Index(6), last: Index(5) });
}

#[test]
fn a_gap_between_state_and_log_is_refused() {
    let refused = refusal(|start| start.skeleton.compact(Index(4)));
    assert_eq!(refused, StartRefused::Gap { floor: Index(3), first: Index(5) });
}

#[test]
fn state_and_log_of_different_terms_have_diverged() {
    let refused = refusal(|start| start.floor.term = Term(1));
    assert_eq!(refused, StartRefused::Diverged { index: Index(3), state: Term(1), log: Term(2) });
}

#[test]
fn a_hard_state_older_than_the_log_may_have_lost_a_vote() {
    let refused = refusal(|start| start.hard_state.term = Term(1));
    assert_eq!(refused, StartRefused::HardStateLost { term: Term(1), last: Term(2) });
}

#[test]
fn a_log_without_members_must_not_elect_itself() {
    let refused = refusal(|start| start.conf_state = ConfState::default());
    assert!(matches!(refused, StartRefused::Membership(_)));
}

#[test]
fn a_membership_that_raft_would_panic_on_is_refused() {
    let ids = |ids: &[u64]| ids.iter().copied().map(ReplicaId).collect::<Vec<_>>();
    let broken = [
        ConfState { voters: ids(&[1, 1]), ..ConfState::default() },
        ConfState { voters: ids(&[0]), ..ConfState::default() },
        ConfState { learners: ids(&[1]), ..ConfState::default() },
        ConfState { voters: ids(&[1, 2]), learners: ids(&[2]), ..ConfState::default() },
        ConfState { voters: ids(&[1, 2]), auto_leave: true, ..ConfState::default() },
        ConfState { voters: ids(&[1, 2]), learners_next: ids(&[3]), ..ConfState::default() },
        ConfState { voters: ids(&[1, 9]), ..ConfState::default() },
        ConfState {
            voters: ids(&[1]),
            voters_outgoing: ids(&[2]),
            learners: ids(&[2]),
            ..ConfState::default()
        },
    ];
    for conf_state in broken {
        let refused = refusal(|start| start.conf_state = conf_state.clone());
        assert!(matches!(refused, StartRefused::Membership(_)), "{conf_state:?}: {refused}");
    }
}

#[test]
fn a_tail_that_is_not_the_end_of_the_log_is_refused() {
    let entry = |term, index| Entry {
        term: Term(term),
        index: Index(index),
        kind: EntryKind::Normal,
        payload: bytes::Bytes::new(),
    };
    for tail in [vec![entry(2, 4)], vec![entry(2, 4), entry(3, 5)], vec![entry(2, 6)]] {
        assert_eq!(refusal(|start| start.tail = tail), StartRefused::Log("tail"));
    }
    let mut start = start();
    start.tail = vec![entry(2, 4), entry(2, 5)];
    Group::open(start).unwrap();
}

#[test]
fn a_config_that_contradicts_itself_is_refused() {
    let refused = refusal(|start| start.config.heartbeat_ticks = 10);
    assert!(matches!(refused, StartRefused::Config(_)));
    assert_eq!(CoreConfig::default().contradiction(), None);
}

#[test]
fn random_starts_are_refused_or_run_but_never_panic() {
    let mut dice = super::cluster::Dice(42);
    let mut started = 0;
    for _ in 0..20_000 {
        let mut start = start();
        let mut number = |bound| dice.below(bound) as u64;
        start.hard_state.commit = Index(number(8));
        start.hard_state.term = Term(number(4));
        start.floor = EntryId { term: Term(number(3)), index: Index(number(8)) };
        start.skeleton.base = EntryId { term: Term(number(3)), index: Index(number(4)) };
        start.skeleton.last = Index(number(8));
        start.conf_state.voters = (0..number(4)).map(|_| ReplicaId(number(4))).collect();
        start.conf_state.learners = (0..number(2)).map(|_| ReplicaId(number(4))).collect();
        started += u64::from(Group::open(start).is_ok());
    }
    assert!(started > 10, "{started} of 20,000 were sound");
}
