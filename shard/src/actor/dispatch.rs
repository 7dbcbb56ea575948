//! What the core wants done, in the order it wants it.

use std::sync::Arc;

use quorate_storage::Index;
use quorate_transport::{RaftMessage, RaftMessageKind};

use crate::actor::mailbox::Event;
use crate::actor::quarantine::Failure;
use crate::actor::read::{ReadGuard, ReadWaiter};
use crate::actor::run::{Actor, Gated};
use crate::actor::shared::{add, count};
use crate::applier::{ApplyEntry, ApplyWork};
use crate::core::{Applying, Fetch, LogPersist, Output, Reply, Role};

impl Actor {
    pub(crate) fn dispatch(&mut self, output: Output) {
        let Output { persist, messages, apply, replies, reads, fetches, role, snapshot_wanted, evidence } =
            output;
        let installs =
            persist.iter().find(|persist| persist.batch.install.is_some()).map(|persist| persist.ready);
        self.persist(persist);
        for message in messages {
            self.send(message);
        }
        for applying in apply {
            self.apply(applying, installs);
        }
        for (ticket, reply) in replies {
            match reply {
                Reply::Done => self.pending.done(ticket),
                Reply::Failed(error) => {
                    if !self.reads.fail(ticket, &error) {
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
            self.quarantine(Failure::Evidence(evidence));
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

    /// Hands committed work to the applier. A restore has to wait for its log record: otherwise a crash could leave
    /// a state machine that is ahead of its log.
    fn apply(&mut self, applying: Applying, installs: Option<u64>) {
        let (work, behind) = match applying {
            Applying::Entries(committed) => {
                let entries = committed.into_iter().map(|committed| {
                    let reply = committed.ticket.and_then(|ticket| self.pending.take_entry(ticket));
                    self.publisher.note_entry(committed.entry.payload.len() as u64);
                    ApplyWork::Entry(ApplyEntry { entry: committed.entry, conf: committed.conf, reply })
                });
                (entries.collect::<Vec<_>>(), None)
            }
            Applying::Restore { token, label } => {
                assert!(installs.is_some(), "an installed snapshot has a log record");
                self.publisher.note_installed(token);
                (vec![ApplyWork::Restore { token, label }], installs)
            }
        };
        self.gated.push_back(Gated { behind, work });
        self.open_gates();
    }

    /// Lets everything through that waits for nothing any more.
    pub(crate) fn open_gates(&mut self) {
        let durable = self.timers.durable_ready;
        while self.gated.front().is_some_and(|gated| gated.behind.is_none_or(|ready| ready <= durable)) {
            self.applier.push(self.gated.pop_front().into_iter().flat_map(|gated| gated.work));
        }
    }

    /// Reads old entries on a worker, never on the actor.
    fn fetch(&self, fetch: Fetch) {
        let (reader, events) = (Arc::clone(&self.log_reader), self.events.clone());
        let group = self.shared.group;
        let job = move || {
            let entries = reader.entries(fetch.low, fetch.high, fetch.bytes_max);
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
        self.shared.role.send_replace(role);
        if role.is_leader {
            self.timers.is_stall_handled = false;
        }
        self.note_status();
    }

    /// Serves the reads whose index the state has reached: callers of a guard at once, all closures in one job.
    pub(crate) fn serve_reads(&mut self) {
        let applied: Index = *self.shared.applied.borrow();
        let ready = self.reads.take_ready(applied);
        let Some(reader) = self.shared.reader().filter(|_| !ready.is_empty()) else { return };
        add(&self.shared.counters.reads, ready.len() as u64);
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
        drop(self.deps.workers.read.submit(key, Box::new(job)));
    }
}
