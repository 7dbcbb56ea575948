//! What the core wants done, in the order it wants it.

use quorate_shard::Error;
use quorate_shard::core::{Applying, Fetch, Input, Output, Reply, Role, Ticket};
use quorate_storage::Index;
use quorate_transport::{RaftMessage, RaftMessageKind};

use super::super::client::Answer;
use super::super::ctx::Ctx;
use super::super::event::{Job, NodeAt};
use super::super::invariants::Laws;
use super::super::packet::Packet;
use super::applying::ApplyWork;
use super::{Caller, ConfOutcome, Failure, Replica};

impl Replica {
    pub(super) fn dispatch(&mut self, ctx: &mut Ctx, output: Output) -> Result<(), Failure> {
        let Output { persist, messages, apply, replies, reads, fetches, role, snapshot_wanted, evidence } =
            output;
        self.persist(ctx, persist);
        for message in messages {
            self.send(ctx, message);
        }
        for applying in apply {
            self.hand_to_applier(ctx, applying);
        }
        for (ticket, reply) in replies {
            self.end_call(ctx, ticket, reply);
        }
        for (ticket, index) in reads {
            self.confirm_read(ctx, ticket, index);
        }
        for fetch in fetches {
            ctx.submit(self.place, Job::Fetch(fetch));
        }
        if let Some(role) = role {
            self.note_role(ctx, role);
        }
        if let Some(wanted) = snapshot_wanted {
            self.publish_if_wanted(ctx, wanted);
        }
        evidence.map_or(Ok(()), |evidence| Err(Failure::Evidence(evidence)))
    }

    fn send(&mut self, ctx: &mut Ctx, message: RaftMessage) {
        let checked = ctx.laws.election.sent(&message);
        ctx.uphold(checked);
        let checked = Laws::promises(&message, self.log_reader.hard_state(), self.durable_last);
        ctx.uphold(checked);
        let Some(node) = self.node_of(message.to) else { return };
        if message.kind == RaftMessageKind::Snapshot {
            self.send_snapshot(ctx, node, message);
        } else {
            ctx.send(self.place.node, node, Packet::Raft(message));
        }
    }

    pub(super) fn node_of(&self, replica: quorate_storage::ReplicaId) -> Option<NodeAt> {
        let described = self.core.descriptor().replica(replica);
        let described = described.and_then(|known| usize::try_from(known.node.get() - 1).ok());
        described.or_else(|| self.addresses.get(&replica).copied())
    }

    fn hand_to_applier(&mut self, ctx: &mut Ctx, applying: Applying) {
        match applying {
            Applying::Entries(committed) => {
                if let Some(last) = committed.last() {
                    let term = self.core.term();
                    ctx.laws.completeness.committed(self.place.group, term, last.entry.id());
                }
                for committed in committed {
                    if let Some(ticket) = committed.ticket {
                        self.lease_committed(ticket, committed.entry.index);
                    }
                    self.push_apply(ctx, ApplyWork::Entry(committed));
                }
            }
            Applying::Restore { token, label } => {
                let term = self.core.term();
                ctx.laws.completeness.committed(self.place.group, term, token.id);
                self.publisher.note_installed(token);
                self.inputs.push_back(Input::SnapshotPublished { token, label: label.clone() });
                self.push_apply(ctx, ApplyWork::Restore { token, label });
            }
        }
    }

    fn end_call(&mut self, ctx: &mut Ctx, ticket: Ticket, reply: Reply) {
        let Some(caller) = self.callers.remove(&ticket) else { return self.lease_failed(ticket) };
        match (caller, reply) {
            (Caller::ConfChange, Reply::Failed(_)) => self.conf_outcome = Some(ConfOutcome::Refused),
            (Caller::Transfer, Reply::Done) => ctx.counts.transfers += 1,
            (Caller::ConfChange | Caller::Transfer, _) | (_, Reply::Done) => {}
            (Caller::Write(asked), Reply::Failed(error)) if error.is_maybe_committed() => {
                ctx.answer(asked.client, asked.attempt, Answer::Maybe);
            }
            (Caller::Write(asked) | Caller::Read(asked), Reply::Failed(error)) => {
                let hint = match error {
                    Error::NotLeader { hint, .. } => {
                        hint.and_then(|hint| usize::try_from(hint.node.get() - 1).ok())
                    }
                    _ => Some(self.place.node),
                };
                Self::refuse(ctx, &asked, hint);
            }
        }
    }

    fn confirm_read(&mut self, ctx: &mut Ctx, ticket: Ticket, index: Index) {
        if let Some(Caller::Read(asked)) = self.callers.remove(&ticket) {
            let checked = Laws::barrier(self.who(), asked.told_before, index);
            ctx.uphold(checked);
            self.reads.push((index, asked));
            self.serve_reads(ctx);
        }
    }

    fn note_role(&mut self, ctx: &mut Ctx, role: Role) {
        let before = self.role.replace(role);
        let led = before.filter(|before| before.is_leader).map(|before| before.term);
        if !role.is_leader {
            self.transfers.abort_all();
        } else if led != Some(role.term) {
            match ctx.laws.election.leads(self.who(), role.term) {
                Ok(is_new) => ctx.counts.elections += u64::from(is_new),
                Err(violation) => ctx.uphold(Err(violation)),
            }
            let checked = ctx.laws.completeness.leads(self.who(), role.term, &self.handed);
            ctx.uphold(checked);
        }
        self.note_office(before, role);
        let word = role.term.get().rotate_left(9) ^ u64::from(role.is_leader) ^ self.id.get().rotate_left(33);
        ctx.trace.note(word);
    }

    /// Entries that only the log has. Of applied ones that are unreadable the core gives up: the follower that wants them
    /// gets a snapshot. Without those that are still to be applied the group cannot go on.
    pub(super) fn fetch(&mut self, ctx: &mut Ctx, fetch: Fetch) -> Result<(), Failure> {
        let entries = self.log_reader.entries(fetch.low, fetch.high, fetch.bytes_max);
        if let Err(error) = &entries
            && error.is_corruption()
            && fetch.low > self.record.applied.index
        {
            return Err(Failure::Log(error.clone()));
        }
        ctx.counts.fetches += 1;
        self.feed(ctx, Input::Fetched { fetch, entries: entries.ok() })
    }
}
