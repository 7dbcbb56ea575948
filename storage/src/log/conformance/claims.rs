//! The promises one by one, each on a fresh machine.

use bytes::Bytes;

use super::Harness;
use crate::disk::CrashMode;
use crate::entry::{Entry, EntryId, EntryKind, HardState};
use crate::error::Error;
use crate::ids::{Index, ReplicaId, Term};
use crate::log::{LogBatch, LogStore};
use crate::snapshot::SnapshotToken;

pub(super) const ALL: [fn(&mut dyn Harness); 12] = [
    a_new_log_is_empty_behind_its_base,
    what_was_appended_survives_losing_everything_unsynced,
    an_overlapping_append_truncates,
    several_batches_of_one_append_keep_their_order,
    compaction_moves_the_base_and_keeps_the_rest,
    an_installed_snapshot_resets_the_log,
    a_recorded_snapshot_survives,
    a_held_back_commit_goes_with_the_next_batch_proof_or_close,
    reads_are_cut_to_their_bounds,
    bytes_above_an_index_are_known_after_a_restart_too,
    a_clean_stop_is_known_and_final,
    a_failed_sync_closes_the_log_for_good,
];

pub(super) fn token(term: u64, index: u64) -> SnapshotToken {
    let id = EntryId { term: Term(term), index: Index(index) };
    SnapshotToken { id, bytes: index * 100, crc: 77 }
}

fn entry(index: u64, term: u64) -> Entry {
    let kind = if index.is_multiple_of(7) { EntryKind::ConfChange } else { EntryKind::Normal };
    let payload = Bytes::from(vec![u8::try_from(index % 251).unwrap_or(0); 40]);
    Entry { term: Term(term), index: Index(index), kind, payload }
}

fn entries(indexes: std::ops::Range<u64>, term: u64) -> LogBatch {
    LogBatch { entries: indexes.map(|index| entry(index, term)).collect(), ..LogBatch::default() }
}

fn state(term: u64, commit: u64) -> HardState {
    HardState { term: Term(term), vote: Some(ReplicaId(3)), commit: Index(commit) }
}

fn hard_state(term: u64, commit: u64) -> LogBatch {
    LogBatch { hard_state: Some(state(term, commit)), ..LogBatch::default() }
}

fn born(harness: &mut dyn Harness) -> Box<dyn LogStore> {
    harness.create(token(1, 1)).expect("a log can be created")
}

fn lose(harness: &mut dyn Harness, log: Box<dyn LogStore>) -> Box<dyn LogStore> {
    drop(log);
    harness.crash(CrashMode::LoseUnsynced);
    harness.open().expect("a log opens after a power cut")
}

fn read(log: &dyn LogStore, low: u64, high: u64) -> Vec<(u64, u64)> {
    let read = log.reader().entries(Index(low), Index(high), u64::MAX).expect("the entries are there");
    read.iter()
        .map(|found| {
            assert_eq!(found, &entry(found.index.get(), found.term.get()), "an entry reads back as written");
            (found.index.get(), found.term.get())
        })
        .collect()
}

fn a_new_log_is_empty_behind_its_base(harness: &mut dyn Harness) {
    let log = born(harness);
    let log = lose(harness, log);
    let found = log.recovered();
    assert_eq!((found.skeleton.base, found.skeleton.last), (token(1, 1).id, Index(1)));
    assert_eq!(found.hard_state, HardState { term: Term(1), vote: None, commit: Index(1) });
    assert_eq!(found.snapshots, [token(1, 1)]);
    assert!(!found.clean && found.torn_batches == 0);
    let error = log.reader().entries(Index(2), Index(3), 1).expect_err("there is no entry");
    assert!(matches!(error, Error::OutOfRange { index: 2, first: 2, last: 1 }), "{error}");
}

fn what_was_appended_survives_losing_everything_unsynced(harness: &mut dyn Harness) {
    let mut log = born(harness);
    for index in 2..40 {
        log.append(&[entries(index..index + 1, 1)], true).expect("an append");
        if index == 20 {
            log.append(&[hard_state(2, 9)], true).expect("a vote");
            log = lose(harness, log);
            assert_eq!(log.recovered().skeleton.last, Index(20), "what was appended survives");
        }
    }
    let log = lose(harness, log);
    assert_eq!(read(log.as_ref(), 2, 40).len(), 38);
    assert_eq!(log.recovered().hard_state, state(2, 9));
    assert_eq!(log.recovered().skeleton.conf_changes, [7, 14, 21, 28, 35].map(Index));
}

