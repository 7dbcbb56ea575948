use std::sync::Arc;

use quorate_storage::{ConfEpoch, GroupId, NodeId, ReplicaId};
use quorate_telemetry::SeededRng;

use super::*;

const GROUP: GroupId = GroupId(1);
const SECOND: Duration = Duration::from_secs(1);

fn after(retry: &mut Retry, error: Error, kind: CallKind, others: Others) -> Attempt {
    retry.after(Failed { error, kind, others }, Duration::ZERO, &SeededRng::new(1))
}

fn is_tried_again(error: &Error, kind: CallKind) -> bool {
    let attempt = after(&mut Retry::until(SECOND), error.clone(), kind, Others::AllTried);
    matches!(attempt, Attempt::Again { .. })
}

fn quarantined(maybe_committed: bool) -> Error {
    Error::Quarantined { group: GROUP, reason: Arc::from("told to"), maybe_committed }
}

#[test]
fn a_write_that_may_have_committed_is_never_sent_again() {
    for error in [Error::Indeterminate { group: GROUP }, Error::DeadlineExceeded, quarantined(true)] {
        assert!(!is_tried_again(&error, CallKind::Write), "{error}");
        assert!(is_tried_again(&error, CallKind::Read), "{error}");
    }
}

#[test]
fn a_write_without_effect_is_sent_again() {
    let not_leader = Error::NotLeader { group: GROUP, hint: None };
    let busy = Error::Busy { group: GROUP, retry_after: Duration::ZERO };
    let others = [
        Error::Transferring { group: GROUP },
        Error::Stopped { group: GROUP },
        Error::NoSuchGroup { group: GROUP },
    ];
    for error in [not_leader, busy, quarantined(false)].into_iter().chain(others) {
        assert!(is_tried_again(&error, CallKind::Write), "{error}");
    }
}

#[test]
fn what_can_never_succeed_is_not_tried_again() {
    let malformed = quorate_storage::Error::Malformed { what: "command" };
    let fenced = Error::ConfEpochMismatch { expected: ConfEpoch(1), current: ConfEpoch(2) };
    for error in [Error::Invalid(malformed), fenced, Error::ConfChangeRefused("no")] {
        for kind in [CallKind::Read, CallKind::Write] {
            assert!(!is_tried_again(&error, kind), "{error}");
        }
    }
}

#[test]
fn another_replica_is_asked_at_once_and_a_whole_round_waits() {
    let mut retry = Retry::until(SECOND);
    let error = || Error::NotLeader { group: GROUP, hint: None };
    let Attempt::Again { after: wait, .. } = after(&mut retry, error(), CallKind::Write, Others::Untried)
    else {
        panic!("gave up");
    };
    assert_eq!(wait, Duration::ZERO);
    for round in 0..20 {
        let Attempt::Again { after: wait, .. } =
            after(&mut retry, error(), CallKind::Write, Others::AllTried)
        else {
            panic!("gave up");
        };
        let ceiling = BACKOFF_MIN.saturating_mul(1 << round.min(10)).min(BACKOFF_MAX);
        assert!(wait >= ceiling / 4 && wait <= ceiling, "round {round}: {wait:?} of {ceiling:?}");
    }
}

#[test]
fn no_error_can_make_it_spin() {
    let lagging = Error::Lagging { replica: ReplicaId(1), entries: 1 };
    let busy = Error::Busy { group: GROUP, retry_after: Duration::ZERO };
    for error in
        [busy, lagging, Error::Transferring { group: GROUP }, Error::ConfChangePending { group: GROUP }]
    {
        let mut retry = Retry::until(SECOND);
        for _ in 0..3 {
            match after(&mut retry, error.clone(), CallKind::Read, Others::Untried) {
                Attempt::Again { after, .. } => assert!(!after.is_zero(), "{error}"),
                Attempt::GiveUp(error) => panic!("gave up: {error}"),
            }
        }
    }
}

#[test]
fn busy_is_not_asked_before_it_said() {
    let busy = Error::Busy { group: GROUP, retry_after: Duration::from_millis(100) };
    match after(&mut Retry::until(SECOND), busy, CallKind::Write, Others::Untried) {
        Attempt::Again { after, .. } => assert!(after > Duration::from_millis(100)),
        Attempt::GiveUp(error) => panic!("gave up: {error}"),
    }
}

#[test]
fn a_retry_never_starts_behind_the_deadline() {
    let mut retry = Retry::until(SECOND);
    let busy = |retry_after| Error::Busy { group: GROUP, retry_after };
    for retry_after in [SECOND, Duration::MAX] {
        let attempt = after(&mut retry, busy(retry_after), CallKind::Read, Others::Untried);
        assert!(matches!(attempt, Attempt::GiveUp(Error::Busy { .. })));
    }
    assert_eq!(retry.left(SECOND), None);
    assert_eq!(retry.left(SECOND * 2), None);
    assert_eq!(retry.left(SECOND / 4), Some(SECOND * 3 / 4));
}

#[test]
fn a_key_that_nobody_serves_is_given_up_before_the_deadline() {
    let mut retry = Retry::until(SECOND * 60);
    let failed = || Failed {
        error: Error::NoSuchGroup { group: GROUP },
        kind: CallKind::Read,
        others: Others::Unrouted,
    };
    let rng = SeededRng::new(1);
    assert!(matches!(retry.after(failed(), SECOND, &rng), Attempt::Again { .. }));
    assert!(matches!(retry.after(failed(), SECOND + UNROUTED_MAX, &rng), Attempt::GiveUp(_)));
}

#[test]
fn a_state_that_cannot_be_read_is_looked_for_elsewhere_a_few_times() {
    let mut retry = Retry::until(SECOND * 60);
    let read = || Error::Read(quorate_storage::Error::Remote { text: "bad block".to_owned() });
    for _ in 1..READ_FAILURES_MAX {
        assert!(matches!(after(&mut retry, read(), CallKind::Read, Others::Untried), Attempt::Again { .. }));
    }
    assert!(matches!(after(&mut retry, read(), CallKind::Read, Others::Untried), Attempt::GiveUp(_)));
    let hint = crate::error::LeaderHint { replica: ReplicaId(1), node: NodeId(1) };
    assert!(is_tried_again(&Error::NotLeader { group: GROUP, hint: Some(hint) }, CallKind::Write));
}

#[test]
fn a_search_for_a_leader_ends_after_its_own_limit_unless_one_was_found() {
    let rng = SeededRng::new(1);
    let mut retry = Retry::until(100 * SECOND).leaderless_at_most(Some(2 * SECOND));
    let mut at = |seconds: u32, error: Error| {
        let failed = Failed { error, kind: CallKind::Write, others: Others::AllTried };
        matches!(retry.after(failed, seconds * SECOND, &rng), Attempt::Again { .. })
    };
    let not_leader = || Error::NotLeader { group: GROUP, hint: None };
    assert!(at(10, not_leader()));
    assert!(at(11, not_leader()));
    assert!(at(11, Error::Busy { group: GROUP, retry_after: Duration::ZERO }), "a leader spoke");
    assert!(at(20, not_leader()), "the count begins anew");
    assert!(at(21, not_leader()));
    assert!(!at(23, not_leader()));
}
