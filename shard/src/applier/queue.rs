//! What waits for the applier, and how much of it makes a batch.

use std::collections::VecDeque;
use std::time::Duration;

use crate::applier::ApplyWork;

/// The queue. Invariant: `in_flight_since` is set while a job is submitted or runs.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: VecDeque<ApplyWork>,
    in_flight_since: Option<Duration>,
    is_latched: bool,
    is_held: bool,
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
            let ends = ends_batch(next);
            taken.bytes += bytes;
            taken.work.extend(self.waiting.pop_front());
            if ends {
                break;
            }
        }
        taken
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
        self.clear()
    }
}

/// A conf change ends its batch: raft's configuration and the applied record move together.
fn ends_batch(work: &ApplyWork) -> bool {
    match work {
        ApplyWork::Entry(entry) => entry.conf.is_some(),
        _ => true,
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
