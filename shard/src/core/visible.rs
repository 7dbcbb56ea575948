//! What raft-rs may see of the log: the `raft::Storage` of a group, entirely in memory.
//!
//! Bounds and terms of the whole log come from its [`LogSkeleton`]; the entries themselves from a *tail* of
//! recent ones, and from what the shell fetched. Never an I/O error, never a wait: what is not here is asked
//! for by a [`Fetch`] where raft-rs can wait for it, and withheld where it cannot.
//!
//! ```text
//! base < first ..... handed ..... persisted ..... last
//!          └ on disk ┘└──────── tail, always ───────┘
//! ```

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use quorate_storage::log::LogSkeleton;
use quorate_storage::snapshot::{SnapshotLabel, SnapshotToken};
use quorate_storage::{EntryId, Index, ReplicaId, Term};
use raft::eraftpb::{self, EntryType};
use raft::{GetEntriesContext, RaftState, StorageError};

use super::convert;
use super::io::Fetch;

/// Reads under way for followers. More wait for the next heartbeat response of their follower.
const APPEND_FETCHES_MAX: usize = 8;
/// Followers that may wait for the same read.
const CONTEXTS_MAX: usize = 16;

/// See the module documentation.
pub(super) struct VisibleLog {
    initial: RaftState,
    skeleton: LogSkeleton,
    /// The last entries of the log, contiguous up to `skeleton.last`.
    tail: VecDeque<eraftpb::Entry>,
    tail_bytes: u64,
    /// Ticks since the last append.
    quiet_ticks: u32,
    /// Committed entries read back after a restart, contiguous, above everything handed to the applier.
    window: VecDeque<eraftpb::Entry>,
    /// Bytes of committed entries raft-rs may be given; `None` outside `ready()`, where it only counts conf
    /// changes.
    committed_bytes: Option<u64>,
    append_fetches: RefCell<Vec<AppendFetch>>,
    /// Entries of the fetch that is being answered.
    fetched: VecDeque<eraftpb::Entry>,
    /// Entries up to here were asked for and could not be read: followers get a snapshot.
    unreadable: Index,
    next_fetch: Cell<u64>,
    append_bytes_max: u64,
    published: Option<Published>,
    /// A follower needs a snapshot that is newer than the published one.
    snapshot_wanted: Cell<bool>,
}

#[derive(Debug)]
struct AppendFetch {
    id: u64,
    low: Index,
    high: Index,
    is_sent: bool,
    contexts: Vec<GetEntriesContext>,
}

/// A snapshot that followers can be seeded with.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) token: SnapshotToken,
    pub(super) label: Box<SnapshotLabel>,
}

impl VisibleLog {
    pub(super) fn new(initial: RaftState, skeleton: LogSkeleton, append_bytes_max: u64) -> Self {
        Self {
            initial,
            skeleton,
            tail: VecDeque::new(),
            tail_bytes: 0,
            quiet_ticks: 0,
            window: VecDeque::new(),
            committed_bytes: None,
            append_fetches: RefCell::default(),
            fetched: VecDeque::new(),
            unreadable: Index(0),
            next_fetch: Cell::new(1),
            append_bytes_max,
            published: None,
            snapshot_wanted: Cell::new(false),
        }
    }

    /// Takes the last entries of the log, contiguous up to its end.
    pub(super) fn seed(&mut self, entries: Vec<eraftpb::Entry>) {
        assert!(
            entries.last().is_none_or(|last| last.index == self.skeleton.last.get()),
            "the tail ends early"
        );
        self.tail_bytes = entries.iter().map(convert::weight).sum();
        self.tail = entries.into();
    }

    pub(super) fn skeleton(&self) -> &LogSkeleton {
        &self.skeleton
    }

    pub(super) fn tail_bytes(&self) -> u64 {
        self.tail_bytes
    }

    /// Makes the entries of a ready visible; an overlapping suffix is gone.
    pub(super) fn append(&mut self, entries: &[eraftpb::Entry]) {
        let Some(first) = entries.first() else { return };
        self.quiet_ticks = 0;
        while self.tail.back().is_some_and(|entry| entry.index >= first.index) {
            let replaced = self.tail.pop_back();
            self.tail_bytes -= replaced.as_ref().map_or(0, convert::weight);
        }
        self.append_fetches.borrow_mut().retain(|fetch| fetch.low.get() < first.index);
        for entry in entries {
            let id = EntryId { term: Term(entry.term), index: Index(entry.index) };
            self.skeleton.push(id, convert::is_conf_change(entry));
            self.tail_bytes += convert::weight(entry);
            self.tail.push_back(entry.clone());
        }
    }

