//! Which reads wait for what. One barrier is in flight at a time: all reads that arrive meanwhile share the next.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_storage::Index;

use crate::actor::read::{ReadLevel, ReadWaiter};
use crate::core::Ticket;
use crate::error::Error;

/// Reads between their arrival and the moment the state is fresh enough for them.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// For the next barrier.
    waiting: Vec<ReadWaiter>,
    in_flight: Option<Barrier>,
    /// Their barrier holds; the state has to reach the index.
    confirmed: BTreeMap<Index, Vec<ReadWaiter>>,
    /// What the newest confirmed barrier proved.
    proven: Option<Proven>,
}

/// A round through raft and who shares it.
#[derive(Debug)]
struct Barrier {
    ticket: Ticket,
    began: Duration,
    waiters: Vec<ReadWaiter>,
}

/// State at `index` or later holds everything acknowledged before `as_of`.
#[derive(Clone, Copy, Debug)]
struct Proven {
    index: Index,
    as_of: Duration,
}

impl Reads {
    /// Takes a read in. `now` is the monotonic clock.
    pub(crate) fn add(&mut self, level: ReadLevel, waiter: ReadWaiter, now: Duration) {
        let fresh_enough = match level {
            ReadLevel::Local => Some(Index(0)),
            ReadLevel::Linearizable => None,
            ReadLevel::BoundedStale { lag_max } => self
                .proven
                .filter(|proven| now.saturating_sub(proven.as_of) <= lag_max)
                .map(|proven| proven.index),
        };
        match fresh_enough {
            Some(index) => self.confirmed.entry(index).or_default().push(waiter),
            None => self.waiting.push(waiter),
        }
    }

    /// Whether a barrier should begin.
    pub(crate) fn wants_barrier(&self) -> bool {
        self.in_flight.is_none() && !self.waiting.is_empty()
    }

    /// Begins a barrier for everyone who waits.
    pub(crate) fn begin(&mut self, ticket: Ticket, now: Duration) {
        assert!(self.in_flight.is_none(), "one barrier at a time");
        let mut waiters = std::mem::take(&mut self.waiting);
        waiters.retain(|waiter| !waiter.is_abandoned());
        self.in_flight = Some(Barrier { ticket, began: now, waiters });
    }

    /// The barrier holds at `index`.
    pub(crate) fn confirm(&mut self, ticket: Ticket, index: Index) {
        let Some(barrier) = self.in_flight.take_if(|barrier| barrier.ticket == ticket) else { return };
        if self.proven.is_none_or(|proven| proven.as_of <= barrier.began) {
            self.proven = Some(Proven { index, as_of: barrier.began });
        }
        self.confirmed.entry(index).or_default().extend(barrier.waiters);
    }

    /// The barrier will not hold. Whether it was the one in flight.
    pub(crate) fn fail(&mut self, ticket: Ticket, error: &Error) -> bool {
        let Some(barrier) = self.in_flight.take_if(|barrier| barrier.ticket == ticket) else { return false };
        for waiter in barrier.waiters {
            waiter.fail(error.clone());
        }
        true
    }

    /// Those that may be served now that the state is at `applied`.
    pub(crate) fn take_ready(&mut self, applied: Index) -> Vec<ReadWaiter> {
        let mut ready = Vec::new();
        while let Some(first) = self.confirmed.first_entry().filter(|first| *first.key() <= applied) {
            ready.extend(first.remove());
        }
        ready
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.in_flight.is_none() && self.confirmed.is_empty()
    }

    /// Ends every read.
    pub(crate) fn fail_all(&mut self, error: &Error) {
        let Self { waiting, in_flight, confirmed, .. } = std::mem::take(self);
        let in_flight = in_flight.into_iter().flat_map(|barrier| barrier.waiters);
        let confirmed = confirmed.into_values().flatten();
        for waiter in waiting.into_iter().chain(in_flight).chain(confirmed) {
            waiter.fail(error.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_storage::GroupId;
    use tokio::sync::oneshot;

    use super::*;
    use crate::actor::read::ReadGuard;
    use crate::error::Result;

    type Answer = oneshot::Receiver<Result<ReadGuard>>;

    fn read(reads: &mut Reads, level: ReadLevel, now_ms: u64) -> Answer {
        let (reply, answer) = oneshot::channel();
        reads.add(level, ReadWaiter::Guard(reply), Duration::from_millis(now_ms));
        answer
    }

    #[test]
    fn reads_that_arrive_during_a_barrier_share_the_next() {
        let mut reads = Reads::default();
        let _first = read(&mut reads, ReadLevel::Linearizable, 0);
        assert!(reads.wants_barrier());
        reads.begin(Ticket(1), Duration::ZERO);
        let _second = read(&mut reads, ReadLevel::Linearizable, 1);
        let _third = read(&mut reads, ReadLevel::Linearizable, 2);
        assert!(!reads.wants_barrier(), "one barrier at a time");
        reads.confirm(Ticket(1), Index(5));
        assert_eq!(reads.take_ready(Index(4)).len(), 0, "the state has not reached the index");
        assert_eq!(
            reads.take_ready(Index(5)).len(),
            1,
            "who came later does not profit from an older barrier"
        );
        assert!(reads.wants_barrier());
        reads.begin(Ticket(2), Duration::ZERO);
        reads.confirm(Ticket(2), Index(5));
        assert_eq!(reads.take_ready(Index(5)).len(), 2);
        assert!(reads.is_empty());
    }

    #[test]
    fn a_bounded_stale_read_lives_on_a_recent_barrier() {
        let mut reads = Reads::default();
        let level = ReadLevel::BoundedStale { lag_max: Duration::from_millis(100) };
        let _first = read(&mut reads, level, 0);
        assert!(reads.wants_barrier(), "nothing was proven yet");
        reads.begin(Ticket(1), Duration::from_millis(50));
        reads.confirm(Ticket(1), Index(5));
        let _second = read(&mut reads, level, 150);
        assert!(!reads.wants_barrier());
        assert_eq!(reads.take_ready(Index(5)).len(), 2);
        let _third = read(&mut reads, level, 151);
        assert!(reads.wants_barrier(), "the proof counts from when its barrier began");
    }

    #[test]
    fn a_failed_barrier_fails_only_who_shared_it() {
        let mut reads = Reads::default();
        let mut first = read(&mut reads, ReadLevel::Linearizable, 0);
        reads.begin(Ticket(1), Duration::ZERO);
        let mut second = read(&mut reads, ReadLevel::Linearizable, 0);
        let error = Error::Stopped { group: GroupId(1) };
        assert!(!reads.fail(Ticket(9), &error));
        assert!(reads.fail(Ticket(1), &error));
        assert!(first.try_recv().unwrap().is_err());
        assert!(second.try_recv().is_err(), "the second still waits");
        assert!(reads.wants_barrier());
    }
}
