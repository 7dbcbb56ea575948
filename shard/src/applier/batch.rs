//! One apply batch: committed entries, decoded and judged, before the state machine sees them. Pure: every replica
//! comes to the same result.

use quorate_storage::payload::{Lease, Payload, Tag};
use quorate_storage::state::{AppliedRecord, Command};
use quorate_storage::{EntryId, EntryKind, GroupDescriptor};
use tokio::sync::oneshot;

use crate::actor::mailbox::ProposalReply;
use crate::actor::quarantine::Failure;
use crate::applier::{ApplyEntry, EntryReply};
use crate::core::AppliedConf;
use crate::error::{Error, Result};

/// Commands for the state machine, and what their callers get.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) commands: Vec<Command>,
    pub(crate) answers: Vec<Answer>,
    /// Entries of every kind in it.
    pub(crate) entries: u64,
    /// Entries at or below the applied index, dropped.
    pub(crate) duplicates: u64,
}

/// What a caller gets once the batch is applied.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The output of the command at this position.
    Output {
        id: EntryId,
        command: usize,
        reply: ProposalReply,
    },
    /// Applied without a command of the state machine.
    Empty {
        id: EntryId,
        reply: ProposalReply,
    },
    Conf {
        descriptor: Box<GroupDescriptor>,
        reply: oneshot::Sender<Result<GroupDescriptor>>,
    },
    /// Applied without an effect.
    Refused {
        error: Box<Error>,
        reply: EntryReply,
    },
}

/// An entry that cannot be understood, and everyone who waits for it or for what stands beside it.
#[derive(Debug)]
pub(crate) struct Halted {
    pub(crate) failure: Failure,
    pub(crate) replies: Vec<EntryReply>,
}

impl Answer {
    pub(crate) fn into_reply(self) -> EntryReply {
        match self {
            Self::Output { reply, .. } | Self::Empty { reply, .. } => EntryReply::Proposal(reply),
            Self::Conf { reply, .. } => EntryReply::ConfChange(reply),
            Self::Refused { reply, .. } => reply,
        }
    }
}

impl Batch {
    /// Judges `entries` against `record` and moves `record` behind the last of them.
    ///
    /// # Errors
    /// The first entry that cannot be understood halts the group; with it, everyone who waits. `record` is then
    /// meaningless.
    ///
    /// # Panics
    /// If the entries leave a gap: the core promises contiguous ones.
    pub(crate) fn build(entries: Vec<ApplyEntry>, record: &mut AppliedRecord) -> Result<Self, Box<Halted>> {
        let mut batch = Self::default();
        let mut entries = entries.into_iter();
        while let Some(mut next) = entries.next() {
            let (id, reply) = (next.entry.id(), next.reply.take());
            if id.index <= record.applied.index {
                batch.duplicates += 1;
                continue;
            }
            assert_eq!(id.index, record.applied.index.next(), "committed entries are contiguous");
            if let Err(cause) = batch.add(next, reply, record) {
                let mut replies: Vec<_> = batch.answers.into_iter().map(Answer::into_reply).collect();
                replies.extend(entries.filter_map(|entry| entry.reply));
                return Err(Box::new(Halted { failure: Failure::Entry { index: id.index, cause }, replies }));
            }
            record.applied = id;
            batch.entries += 1;
        }
        Ok(batch)
    }

    fn add(
        &mut self,
        next: ApplyEntry,
        reply: Option<EntryReply>,
        record: &mut AppliedRecord,
    ) -> quorate_storage::Result<()> {
        let id = next.entry.id();
        match next.entry.kind {
            EntryKind::ConfChange => {
                let conf = next.conf.ok_or(quorate_storage::Error::Malformed { what: "conf change" })?;
                self.add_conf(*conf, reply, record);
            }
            // Raft's own empty entry: of a new leader, or in place of a conf change it would not take.
            EntryKind::Normal if next.entry.payload.is_empty() => self.add_empty(id, reply, record),
            EntryKind::Normal => {
                let payload = Payload::decode(&next.entry.payload)?;
                match payload.tag {
                    Tag::Lease => {
                        record.hlc_ceiling = record.hlc_ceiling.max(Lease::decode(&payload.body)?.ceiling);
                        self.answer_empty(id, reply);
                    }
                    Tag::Command => self.add_command(id, payload, reply, record),
                }
            }
        }
        Ok(())
    }

    fn add_command(
        &mut self,
        id: EntryId,
        payload: Payload,
        reply: Option<EntryReply>,
        record: &AppliedRecord,
    ) {
        if payload.range_epoch != record.descriptor.range_epoch {
            let newer = Box::new(record.descriptor.clone());
            return self.refuse(Error::StaleRange { newer }, reply);
        }
        let command = self.commands.len();
        self.commands.push(Command { id, body: payload.body });
        if let Some(EntryReply::Proposal(reply)) = reply {
            self.answers.push(Answer::Output { id, command, reply });
        }
    }

    fn add_conf(&mut self, conf: AppliedConf, reply: Option<EntryReply>, record: &mut AppliedRecord) {
        record.conf_state = conf.conf_state;
        record.descriptor = conf.descriptor;
        match (conf.refused, reply) {
            (Some(error), reply) => self.refuse(error, reply),
            (None, Some(EntryReply::ConfChange(reply))) => {
                let descriptor = Box::new(record.descriptor.clone());
                self.answers.push(Answer::Conf { descriptor, reply });
            }
            (None, _) => {}
        }
    }

    fn add_empty(&mut self, id: EntryId, reply: Option<EntryReply>, record: &AppliedRecord) {
        if let Some(reply @ EntryReply::ConfChange(_)) = reply {
            self.refuse(Error::ConfChangePending { group: record.descriptor.group }, Some(reply));
        } else {
            self.answer_empty(id, reply);
        }
    }

    fn answer_empty(&mut self, id: EntryId, reply: Option<EntryReply>) {
        if let Some(EntryReply::Proposal(reply)) = reply {
            self.answers.push(Answer::Empty { id, reply });
        }
    }

    fn refuse(&mut self, error: Error, reply: Option<EntryReply>) {
        if let Some(reply) = reply {
            self.answers.push(Answer::Refused { error: Box::new(error), reply });
        }
    }
}
