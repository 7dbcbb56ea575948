//! A replica that waits for a snapshot: it asks its leader, or without one everybody, for one that its log reaches, takes it once the log holds that
//! very entry, and is started anew on it.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_shard::core::Input;
use quorate_storage::ReplicaId;
use quorate_storage::snapshot::{SnapshotLabel, SnapshotToken};

use super::super::ctx::Ctx;
use super::super::packet::Packet;
use super::applying::ApplyWork;
use super::logging::LogWork;
use super::{Failure, Replica};

/// Between two questions.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How far it is.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    stage: Stage,
    ask_at: Duration,
    /// Questions so far.
    asked: usize,
}

#[derive(Debug, Default)]
enum Stage {
    /// Another replica is asked.
    #[default]
    Asking,
    /// It says that it sends this one.
    Offered(SnapshotToken),
    /// The log records it.
    Recording(SnapshotToken, Box<SnapshotLabel>),
    /// The applier restores it.
    Restoring(SnapshotToken),
}

impl Replica {
    /// The snapshot that was installed cannot be restored: its file is put aside, and another one is asked for.
    pub(super) fn wait_for_snapshot(&mut self, ctx: &mut Ctx, token: SnapshotToken) -> Result<(), Failure> {
        self.publisher.forget(token);
        self.receiving.received = None;
        // If it cannot be put aside, the next start finds it again.
        let _ = self.snapshots.quarantine(token.id);
        ctx.counts.waits += 1;
        self.waiting = Some(Waiting { ask_at: ctx.now + ASK_EVERY, ..Waiting::default() });
        self.apply_queue.clear();
        self.reads.clear();
        self.callers.clear();
        self.publishing = None;
        self.feed(ctx, Input::StateLost)
    }

    /// Once a tick, while it waits: asks, or takes what has arrived.
    pub(super) fn seek_snapshot(&mut self, ctx: &mut Ctx) {
        let Some(waiting) = &mut self.waiting else { return };
        if let Stage::Offered(token) = waiting.stage
            && self.core.has_durable(token.id)
            && let Some((held, label)) = &self.receiving.received
            && *held == token
        {
            waiting.stage = Stage::Recording(token, Box::new(label.clone()));
            self.push_log(ctx, LogWork::RecordWaited(token));
            return;
        }
        let is_asking = matches!(waiting.stage, Stage::Asking | Stage::Offered(_));
        if !is_asking || ctx.now < waiting.ask_at {
            return;
        }
        waiting.ask_at = ctx.now + ASK_EVERY;
        waiting.asked += 1;
        let turn = waiting.asked;
        if let Some(to) = self.whom_to_ask(turn)
            && let Some(node) = self.node_of(to)
        {
            let at_least = self.core.status().first.prev();
            let (group, from) = (self.place.group, self.id);
            ctx.send(self.place.node, node, Packet::SnapshotWanted { group, from, to, at_least });
        }
    }

    /// The leader, if there is one, else the other replicas in turn.
    fn whom_to_ask(&self, turn: usize) -> Option<ReplicaId> {
        if let Some(leader) = self.core.role().leader {
            return Some(leader);
        }
        let described = self.core.descriptor().replicas.iter().map(|replica| replica.replica);
        let known = described.chain(self.addresses.keys().copied()).filter(|known| *known != self.id);
        let known = known.collect::<BTreeSet<_>>();
        known.iter().nth(turn % known.len().max(1)).copied()
    }

    pub(super) fn offered(&mut self, token: SnapshotToken) {
        if let Some(Waiting { stage: stage @ (Stage::Asking | Stage::Offered(_)), .. }) = &mut self.waiting {
            *stage = Stage::Offered(token);
        }
    }

    pub(super) fn recorded_waited(&mut self, ctx: &mut Ctx, token: SnapshotToken) {
        let Some(waiting) = &mut self.waiting else { return };
        if let Stage::Recording(recording, label) =
            std::mem::replace(&mut waiting.stage, Stage::Restoring(token))
        {
            assert!(recording == token, "the log recorded another snapshot");
            self.publisher.note_installed(token);
            self.push_apply(ctx, ApplyWork::Restore { token, label });
        }
    }

    /// Whether what was restored is what was waited for: the core knows nothing of it, and the replica starts anew.
    pub(super) fn is_waited_restored(&self, token: SnapshotToken) -> bool {
        let Some(Waiting { stage: Stage::Restoring(restoring), .. }) = &self.waiting else { return false };
        *restoring == token
    }

    /// The leader had to send a snapshot anyway, and it is restored.
    pub(super) fn end_waiting(&mut self) {
        if !self.core.is_waiting() {
            self.waiting = None;
        }
    }
}
