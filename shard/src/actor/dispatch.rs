//! What the core wants done, in the order it wants it.

use std::sync::Arc;

use quorate_storage::payload::Tag;
use quorate_storage::{Entry, EntryKind, Index};
use quorate_transport::{RaftMessage, RaftMessageKind};

use crate::actor::mailbox::Event;
use crate::actor::quarantine::Failure;
use crate::actor::read::{ReadGuard, ReadWaiter};
use crate::actor::run::Actor;
use crate::actor::shared::count;
use crate::applier::{ApplyEntry, ApplyWork};
use crate::core::{Applying, Committed, Fetch, Input, LogPersist, Output, Reply, Role};

impl Actor {
    pub(crate) fn dispatch(&mut self, output: Output) {
        let Output { persist, messages, apply, replies, reads, fetches, role, snapshot_wanted, evidence } =
            output;
        self.persist(persist);
        for message in messages {
            self.send(message);
        }
        for applying in apply {
            self.apply(applying);
        }
        for (ticket, reply) in replies {
            match reply {
                Reply::Done => self.pending.done(ticket),
                Reply::Failed(error) => {
                    if !self.reads.fail(ticket, &error) && !self.time.lease_failed(ticket) {
                        self.pending.fail(ticket, error);
                    }
                }
            }
        }
        for (ticket, index) in reads {
            self.reads.confirm(ticket, index);
        }
        for fetch in fetches {
            self.fetch(fetch);
        }
        if let Some(role) = role {
            self.note_role(role);
        }
        if let Some(wanted) = snapshot_wanted {
            self.publish_if_wanted(wanted);
        }
        if let Some(evidence) = evidence {
            self.quarantine(&Failure::Evidence(evidence));
        }
    }

    fn persist(&mut self, persist: Vec<LogPersist>) {
        if let Some(last) = persist.last() {
            self.timers.handed_ready = last.ready;
            self.timers.proof_at = None;
            self.log.persist(persist);
        }
    }

    fn send(&mut self, message: RaftMessage) {
        let to = message.to;
        let described = self.core.0.descriptor().replica(to).map(|replica| replica.node);
        let Some(node) = described.or_else(|| self.addresses.get(&to).copied()) else {
            return count(&self.shared.counters.messages_refused);
        };
        if message.kind == RaftMessageKind::Snapshot {
            self.send_snapshot(node, message);
        } else {
            self.deps.outbound.send(node, message);
        }
    }

    /// Hands committed work to the applier, with who waits for it.
    fn apply(&mut self, applying: Applying) {
        match applying {
            Applying::Entries(committed) => {
                let mut work = Vec::with_capacity(committed.len());
                for Committed { entry, ticket, conf } in committed {
                    if let Some(ticket) = ticket {
                        self.time.lease_committed(ticket, entry.index);
                    }
                    let waiting = ticket.and_then(|ticket| self.pending.take_entry(ticket));
                    let (reply, since) = waiting.unzip();
                    #[cfg(feature = "planted-bugs")]
                    self.publish_at(&entry, conf.as_deref());
                    self.publisher.trigger.note_entry(entry.index, changes_data(&entry));
                    work.push(ApplyWork::Entry(ApplyEntry { entry, conf, reply, since }));
                }
                self.applier.push(work);
            }
            Applying::Restore { token, label } => {
                self.publisher.note_installed(token);
                // Should this replica come to lead, it can seed others from the same file.
                self.inputs.push(Input::SnapshotPublished { token, label: label.clone() });
                self.applier.push([ApplyWork::Restore { token, label }]);
            }
        }
    }

    /// Reads old entries on a worker, never on the actor. Of applied ones that are unreadable the core gives up: the
    /// follower that wants them gets a snapshot. Without those that are still to be applied the group cannot go on.
    fn fetch(&self, fetch: Fetch) {
        let (reader, events) = (Arc::clone(&self.log_reader), self.events.clone());
        let (group, shared) = (self.shared.group, Arc::clone(&self.shared));
        let job = move || {
            let entries = reader.entries(fetch.low, fetch.high, fetch.bytes_max);
            if let Err(error) = entries.as_ref().map_err(Clone::clone)
                && error.is_corruption()
                && fetch.low > *shared.applied.borrow()
            {
                return drop(events.send(Event::Failed(Failure::LogRead(error))));
            }
            if let Err(error) = &entries {
                tracing::warn!(%group, low = %fetch.low, high = %fetch.high, %error, "cannot read the log");
            }
            drop(events.send(Event::Fetched { fetch, entries: entries.ok() }));
        };
        if self.deps.workers.read.submit(group.get(), Box::new(job)).is_err() {
            drop(self.events.send(Event::Failed(Failure::WorkersStopped)));
        }
    }

    fn note_role(&mut self, role: Role) {
        let before = self.shared.role.send_replace(role);
        self.note_office(before, role);
        if !role.is_leader {
            self.transfers.abort_all();
        }
        if role.leader.is_some() && role.leader != before.leader {
            self.shared.stats.raft.leader_changes.increment();
        }
        self.note_status();
    }

    /// Serves the reads whose index the state has reached: callers of a guard at once, all closures in one job.
    pub(crate) fn serve_reads(&mut self) {
        let applied: Index = *self.shared.applied.borrow();
        let ready = self.reads.take_ready(applied);
        let Some(reader) = self.shared.reader().filter(|_| !ready.is_empty()) else { return };
        let guard = ReadGuard::new(reader, applied);
        let mut works = Vec::new();
        for waiter in ready {
            match waiter {
                ReadWaiter::Guard(reply) => drop(reply.send(Ok(guard.clone()))),
                ReadWaiter::Work(work) if work.is_abandoned() => {}
                ReadWaiter::Work(work) => works.push(work),
            }
        }
        if works.is_empty() {
            return;
        }
        let job = move || {
            for work in works {
                // A caller's closure may panic; the reads beside it must not suffer. Its caller sees its own end.
                let run = std::panic::AssertUnwindSafe(|| work.run(guard.reader()));
                drop(std::panic::catch_unwind(run));
            }
        };
        // Reads of one group may run side by side: each batch takes a key of its own. If the pool has stopped, the
        // callers see their channels dropped.
        let key = self.pending.ticket().0;
        let _ = self.deps.workers.read.submit(key, Box::new(job));
    }
}

/// Whether a snapshot without this entry would be behind in more than its index: a lease moves only time, and a leader's
/// first entry is empty. (What a payload cannot say is left to the applier.)
fn changes_data(entry: &Entry) -> bool {
    match entry.kind {
        EntryKind::ConfChange => true,
        EntryKind::Normal => entry.payload.first().is_some_and(|tag| *tag != Tag::Lease.code()),
    }
}
