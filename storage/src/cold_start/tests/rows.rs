//! Every row of the table, and every boundary of H.

use crate::cold_start::*;
use crate::entry::EntryId;
use crate::ids::{Incarnation, Index, Term};
use crate::log::LogSkeleton;
use crate::snapshot::SnapshotToken;

const OWN: Incarnation = Incarnation([1; 16]);
const OTHER: Incarnation = Incarnation([2; 16]);

/// S of the log below, in term 2.
const S: u64 = 10;
const C: u64 = 15;
const LAST: u64 = 20;

fn id(term: u64, index: u64) -> EntryId {
    EntryId { term: Term(term), index: Index(index) }
}

/// Index 6 to 12 in term 2, 13 to 20 in term 3.
fn fresh_log() -> LogSkeleton {
    let mut log = LogSkeleton::default();
    log.reset(id(2, 5));
    for index in 6..=LAST {
        log.push(id(if index < 13 { 2 } else { 3 }, index), false);
    }
    log
}

fn token() -> SnapshotToken {
    SnapshotToken { id: id(2, S), bytes: 1_000, crc: 7 }
}

fn inputs(log: &LogSkeleton, reading: Reading) -> Inputs<'_> {
    Inputs {
        snapshot: Some(token()),
        commit: Index(C),
        log,
        reading,
        store: StoreCondition::Trusted,
        incarnation: OWN,
        policy: Policy::Snapshot,
    }
}

/// A record of this incarnation at `index`, in the term the log has there.
fn record(index: u64) -> Reading {
    let term = if index < 13 { 2 } else { 3 };
    Reading::Record(AppliedMark { applied: id(term, index), incarnation: OWN })
}

fn restored(outcome: Outcome) -> Decision {
    Decision { outcome, floor: id(2, S), restore_from: Some(token()) }
}

fn skipped(term: u64, index: u64) -> Decision {
    Decision { outcome: Outcome::Skipped, floor: id(term, index), restore_from: None }
}

fn refused(reason: RefusalReason) -> Decision {
    Decision { outcome: Outcome::Refused(reason), floor: EntryId::default(), restore_from: None }
}

#[test]
fn under_the_snapshot_policy_only_a_store_behind_the_snapshot_is_restored() {
    let log = fresh_log();
    let executed = restored(Outcome::Executed);
    for (held, expected) in [
        (S - 1, executed),
        (S, skipped(2, S)),
        (S + 1, skipped(2, S + 1)),
        (C - 1, skipped(3, C - 1)),
        (C, skipped(3, C)),
        (C + 1, skipped(3, C + 1)),
        (LAST, skipped(3, LAST)),
        (LAST + 1, refused(RefusalReason::AheadOfLog)),
    ] {
        assert_eq!(decide(&inputs(&log, record(held))), expected, "H = {held}");
    }
}

#[test]
fn under_the_committed_tail_policy_nothing_committed_may_be_left() {
    let log = fresh_log();
    let executed = restored(Outcome::Executed);
    for (held, expected) in [
        (S - 1, executed),
        (S, executed),
        (S + 1, executed),
        (C - 1, executed),
        (C, skipped(3, C)),
        (C + 1, skipped(3, C + 1)),
        (LAST, skipped(3, LAST)),
        (LAST + 1, refused(RefusalReason::AheadOfLog)),
    ] {
        let inputs = Inputs { policy: Policy::CommittedTail, ..inputs(&log, record(held)) };
        assert_eq!(decide(&inputs), expected, "H = {held}");
    }
    // A commit behind the snapshot asks for no more than the snapshot.
    let behind = Inputs { policy: Policy::CommittedTail, commit: Index(S - 3), ..inputs(&log, record(S)) };
    assert_eq!(decide(&behind), skipped(2, S));
}

#[test]
fn a_commit_behind_the_end_of_the_log_is_lost_log_whatever_the_store_says() {
    let log = fresh_log();
    for reading in [Reading::NotReader, Reading::Failed, Reading::Missing, record(S), record(LAST + 1)] {
        let inputs = Inputs { commit: Index(LAST + 1), ..inputs(&log, reading) };
        assert_eq!(decide(&inputs), refused(RefusalReason::LogLost));
    }
    assert!(decide(&Inputs { commit: Index(LAST), ..inputs(&log, record(S)) }).is_start());
}

