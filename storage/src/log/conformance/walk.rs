//! One random walk: a log and the dumb model of it do the same, crash, and must agree.

use bytes::Bytes;
use quorate_telemetry::{Rng, SeededRng};

use super::Harness;
use super::claims::token;
use super::model::Model;
use crate::disk::CrashMode;
use crate::entry::{Entry, EntryKind, HardState};
use crate::error::{Error, Result};
use crate::ids::{Index, ReplicaId, Term};
use crate::log::{LogBatch, LogState, LogStore};
use crate::snapshot::SnapshotToken;

const LIVES: u64 = 12;
const ACTS_PER_LIFE_MAX: u64 = 24;
/// A power cut or fault is armed for one of this many next calls or events.
const CALLS_AHEAD_MAX: u64 = 40;

enum Act {
    Append(Vec<LogBatch>, bool),
    Prove,
    RecordSnapshot(SnapshotToken),
    Compact(Index),
    Close,
}

struct Walk<'a> {
    harness: &'a mut dyn Harness,
    rng: SeededRng,
    seed: u64,
    model: Model,
}

/// How a life ended.
enum Death {
    /// Between calls.
    Idle,
    /// In a call: what it asked for may be there or not.
    Within(Model),
}

pub(super) fn walk(harness: &mut dyn Harness, seed: u64) {
    let rng = SeededRng::new(seed);
    let base = if rng.below(4) == 0 { SnapshotToken::default() } else { token(1, 1) };
    let mut log = harness.create(base).expect("a log can be created");
    let mut walk = Walk { harness, rng, seed, model: Model::new(base) };
    for _ in 0..LIVES {
        walk.arm();
        let death = walk.live(log.as_mut());
        drop(log);
        log = walk.restart(death);
    }
}

