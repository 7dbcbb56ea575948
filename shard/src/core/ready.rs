//! From raft-rs's readies to our outputs: make visible, hand to the log writer, release messages, hand
//! committed entries to the applier.

use quorate_storage::log::LogBatch;
use quorate_storage::planted::{self, Planted};
use quorate_storage::{ConfChange, Index};
use quorate_transport::{RaftMessage, RaftMessageKind};
use raft::eraftpb::{self, MessageType};
use raft::{ReadState, Ready, SnapshotStatus};

use super::convert;
use super::durability::{Held, Released};
use super::gate::Refusal;
use super::group::{Group, hard_state_of, id_of};
use super::install::InstallStep;
use super::io::{AppliedConf, Applying, Committed, Fetch, LogPersist, Reply, Ticket};
use super::membership;
use super::visible::Published;
use crate::error::Error;

impl Group {
    /// Takes readies until there is nothing more to be done before the next input.
    pub(super) fn take_readies(&mut self) {
        while self.raw.has_ready() {
            let did_something = self.take_ready();
            self.after_raft();
            if !did_something {
                break; // Committed entries are waited for: they have to be fetched, or applied, first.
            }
        }
    }

    fn take_ready(&mut self) -> bool {
        let room = self.config.applying_bytes_max.saturating_sub(self.apply.bytes);
        let budget = if self.apply.is_waiting { 0 } else { room };
        self.raw.mut_store().begin_ready(budget);
        let mut ready = self.raw.ready();
        let (number, must_sync) = (ready.number(), ready.must_sync());
        let is_news = must_sync || ready.hs().is_some() || ready.ss().is_some();
        let committed = ready.take_committed_entries();
        let read_states = ready.take_read_states();
        let (mut now, mut later) = (ready.take_messages(), ready.take_persisted_messages());
        if planted::ENABLED {
            now.extend(later.extract_if(.., |message| is_sent_early(message)));
        }
        let did_something = is_news
            || !(committed.is_empty() && read_states.is_empty() && now.is_empty() && later.is_empty());

        let (mut batch, restored) = self.make_visible(&mut ready);
        // Nothing may happen to raft between `ready` and this.
        self.raw.advance_append_async(ready);
        let handed = committed.last().map_or(self.apply.handed, |last| Index(last.index));
        self.raw.mut_store().end_ready(handed);

        let now = self.addressed(now);
        let later = self.addressed(later);
        if must_sync {
            batch.hard_state = self.durability.take_changed(hard_state_of(&self.raw));
            let restore = restored.and_then(|restored| self.begin_install(restored));
            let ready = self.durability.hand_over(number, Held { messages: later, restore });
            self.out.persist.push(LogPersist { ready, batch, sync: true });
        } else if let Some(released) = self.durability.follow(number, later) {
            self.release(released);
        }
        self.out.messages.extend(now);
        self.hand_committed(committed);
        self.confirm_reads(read_states);
        did_something
    }

    /// Shows a ready's records to raft-rs's `Storage`, and gathers them for the log writer.
    fn make_visible(&mut self, ready: &mut Ready) -> (LogBatch, Option<Published>) {
        let mut batch = LogBatch::default();
        let mut restored = None;
        if !ready.snapshot().is_empty() {
            let metadata = ready.snapshot().get_metadata();
            let received = self.apply.received.take();
            let received = received.filter(|received| {
                let id = received.token.id;
                (id.term.get(), id.index.get()) == (metadata.term, metadata.index)
            });
            assert!(received.is_some(), "raft installs snapshot {}, which was not received", metadata.index);
            batch.install = received.as_ref().map(|received| received.token);
            restored = received;
        }
        if let Some(token) = batch.install {
            self.raw.mut_store().install(token.id);
        }
        let entries = ready.take_entries();
        self.raw.mut_store().append(&entries);
        batch.entries = entries.iter().map(convert::entry_from_raft).collect();
        (batch, restored)
    }

    /// Hands a moved commit index to the log writer; it need not be synced, so it waits for a tick.
    pub(super) fn persist_commit(&mut self) {
        let hard_state = hard_state_of(&self.raw);
        if self.durability.is_waiting() || self.durability.handed_commit() == hard_state.commit {
            return;
        }
        // A term or vote that is not handed over yet comes with the next ready, and brings the commit.
        if self.raw.has_ready() {
            return;
        }
        let batch = LogBatch { hard_state: self.durability.take_changed(hard_state), ..LogBatch::default() };
        let ready = self.durability.hand_over_unsynced();
        self.out.persist.push(LogPersist { ready, batch, sync: false });
    }

    pub(super) fn persisted(&mut self, ready: u64) {
        if let Some(released) = self.durability.persisted(ready) {
            self.release(released);
            self.advance_applied();
        }
        self.after_raft();
    }

    fn release(&mut self, released: Released) {
        self.raw.on_persist_ready(released.raft_number);
        self.out.messages.extend(released.held.messages);
        if let Some(restored) = released.held.restore {
            self.hand_restore(restored);
        }
    }