#[test]
fn a_store_ahead_of_the_log_or_of_another_history_is_refused_even_if_untrusted() {
    let log = fresh_log();
    let at = |term, index| Reading::Record(AppliedMark { applied: id(term, index), incarnation: OWN });
    for store in [StoreCondition::Trusted, StoreCondition::UncleanBoot, StoreCondition::Rotten] {
        let decided = |reading| decide(&Inputs { store, ..inputs(&log, reading) });
        assert_eq!(decided(record(LAST + 1)), refused(RefusalReason::AheadOfLog));
        assert_eq!(decided(at(2, 14)), refused(RefusalReason::Diverged));
        assert_eq!(decided(at(4, LAST)), refused(RefusalReason::Diverged));
        assert_eq!(
            decided(at(1, 5)),
            refused(RefusalReason::Diverged),
            "the position before the first entry"
        );
        assert_ne!(decided(at(1, 4)), refused(RefusalReason::Diverged), "below it no term is known");
    }
}

#[test]
fn the_token_tells_the_term_where_the_log_does_not() {
    let mut log = LogSkeleton::default();
    log.reset(id(2, S));
    let at = |term| Reading::Record(AppliedMark { applied: id(term, S), incarnation: OWN });
    let empty = |reading| Inputs { commit: Index(S), ..inputs(&log, reading) };
    assert_eq!(decide(&empty(at(2))), skipped(2, S));
    assert_eq!(decide(&empty(at(3))), refused(RefusalReason::Diverged));
}

#[test]
fn a_record_of_another_incarnation_contradicts_nothing_and_is_not_used() {
    let log = fresh_log();
    for index in [S - 1, S, LAST, LAST + 100] {
        let reading = Reading::Record(AppliedMark { applied: id(9, index), incarnation: OTHER });
        let expected = restored(Outcome::Fallback(FallbackReason::Incarnation));
        assert_eq!(decide(&inputs(&log, reading)), expected);
    }
}

#[test]
fn every_uncertainty_about_the_store_ends_in_a_restore() {
    let log = fresh_log();
    for policy in [Policy::Snapshot, Policy::CommittedTail] {
        for (reading, reason) in [
            (Reading::NotReader, FallbackReason::NotReader),
            (Reading::Failed, FallbackReason::ReadErr),
            (Reading::Missing, FallbackReason::MissingMeta),
        ] {
            for store in [StoreCondition::Trusted, StoreCondition::UncleanBoot, StoreCondition::Rotten] {
                let inputs = Inputs { store, policy, ..inputs(&log, reading) };
                assert_eq!(decide(&inputs), restored(Outcome::Fallback(reason)));
            }
        }
        for (store, reason) in [
            (StoreCondition::UncleanBoot, FallbackReason::UncleanBoot),
            (StoreCondition::Rotten, FallbackReason::Rotten),
        ] {
            for held in [S - 1, S, C, LAST] {
                let inputs = Inputs { store, policy, ..inputs(&log, record(held)) };
                assert_eq!(decide(&inputs), restored(Outcome::Fallback(reason)));
            }
        }
    }
}

#[test]
fn a_log_that_starts_above_the_floor_is_a_gap() {
    let mut log = fresh_log();
    log.compact(Index(S + 2));
    for reading in
        [Reading::NotReader, Reading::Failed, Reading::Missing, record(S - 1), record(S), record(S + 1)]
    {
        assert_eq!(decide(&inputs(&log, reading)), refused(RefusalReason::Gap), "{reading:?}");
    }
    assert_eq!(decide(&inputs(&log, record(S + 2))), skipped(2, S + 2), "right before the first entry");
    let mut log = fresh_log();
    log.compact(Index(S));
    assert_eq!(
        decide(&inputs(&log, Reading::Missing)),
        restored(Outcome::Fallback(FallbackReason::MissingMeta))
    );
}

#[test]
fn a_replica_that_waits_to_be_seeded_starts_with_nothing() {
    let log = LogSkeleton::default();
    let inputs = Inputs { snapshot: None, commit: Index(0), ..inputs(&log, Reading::Missing) };
    let decision = decide(&inputs);
    let outcome = Outcome::Fallback(FallbackReason::MissingMeta);
    assert_eq!(decision, Decision { outcome, floor: EntryId::default(), restore_from: None });
}

#[test]
fn a_replica_that_lost_its_snapshots_starts_only_from_a_store_that_reaches_its_log() {
    let log = fresh_log();
    let without = |reading| decide(&Inputs { snapshot: None, ..inputs(&log, reading) });
    assert_eq!(without(Reading::Missing), refused(RefusalReason::Gap));
    assert_eq!(without(record(4)), refused(RefusalReason::Gap));
    assert_eq!(without(record(5)), skipped(2, 5));
}

