//! Segments of a log: what a start makes of them, what can be read afterwards, and whether it goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_storage::disk::{Disk, SimDisk};
use quorate_storage::fuzzing::log_damage;
use quorate_storage::log::{LogBatch, LogConfig, LogPlace, LogState, LogStore, SegmentedLog};
use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::{EntryId, HardState, Index, ReplicaId, Term};
use quorate_telemetry::SeededRng;

use super::Target;
use super::fixture::{BORN, disk_with, entries, entry, owner, read};
use super::raft::starts_or_refuses;
use super::seal::{self, crc, put_u32, u32_at, u64_at};

pub(super) const TARGETS: &[Target] =
    &[Target { name: "log_segment", what: log_segment, seeds: segment_seeds }];

const DIR: &str = "/wal";
const PAGE: usize = 4_096;
/// The head of a batch, at either end.
const HEAD: usize = 64;
/// What ends a seal: magic, offset, length, two checksums.
const SEAL_END: usize = 28;

const CONFIG: LogConfig =
    LogConfig { segment_bytes: 16 << 10, first_segment_bytes: 16 << 10, zero_ahead_bytes: 0 };

/// Most entries that are read one by one.
const READ_MAX: u64 = 64;
/// No living group comes here; a core refuses to start above it.
const NUMBER_MAX: u64 = 1 << 62;

/// Whether the checksums were made right by us: then they prove nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Checksums {
    AsFound,
    MadeRight,
}

fn log_segment(bytes: &[u8]) {
    open(bytes, Checksums::AsFound);
    let mut sealed = bytes.to_vec();
    seal_segment(&mut sealed);
    open(&sealed, Checksums::MadeRight);
}

fn place(disk: &SimDisk) -> LogPlace {
    // File ids must differ from opening to opening.
    let rng = Arc::new(SeededRng::new(disk.sync_count()));
    LogPlace { disk: Arc::new(disk.clone()), dir: PathBuf::from(DIR), owner: owner(), rng }
}

/// The only segment of a log, as its first.
fn path() -> PathBuf {
    Path::new(DIR).join(format!("{:020}-{:010}.wal", BORN.index.get() + 1, 1))
}

fn open(bytes: &[u8], checksums: Checksums) {
    let disk = disk_with(&path(), bytes);
    let _ = log_damage(&disk, Path::new(DIR), owner());
    let Ok(mut log) = SegmentedLog::open(place(&disk), CONFIG) else { return };
    let state = log.recovered().clone();
    read_entries(&log, &state, checksums);
    starts_or_refuses(&state);
    if state.skeleton.last.get() < NUMBER_MAX {
        goes_on(&mut log, &state);
        drop(log);
        reopens(&disk, &state);
    }
}

/// Every entry is the one that was written, or is told to be unreadable.
fn read_entries(log: &SegmentedLog, state: &LogState, checksums: Checksums) {
    let (first, last) = (state.skeleton.first(), state.skeleton.last);
    let high = Index(last.get().min(first.get().saturating_add(READ_MAX)).saturating_add(1));
    let unreadable = log.unreadable(first, high);
    let reader = log.reader();
    for index in (first.get()..high.get()).map(Index) {
        let Ok(found) = reader.entries(index, Index(index.get() + 1), u64::MAX) else { continue };
        let [found] = found.as_slice() else { panic!("{} entries at one index", found.len()) };
        assert_eq!(found.index, index);
        if checksums == Checksums::AsFound {
            assert_eq!(Some(found.term), state.skeleton.term(index), "its term is the log's");
            assert_eq!(*found, entry(found.id()), "an entry that was never written");
        }
        if let Ok(unreadable) = &unreadable {
            assert!(unreadable.iter().all(|entry| entry.id.index != index), "{index} was read all the same");
        }
    }
    let _ = reader.entries(first, high, 1 << 10);
    let _ = reader.bytes_above(Index(first.get().saturating_add(1)));
}

/// One more entry goes to the end.
fn goes_on(log: &mut SegmentedLog, state: &LogState) {
    let next = next_entry(state);
    let batch = LogBatch { entries: vec![entry(next)], ..LogBatch::default() };
    log.append(&[batch], true).expect("the disk is healthy");
    let found = log.reader().entries(next.index, next.index.next(), u64::MAX);
    assert_eq!(found.expect("it was just appended"), [entry(next)]);
    log.close().expect("the disk is healthy");
}

fn next_entry(state: &LogState) -> EntryId {
    let last = state.skeleton.term(state.skeleton.last).unwrap_or_default();
    EntryId { term: last.max(Term(1)), index: state.skeleton.last.next() }
}

