//! Who waits for an answer of the core.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::applier::EntryReply;
use crate::core::Ticket;
use crate::error::{Error, Result};

/// Callers by ticket, in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    last: u64,
    waiting: BTreeMap<Ticket, Waiting>,
}

/// Who waits for what.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// For an entry to be applied, since then on the monotonic clock.
    Entry(EntryReply, Duration),
    /// For leadership to be handed over.
    Transfer(oneshot::Sender<Result<()>>),
}

impl Pending {
    /// A ticket that nobody waits for.
    pub(crate) fn ticket(&mut self) -> Ticket {
        self.last += 1;
        Ticket(self.last)
    }

    /// A ticket for `waiting`.
    pub(crate) fn add(&mut self, waiting: Waiting) -> Ticket {
        let ticket = self.ticket();
        self.waiting.insert(ticket, waiting);
        ticket
    }

    /// Who waits for the entry of `ticket`, and since when: from now on the applier answers.
    pub(crate) fn take_entry(&mut self, ticket: Ticket) -> Option<(EntryReply, Duration)> {
        match self.waiting.remove(&ticket)? {
            Waiting::Entry(reply, since) => Some((reply, since)),
            Waiting::Transfer(_) => None,
        }
    }

    /// It is done.
    pub(crate) fn done(&mut self, ticket: Ticket) {
        if let Some(Waiting::Transfer(reply)) = self.waiting.remove(&ticket) {
            drop(reply.send(Ok(())));
        }
    }

    /// It failed.
    pub(crate) fn fail(&mut self, ticket: Ticket, error: Error) {
        match self.waiting.remove(&ticket) {
            Some(Waiting::Entry(reply, _)) => reply.fail(error),
            Some(Waiting::Transfer(reply)) => drop(reply.send(Err(error))),
            None => {}
        }
    }

    /// Everyone fails.
    pub(crate) fn fail_all(&mut self, error: &Error) {
        for ticket in self.waiting.keys().copied().collect::<Vec<_>>() {
            self.fail(ticket, error.clone());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