    fn hand_restore(&mut self, restored: Published) {
        let Published { token, label } = restored;
        self.out.apply.push(Applying::Restore { token, label });
    }

    /// Gives back what has to wait for the log's record.
    fn begin_install(&mut self, restored: Published) -> Option<Published> {
        self.note_restore(&restored);
        if InstallStep::is_recorded_first() {
            return Some(restored);
        }
        self.hand_restore(restored);
        None
    }

    /// Gives raft-rs's messages their identities.
    fn addressed(&mut self, raw: Vec<eraftpb::Message>) -> Vec<RaftMessage> {
        let mut messages = Vec::with_capacity(raw.len());
        for mut raw in raw {
            match self.addressed_one(&mut raw) {
                Some(message) => messages.push(message),
                None if raw.get_msg_type() == MessageType::MsgSnapshot => {
                    self.raw.report_snapshot(raw.to, SnapshotStatus::Failure);
                }
                None => self.gate.refusals.add(Refusal::Unsupported),
            }
        }
        messages
    }

    fn addressed_one(&self, raw: &mut eraftpb::Message) -> Option<RaftMessage> {
        let kind = convert::kind_from_raft(raw.get_msg_type())?;
        let snapshot = if kind == RaftMessageKind::Snapshot {
            let metadata = raw.get_snapshot().get_metadata();
            let published = self.raw.store().published()?;
            let id = published.token.id;
            let is_same = (id.term.get(), id.index.get()) == (metadata.term, metadata.index);
            Some(is_same.then(|| published.label.clone())?)
        } else {
            None
        };
        let descriptor = &self.membership.descriptor;
        let mut message = RaftMessage {
            group: descriptor.group,
            uid: descriptor.uid,
            from: self.replica,
            from_incarnation: self.incarnation,
            to: self.replica,
            to_incarnation: quorate_storage::Incarnation::ZERO,
            kind,
            term: quorate_storage::Term(0),
            log: quorate_storage::EntryId::default(),
            commit: quorate_storage::EntryId::default(),
            entries: Vec::new(),
            snapshot,
            request_snapshot: Index(0),
            reject: false,
            reject_hint: Index(0),
            context: bytes::Bytes::new(),
            priority: 0,
        };
        convert::fill_from_raft(&mut message, raw);
        message.to_incarnation = self.incarnation_of(message.to).unwrap_or_default();
        Some(message)
    }

    /// raft-rs counts from the snapshot on; the applier gets it when its log record is durable.
    fn note_restore(&mut self, restored: &Published) {
        let index = restored.token.id.index;
        assert!(index > self.apply.handed, "snapshot {index} is not ahead of {}", self.apply.handed);
        self.apply.handed = index;
        self.apply.is_waiting = false;
        self.apply.batches.push_back((index, 0));
        self.apply.fetch = None;
        // What they proposed is in the snapshot or lost its place to it; nobody will know.
        while let Some(pending) = self.proposals.next_through(index) {
            let group = self.membership.descriptor.group;
            self.fail(pending.ticket, Error::Indeterminate { group });
        }
        let record = &restored.label.record;
        self.set_membership(record.descriptor.clone(), record.conf_state.clone());
    }

    /// A conf change ends its batch: it is stored with the marker.
    fn hand_committed(&mut self, entries: Vec<eraftpb::Entry>) {
        let mut batch = Vec::with_capacity(entries.len());
        let mut bytes = 0;
        for raw in entries {
            let id = id_of(&raw);
            assert!(id.index == self.apply.handed.next(), "{} follows {}", id.index, self.apply.handed);
            self.apply.handed = id.index;
            bytes += convert::weight(&raw);
            let ticket = self.ticket_of(&raw);
            let conf = convert::is_conf_change(&raw).then(|| Box::new(self.apply_conf_change(&raw)));
            let ends_batch = conf.is_some();
            batch.push(Committed { entry: convert::entry_from_raft(&raw), ticket, conf });
            if ends_batch {
                self.hand_batch(std::mem::take(&mut batch), std::mem::take(&mut bytes));
            }
        }
        if !batch.is_empty() {
            self.hand_batch(batch, bytes);
        }
    }

    fn hand_batch(&mut self, batch: Vec<Committed>, bytes: u64) {
        self.apply.batches.push_back((self.apply.handed, bytes));
        self.apply.bytes += bytes;
        self.out.apply.push(Applying::Entries(batch));
    }

    /// Who waits for this entry. Those whose entry stood at its index, but lost to it, are answered.
    fn ticket_of(&mut self, raw: &eraftpb::Entry) -> Option<Ticket> {
        let id = id_of(raw);
        let mut found = None;
        while let Some(pending) = self.proposals.next_through(id.index) {
            let error = if pending.id.index != id.index {
                Error::Indeterminate { group: self.membership.descriptor.group }
            } else if pending.id.term != id.term && !planted::is(Planted::TicketOfAnotherTerm) {
                self.not_leader()
            } else if pending.is_conf_change && !convert::is_conf_change(raw) {
                // raft-rs replaces a conf change by an empty entry when another one is pending.
                Error::ConfChangePending { group: self.membership.descriptor.group }
            } else {
                found = Some(pending.ticket);
                continue;
            };
            self.fail(pending.ticket, error);
        }
        found
    }

