//! Whether and when a request is tried again. Pure: time comes in as a number.

use std::time::Duration;

use quorate_storage::planted::{self, Planted};
use quorate_telemetry::Rng;

use crate::error::Error;

/// First back-off; doubled with each round that found nobody to answer.
const BACKOFF_MIN: Duration = Duration::from_millis(5);
/// Longest back-off: half an election timeout, so that a new leader is found soon after it is there.
const BACKOFF_MAX: Duration = Duration::from_millis(250);
/// Newer routes that are followed at once; after them it waits.
const REROUTES_MAX: u32 = 2;
/// Replicas that may fail to read their state before the caller is told.
const READ_FAILURES_MAX: u32 = 3;
/// Answers of leaders on full disks after which the caller is told: enough for a leadership to be handed over.
const DISK_FULLS_MAX: u32 = 6;
/// How long a key that no group serves is looked for in newer catalogs.
const UNROUTED_MAX: Duration = Duration::from_secs(1);

const _: () = assert!(BACKOFF_MIN.as_micros() < BACKOFF_MAX.as_micros());

/// What to do after an attempt has failed.
#[derive(Debug)]
pub enum Attempt {
    /// Wait, then try again.
    Again {
        /// How long to wait; may be zero.
        after: Duration,
        /// Why it has to be tried again: the answer, should the deadline pass meanwhile.
        because: Error,
    },
    /// Give up: tell the caller.
    GiveUp(Error),
}

/// An attempt that failed.
#[derive(Debug)]
pub struct Failed {
    /// How.
    pub error: Error,
    /// What was asked.
    pub kind: CallKind,
    /// Whom else there is to ask.
    pub others: Others,
}

/// Whether a request may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallKind {
    /// It never has an effect.
    Read,
    /// It may have an effect: not sent again unless it is known to have had none.
    Write,
}

/// Replicas that were not asked yet in this round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// There are some.
    Untried,
    /// All of them have been asked.
    AllTried,
    /// Nobody could be asked: the catalog, which is known, has no group for the target.
    Unrouted,
    /// Nobody else could say anything different.
    Final,
}

/// The retry state of one request.
#[derive(Debug)]
pub struct Retry {
    deadline: Duration,
    rounds: u32,
    reroutes: u32,
    read_failures: u32,
    disk_fulls: u32,
    unrouted_since: Option<Duration>,
    leaderless_max: Option<Duration>,
    leaderless_since: Option<Duration>,
}

impl Retry {
    /// A request that must end by `deadline`, on the node's monotonic clock.
    pub fn until(deadline: Duration) -> Self {
        Self {
            deadline,
            rounds: 0,
            reroutes: 0,
            read_failures: 0,
            disk_fulls: 0,
            unrouted_since: None,
            leaderless_max: None,
            leaderless_since: None,
        }
    }

    /// Gives up once no leader was found for this long; `None` sets no such limit.
    #[must_use]
    pub fn leaderless_at_most(mut self, leaderless_max: Option<Duration>) -> Self {
        self.leaderless_max = leaderless_max;
        self
    }

    /// What is left at `now`; `None` once the deadline has passed.
    pub fn left(&self, now: Duration) -> Option<Duration> {
        self.deadline.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// Decides after a failure. A write is only tried again if it had no effect; a retry never starts behind
    /// the deadline.
    pub fn after(&mut self, failed: Failed, now: Duration, rng: &dyn Rng) -> Attempt {
        if !self.may_repeat(&failed, now) {
            return Attempt::GiveUp(failed.error);
        }
        let wait = self.wait(&failed, rng);
        if self.is_leaderless_too_long(&failed.error, now.saturating_add(wait)) {
            return Attempt::GiveUp(failed.error);
        }
        if now.saturating_add(wait) >= self.deadline {
            return Attempt::GiveUp(failed.error);
        }
        Attempt::Again { after: wait, because: failed.error }
    }

    fn may_repeat(&mut self, failed: &Failed, now: Duration) -> bool {
        if failed.others == Others::Unrouted {
            return now.saturating_sub(*self.unrouted_since.get_or_insert(now)) < UNROUTED_MAX;
        }
        self.unrouted_since = None;
        if failed.others == Others::Final {
            return false;
        }
        match &failed.error {
            Error::Read(_) => {
                self.read_failures += 1;
                failed.kind == CallKind::Read && self.read_failures < READ_FAILURES_MAX
            }
            Error::DiskFull { .. } => {
                self.disk_fulls += 1;
                self.disk_fulls < DISK_FULLS_MAX
            }
            error if error.is_maybe_committed() => {
                failed.kind == CallKind::Read || planted::is(Planted::MaybeCommittedRetried)
            }
            error => error.is_retryable(),
        }
    }

    /// Whether, by `then`, no leader will have been found for too long. Refusals that only a leader gives end
    /// the count.
    fn is_leaderless_too_long(&mut self, error: &Error, then: Duration) -> bool {
        let Some(leaderless_max) = self.leaderless_max else { return false };
        match error {
            Error::NotLeader { .. }
            | Error::NoSuchGroup { .. }
            | Error::Stopped { .. }
            | Error::Quarantined { .. } => {
                let since = *self.leaderless_since.get_or_insert(then);
                then.saturating_sub(since) > leaderless_max
            }
            _ => {
                self.leaderless_since = None;
                false
            }
        }
    }

    fn wait(&mut self, failed: &Failed, rng: &dyn Rng) -> Duration {
        match &failed.error {
            // The same replica once more, not before it said.
            Error::Busy { retry_after, .. } => retry_after.saturating_add(self.backoff(rng)),
            Error::StaleRange { .. } if self.reroutes < REROUTES_MAX => {
                self.reroutes += 1;
                Duration::ZERO
            }
            Error::StaleRange { .. }
            | Error::Transferring { .. }
            | Error::DiskFull { .. }
            | Error::ConfChangePending { .. }
            | Error::Lagging { .. }
            | Error::NoCeiling { .. }
            | Error::CeilingExpired { .. }
            | Error::ClockSkew { .. } => self.backoff(rng),
            _ if failed.others == Others::Untried => Duration::ZERO,
            _ => self.backoff(rng),
        }
    }

    fn backoff(&mut self, rng: &dyn Rng) -> Duration {
        let ceiling = BACKOFF_MIN.saturating_mul(1 << self.rounds.min(10)).min(BACKOFF_MAX);
        self.rounds = self.rounds.saturating_add(1);
        self.reroutes = 0;
        jitter(ceiling, rng)
    }
}

/// Anything from a quarter of `ceiling` to all of it: spread out, and never at once.
fn jitter(ceiling: Duration, rng: &dyn Rng) -> Duration {
    let micros = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX).max(4);
    Duration::from_micros(micros / 4 + rng.below(micros - micros / 4))
}

#[cfg(test)]
mod tests;
