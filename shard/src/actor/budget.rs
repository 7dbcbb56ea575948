//! A bound on how many inputs, and how many bytes of them, wait in a mailbox. Room is held by guards, so that
//! no path out of the mailbox (a reply, a panic, a stop) can forget to give it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what waits and refuses what is too much.
#[derive(Debug)]
pub(crate) struct Budget {
    inputs_max: u64,
    bytes_max: u64,
    inputs: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
}

/// Room for one input; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(inputs_max: u64, bytes_max: u64) -> Arc<Self> {
        assert!(inputs_max > 0, "a mailbox without room for one input answers nobody");
        Arc::new(Self {
            inputs_max,
            bytes_max,
            inputs: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Room for an input of `bytes`, or nothing (which is counted). An input larger than the whole budget is
    /// let in alone: otherwise it would be refused for ever.
    pub(crate) fn admit(self: &Arc<Self>, bytes: u64) -> Option<Permit> {
        let inputs_before = self.inputs.fetch_add(1, Ordering::Relaxed);
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let permit = Permit { budget: Arc::clone(self), bytes };
        let fits = bytes_before == 0 || bytes_before.saturating_add(bytes) <= self.bytes_max;
        if inputs_before < self.inputs_max && fits {
            return Some(permit);
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// How many inputs were refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.inputs.fetch_sub(1, Ordering::Relaxed);
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_and_bytes_are_bounded_and_come_back_with_the_guard() {
        let budget = Budget::new(2, 100);
        let first = budget.admit(60).unwrap();
        assert!(budget.admit(41).is_none(), "bytes are bounded");
        let second = budget.admit(40).unwrap();
        assert!(budget.admit(0).is_none(), "inputs are bounded");
        drop((first, second));
        assert_eq!(budget.refused(), 2);
        assert!(budget.admit(100).is_some());
    }

    #[test]
    fn an_input_over_the_whole_budget_is_let_in_alone() {
        let budget = Budget::new(2, 100);
        let large = budget.admit(1_000).unwrap();
        assert!(budget.admit(1).is_none());
        drop(large);
        assert!(budget.admit(1).is_some());
    }
}