    fn apply_conf_change(&mut self, raw: &eraftpb::Entry) -> AppliedConf {
        // The gate and the log's checksums have passed it: a newer release wrote it. Going on would diverge.
        let change = ConfChange::decode(&raw.context);
        let Ok(change) = change else { panic!("the conf change at {} cannot be decoded", raw.index) };
        let refused = self.try_conf_change(&change).err();
        AppliedConf {
            conf_state: self.membership.conf_state.clone(),
            descriptor: self.membership.descriptor.clone(),
            refused,
        }
    }

    /// The same on every replica: it depends on nothing but descriptor, membership and change.
    fn try_conf_change(&mut self, change: &ConfChange) -> Result<(), Error> {
        let is_leave = change.ops.is_empty();
        if !is_leave {
            membership::check(change, &self.membership.descriptor, &self.membership.conf_state)?;
        }
        let conf_state = self
            .raw
            .apply_conf_change(&membership::to_raft(change))
            .map_err(|_| Error::ConfChangeRefused("raft refused it"))?;
        let conf_state = convert::conf_state_from_raft(&conf_state);
        let descriptor = membership::describe(&self.membership.descriptor, change, &conf_state);
        self.set_membership(descriptor, conf_state);
        // raft-rs lets a leader go on that is no member any more, and panics when its own log moves.
        if self.is_leader() && !self.raw.raft.promotable() {
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
        Ok(())
    }

    fn set_membership(
        &mut self,
        descriptor: quorate_storage::GroupDescriptor,
        conf_state: quorate_storage::ConfState,
    ) {
        self.gate.membership_changed(&self.membership.descriptor, &descriptor);
        self.membership.descriptor = descriptor;
        self.membership.conf_state = conf_state;
        self.membership.joint_ticks = 0;
    }

    fn confirm_reads(&mut self, read_states: Vec<ReadState>) {
        for ReadState { index, request_ctx } in read_states {
            for ticket in self.reads.confirmed(&request_ctx) {
                self.out.reads.push((ticket, Index(index)));
            }
        }
    }

    pub(super) fn applied(&mut self, through: Index) {
        assert!(through <= self.apply.handed, "applied {through}, handed {}", self.apply.handed);
        if through <= self.apply.reported {
            return;
        }
        self.apply.reported = through;
        while self.apply.batches.front().is_some_and(|batch| batch.0 <= through) {
            self.apply.bytes -= self.apply.batches.pop_front().map_or(0, |batch| batch.1);
        }
        self.advance_applied();
    }

    /// raft-rs panics if it is told of more than is committed and durable.
    fn advance_applied(&mut self) {
        let log = &self.raw.raft.raft_log;
        let target = self.apply.reported.get().min(log.committed).min(log.persisted);
        if target > log.applied {
            self.raw.advance_apply_to(target);
        }
    }

    /// Asks for the committed entries that only the disk has: after a restart, all above the floor.
    pub(super) fn fetch_committed(&mut self) {
        let has_room = self.apply.bytes < self.config.applying_bytes_max;
        if self.apply.is_waiting || self.apply.fetch.is_some() || !has_room {
            return;
        }
        let log = &self.raw.raft.raft_log;
        let commit = Index(log.committed.min(log.persisted));
        if let Some((low, high)) = self.raw.store().missing_committed(self.apply.handed, commit) {
            let id = self.raw.store().next_fetch_id();
            self.apply.fetch = Some((id, 0));
            self.out.fetches.push(Fetch { id, low, high, bytes_max: self.config.committed_bytes_max });
        }
    }

    /// Takes the answer; a failed one is asked again some ticks later.
    pub(super) fn fetched_committed(&mut self, entries: Option<Vec<eraftpb::Entry>>) {
        let Some(entries) = entries.filter(|entries| !entries.is_empty()) else { return };
        self.apply.fetch = None;
        let expected = self.apply.handed.next().get();
        let is_whole = (expected..).zip(&entries).all(|(index, entry)| {
            entry.index == index
                && self.raw.store().skeleton().term(Index(index)).is_some_and(|term| term.get() == entry.term)
        });
        assert!(is_whole, "the log gave other entries than {expected} and the following");
        self.raw.mut_store().fill_window(entries);
    }

    /// Answers a command that is done.
    pub(super) fn done(&mut self, ticket: Ticket) {
        self.out.replies.push((ticket, Reply::Done));
    }
}

/// Whether a promise is given before it is durable: see [`Planted::VoteBeforeSync`] and
/// [`Planted::AcknowledgedBeforeSync`].
fn is_sent_early(message: &eraftpb::Message) -> bool {
    match message.get_msg_type() {
        MessageType::MsgRequestVote | MessageType::MsgRequestVoteResponse => {
            planted::is(Planted::VoteBeforeSync)
        }
        MessageType::MsgAppendResponse => planted::is(Planted::AcknowledgedBeforeSync),
        _ => false,
    }
}
