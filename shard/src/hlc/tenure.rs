//! The lease of one leadership: when it is asked for, what is on its way, and what is applied of it.

use std::time::Duration;

use quorate_storage::planted::{self, Planted};
use quorate_storage::{Index, Timestamp};

use super::{Hlc, HlcConfig, Refused, Renew};
use crate::core::Ticket;

/// What the clocks of a node show at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Decides whether the lease is still in use: it never jumps.
    pub monotonic: Duration,
    /// What timestamps follow.
    pub wall: Duration,
}

/// A group's clock while this replica serves as leader. Made anew with each leadership.
#[derive(Debug)]
pub struct Tenure {
    hlc: Hlc,
    /// When a timestamp was last asked for, on the monotonic clock.
    asked: Option<Duration>,
    lease: Option<Proposed>,
}

/// A lease between its proposal and its application.
#[derive(Clone, Copy, Debug)]
struct Proposed {
    ticket: Ticket,
    ceiling: Timestamp,
    /// Once it is committed.
    index: Option<Index>,
}

impl Tenure {
    /// Begins when the empty entry of the own term is applied; `inherited` is the state machine's ceiling then.
    pub fn begin(inherited: Timestamp) -> Self {
        let is_forgotten = planted::is(Planted::CeilingNotInherited);
        let floor = if is_forgotten { Timestamp(0) } else { inherited };
        Self { hlc: Hlc::above(floor), asked: None, lease: None }
    }

    /// Whether it neither has nor wants a lease until somebody asks.
    pub fn rests(&self, config: &HlcConfig) -> bool {
        self.asked.is_none() && self.lease.is_none() && config.renew == Renew::OnDemand
    }

    /// Up to where there is a lease.
    pub fn ceiling(&self) -> Option<Timestamp> {
        self.hlc.ceiling()
    }

    /// A timestamp above all before.
    ///
    /// # Errors
    /// As [`Hlc::issue`].
    pub fn issue(&mut self, now: Now) -> Result<Timestamp, Refused> {
        self.asked = Some(now.monotonic);
        self.hlc.issue(now.wall)
    }

    /// Merges a timestamp of another clock.
    ///
    /// # Errors
    /// As [`Hlc::observe`].
    pub fn observe(&mut self, remote: Timestamp, now: Now) -> Result<(), Refused> {
        self.asked = Some(now.monotonic);
        self.hlc.observe(remote, now.wall)
    }

    /// The ceiling to be proposed now, if a lease is wanted and none is on its way. A lease is renewed when less than
    /// half a window is left, so that nobody waits for it.
    pub fn wanted(&self, config: &HlcConfig, now: Now, someone_waits: bool) -> Option<Timestamp> {
        if self.lease.is_some() {
            return None;
        }
        let in_use = |asked| now.monotonic.saturating_sub(asked) <= config.window;
        let is_kept = config.renew == Renew::Always || self.asked.is_some_and(in_use);
        let is_short = self.hlc.left(now.wall) < config.window / 2;
        (someone_waits || is_kept && is_short).then(|| self.hlc.lease(now.wall, config.window))
    }

    /// A lease up to `ceiling` was proposed.
    pub fn proposed(&mut self, ticket: Ticket, ceiling: Timestamp) {
        assert!(self.lease.is_none(), "one lease at a time");
        self.lease = Some(Proposed { ticket, ceiling, index: None });
        if planted::is(Planted::LeaseBeforeApply) {
            self.hlc.grant(ceiling);
        }
    }

    /// The entry of `ticket` is committed at `index`. Nothing happens if it is no lease's.
    pub fn committed(&mut self, ticket: Ticket, index: Index) {
        if let Some(lease) = self.lease.as_mut().filter(|lease| lease.ticket == ticket) {
            lease.index = Some(index);
        }
    }

    /// Whether it was the lease's proposal that failed: another one may be made.
    pub fn failed(&mut self, ticket: Ticket) -> bool {
        let is_lease = self.lease.is_some_and(|lease| lease.ticket == ticket);
        if is_lease {
            self.lease = None;
        }
        is_lease
    }

    /// Everything through this index is applied. Whether that brought the lease.
    pub fn applied(&mut self, through: Index) -> bool {
        let is_due = |lease: &mut Proposed| lease.index.is_some_and(|index| index <= through);
        let Some(lease) = self.lease.take_if(is_due) else { return false };
        self.hlc.grant(lease.ceiling);
        true
    }
}
