//! How many bytes of requests and replies all connections of a listener hold together.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What a connection may hold without being counted: ordinary pipelines never touch the shared counter.
const FREE_BYTES: usize = 16 * 1024;

/// The shared counter.
#[derive(Debug)]
pub(super) struct Budget {
    bytes_max: usize,
    bytes: AtomicUsize,
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: AtomicUsize::new(0) }
    }
}

/// The budget is used up; the connection that asked has to give back what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("OOM all connections together hold more than {bytes_max} bytes of requests and replies")]
pub(super) struct OverBudget {
    bytes_max: usize,
}

/// One connection's part of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Charge<'a> {
    budget: &'a Budget,
    /// Counted in `budget`.
    bytes: usize,
}

impl<'a> Charge<'a> {
    pub(super) fn new(budget: &'a Budget) -> Self {
        Self { budget, bytes: 0 }
    }

    /// Tells how much the connection holds now.
    ///
    /// # Errors
    /// [`OverBudget`] when it holds more than before and there is no room for that. It stays counted.
    pub(super) fn set(&mut self, held_bytes: usize) -> Result<(), OverBudget> {
        let bytes = held_bytes.saturating_sub(FREE_BYTES);
        let before = self.bytes;
        if bytes <= before {
            self.budget.bytes.fetch_sub(before - bytes, Ordering::Relaxed);
            self.bytes = bytes;
            return Ok(());
        }
        let total = self.budget.bytes.fetch_add(bytes - before, Ordering::Relaxed) + (bytes - before);
        self.bytes = bytes;
        let bytes_max = self.budget.bytes_max;
        if total > bytes_max { Err(OverBudget { bytes_max }) } else { Ok(()) }
    }

    /// Whether this connection is counted and there is no room for all that are.
    pub(super) fn is_over(&self) -> bool {
        self.bytes > 0 && self.budget.bytes.load(Ordering::Relaxed) > self.budget.bytes_max
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_connection_that_wants_more_is_refused_and_a_closed_one_gives_back() {
        let budget = Budget::new(100);
        let (mut first, mut second) = (Charge::new(&budget), Charge::new(&budget));
        first.set(FREE_BYTES).unwrap();
        assert_eq!(budget.bytes.load(Ordering::Relaxed), 0, "small connections are not counted");
        first.set(FREE_BYTES + 60).unwrap();
        second.set(FREE_BYTES + 40).unwrap();
        assert_eq!(second.set(FREE_BYTES + 41), Err(OverBudget { bytes_max: 100 }));
        first.set(FREE_BYTES + 10).unwrap();
        drop(second);
        assert_eq!(budget.bytes.load(Ordering::Relaxed), 10);
    }
}