    /// Starts anew behind an installed snapshot.
    pub(super) fn install(&mut self, id: EntryId) {
        self.skeleton.reset(id);
        self.tail.clear();
        self.tail_bytes = 0;
        self.window.clear();
        self.append_fetches.borrow_mut().clear();
    }

    /// Forgets what the log has dropped.
    pub(super) fn compact(&mut self, through: Index) {
        if through <= self.skeleton.base.index {
            return;
        }
        self.skeleton.compact(through);
        while self.pop_front_through(through) {}
    }

    /// Drops the oldest entries over the budget, but none above `through`. After `patience_ticks` without an
    /// append the budget is nothing.
    pub(super) fn evict(&mut self, through: Index, bytes_max: u64, patience_ticks: u32) {
        let is_quiet = self.quiet_ticks > patience_ticks;
        let bytes_max = if is_quiet { 0 } else { bytes_max };
        while self.tail_bytes > bytes_max && self.pop_front_through(through) {}
        if is_quiet && self.tail.is_empty() {
            self.tail.shrink_to_fit();
        }
    }

    /// One tick later. True when the log has just been quiet for `patience_ticks`.
    pub(super) fn tick(&mut self, patience_ticks: u32) -> bool {
        self.quiet_ticks = self.quiet_ticks.saturating_add(1);
        self.quiet_ticks == patience_ticks
    }

    /// From here to [`Self::end_ready`], raft-rs may be given `bytes` of committed entries.
    pub(super) fn begin_ready(&mut self, bytes: u64) {
        self.committed_bytes = Some(bytes);
    }

    pub(super) fn end_ready(&mut self, handed: Index) {
        self.committed_bytes = None;
        while self.window.front().is_some_and(|entry| entry.index <= handed.get()) {
            self.window.pop_front();
        }
    }

    /// The committed entries after `handed`, up to `commit`, that only the disk has.
    pub(super) fn missing_committed(&self, handed: Index, commit: Index) -> Option<(Index, Index)> {
        let low = handed.next();
        if low > commit || self.window.front().is_some_and(|entry| entry.index == low.get()) {
            return None;
        }
        let tail_first = self.tail_first();
        (low < tail_first).then(|| (low, commit.next().min(tail_first)))
    }

    /// Takes committed entries that were read back for the applier.
    pub(super) fn fill_window(&mut self, entries: impl IntoIterator<Item = eraftpb::Entry>) {
        self.window = entries.into_iter().collect();
    }

    /// Numbers a fetch.
    pub(super) fn next_fetch_id(&self) -> u64 {
        let id = self.next_fetch.get();
        self.next_fetch.set(id + 1);
        id
    }

    /// The fetches for followers that were not asked for yet.
    pub(super) fn take_append_fetches(&mut self) -> Vec<Fetch> {
        const WINDOW_MESSAGES: u64 = 4;
        let bytes_max = self.append_bytes_max.saturating_mul(WINDOW_MESSAGES);
        let fetches = self.append_fetches.get_mut().iter_mut().filter(|fetch| !fetch.is_sent);
        fetches
            .map(|fetch| {
                fetch.is_sent = true;
                Fetch { id: fetch.id, low: fetch.low, high: fetch.high, bytes_max }
            })
            .collect()
    }

    /// Takes the answer to a fetch for followers; those who wait for it are returned. `None`: unreadable.
    pub(super) fn begin_fetched(
        &mut self,
        id: u64,
        entries: Option<Vec<eraftpb::Entry>>,
    ) -> Vec<GetEntriesContext> {
        let fetches = self.append_fetches.get_mut();
        let Some(at) = fetches.iter().position(|fetch| fetch.id == id) else { return Vec::new() };
        let fetch = fetches.remove(at);
        match entries {
            Some(entries) if entries.first().is_some_and(|first| first.index == fetch.low.get()) => {
                self.fetched = entries.into();
            }
            _ => self.unreadable = fetch.low,
        }
        fetch.contexts
    }

    pub(super) fn end_fetched(&mut self) {
        self.fetched = VecDeque::new();
        self.unreadable = Index(0);
    }

    pub(super) fn publish(&mut self, published: Published) {
        let is_newer =
            self.published.as_ref().is_none_or(|known| known.token.id.index <= published.token.id.index);
        if is_newer {
            self.published = Some(published);
        }
    }

    pub(super) fn published(&self) -> Option<&Published> {
        self.published.as_ref()
    }

    pub(super) fn take_snapshot_wanted(&mut self) -> bool {
        self.snapshot_wanted.take()
    }

    fn pop_front_through(&mut self, through: Index) -> bool {
        let is_due = self.tail.front().is_some_and(|entry| entry.index <= through.get());
        if is_due {
            self.tail_bytes -= self.tail.pop_front().as_ref().map_or(0, convert::weight);
        }
        is_due
    }

