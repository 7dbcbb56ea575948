//! When and where a request is tried again.

use std::time::Duration;

use quorate_storage::NodeId;
use quorate_telemetry::Rng;

use crate::error::Error;

/// First back-off; doubled with each attempt that found nobody to answer.
const BACKOFF_MIN: Duration = Duration::from_millis(5);
/// Longest back-off: half an election timeout, so that a new leader is found soon after it is there.
const BACKOFF_MAX: Duration = Duration::from_millis(250);

/// What to do after an attempt has failed.
#[derive(Debug)]
pub enum Attempt {
    /// Wait, then ask this node (or whoever comes next, if none is named).
    Again {
        /// How long to wait; may be zero.
        after: Duration,
        /// Who is said to lead.
        leader: Option<NodeId>,
    },
    /// Give up: tell the caller.
    GiveUp(Error),
}

/// The retry state of one request.
#[derive(Debug)]
pub struct Retry {
    deadline: Duration,
    attempts: u32,
    hints: u32,
}

impl Retry {
    /// A request that must end by `deadline`, on the node's monotonic clock.
    pub fn until(deadline: Duration) -> Self {
        Self { deadline, attempts: 0, hints: 0 }
    }

    /// What is left at `now`; `None` once the deadline has passed.
    pub fn left(&self, now: Duration) -> Option<Duration> {
        self.deadline.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// Decides after `error`. Only errors without effect are retried; a retry never starts behind the
    /// deadline.
    pub fn after(&mut self, error: Error, now: Duration, rng: &dyn Rng) -> Attempt {
        if !error.is_retryable() {
            return Attempt::GiveUp(error);
        }
        let (wait, leader) = match &error {
            // A fresh hint is followed at once; replicas that point at each other fall back to waiting.
            Error::NotLeader { hint: Some(hint), .. } if self.hints < 2 => {
                self.hints += 1;
                (Duration::ZERO, Some(hint.node))
            }
            Error::Busy { retry_after, .. } => (jitter(*retry_after, rng), None),
            _ => (self.backoff(rng), None),
        };
        if now + wait >= self.deadline {
            return Attempt::GiveUp(error);
        }
        Attempt::Again { after: wait, leader }
    }

    fn backoff(&mut self, rng: &dyn Rng) -> Duration {
        let ceiling = BACKOFF_MIN.saturating_mul(1 << self.attempts.min(10)).min(BACKOFF_MAX);
        self.attempts += 1;
        self.hints = 0;
        jitter(ceiling, rng)
    }
}

/// Full jitter: anything from a quarter of `ceiling` to all of it.
fn jitter(ceiling: Duration, rng: &dyn Rng) -> Duration {
    let micros = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX).max(4);
    Duration::from_micros(micros / 4 + rng.below(micros - micros / 4))
}
