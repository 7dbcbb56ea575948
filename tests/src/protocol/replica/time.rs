//! The group's clock on this replica: leases while it serves, timestamps below them, and whether its node's clock is fit.

use quorate_shard::core::{Input, Role, Ticket};
use quorate_shard::hlc::{ClockWatch, HlcConfig, Now, Tenure};
use quorate_storage::payload::{Lease, Payload, ProposalId, Tag};
use quorate_storage::{Index, Timestamp};
use quorate_telemetry::Clock;

use super::super::ctx::Ctx;
use super::{Failure, Replica};

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct GroupTime {
    tenure: Option<Tenure>,
    /// Of the tenure.
    term: u64,
    abstains: bool,
}

impl Replica {
    /// Begins a tenure when this replica has applied the empty entry of its own term, ends it with its leadership.
    pub(super) fn note_office(&mut self, before: Option<Role>, role: Role) {
        let is_same =
            before.is_some_and(|before| (before.is_serving, before.term) == (role.is_serving, role.term));
        if is_same && self.time.tenure.is_some() == role.is_serving {
            return;
        }
        self.time.tenure = role.is_serving.then(|| Tenure::begin(self.record.hlc_ceiling));
        self.time.term = role.term.get();
    }

    /// Once a tick: the core hears whether the clock is fit, somebody asks for a timestamp, and a lease is proposed if one
    /// is wanted.
    pub(crate) fn tend_time(
        &mut self,
        ctx: &mut Ctx,
        clock: &dyn Clock,
        watch: &ClockWatch,
    ) -> Result<(), Failure> {
        let abstains = watch.check().is_err();
        if abstains != self.time.abstains {
            self.time.abstains = abstains;
            self.feed(ctx, Input::Abstain(abstains))?;
        }
        let now = Now { monotonic: clock.monotonic(), wall: clock.wall() };
        let (who, term) = (self.who(), self.time.term);
        let Some(tenure) = &mut self.time.tenure else { return Ok(()) };
        let issued = tenure.issue(now);
        let wanted = tenure.wanted(&HlcConfig::default(), now, issued.is_err());
        if let Ok(timestamp) = issued {
            ctx.counts.timestamps += 1;
            let checked = ctx.laws.ceiling.given(who, term, timestamp);
            ctx.uphold(checked);
        }
        match wanted.filter(|_| !abstains) {
            Some(ceiling) => self.propose_lease(ctx, ceiling),
            None => Ok(()),
        }
    }

    fn propose_lease(&mut self, ctx: &mut Ctx, ceiling: Timestamp) -> Result<(), Failure> {
        let ticket = self.ticket();
        let payload = Payload {
            tag: Tag::Lease,
            range_epoch: self.core.descriptor().range_epoch,
            proposal: ProposalId { stream: self.rng.next_u64(), sequence: ticket.0 },
            body: Lease { ceiling }.encode(),
        };
        if let Some(tenure) = &mut self.time.tenure {
            tenure.proposed(ticket, ceiling);
        }
        ctx.counts.leases += 1;
        self.feed(ctx, Input::Propose { ticket, payload: payload.encode() })
    }

    /// The entry of `ticket` is committed; if it is the lease, it counts once it is applied.
    pub(super) fn lease_committed(&mut self, ticket: Ticket, index: Index) {
        if let Some(tenure) = &mut self.time.tenure {
            tenure.committed(ticket, index);
        }
    }

    pub(super) fn lease_failed(&mut self, ticket: Ticket) {
        if let Some(tenure) = &mut self.time.tenure {
            tenure.failed(ticket);
        }
    }

    pub(super) fn lease_applied(&mut self, through: Index) {
        if let Some(tenure) = &mut self.time.tenure {
            tenure.applied(through);
        }
    }
}
