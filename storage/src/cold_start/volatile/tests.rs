//! What a walk calls, with which bytes, in clear and sealed; and what it does when the log has gaps.

use aes_gcm::aead::{Aead, KeyInit, Payload as Sealed};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use parking_lot::Mutex;

use super::*;
use crate::entry::{EntryId, HardState};
use crate::ids::{RangeEpoch, Term};
use crate::payload::{InClear, ProposalId};

/// Seals under a test key; the position of the entry is the nonce and is bound to the text.
#[derive(Debug)]
struct TestKey([u8; 32]);

impl TestKey {
    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(&Key::<Aes256Gcm>::from(self.0))
    }

    fn nonce(id: EntryId) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&id.index.get().to_le_bytes());
        nonce
    }

    fn seal(&self, id: EntryId, clear: &[u8]) -> Bytes {
        let bound = id.term.get().to_le_bytes();
        let text = Sealed { msg: clear, aad: &bound };
        self.cipher().encrypt(&Nonce::from(Self::nonce(id)), text).unwrap().into()
    }
}

impl Unsealer for TestKey {
    fn unseal(&self, id: EntryId, sealed: &Bytes) -> Result<Bytes> {
        let bound = id.term.get().to_le_bytes();
        let text = Sealed { msg: sealed, aad: &bound };
        let opened = self.cipher().decrypt(&Nonce::from(Self::nonce(id)), text);
        opened.map(Bytes::from).map_err(|_| Error::Malformed { what: "sealed payload" })
    }
}

/// Entries by position, one missing if told so.
#[derive(Debug)]
struct TestLog {
    entries: Vec<Entry>,
    unreadable: Option<Index>,
    reads: Mutex<Vec<Index>>,
}

impl TestLog {
    fn of(entries: Vec<Entry>) -> Self {
        Self { entries, unreadable: None, reads: Mutex::default() }
    }
}

impl LogReader for TestLog {
    fn entries(&self, low: Index, high: Index, _bytes_max: u64) -> Result<Vec<Entry>> {
        self.reads.lock().push(low);
        if self.unreadable == Some(low) {
            return Err(Error::Malformed { what: "entry" });
        }
        // Three at a time, so that a walk goes on where it was; never over what cannot be read.
        let is_there = |entry: &&Entry| entry.index >= low && entry.index < high;
        let readable = self.entries.iter().filter(is_there);
        Ok(readable.take_while(|entry| Some(entry.index) != self.unreadable).take(3).cloned().collect())
    }

    fn hard_state(&self) -> HardState {
        HardState::default()
    }

    fn bytes_above(&self, _index: Index) -> u64 {
        0
    }
}

/// Keeps what it was called with.
#[derive(Debug, Default)]
struct Memory {
    covers: bool,
    fails: bool,
    applied: Vec<Payload>,
}

impl VolatileEntryClassifier for Memory {
    fn covers_volatile(&self) -> bool {
        self.covers
    }

    fn is_volatile(&self, payload: &Payload) -> bool {
        payload.tag == Tag::Lease
    }

    fn apply_volatile(&mut self, payload: &Payload) -> Result<()> {
        if self.fails {
            return Err(Error::Malformed { what: "told to fail" });
        }
        self.applied.push(payload.clone());
        Ok(())
    }
}

fn id(index: u64) -> EntryId {
    EntryId { term: Term(2), index: Index(index) }
}

fn payload(tag: Tag, index: u64, body: Bytes) -> Payload {
    let proposal = ProposalId { stream: 7, sequence: index };
    Payload { tag, range_epoch: RangeEpoch(1), proposal, body }
}

fn lease(index: u64) -> Payload {
    payload(Tag::Lease, index, Lease { ceiling: Timestamp(index << 20) }.encode())
}

fn entry(index: u64, kind: EntryKind, payload: Bytes) -> Entry {
    Entry { term: Term(2), index: Index(index), kind, payload }
}

/// Index 11 to 18: lease, data, empty, conf change, lease, data, lease, data. Sealed above the cutover.
fn entries(cutover: Option<u64>, key: &TestKey) -> Vec<Entry> {
    let sealed = |index: u64, payload: &Payload| {
        let clear = payload.encode();
        let is_sealed = cutover.is_some_and(|cutover| index > cutover);
        entry(index, EntryKind::Normal, if is_sealed { key.seal(id(index), &clear) } else { clear })
    };
    let data = |index| sealed(index, &payload(Tag::Command, index, Bytes::from_static(b"data")));
    vec![
        sealed(11, &lease(11)),
        data(12),
        entry(13, EntryKind::Normal, Bytes::new()),
        entry(14, EntryKind::ConfChange, Bytes::from_static(b"never decoded here")),
        sealed(15, &lease(15)),
        data(16),
        sealed(17, &lease(17)),
        data(18),
    ]
}

const KEY: TestKey = TestKey([3; 32]);

fn walk<'a>(log: &'a TestLog, cutover: Option<u64>, unsealer: &'a dyn Unsealer) -> VolatileWalk<'a> {
    VolatileWalk {
        log,
        first: Index(5),
        after: Index(10),
        through: Index(17),
        opening: Opening { cutover: cutover.map(Index), unsealer },
    }
}

