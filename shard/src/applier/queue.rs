//! What waits for the applier, and how much of it makes a batch.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use quorate_storage::Index;
use tokio::sync::oneshot;

use crate::applier::{ApplyWork, DigestAt};

/// Most who wait for an index at one time.
const STOPS_MAX: usize = 8;

type Waiting = oneshot::Sender<DigestAt>;

/// The queue. Invariant: `in_flight_since` is set while a job is submitted or runs.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: VecDeque<ApplyWork>,
    in_flight_since: Option<Duration>,
    is_latched: bool,
    is_held: bool,
    /// Entries that end their batch, and who waits for the state there.
    stops: BTreeMap<Index, Vec<Waiting>>,
}

/// One job's share: entries, or one piece of other work.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) work: Vec<ApplyWork>,
    /// Payload bytes of its entries.
    pub(crate) bytes: u64,
}

impl Queue {
    /// Adds work; whether a job has to be submitted for it, and the bytes added. A latched queue drops it, and with it
    /// its replies.
    pub(crate) fn push(
        &mut self,
        work: impl IntoIterator<Item = ApplyWork>,
        now: impl FnOnce() -> Duration,
    ) -> (bool, u64) {
        if self.is_latched {
            return (false, 0);
        }
        let before = self.waiting.len();
        let is_held = self.is_held;
        self.waiting.extend(work.into_iter().filter(|work| !is_held || goes_without_state(work)));
        let bytes = self.waiting.range(before..).map(work_bytes).sum();
        let starts = self.in_flight_since.is_none() && !self.waiting.is_empty();
        if starts {
            self.in_flight_since = Some(now());
        }
        (starts, bytes)
    }

    /// Takes one batch: whole entries up to the bounds, ended by a conf change, or one piece of other work.
    pub(crate) fn take(&mut self, bytes_max: u64, entries_max: usize) -> Taken {
        let mut taken = Taken::default();
        while let Some(next) = self.waiting.front() {
            let is_entry = matches!(next, ApplyWork::Entry(_));
            let bytes = work_bytes(next);
            let is_full = taken.work.len() >= entries_max || taken.bytes.saturating_add(bytes) > bytes_max;
            if !taken.work.is_empty() && (!is_entry || is_full) {
                break;
            }
            let ends = self.ends_batch(next);
            taken.bytes += bytes;
            taken.work.extend(self.waiting.pop_front());
            if ends {
                break;
            }
        }
        taken
    }

    /// Has a batch end at `index`, if that is still to come. Who is one too many is dropped.
    pub(crate) fn stop_at(&mut self, index: Index, waiting: Waiting) {
        self.stops.retain(|_, waiting| {
            waiting.retain(|waiting| !waiting.is_closed());
            !waiting.is_empty()
        });
        let count: usize = self.stops.values().map(Vec::len).sum();
        if !self.is_latched && count < STOPS_MAX {
            self.stops.entry(index).or_default().push(waiting);
        }
    }

    /// Who waits for an index up to `applied`.
    pub(crate) fn take_stops(&mut self, applied: Index) -> BTreeMap<Index, Vec<Waiting>> {
        if self.stops.first_key_value().is_none_or(|(first, _)| *first > applied) {
            return BTreeMap::new();
        }
        let later = self.stops.split_off(&applied.next());
        std::mem::replace(&mut self.stops, later)
    }

    /// After a job: whether another one has to follow.
    pub(crate) fn next_round(&mut self, now: impl FnOnce() -> Duration) -> bool {
        let has_more = !self.waiting.is_empty();
        self.in_flight_since = has_more.then(now);
        has_more
    }

    /// The job in flight is not stuck.
    pub(crate) fn touch(&mut self, now: impl FnOnce() -> Duration) {
        self.in_flight_since = Some(now());
    }

    pub(crate) fn in_flight_since(&self) -> Option<Duration> {
        self.in_flight_since
    }

    /// Forgets what no job has taken yet.
    pub(crate) fn clear(&mut self) -> Vec<ApplyWork> {
        self.waiting.drain(..).collect()
    }

    /// The state is not there that entries could be applied to: keeps, and takes, nothing but a restore and a close.
    pub(crate) fn hold(&mut self) -> Vec<ApplyWork> {
        self.is_held = true;
        let (kept, forgotten): (Vec<_>, Vec<_>) = self.clear().into_iter().partition(goes_without_state);
        self.waiting = kept.into();
        forgotten
    }

    /// The state is there.
    pub(crate) fn release(&mut self) {
        self.is_held = false;
    }

    /// Takes nothing more.
    pub(crate) fn latch(&mut self) -> Vec<ApplyWork> {
        self.is_latched = true;
        self.stops.clear();
        self.clear()
    }

    /// A conf change ends its batch: raft's configuration and the applied record move together. So does an entry whose
    /// state somebody waits for.
    fn ends_batch(&self, work: &ApplyWork) -> bool {
        match work {
            ApplyWork::Entry(entry) => entry.conf.is_some() || self.stops.contains_key(&entry.entry.index),
            _ => true,
        }
    }
}

fn goes_without_state(work: &ApplyWork) -> bool {
    matches!(work, ApplyWork::Restore { .. } | ApplyWork::Close { .. })
}

fn work_bytes(work: &ApplyWork) -> u64 {
    match work {
        ApplyWork::Entry(entry) => entry.entry.payload.len() as u64,
        _ => 0,
    }
}
