//! Read barriers: many tickets share one confirmation round of the leader.

use std::collections::VecDeque;

use bytes::Bytes;
use quorate_storage::Term;
use quorate_storage::planted::{self, Planted};

use super::io::Ticket;

/// Rounds under way at once. A ticket never joins a round that has begun: its index may be too old for it.
const ROUNDS_MAX: usize = 4;

/// One round of ReadIndex.
#[derive(Debug)]
struct Round {
    context: u64,
    tickets: Vec<Ticket>,
    age_ticks: u32,
}

/// Tickets that wait for a round, and rounds under way, oldest first.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// The term they were accepted in.
    term: Term,
    waiting: Vec<Ticket>,
    waiting_ticks: u32,
    rounds: VecDeque<Round>,
    next_context: u64,
}

impl Reads {
    pub(super) fn wait(&mut self, ticket: Ticket, term: Term) {
        self.term = term;
        match self.rounds.back_mut() {
            Some(begun) if planted::is(Planted::ReadJoinsRound) => begun.tickets.push(ticket),
            _ => self.waiting.push(ticket),
        }
    }

    /// The term of the leadership these reads rely on; `None` if nobody waits.
    pub(super) fn term(&self) -> Option<Term> {
        (!self.waiting.is_empty() || !self.rounds.is_empty()).then_some(self.term)
    }

    /// Tickets that wait for a round to begin.
    pub(super) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Begins a round for everyone who waits. Returns its context, which is unique within this core's life.
    pub(super) fn begin(&mut self) -> Option<Bytes> {
        if self.waiting.is_empty() || self.rounds.len() >= ROUNDS_MAX {
            return None;
        }
        self.next_context += 1;
        self.waiting_ticks = 0;
        let tickets = std::mem::take(&mut self.waiting);
        self.rounds.push_back(Round { context: self.next_context, tickets, age_ticks: 0 });
        Some(Bytes::copy_from_slice(&self.next_context.to_le_bytes()))
    }

    /// The tickets of a round that is confirmed.
    pub(super) fn confirmed(&mut self, context: &[u8]) -> Vec<Ticket> {
        let Ok(context) = context.try_into().map(u64::from_le_bytes) else { return Vec::new() };
        match self.rounds.iter().position(|round| round.context == context) {
            Some(at) => self.rounds.remove(at).map(|round| round.tickets).unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// One tick later: the tickets that have waited too long.
    pub(super) fn tick(&mut self, patience_ticks: u32) -> Vec<Ticket> {
        let mut late = Vec::new();
        self.rounds.retain_mut(|round| {
            round.age_ticks += 1;
            let is_late = round.age_ticks > patience_ticks;
            if is_late {
                late.append(&mut round.tickets);
            }
            !is_late
        });
        self.waiting_ticks = if self.waiting.is_empty() { 0 } else { self.waiting_ticks + 1 };
        if self.waiting_ticks > patience_ticks {
            late.append(&mut self.waiting);
        }
        late
    }

    /// Leadership is lost: nothing will be confirmed any more.
    pub(super) fn take_all(&mut self) -> Vec<Ticket> {
        let mut tickets: Vec<_> = self.rounds.drain(..).flat_map(|round| round.tickets).collect();
        tickets.append(&mut self.waiting);
        tickets
    }
}