impl Walk<'_> {
    fn arm(&self) {
        let Some(disk) = self.harness.disk() else { return };
        let nth = 1 + self.rng.below(CALLS_AHEAD_MAX);
        match self.rng.below(8) {
            0..=3 => disk.cut_power_at_call(nth),
            4 => disk.fail_sync(1 + nth / 3),
            5 => disk.fail_write(1 + nth / 3),
            6 => disk.shorten_write(1 + nth / 3),
            _ => {
                let used: u64 = disk.files().iter().map(|(_, bytes)| bytes).sum();
                disk.set_capacity(Some(used + self.rng.below(64 << 10)));
            }
        }
    }

    /// Acts until the log fails or the time is over.
    fn live(&mut self, log: &mut dyn LogStore) -> Death {
        for _ in 0..self.rng.below(ACTS_PER_LIFE_MAX) {
            let act = self.choose();
            let mut after = self.model.clone();
            act.apply_to(&mut after);
            if let Err(error) = act.run(log) {
                let again = log.prove().expect_err("a log that failed stays closed");
                assert!(matches!(again, Error::Closed { .. }), "seed {}: {error}, then {again}", self.seed);
                return Death::Within(after);
            }
            self.model = after;
            if matches!(act, Act::Close) {
                return Death::Idle;
            }
            // A failing read is the power going, which the next act finds.
            if self.check_read(log).is_err() {
                return Death::Idle;
            }
        }
        Death::Idle
    }

    /// Crashes and opens, and checks what was found.
    fn restart(&mut self, death: Death) -> Box<dyn LogStore> {
        if let Some(disk) = self.harness.disk() {
            disk.set_capacity(None);
        }
        self.harness.crash(self.mode());
        if self.rng.below(3) == 0 {
            self.crash_while_opening();
        }
        let log = self.open();
        let found = log.recovered().clone();
        self.settle(death, &found);
        self.check_all(log.as_ref());
        if self.rng.below(3) > 0 {
            return log;
        }
        drop(log);
        self.harness.crash(CrashMode::LoseUnsynced);
        let log = self.open();
        let again = log.recovered();
        assert_eq!(
            (&again.skeleton, again.hard_state),
            (&found.skeleton, found.hard_state),
            "seed {}: what a start has shown stays",
            self.seed
        );
        self.check_all(log.as_ref());
        log
    }

    /// The power goes while the log opens, or just after.
    fn crash_while_opening(&mut self) {
        if let Some(disk) = self.harness.disk() {
            disk.cut_power_at_call(1 + self.rng.below(CALLS_AHEAD_MAX));
        }
        drop(self.harness.open());
        self.harness.crash(self.mode());
    }

    fn open(&mut self) -> Box<dyn LogStore> {
        let opened = self.harness.open();
        opened.unwrap_or_else(|error| panic!("seed {}: a log opens after a crash: {error}", self.seed))
    }

    /// Finds out whether the last act is there.
    fn settle(&mut self, death: Death, found: &LogState) {
        let mut objection = self.model.objection(found);
        if let (Death::Within(after), Some(_)) = (death, &objection) {
            self.model = after;
            objection = self.model.objection(found);
        }
        if let Some(objection) = objection {
            panic!("seed {}: a start found another log: {objection}", self.seed);
        }
        self.model.hard_state = found.hard_state;
        self.model.flush();
    }

    fn check_all(&self, log: &dyn LogStore) {
        let first = self.model.base.index.next();
        if self.model.entries.is_empty() {
            log.reader().entries(first, first.next(), 1).expect_err("an empty log has no entry");
            return;
        }
        let read = log.reader().entries(first, Index(u64::MAX), u64::MAX);
        let read = read.unwrap_or_else(|error| panic!("seed {}: entries can be read: {error}", self.seed));
        assert_eq!(read, self.model.entries, "seed {}: entries read back as written", self.seed);
    }

    fn check_read(&self, log: &dyn LogStore) -> Result<()> {
        if self.model.entries.is_empty() {
            return Ok(());
        }
        let count = self.model.entries.len();
        let at = self.pick(count);
        let until = at + 1 + self.pick(count - at);
        let expected = &self.model.entries[at..until];
        let read =
            log.reader().entries(expected[0].index, expected[expected.len() - 1].index.next(), u64::MAX)?;
        assert_eq!(read, expected, "seed {}: a reader sees every append that returned", self.seed);
        Ok(())
    }

    fn mode(&self) -> CrashMode {
        match self.rng.below(5) {
            0 => CrashMode::LoseUnsynced,
            1 => CrashMode::KeepAll,
            2 => CrashMode::KeepPieces { seed: self.rng.next_u64(), piece_bytes: 4096 },
            _ => CrashMode::KeepPieces { seed: self.rng.next_u64(), piece_bytes: 512 },
        }
    }

    fn choose(&mut self) -> Act {
        let last = self.model.last();
        match self.rng.below(20) {
            0 => Act::Prove,
            1 => {
                let below = last.index.get() - self.model.base.index.get();
                let index = Index(self.model.base.index.get() + self.rng.below(below + 1));
                Act::RecordSnapshot(token(self.model.term(index).get(), index.get()))
            }
            2 => {
                // Only what is committed is ever compacted.
                let commit = self.model.hard_state.commit.max(self.model.base.index);
                let below = commit.get() - self.model.base.index.get();
                Act::Compact(Index(self.model.base.index.get() + self.rng.below(below + 1)))
            }
            3 if self.rng.below(4) == 0 => Act::Close,
            4 if self.rng.below(3) == 0 => {
                let token =
                    token(self.model.hard_state.term.get() + 1, last.index.get() + 1 + self.rng.below(9));
                let state = HardState { term: token.id.term, vote: None, commit: token.id.index };
                let install = LogBatch { install: Some(token), hard_state: Some(state), entries: Vec::new() };
                Act::Append(vec![install], true)
            }
            5..=7 => {
                let commit = self.commit(self.model.hard_state.commit, last.index);
                let state = HardState { commit, ..self.model.hard_state };
                let batch = LogBatch { hard_state: Some(state), ..LogBatch::default() };
                Act::Append(vec![batch], self.rng.below(2) == 0)
            }
            _ => self.choose_entries(),
        }
    }

    fn choose_entries(&self) -> Act {
        let mut batches = Vec::new();
        let mut after = self.model.clone();
        for _ in 0..=self.rng.below(3) {
            let mut state = after.hard_state;
            if self.rng.below(4) == 0 {
                let vote = Some(ReplicaId(1 + self.rng.below(3)));
                state = HardState { term: Term(state.term.get() + 1), vote, ..state };
            }
            let last = after.last().index;
            let safe = after.hard_state.commit.max(after.base.index);
            // A truncation never reaches what is committed.
            let back = if self.rng.below(5) == 0 { self.rng.below(last.get() - safe.get() + 1) } else { 0 };
            let first = last.get() + 1 - back;
            let count = self.rng.below(6);
            let entries: Vec<Entry> =
                (first..first + count).map(|index| self.entry(Index(index), state.term)).collect();
            let end = entries.last().map_or(last, |entry| entry.index);
            state.commit = self.commit(state.commit, end);
            let batch = LogBatch { install: None, entries, hard_state: Some(state) };
            after.append(std::slice::from_ref(&batch), true);
            batches.push(batch);
        }
        Act::Append(batches, true)
    }

    fn commit(&self, commit: Index, last: Index) -> Index {
        Index(commit.get() + self.rng.below(last.get().saturating_sub(commit.get()) + 1))
    }

    fn entry(&self, index: Index, term: Term) -> Entry {
        let kind = if self.rng.below(10) == 0 { EntryKind::ConfChange } else { EntryKind::Normal };
        let bytes = if self.rng.below(40) == 0 { self.pick(40_000) } else { self.pick(400) };
        let fill = self.rng.next_u64().to_le_bytes()[0];
        Entry { term, index, kind, payload: Bytes::from(vec![fill; bytes]) }
    }

    fn pick(&self, bound: usize) -> usize {
        usize::try_from(self.rng.below(bound as u64)).expect("below a usize")
    }
}

impl Act {
    fn run(&self, log: &mut dyn LogStore) -> Result<()> {
        match self {
            Self::Append(batches, sync) => log.append(batches, *sync),
            Self::Prove => log.prove(),
            Self::RecordSnapshot(token) => log.record_snapshot(*token),
            Self::Compact(through) => log.compact(*through),
            Self::Close => log.close(),
        }
    }

    fn apply_to(&self, model: &mut Model) {
        match self {
            Self::Append(batches, sync) => model.append(batches, *sync),
            Self::Prove | Self::Close => model.flush(),
            Self::RecordSnapshot(token) => model.add_snapshot(*token),
            Self::Compact(through) => model.compact(*through),
        }
    }
}