fn an_overlapping_append_truncates(harness: &mut dyn Harness) {
    let mut log = born(harness);
    log.append(&[entries(2..10, 1)], true).expect("an append");
    log.append(&[entries(6..8, 2)], true).expect("an overlapping append");
    let expected = [(2, 1), (3, 1), (4, 1), (5, 1), (6, 2), (7, 2)];
    assert_eq!(read(log.as_ref(), 2, 99), expected);
    let mut log = lose(harness, log);
    assert_eq!(read(log.as_ref(), 2, 99), expected);
    assert_eq!(log.recovered().skeleton.runs, [(Index(2), Term(1)), (Index(6), Term(2))]);
    log.append(&[entries(2..3, 3)], true).expect("an append over everything");
    let log = lose(harness, log);
    assert_eq!(read(log.as_ref(), 2, 99), [(2, 3)]);
}

fn several_batches_of_one_append_keep_their_order(harness: &mut dyn Harness) {
    let mut log = born(harness);
    let batches = [entries(2..6, 1), hard_state(2, 1), entries(4..8, 2), entries(6..7, 3), hard_state(3, 4)];
    log.append(&batches, true).expect("an append");
    let expected = [(2, 1), (3, 1), (4, 2), (5, 2), (6, 3)];
    assert_eq!(read(log.as_ref(), 2, 99), expected);
    let log = lose(harness, log);
    assert_eq!(read(log.as_ref(), 2, 99), expected);
    assert_eq!(log.recovered().hard_state, state(3, 4));
}

fn compaction_moves_the_base_and_keeps_the_rest(harness: &mut dyn Harness) {
    let mut log = born(harness);
    log.append(&[entries(2..10, 1), entries(10..20, 2)], true).expect("an append");
    log.compact(Index(12)).expect("a compaction");
    log.compact(Index(5)).expect("a compaction of what is gone does nothing");
    log.compact(Index(20)).expect_err("what is not there cannot be compacted");
    let log = lose(harness, log);
    let skeleton = &log.recovered().skeleton;
    assert_eq!((skeleton.base, skeleton.last), (EntryId { term: Term(2), index: Index(12) }, Index(19)));
    assert_eq!(read(log.as_ref(), 13, 20).len(), 7);
    let error = log.reader().entries(Index(12), Index(14), 1).expect_err("it was compacted");
    assert!(matches!(error, Error::OutOfRange { index: 12, first: 13, last: 19 }), "{error}");
    let mut log = log;
    log.compact(Index(19)).expect("everything can be compacted");
    let mut log = lose(harness, log);
    log.append(&[entries(20..21, 2)], true).expect("and the log goes on behind it");
    assert_eq!(read(log.as_ref(), 20, 21), [(20, 2)]);
}

fn an_installed_snapshot_resets_the_log(harness: &mut dyn Harness) {
    let mut log = born(harness);
    log.append(&[entries(2..10, 1)], true).expect("an append");
    let install =
        LogBatch { install: Some(token(4, 100)), hard_state: Some(state(4, 100)), entries: Vec::new() };
    log.append(&[install, entries(101..103, 4)], true).expect("an install");
    assert_eq!(read(log.as_ref(), 101, 103), [(101, 4), (102, 4)]);
    log.reader().entries(Index(5), Index(6), 1).expect_err("entries before the snapshot are gone");
    let log = lose(harness, log);
    let found = log.recovered();
    assert_eq!((found.skeleton.base, found.skeleton.last), (token(4, 100).id, Index(102)));
    assert_eq!(found.hard_state, state(4, 100));
    assert_eq!(found.snapshots.last(), Some(&token(4, 100)));
    assert_eq!(read(log.as_ref(), 101, 103), [(101, 4), (102, 4)]);
}

fn a_recorded_snapshot_survives(harness: &mut dyn Harness) {
    let mut log = born(harness);
    log.append(&[entries(2..10, 1)], true).expect("an append");
    log.record_snapshot(token(1, 8)).expect("a snapshot record");
    log.record_snapshot(token(1, 10)).expect_err("a snapshot of what the log has not");
    let log = lose(harness, log);
    assert_eq!(log.recovered().snapshots, [token(1, 1), token(1, 8)]);
    assert_eq!(log.recovered().skeleton.base.index, Index(1), "the log was not shortened");
}

fn a_held_back_commit_goes_with_the_next_batch_proof_or_close(harness: &mut dyn Harness) {
    let mut log = born(harness);
    log.append(&[entries(2..20, 1), hard_state(1, 1)], true).expect("an append");
    let mut commit = 1;
    for round in 0..3 {
        commit += 2;
        log.append(&[hard_state(1, commit)], false).expect("a commit");
        match round {
            0 => log.append(&[entries(20..21, 1)], true).expect("an append"),
            1 => log.prove().expect("a proof"),
            _ => log.close().expect("a close"),
        }
        log = lose(harness, log);
        assert_eq!(log.recovered().hard_state, state(1, commit));
    }
    log.append(&[hard_state(2, commit)], false).expect("a vote");
    let log = lose(harness, log);
    assert_eq!(log.recovered().hard_state, state(2, commit), "a vote is never held back");
}