    fn tail_first(&self) -> Index {
        self.tail.front().map_or(self.skeleton.last.next(), |entry| Index(entry.index))
    }

    /// Entries that stand for their conf changes only.
    fn skeletons(&self, low: u64, high: u64) -> Vec<eraftpb::Entry> {
        (low..high)
            .map(|index| {
                let term = self.skeleton.term(Index(index)).map_or(0, Term::get);
                let mut entry = eraftpb::Entry { term, index, ..Default::default() };
                if self.skeleton.conf_changes.binary_search(&Index(index)).is_ok() {
                    entry.set_entry_type(EntryType::EntryConfChangeV2);
                }
                entry
            })
            .collect()
    }

    /// Committed entries from `low` on as far as they are in memory; perhaps none.
    fn committed(&self, low: u64, high: u64, bytes_max: u64) -> Vec<eraftpb::Entry> {
        let window = slice(&self.window, low, high);
        let from_tail = low + window.len() as u64;
        let tail = slice(&self.tail, from_tail, high);
        limited(window.chain(tail), bytes_max)
    }

    fn to_send(
        &self,
        low: u64,
        high: u64,
        bytes_max: u64,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if Index(low) >= self.tail_first() {
            return Ok(limited(slice(&self.tail, low, high), bytes_max));
        }
        let fetched = slice(&self.fetched, low, high);
        if fetched.len() > 0 {
            return Ok(limited(fetched, bytes_max));
        }
        if Index(low) <= self.unreadable {
            return Err(StorageError::Compacted.into());
        }
        self.ask(Index(low), Index(high).min(self.tail_first()), context);
        Err(StorageError::LogTemporarilyUnavailable.into())
    }

    fn ask(&self, low: Index, high: Index, context: GetEntriesContext) {
        let mut fetches = self.append_fetches.borrow_mut();
        if let Some(fetch) = fetches.iter_mut().find(|fetch| fetch.low == low) {
            if fetch.contexts.len() < CONTEXTS_MAX {
                fetch.contexts.push(context);
            }
        } else if fetches.len() < APPEND_FETCHES_MAX {
            let id = self.next_fetch_id();
            fetches.push(AppendFetch { id, low, high, is_sent: false, contexts: vec![context] });
        }
    }
}

impl raft::Storage for VisibleLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(self.initial.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if Index(low) <= self.skeleton.base.index {
            return Err(StorageError::Compacted.into());
        }
        assert!(Index(high) <= self.skeleton.last.next(), "raft reads up to {high}, behind the log's end");
        let bytes_max = max_size.into().unwrap_or(raft::NO_LIMIT);
        if context.can_async() {
            return self.to_send(low, high, bytes_max, context);
        }
        Ok(match self.committed_bytes {
            Some(0) => Vec::new(),
            Some(budget) => self.committed(low, high, bytes_max.min(budget)),
            None => self.skeletons(low, high),
        })
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let index = Index(index);
        match self.skeleton.term(index) {
            Some(term) => Ok(term.get()),
            None if index < self.skeleton.base.index => Err(StorageError::Compacted.into()),
            None => Err(StorageError::Unavailable.into()),
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.skeleton.first().get())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.skeleton.last.get())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<eraftpb::Snapshot> {
        // A snapshot that does not know its receiver is ignored by it, and one that ends before the log
        // begins leaves a gap: both need a newer one first.
        let usable = self.published.as_ref().filter(|published| {
            let record = &published.label.record;
            record.conf_state.contains(ReplicaId(to))
                && record.applied.index >= self.skeleton.base.index
                && record.applied.index.get() >= request_index.max(1)
        });
        let Some(published) = usable else {
            self.snapshot_wanted.set(true);
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        };
        let record = &published.label.record;
        Ok(convert::snapshot_to_raft(record.applied, &record.conf_state))
    }
}

/// The entries of a contiguous queue with `low <= index < high`; none if the queue does not hold `low`.
fn slice(
    entries: &VecDeque<eraftpb::Entry>,
    low: u64,
    high: u64,
) -> impl ExactSizeIterator<Item = &eraftpb::Entry> {
    let first = entries.front().map_or(low, |entry| entry.index);
    let position =
        |index: u64| usize::try_from(index - first).map_or(entries.len(), |at| at.min(entries.len()));
    if low < first || low >= high {
        return entries.range(0..0);
    }
    entries.range(position(low)..position(high))
}

/// Clones entries up to a budget, but at least one.
fn limited<'a>(entries: impl Iterator<Item = &'a eraftpb::Entry>, bytes_max: u64) -> Vec<eraftpb::Entry> {
    let mut bytes = 0_u64;
    entries
        .take_while(|entry| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(convert::weight(entry));
            is_first || bytes <= bytes_max
        })
        .cloned()
        .collect()
}
