//! What happens to a group, as inputs of its core.

use quorate_storage::{Index, NodeId};
use quorate_transport::{RaftMessage, RaftMessageKind};
use tokio::time::Instant;

use crate::actor::ending::Ending;
use crate::actor::mailbox::{Event, Request, StopMode};
use crate::actor::pending::Waiting;
use crate::actor::run::{Actor, Stopping};
use crate::actor::shared::count;
use crate::actor::status::Lifecycle;
use crate::applier::EntryReply;
use crate::core::{Input, Ticket};
use crate::error::Error;

impl Actor {
    pub(crate) fn on_event(&mut self, event: Event) {
        match event {
            Event::Message { from, message, permit } => {
                drop(permit);
                self.on_message(from, *message);
            }
            Event::Unreachable(replica) => self.inputs.push(Input::Unreachable { replica }),
            Event::Campaign => self.inputs.push(Input::Campaign),
            Event::LeaderQuarantined { replica, term } => {
                self.inputs.push(Input::LeaderQuarantined { replica, term });
            }
            Event::Persisted { ready, is_idle } => self.on_persisted(ready, is_idle),
            Event::Applied { through } => self.on_applied(through),
            Event::Restoring(restoration) => self.restore(*restoration),
            Event::Fetched { fetch, entries } => self.inputs.push(Input::Fetched { fetch, entries }),
            Event::LabelRead(read) => self.on_label_read(read),
            Event::SnapshotPublished(outcome) => self.on_published(outcome),
            Event::SnapshotSettled(outcome) => self.on_settled(outcome),
            Event::SnapshotSent { to, number, is_rafts, delivered } => {
                if self.transfers.end(to, number) && is_rafts {
                    self.inputs.push(Input::SnapshotSent { to, delivered });
                }
            }
            Event::SnapshotSuspect { token, rot } => self.on_suspect(token, rot),
            Event::RestoreFailed { token, error } => self.wait_for_snapshot(token, &error),
            Event::SnapshotOffered(offer) => self.on_snapshot_offered(offer),
            Event::WaitedRecorded { is_recorded } => self.on_waited_recorded(is_recorded),
            Event::SnapshotWanted(wanted) => self.on_snapshot_wanted(wanted),
            Event::ScrubWanted => self.upkeep.scrub.ask(),
            Event::ListSnapshots { reply } => drop(reply.send(self.publisher.tokens().to_vec())),
            Event::RottenSnapshot { token, error } => self.on_rotten_snapshot(token, &error),
            Event::Scrubbed(outcome) => self.on_scrubbed(*outcome),
            Event::ConsistencyChecked(report) => self.on_checked(&report),
            Event::StoreLookedAt(looked_at) => self.on_store_looked_at(looked_at),
            Event::Failed(failure) => self.quarantine(&failure),
            Event::Stop { mode, done } => self.on_stop(mode, done),
        }
    }

    pub(crate) fn on_request(&mut self, request: Request) {
        if self.stopping.is_some() || self.ending.is_some() {
            return self.refuse(request);
        }
        match request {
            Request::Propose { payload, range_epoch, reply } => {
                let descriptor = self.core.0.descriptor();
                // Only a leader knows the range for sure; of the others the core says where it is.
                if self.core.0.role().is_leader && descriptor.range_epoch != range_epoch {
                    let newer = Box::new(descriptor.clone());
                    drop(reply.send(Err(Error::StaleRange { newer })));
                    return;
                }
                let ticket = self.await_entry(EntryReply::Proposal(reply));
                self.inputs.push(Input::Propose { ticket, payload });
            }
            Request::Read { level, waiter } => self.reads.add(level, waiter, self.deps.clock.monotonic()),
            Request::ChangeConf { change, reply } => {
                let ticket = self.await_entry(EntryReply::ConfChange(reply));
                self.inputs.push(Input::ProposeConfChange { ticket, change });
            }
            Request::Transfer { to, reply } => {
                let ticket = self.pending.add(Waiting::Transfer(reply));
                self.inputs.push(Input::Transfer { ticket, to });
            }
            Request::PublishSnapshot { at_least, reply } => self.publish_for(at_least, reply),
            Request::Time(call) => self.take_time_call(call),
            Request::CheckConsistency { reply } => self.check_consistency(reply),
        }
    }