#[test]
fn volatile_entries_are_applied_once_in_order_with_their_bytes_and_nothing_else_is() {
    for (cutover, unsealer) in [
        (None, &InClear as &dyn Unsealer),
        (Some(0), &KEY),
        (Some(14), &KEY),
        (Some(15), &KEY),
        (Some(99), &KEY),
    ] {
        let log = TestLog::of(entries(cutover, &KEY));
        let mut memory = Memory::default();
        let walked = walk(&log, cutover, unsealer).run(&mut memory).unwrap();
        assert_eq!(memory.applied, [lease(11), lease(15), lease(17)], "cutover {cutover:?}");
        assert_eq!((walked.replayed, walked.dropped), (3, 4));
        assert_eq!(walked.hlc_ceiling, Timestamp(17 << 20));
        let read: usize = log.entries[..7].iter().map(|entry| entry.payload.len()).sum();
        assert_eq!(walked.bytes_read, read as u64);
        assert_eq!(*log.reads.lock(), [Index(11), Index(14), Index(17)]);
    }
}

#[test]
fn a_state_machine_that_covers_it_is_called_with_nothing() {
    // Not even opened: nobody could, with this key.
    let log = TestLog::of(entries(Some(0), &KEY));
    let mut memory = Memory { covers: true, ..Memory::default() };
    let walked = walk(&log, Some(0), &TestKey([4; 32])).run(&mut memory).unwrap();
    assert_eq!((memory.applied.len(), walked.replayed, walked.dropped), (0, 0, 7));
    assert_eq!(walked.hlc_ceiling, Timestamp(0));
}

#[test]
fn a_floor_at_the_snapshot_reads_nothing() {
    let log = TestLog::of(Vec::new());
    let walk = VolatileWalk { first: Index(99), through: Index(10), ..walk(&log, None, &InClear) };
    assert_eq!(walk.run(&mut Memory::default()).unwrap(), Walked::default());
    assert!(log.reads.lock().is_empty());
}

#[test]
fn a_log_that_begins_behind_the_snapshot_is_a_gap_before_anything_is_applied() {
    let log = TestLog::of(entries(None, &KEY));
    let mut memory = Memory::default();
    let walk = VolatileWalk { first: Index(12), ..walk(&log, None, &InClear) };
    assert!(matches!(walk.run(&mut memory), Err(WalkEnd::Gap(Index(11)))));
    assert!(memory.applied.is_empty() && log.reads.lock().is_empty());
}

#[test]
fn an_entry_that_is_missing_or_cannot_be_read_is_a_gap() {
    for missing in 11..=17 {
        let mut log = TestLog::of(entries(None, &KEY));
        log.entries.retain(|entry| entry.index != Index(missing));
        let end = walk(&log, None, &InClear).run(&mut Memory::default());
        assert!(matches!(end, Err(WalkEnd::Gap(at)) if at == Index(missing)), "{missing}: {end:?}");

        let log = TestLog { unreadable: Some(Index(missing)), ..TestLog::of(entries(None, &KEY)) };
        let end = walk(&log, None, &InClear).run(&mut Memory::default());
        assert!(matches!(end, Err(WalkEnd::Gap(at)) if at == Index(missing)), "{missing}: {end:?}");
    }
}

#[test]
fn what_cannot_be_opened_or_understood_halts_as_it_would_have_at_its_apply() {
    // Another key; clear above the cutover; another entry's text; a tag of the future; a lease of the wrong length.
    let wrong_key = TestLog::of(entries(Some(14), &TestKey([4; 32])));
    let clear = TestLog::of(entries(None, &KEY));
    let mut swapped = TestLog::of(entries(Some(14), &KEY));
    swapped.entries[4].payload = swapped.entries[6].payload.clone();
    let mut future = TestLog::of(entries(Some(15), &KEY));
    let mut bytes = lease(15).encode().to_vec();
    bytes[0] = 0x04;
    future.entries[4].payload = bytes.into();
    let mut short = TestLog::of(entries(Some(15), &KEY));
    short.entries[4].payload = payload(Tag::Lease, 15, Bytes::from_static(b"short")).encode();
    for (log, cutover) in [(wrong_key, 14), (clear, 14), (swapped, 14), (future, 15), (short, 15)] {
        let mut memory = Memory::default();
        let end = walk(&log, Some(cutover), &KEY).run(&mut memory);
        assert!(matches!(end, Err(WalkEnd::Halt(Index(15), _))), "{end:?}");
        assert_eq!(memory.applied, [lease(11)], "nothing behind it");
    }
}

#[test]
fn an_effect_that_fails_halts() {
    let log = TestLog::of(entries(None, &KEY));
    let mut memory = Memory { fails: true, ..Memory::default() };
    let end = walk(&log, None, &InClear).run(&mut memory);
    assert!(matches!(end, Err(WalkEnd::Halt(Index(11), _))));
}
