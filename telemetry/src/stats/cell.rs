//! A number that only grows, and a number that moves.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often something happened, or how much of it there was, since the process started. It only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Counts one more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts `more` at once: a batch is one touch of the atomic.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How much of something there is now.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Raises the value by `by`.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Lowers the value by `by`. It stops at zero: an overview that is off by one is better than one that shows 2^64.
    pub fn sub(&self, by: u64) {
        let lower = |value: u64| Some(value.saturating_sub(by));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