fn reads_are_cut_to_their_bounds(harness: &mut dyn Harness) {
    let mut log = born(harness);
    for index in 2..12 {
        log.append(&[entries(index..index + 1, 1)], true).expect("an append");
    }
    log.append(&[entries(12..30, 1)], true).expect("an append");
    let reader = log.reader();
    let count = |low, high, bytes_max| {
        reader.entries(Index(low), Index(high), bytes_max).expect("the entries are there").len()
    };
    assert_eq!(count(2, 30, u64::MAX), 28);
    assert_eq!(count(2, 99, u64::MAX), 28);
    assert_eq!(count(5, 6, u64::MAX), 1);
    assert_eq!(count(5, 5, u64::MAX), 0);
    assert_eq!(count(5, 30, 0), 1);
    assert_eq!(count(5, 30, 39), 1);
    assert_eq!(count(5, 30, 40), 1);
    assert_eq!(count(5, 30, 80), 2);
    assert_eq!(count(10, 30, 400), 10);
    reader.entries(Index(30), Index(31), 1).expect_err("behind the end");
    reader.entries(Index(1), Index(3), 1).expect_err("before the start");
}

fn bytes_above_an_index_are_known_after_a_restart_too(harness: &mut dyn Harness) {
    let mut log = born(harness);
    for index in 2..102 {
        log.append(&[entries(index..index + 1, 1)], true).expect("an append");
    }
    let above = |log: &dyn LogStore, index| log.reader().bytes_above(Index(index));
    let whole = above(&*log, 1);
    assert!(whole >= 100 * 40, "{whole} bytes cannot hold all entries");
    assert!((2..=101).all(|index| above(&*log, index) <= above(&*log, index - 1)), "it never grows");
    assert_eq!(above(&*log, 101), 0, "nothing stands above the last entry");
    let half = above(&*log, 51);
    assert!(half > whole / 4 && half < whole * 3 / 4, "half of the entries take {half} of {whole} bytes");
    let usage = log.usage();
    assert!(usage.disk_bytes >= whole && usage.written_bytes >= whole, "{usage:?} for {whole} bytes");
    let mut log = lose(harness, log);
    let found = above(&*log, 1);
    assert!(found > whole / 2 && found < whole * 2, "{whole} bytes became {found} by a restart");
    log.compact(Index(101)).expect("a compaction");
    assert_eq!(above(&*log, 1), 0, "what is compacted takes nothing");
}

fn a_clean_stop_is_known_and_final(harness: &mut dyn Harness) {
    let mut log = born(harness);
    log.append(&[entries(2..5, 1)], true).expect("an append");
    log.close().expect("a close");
    let error = log.append(&[entries(5..6, 1)], true).expect_err("a closed log takes nothing");
    assert!(matches!(error, Error::Closed { .. }), "{error}");
    let mut log = lose(harness, log);
    assert!(log.recovered().clean);
    log.append(&[entries(5..6, 1)], true).expect("an append after a clean stop");
    let log = lose(harness, log);
    assert!(!log.recovered().clean);
    assert_eq!(read(log.as_ref(), 2, 6).len(), 4);
}

fn a_failed_sync_closes_the_log_for_good(harness: &mut dyn Harness) {
    let mut log = born(harness);
    log.append(&[entries(2..5, 1)], true).expect("an append");
    let Some(disk) = harness.disk() else { return };
    disk.fail_sync(1);
    let error = log.append(&[entries(5..6, 1)], true).expect_err("the sync failed");
    assert!(matches!(error, Error::Io { .. }), "{error}");
    for _ in 0..2 {
        let error = log.append(&[entries(5..6, 1)], true).expect_err("nothing is retried");
        assert!(matches!(error, Error::Closed { .. }), "{error}");
        log.prove().expect_err("nothing is retried");
        log.close().expect_err("nothing is retried");
    }
    drop(log);
    // The process ends, the machine goes on: the cache still shows what never reached the device.
    harness.crash(CrashMode::KeepAll);
    let log = harness.open().expect("a log opens after a failed sync");
    let last = log.recovered().skeleton.last;
    assert!(last == Index(4) || last == Index(5), "the failed batch is there or not");
    let log = lose(harness, log);
    assert_eq!(log.recovered().skeleton.last, last, "what a start has shown stays");
    assert_eq!(read(log.as_ref(), 2, 5).len(), 3);
}
