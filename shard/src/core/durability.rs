//! What was handed to the log writer and is not durable yet, and the messages that wait for it.

use std::collections::VecDeque;

use quorate_storage::{HardState, Index};
use quorate_transport::RaftMessage;

use super::visible::Published;

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
    is_synced: bool,
    held: Held,
}

/// What waits for a ready to be durable.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) messages: Vec<RaftMessage>,
    /// A snapshot the log is reset to. State that is ahead of the log could not be told from lost log.
    pub(super) restore: Option<Published>,
}

/// What a durable ready sets free.
#[derive(Debug)]
pub(super) struct Released {
    /// The newest of raft-rs's readies that is durable with it.
    pub(super) raft_number: u64,
    pub(super) held: Held,
}

impl Durability {
    pub(super) fn new(recovered: HardState) -> Self {
        Self { outstanding: VecDeque::new(), next_ready: 1, handed: recovered }
    }

    /// Whether something handed over is not durable yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.outstanding.is_empty()
    }

    /// Whether entries, a snapshot, a term or a vote handed over are not durable yet.
    pub(super) fn is_syncing(&self) -> bool {
        self.outstanding.iter().any(|outstanding| outstanding.is_synced)
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

    /// Numbers a ready that goes to the log writer to be synced.
    pub(super) fn hand_over(&mut self, raft_number: u64, held: Held) -> u64 {
        self.number(raft_number, true, held)
    }

    /// Numbers a record that goes to the log writer and need not be synced.
    pub(super) fn hand_over_unsynced(&mut self) -> u64 {
        self.number(0, false, Held::default())
    }

    fn number(&mut self, raft_number: u64, is_synced: bool, held: Held) -> u64 {
        let ready = self.next_ready;
        self.next_ready += 1;
        self.outstanding.push_back(Outstanding { ready, raft_number, is_synced, held });
        ready
    }

    /// A ready with nothing to be made durable waits for those before it; it is returned if there are none.
    pub(super) fn follow(&mut self, raft_number: u64, mut messages: Vec<RaftMessage>) -> Option<Released> {
        if let Some(last) = self.outstanding.back_mut() {
            last.raft_number = raft_number;
            last.held.messages.append(&mut messages);
            return None;
        }
        Some(Released { raft_number, held: Held { messages, restore: None } })
    }

    /// Everything up to `ready` is durable.
    pub(super) fn persisted(&mut self, ready: u64) -> Option<Released> {
        assert!(ready < self.next_ready, "ready {ready} was never handed over");
        let mut released: Option<Released> = None;
        while self.outstanding.front().is_some_and(|first| first.ready <= ready) {
            let Some(Outstanding { raft_number, mut held, .. }) = self.outstanding.pop_front() else { break };
            let all = released.get_or_insert(Released { raft_number, held: Held::default() });
            all.raft_number = raft_number;
            all.held.messages.append(&mut held.messages);
            all.held.restore = held.restore.or(all.held.restore.take());
        }
        released
    }
}
