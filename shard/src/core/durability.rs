//! What was handed to the log writer and is not durable yet, and the messages that wait for it.

use std::collections::VecDeque;

use quorate_storage::{HardState, Index};
use quorate_transport::RaftMessage;

/// Readies between the log writer and durability, oldest first.
#[derive(Debug)]
pub(super) struct Durability {
    outstanding: VecDeque<Outstanding>,
    next_ready: u64,
    /// The hard state as of the last record handed over.
    handed: HardState,
}

#[derive(Debug)]
struct Outstanding {
    ready: u64,
    raft_number: u64,
    messages: Vec<RaftMessage>,
}

/// What a durable ready sets free.
#[derive(Debug)]
pub(super) struct Released {
    /// The newest of raft-rs's readies that is durable with it.
    pub(super) raft_number: u64,
    pub(super) messages: Vec<RaftMessage>,
}

impl Durability {
    pub(super) fn new(recovered: HardState) -> Self {
        Self { outstanding: VecDeque::new(), next_ready: 1, handed: recovered }
    }

    /// Whether something handed over is not durable yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// The hard state, if it differs from the last one handed over; it counts as handed over from now on.
    pub(super) fn take_changed(&mut self, now: HardState) -> Option<HardState> {
        assert!(now.term >= self.handed.term, "the term went back from {} to {}", self.handed.term, now.term);
        let is_changed = now != self.handed;
        self.handed = now;
        is_changed.then_some(now)
    }

    /// The commit index of the last hard state handed over.
    pub(super) fn handed_commit(&self) -> Index {
        self.handed.commit
    }

    /// Numbers a ready that goes to the log writer.
    pub(super) fn hand_over(&mut self, raft_number: u64, messages: Vec<RaftMessage>) -> u64 {
        let ready = self.next_ready;
        self.next_ready += 1;
        self.outstanding.push_back(Outstanding { ready, raft_number, messages });
        ready
    }

    /// A ready with nothing to be made durable waits for those before it; it is returned if there are none.
    pub(super) fn follow(&mut self, raft_number: u64, mut messages: Vec<RaftMessage>) -> Option<Released> {
        match self.outstanding.back_mut() {
            Some(last) => {
                last.raft_number = raft_number;
                last.messages.append(&mut messages);
                None
            }
            None => Some(Released { raft_number, messages }),
        }
    }

    /// Everything up to `ready` is durable.
    pub(super) fn persisted(&mut self, ready: u64) -> Option<Released> {
        assert!(ready < self.next_ready, "ready {ready} was never handed over");
        let mut released: Option<Released> = None;
        while self.outstanding.front().is_some_and(|first| first.ready <= ready) {
            let Some(Outstanding { raft_number, mut messages, .. }) = self.outstanding.pop_front() else {
                break;
            };
            let all = released.get_or_insert(Released { raft_number, messages: Vec::new() });
            all.raft_number = raft_number;
            all.messages.append(&mut messages);
        }
        released
    }
}