    fn await_entry(&mut self, reply: EntryReply) -> Ticket {
        self.pending.add(Waiting::Entry(reply, self.deps.clock.monotonic()))
    }

    /// Ends a request that came too late.
    pub(crate) fn refuse(&self, request: Request) {
        let error = match self.shared.check_running() {
            Err(error) => error,
            Ok(()) => Error::Stopped { group: self.shared.group },
        };
        request.fail(error);
    }

    fn on_applied(&mut self, through: Index) {
        if !self.is_waited_restored(through) {
            self.note_lease_applied(through);
            self.inputs.push(Input::Applied { through });
            self.end_waiting();
        }
    }

    /// A message counts only from the node its sender lives on. A sender the descriptor does not name yet (the leader
    /// that seeds this replica) is remembered by where it spoke from.
    fn on_message(&mut self, from: NodeId, message: RaftMessage) {
        match self.core.0.descriptor().replica(message.from) {
            Some(known) if known.node != from => {
                return count(&self.shared.counters.messages_refused);
            }
            Some(_) => {}
            None => drop(self.addresses.insert(message.from, from)),
        }
        if message.kind != RaftMessageKind::Snapshot {
            return self.inputs.push(Input::Message(message));
        }
        let received = message.snapshot.as_deref().and_then(|label| self.receiver.received(label));
        match received {
            Some((token, label)) => {
                let message = RaftMessage { snapshot: Some(Box::new(label)), ..message };
                self.inputs.push(Input::Snapshot { message, token });
            }
            // Its body has not arrived: the leader streams it, and sends the message again behind it.
            None => count(&self.shared.counters.messages_refused),
        }
    }

    fn on_persisted(&mut self, ready: Option<u64>, is_idle: bool) {
        if let Some(ready) = ready {
            self.timers.durable_ready = ready;
            self.inputs.push(Input::Persisted { ready });
        }
        let has_news = ready.is_some();
        if is_idle && has_news && self.timers.durable_ready == self.timers.handed_ready {
            self.timers.proof_at = Some(Instant::now() + self.config.proof_delay);
        }
    }

    fn on_stop(&mut self, mode: StopMode, done: tokio::sync::oneshot::Sender<()>) {
        self.shared.set_lifecycle(Lifecycle::Stopping);
        let now = Instant::now();
        let deadline = match mode {
            StopMode::Graceful { deadline } | StopMode::Drain { deadline } => now + deadline,
            StopMode::Now => now,
        };
        let is_first = self.stopping.is_none();
        let is_handed_over = is_first && matches!(mode, StopMode::Graceful { .. }) && self.hand_over();
        let stopping = self.stopping.get_or_insert_with(|| Stopping {
            deadline,
            waits_for_heir: is_handed_over,
            done: Vec::new(),
        });
        stopping.deadline = stopping.deadline.min(deadline);
        stopping.done.push(done);
        if mode == StopMode::Now {
            self.ending = Some(Ending::Stopped { clean: false });
        }
    }

    /// One barrier for all reads that wait.
    pub(crate) fn begin_barrier(&mut self) {
        if self.reads.wants_barrier() {
            let ticket = self.pending.ticket();
            self.reads.begin(ticket, self.deps.clock.monotonic());
            count(&self.shared.counters.read_barriers);
            self.inputs.push(Input::Read { ticket });
        }
    }

    /// Gives leadership to the voter that is closest behind, if this replica leads and there is one. Whether it tries.
    pub(crate) fn hand_over(&mut self) -> bool {
        if !self.core.0.role().is_leader {
            return false;
        }
        let status = self.core.0.status();
        let heir = status
            .peers
            .iter()
            .filter(|peer| peer.replica != self.replica && peer.is_voter && peer.is_recently_active)
            .max_by_key(|peer| (peer.matched, std::cmp::Reverse(peer.replica)));
        let Some(heir) = heir else { return false };
        let (ticket, to) = (self.pending.ticket(), heir.replica);
        self.inputs.push(Input::Transfer { ticket, to });
        true
    }
}