/// What was cut once stays cut, and nothing else changes.
fn reopens(disk: &SimDisk, before: &LogState) {
    let log = SegmentedLog::open(place(disk), CONFIG).expect("it was opened and closed");
    let state = log.recovered();
    assert_eq!(state.skeleton.base, before.skeleton.base);
    assert_eq!(state.skeleton.last, before.skeleton.last.next());
    assert_eq!(state.skeleton.term(state.skeleton.last), Some(next_entry(before).term));
    assert_eq!(state.hard_state, before.hard_state);
    assert_eq!(state.snapshots, before.snapshots);
    assert_eq!((state.torn_batches, state.clean), (0, true));
}

/// Makes the checksums of head page, batches and seal right, both tables of a batch equal, and the chain whole.
fn seal_segment(bytes: &mut [u8]) {
    seal::header(bytes);
    let head_bytes = u32_at(bytes, 128).unwrap_or_default() as usize;
    if let Some(end) = head_bytes.checked_add(136) {
        let _ = crc(bytes, 132, 136..end);
    }
    let mut previous = u32_at(bytes, 136 + 16).unwrap_or_default();
    let mut at = PAGE;
    while let Some(batch_bytes) = seal_batch(bytes, at, &mut previous) {
        at += batch_bytes;
    }
    let Some(end) = bytes.len().checked_sub(SEAL_END).filter(|end| bytes[*end..].starts_with(b"QSEAL"))
    else {
        return;
    };
    if let Some(offset) = u64_at(bytes, end + 8).and_then(|offset| usize::try_from(offset).ok())
        && offset <= end
    {
        let _ = crc(bytes, end + 20, offset..end);
    }
    let _ = crc(bytes, end + 24, end..end + 24);
}

/// Makes the batch at `at` right, and gives its length; `None` if none can stand there.
fn seal_batch(bytes: &mut [u8], at: usize, previous: &mut u32) -> Option<usize> {
    let batch = bytes.get_mut(at..).filter(|batch| batch.starts_with(b"QBAT"))?;
    let length = |field| u32_at(batch, field).map(|bytes| bytes as usize);
    let (batch_bytes, table_bytes, body_bytes) = (length(32)?, length(36)?, length(40)?);
    let batch = batch.get_mut(..batch_bytes).filter(|_| batch_bytes > 0)?;
    let body = HEAD.checked_add(table_bytes)?;
    crc(batch, 44, body..body.checked_add(body_bytes)?)?;
    put_u32(batch, 48, *previous)?;
    let head = [batch.get(4..HEAD - 4)?, batch.get(HEAD..body)?].concat();
    *previous = crc32fast::hash(&head);
    put_u32(batch, HEAD - 4, *previous)?;
    let end = batch_bytes.checked_sub(HEAD)?;
    let table_at = end.checked_sub(table_bytes)?;
    batch.copy_within(HEAD..body, table_at);
    batch.copy_within(..HEAD, end);
    batch[end..end + 4].copy_from_slice(b"QEND");
    Some(batch_bytes)
}

/// Segments in every state: fresh, with a tail that is proven or not, with every kind of record, closed by a seal.
fn segment_seeds() -> Vec<Vec<u8>> {
    let fill = |fill: &dyn Fn(&mut SegmentedLog)| {
        let disk = SimDisk::new();
        let base = SnapshotToken { id: BORN, bytes: 500, crc: 7 };
        let mut log = SegmentedLog::create(place(&disk), CONFIG, base).expect(HEALTHY);
        fill(&mut log);
        drop(log);
        read(&disk, &path())
    };
    vec![fill(&|_| {}), fill(&unproven), fill(&every_record), fill(&sealed)]
}

const HEALTHY: &str = "the disk is healthy";

fn append(log: &mut SegmentedLog, from: u64, last: u64, term: u64) {
    let hard_state = HardState { term: Term(term), vote: Some(ReplicaId(2)), commit: Index(from) };
    let batch = LogBatch {
        entries: entries(Index(from), Index(last), Term(term)),
        hard_state: Some(hard_state),
        install: None,
    };
    log.append(&[batch], true).expect(HEALTHY);
}

fn unproven(log: &mut SegmentedLog) {
    append(log, 1, 4, 1);
    append(log, 4, 8, 2);
}

fn every_record(log: &mut SegmentedLog) {
    append(log, 1, 6, 1);
    // The last two are replaced.
    append(log, 4, 5, 3);
    log.compact(Index(3)).expect(HEALTHY);
}

/// A batch that needs more room than is left closes the segment.
fn sealed(log: &mut SegmentedLog) {
    append(log, 1, 5, 1);
    append(log, 5, 7, 2);
    let token = SnapshotToken { id: EntryId { term: Term(1), index: Index(3) }, bytes: 900, crc: 9 };
    log.record_snapshot(token).expect(HEALTHY);
    log.repair(vec![entry(EntryId { term: Term(1), index: Index(4) })]).expect(HEALTHY);
}