#[test]
fn a_missing_volatile_entry_turns_a_skip_into_a_restore() {
    let mut log = fresh_log();
    let expected = restored(Outcome::Fallback(FallbackReason::VolatileGap));
    assert_eq!(Decision::after_volatile_gap(&inputs(&log, record(C))), expected);
    log.compact(Index(S + 1));
    assert_eq!(Decision::after_volatile_gap(&inputs(&log, record(C))), refused(RefusalReason::Gap));
}

#[test]
fn raft_never_sees_applied_above_commit() {
    let log = fresh_log();
    for held in S..=LAST {
        let decision = decide(&inputs(&log, record(held)));
        assert_eq!(start_commit(Index(C), decision.floor.index), Index(held.max(C)));
    }
}

#[test]
fn an_empty_log_starts_from_the_snapshot_it_stands_behind() {
    let mut log = LogSkeleton::default();
    log.reset(id(2, S));
    for policy in [Policy::Snapshot, Policy::CommittedTail] {
        let at = |reading| Inputs { commit: Index(S), policy, ..inputs(&log, reading) };
        assert_eq!(decide(&at(record(S))), skipped(2, S));
        assert_eq!(decide(&at(record(S - 1))), restored(Outcome::Executed));
        assert_eq!(decide(&at(record(S + 1))), refused(RefusalReason::AheadOfLog));
        let fallback = Outcome::Fallback(FallbackReason::MissingMeta);
        assert_eq!(decide(&at(Reading::Missing)), restored(fallback));
    }
}

#[test]
fn a_commit_behind_the_snapshot_asks_for_the_snapshot_only_and_is_raised_to_the_floor() {
    let log = fresh_log();
    for policy in [Policy::Snapshot, Policy::CommittedTail] {
        for (held, expected) in
            [(S - 1, restored(Outcome::Executed)), (S, skipped(2, S)), (S + 1, skipped(2, S + 1))]
        {
            let decision = decide(&Inputs { commit: Index(S - 3), policy, ..inputs(&log, record(held)) });
            assert_eq!(decision, expected, "H = {held}");
            assert_eq!(start_commit(Index(S - 3), decision.floor.index), decision.floor.index);
        }
    }
}

#[test]
fn an_uncommitted_suffix_never_counts() {
    let log = fresh_log();
    for last_committed in [S, C, LAST - 1] {
        let commit = Index(last_committed);
        let at = |held, policy| decide(&Inputs { commit, policy, ..inputs(&log, record(held)) });
        let term = if last_committed < 13 { 2 } else { 3 };
        assert_eq!(at(last_committed, Policy::CommittedTail), skipped(term, last_committed));
        assert_eq!(at(last_committed, Policy::Snapshot), skipped(term, last_committed));
    }
}

#[test]
fn an_executed_restore_may_lead_back_from_a_state_that_is_newer_than_the_snapshot() {
    let log = fresh_log();
    let inputs = Inputs { policy: Policy::CommittedTail, ..inputs(&log, record(S + 2)) };
    let decision = decide(&inputs);
    assert_eq!(decision, restored(Outcome::Executed));
    let report = ColdStartReport::new(decision, Some(Index(S + 2)), Index(S), Index(C));
    assert_eq!(report.gap_to_snapshot(), Some(2), "measured from the snapshot, not from what was wanted");
    assert_eq!(report.gap_to_commit(), Some(C - S - 2));
}

#[test]
fn gaps_are_distances_without_a_sign() {
    let log = fresh_log();
    for (held, to_snapshot, to_commit) in [(S - 1, 1, 6), (S, 0, 5), (C, 5, 0), (LAST, 10, 5)] {
        let decision = decide(&inputs(&log, record(held)));
        let report = ColdStartReport::new(decision, Some(Index(held)), Index(S), Index(C));
        assert_eq!((report.gap_to_snapshot(), report.gap_to_commit()), (Some(to_snapshot), Some(to_commit)));
    }
    let fallback = ColdStartReport::new(
        restored(Outcome::Fallback(FallbackReason::Rotten)),
        Some(Index(S)),
        Index(S),
        Index(C),
    );
    assert_eq!((fallback.gap_to_snapshot(), fallback.outcome().label()), (None, "fallback"));
}
