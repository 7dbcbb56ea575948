//! The group's clock: who waits for a timestamp, and the lease that has to be proposed for them.

use std::collections::VecDeque;

use quorate_storage::payload::{Lease, Payload, ProposalId, Tag};
use quorate_storage::{GroupId, Index, Timestamp};
use tokio::sync::oneshot;

use crate::actor::run::Actor;
use crate::core::{Input, Role, Ticket};
use crate::error::{Error, Result};
use crate::hlc::{Now, Refused, Tenure};

/// Most callers that wait for a lease; more are answered `Busy`.
const WAITING_MAX: usize = 65_536;

/// What is asked of a group's clock.
#[derive(Debug)]
pub(crate) enum TimeCall {
    Issue { reply: oneshot::Sender<Result<Timestamp>> },
    Observe { remote: Timestamp, reply: oneshot::Sender<Result<()>> },
}

/// The clock of a group, on this replica.
#[derive(Debug, Default)]
pub(crate) struct GroupTime {
    /// While this replica serves as leader.
    tenure: Option<Tenure>,
    /// In the order they came. Invariant: empty unless this replica leads.
    waiting: VecDeque<TimeCall>,
    /// Whether this leadership was offered to others because of this node's clock.
    was_offered: bool,
    /// What the core was told last.
    abstains: bool,
}

impl TimeCall {
    /// Ends it without an effect.
    pub(crate) fn fail(self, error: Error) {
        match self {
            Self::Issue { reply } => drop(reply.send(Err(error))),
            Self::Observe { reply, .. } => drop(reply.send(Err(error))),
        }
    }

    fn is_abandoned(&self) -> bool {
        match self {
            Self::Issue { reply } => reply.is_closed(),
            Self::Observe { reply, .. } => reply.is_closed(),
        }
    }

    /// Answers it, or gives it back: it has to wait for a lease.
    fn answer(self, tenure: &mut Tenure, now: Now, group: GroupId) -> Option<Self> {
        match self {
            Self::Issue { reply } => match tenure.issue(now) {
                Ok(timestamp) => drop(reply.send(Ok(timestamp))),
                Err(_no_lease) => return Some(Self::Issue { reply }),
            },
            Self::Observe { remote, reply } => match tenure.observe(remote, now) {
                Ok(()) => drop(reply.send(Ok(()))),
                Err(Refused::Ahead { by }) => {
                    let ahead_ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
                    drop(reply.send(Err(Error::TimestampAhead { group, ahead_ms })));
                }
                Err(Refused::NoCeiling | Refused::Expired { .. }) => {
                    return Some(Self::Observe { remote, reply });
                }
            },
        }
        None
    }
}

impl GroupTime {
    /// The lease of `ticket`, if it is one, is committed.
    pub(crate) fn lease_committed(&mut self, ticket: Ticket, index: Index) {
        if let Some(tenure) = &mut self.tenure {
            tenure.committed(ticket, index);
        }
    }

    /// Whether it was a lease that failed; another one is proposed when it is wanted.
    pub(crate) fn lease_failed(&mut self, ticket: Ticket) -> bool {
        self.tenure.as_mut().is_some_and(|tenure| tenure.failed(ticket))
    }

    pub(crate) fn fail_all(&mut self, error: &Error) {
        for call in self.waiting.drain(..) {
            call.fail(error.clone());
        }
    }

    /// Answers those in front who need no lease first.
    fn serve(&mut self, now: Now, group: GroupId) {
        let Some(tenure) = &mut self.tenure else { return };
        while let Some(call) = self.waiting.pop_front() {
            if call.is_abandoned() {
                continue;
            }
            if let Some(waits) = call.answer(tenure, now, group) {
                self.waiting.push_front(waits);
                return;
            }
        }
    }
}

impl Actor {
    /// Takes a call that this replica answers as soon as it serves and has a lease, within the same turn if it can.
    pub(crate) fn take_time_call(&mut self, call: TimeCall) {
        if !self.core.0.role().is_leader {
            call.fail(self.core.0.not_leader());
        } else if self.time.waiting.len() >= WAITING_MAX {
            call.fail(self.core.0.busy());
        } else {
            self.time.waiting.push_back(call);
        }
    }

    /// Begins a tenure when this replica has applied the empty entry of its own term, ends it with its leadership.
    pub(crate) fn note_office(&mut self, before: Role, role: Role) {
        if !role.is_leader {
            self.time.fail_all(&self.core.0.not_leader());
        }
        let is_same = (before.is_serving, before.term) == (role.is_serving, role.term);
        if is_same && self.time.tenure.is_some() == role.is_serving {
            return;
        }
        // The applier set the ceiling before it reported the empty entry, and every lease of an earlier leader is in
        // front of that.
        self.time.tenure = role.is_serving.then(|| Tenure::begin(self.shared.hlc_ceiling()));
        self.time.was_offered = false;
        self.shared.set_hlc_lease(None);
    }

    pub(crate) fn note_lease_applied(&mut self, through: Index) {
        if let Some(tenure) = &mut self.time.tenure
            && tenure.applied(through)
        {
            self.shared.set_hlc_lease(tenure.ceiling());
        }
    }

    /// Answers whom it can, and proposes a lease if one is wanted. Whether the core has something to do now.
    pub(crate) fn tend_time(&mut self) -> bool {
        let (config, time) = (&self.config.hlc, &mut self.time);
        if time.tenure.as_ref().is_none_or(|tenure| tenure.rests(config) && time.waiting.is_empty()) {
            return false;
        }
        let now = Now { monotonic: self.deps.clock.monotonic(), wall: self.deps.clock.wall() };
        time.serve(now, self.shared.group);
        let someone_waits = !time.waiting.is_empty();
        let wanted = time.tenure.as_ref().and_then(|tenure| tenure.wanted(config, now, someone_waits));
        let Some(ceiling) = wanted.filter(|_| self.stopping.is_none()) else { return false };
        match self.deps.clock_watch.check() {
            Ok(()) => {
                self.propose_lease(ceiling);
                true
            }
            Err(offset_ms) => self.refuse_lease(offset_ms),
        }
    }

    /// Tells the core when this node's clock becomes unfit to lead, or fit again.
    pub(crate) fn note_clock(&mut self) {
        let abstains = self.deps.clock_watch.check().is_err();
        if abstains != self.time.abstains {
            self.time.abstains = abstains;
            self.inputs.push(Input::Abstain(abstains));
        }
    }

    fn propose_lease(&mut self, ceiling: Timestamp) {
        let ticket = self.pending.ticket();
        let payload = Payload {
            tag: Tag::Lease,
            range_epoch: self.core.0.descriptor().range_epoch,
            proposal: ProposalId { stream: self.rng.next_u64(), sequence: ticket.0 },
            body: Lease { ceiling }.encode(),
        };
        self.inputs.push(Input::Propose { ticket, payload: payload.encode() });
        if let Some(tenure) = &mut self.time.tenure {
            tenure.proposed(ticket, ceiling);
        }
        self.shared.stats.raft.leases.increment();
    }

    /// This node's clock is not fit: nobody gets a timestamp here, but maybe of another replica. It is offered the
    /// leadership once, because each offer holds writes back until it is taken or given up.
    fn refuse_lease(&mut self, offset_ms: i64) -> bool {
        if self.time.waiting.is_empty() {
            return false;
        }
        self.time.fail_all(&Error::ClockSkew { group: self.shared.group, offset_ms });
        !std::mem::replace(&mut self.time.was_offered, true) && self.hand_over()
    }
}
