//! Proposals between their call and their commit: who waits for which entry.

use std::collections::VecDeque;

use bytes::Bytes;
use quorate_storage::{EntryId, Index, Term};

use super::io::Ticket;

/// An entry in the log that a caller waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) ticket: Ticket,
    pub(super) id: EntryId,
    pub(super) is_conf_change: bool,
}

/// Proposals by stage: *gathered* since the last ready, then *pending* in the log by ascending index.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    gathered: Vec<(Ticket, Bytes)>,
    gathered_bytes: u64,
    pending: VecDeque<Pending>,
}

impl Proposals {
    /// Keeps a proposal for the next append.
    pub(super) fn gather(&mut self, ticket: Ticket, payload: Bytes) {
        self.gathered_bytes += payload.len() as u64;
        self.gathered.push((ticket, payload));
    }

    /// Bytes of the gathered payloads; `None` if there are none.
    pub(super) fn gathered_bytes(&self) -> Option<u64> {
        (!self.gathered.is_empty()).then_some(self.gathered_bytes)
    }

    pub(super) fn take_gathered(&mut self) -> Vec<(Ticket, Bytes)> {
        self.gathered_bytes = 0;
        std::mem::take(&mut self.gathered)
    }

    /// Notes that an entry was appended for a caller.
    pub(super) fn appended(&mut self, pending: Pending) {
        let last = self.pending.back();
        assert!(last.is_none_or(|last| last.id.index < pending.id.index), "appended twice: {pending:?}");
        self.pending.push_back(pending);
    }

    /// The next one who waits for an entry up to and including `index`.
    pub(super) fn next_through(&mut self, index: Index) -> Option<Pending> {
        let is_due = self.pending.front().is_some_and(|first| first.id.index <= index);
        if is_due { self.pending.pop_front() } else { None }
    }

    /// The term of the last entry that someone waits for.
    pub(super) fn last_term(&self) -> Option<Term> {
        self.pending.back().map(|last| last.id.term)
    }

    /// Removes those for whom `is_settled` says so; the rest stay.
    pub(super) fn settle(&mut self, mut is_settled: impl FnMut(&Pending) -> bool) {
        self.pending.retain(|pending| !is_settled(pending));
    }
}
