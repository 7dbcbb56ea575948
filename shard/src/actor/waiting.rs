//! A replica that waits for a snapshot: how it asks for one, takes it, and comes back.
//!
//! Its log is whole from its base on; what precedes the base only a snapshot has, and every one it had is damaged. So it
//! takes part in raft (see [`crate::core::Group::is_waiting`]) and asks the leader, again and again, for any snapshot
//! that its log reaches; while there is no leader, every other member in turn: this log may be the longest, so that
//! nobody is elected before this replica is back. The file comes and is verified like every received snapshot, and counts once this log has a
//! durable entry of its position and term: that entry is committed, since a state machine has applied it, so log and
//! snapshot are of one history. Then it is recorded in the log, the state is restored from it, and the group is started
//! anew: the cold-start gate finds state and log as after any restart. A crash anywhere before is a start that waits
//! again, or one whose gate restores what was recorded.
//!
//! raft-rs's own `request_snapshot` is not used: while it is pending a follower refuses to append, and the snapshot has
//! to be as new as its last entry. With one other replica down such a follower could neither acknowledge that entry nor
//! ever be sent a snapshot that holds it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quorate_storage::snapshot::{SnapshotLabel, SnapshotToken};
use quorate_storage::{Index, NodeId, ReplicaId};
use tokio::sync::oneshot;

use crate::actor::mailbox::Event;
use crate::actor::outbound::SNAPSHOT_WANTED;
use crate::actor::run::Actor;
use crate::actor::status::Lifecycle;
use crate::actor::waiting_wire::{SnapshotQuestion, decode_offer, encode_offer};
use crate::applier::ApplyWork;
use crate::core::Input;

/// For one question.
const ASK_DEADLINE: Duration = Duration::from_secs(5);
/// Election timeouts between two questions: a leader that is just being elected, or that publishes first, needs time.
const ASK_ELECTIONS: u32 = 1;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Waiting {
    stage: Stage,
    next_ticks: u32,
    /// Questions so far.
    asked: usize,
}

#[derive(Debug)]
enum Stage {
    /// Another replica is asked; `offered` is what it says it sends.
    Asking { offered: Option<SnapshotToken> },
    /// The log records it.
    Recording { token: SnapshotToken, label: Box<SnapshotLabel> },
    /// The applier restores it.
    Restoring(SnapshotToken),
    /// The group is to be started anew.
    Done,
}

/// What a member wants to know: the event behind a [`SnapshotQuestion`].
#[derive(Debug)]
pub(crate) struct SnapshotWanted {
    pub(crate) from: NodeId,
    pub(crate) replica: ReplicaId,
    pub(crate) at_least: Index,
    pub(crate) reply: oneshot::Sender<bytes::Bytes>,
}

impl Waiting {
    pub(crate) fn new() -> Self {
        Self { stage: Stage::Asking { offered: None }, next_ticks: 0, asked: 0 }
    }
}

impl Actor {
    /// The snapshot that was installed cannot be restored: its file is put aside, and another one is asked for.
    pub(crate) fn wait_for_snapshot(&mut self, token: SnapshotToken, error: &quorate_storage::Error) {
        let group = self.shared.group;
        let reason = format!("restore of the snapshot at {} failed: {error}", token.id.index);
        tracing::error!(%group, %reason, "the replica waits for a snapshot");
        self.publisher.forget(token);
        self.receiver.forget(token);
        let dir = self.publisher.dir.clone();
        let aside = move || {
            let aside = dir.quarantine(token.id);
            tracing::warn!(%group, ?aside, "a snapshot that cannot be restored was put aside");
        };
        // If it cannot be put aside, the next start finds it again.
        let _ = self.deps.workers.background.submit(group.get(), Box::new(aside));
        if self.waiting.is_none() {
            self.shared.stats.snapshots.waits.increment();
        }
        let next_ticks = ASK_ELECTIONS * self.config.core.election_ticks_max;
        self.waiting = Some(Waiting { next_ticks, ..Waiting::new() });
        self.shared.set_lifecycle(Lifecycle::Waiting(Arc::from(reason)));
        self.inputs.push(Input::StateLost);
        self.pending.fail_all(&self.shared.unanswered(true));
        self.reads.fail_all(&self.shared.unanswered(false));
    }

    /// Once a tick, while it waits: asks, or takes what has arrived.
    pub(crate) fn seek_snapshot(&mut self) {
        let Some(Waiting { stage: Stage::Asking { offered }, next_ticks, asked }) = &mut self.waiting else {
            return;
        };
        if let Some(offered) = offered
            && self.core.0.has_durable(offered.id)
            && let Some((token, label)) = self.receiver.received_at(offered.id)
        {
            return self.record_waited(token, Box::new(label));
        }
        if *next_ticks > 0 {
            *next_ticks -= 1;
            return;
        }
        *next_ticks = ASK_ELECTIONS * self.config.core.election_ticks_max;
        *asked += 1;
        let turn = *asked;
        self.ask(turn);
    }

    /// The replica that was asked says what it sends.
    pub(crate) fn on_snapshot_offered(&mut self, offer: Option<SnapshotToken>) {
        if let Some(Waiting { stage: Stage::Asking { offered }, .. }) = &mut self.waiting {
            *offered = offer;
        }
    }

    /// The log has recorded the snapshot, or the writer is gone and says so itself.
    pub(crate) fn on_waited_recorded(&mut self, is_recorded: bool) {
        let Some(waiting) = &mut self.waiting else { return };
        let stage = std::mem::replace(&mut waiting.stage, Stage::Asking { offered: None });
        if let Stage::Recording { token, label } = stage
            && is_recorded
        {
            waiting.stage = Stage::Restoring(token);
            self.publisher.note_installed(token);
            self.applier.push([ApplyWork::Restore { token, label }]);
        }
    }

    /// Whether the applier's news is about the snapshot that was waited for: the core knows nothing of it.
    pub(crate) fn is_waited_restored(&mut self, through: Index) -> bool {
        let Some(waiting) = &mut self.waiting else { return false };
        match waiting.stage {
            Stage::Restoring(token) if token.id.index == through => {
                tracing::info!(group = %self.shared.group, index = %through, "the snapshot that was waited for is restored");
                waiting.stage = Stage::Done;
                self.shared.want_restart();
                true
            }
            _ => false,
        }
    }

    /// The leader had to send a snapshot anyway, and it is restored.
    pub(crate) fn end_waiting(&mut self) {
        if self.waiting.is_some() && !self.core.0.is_waiting() {
            self.waiting = None;
            self.shared.set_lifecycle(Lifecycle::Running);
        }
    }

    /// Sends a member a snapshot that its log reaches; without one, publishes one, and says that none is on its way.
    pub(crate) fn on_snapshot_wanted(&mut self, wanted: SnapshotWanted) {
        let SnapshotWanted { from, replica, at_least, reply } = wanted;
        let newest = self.publisher.newest().filter(|newest| newest.id.index >= at_least);
        let is_able = self.core.0.helps_waiting() && self.waiting.is_none() && self.stopping.is_none();
        let offer = match newest {
            Some(token) if is_able => Some(self.help(from, replica, token)),
            _ => None,
        };
        if is_able && offer.is_none() {
            self.publish_if_wanted(at_least);
        }
        drop(reply.send(encode_offer(offer)));
    }

    /// The leader, if there is one, else the other replicas in turn.
    fn whom_to_ask(&self, turn: usize) -> Option<ReplicaId> {
        if let Some(leader) = self.core.0.role().leader {
            return Some(leader);
        }
        let described = self.core.0.descriptor().replicas.iter().map(|replica| replica.replica);
        let known = described.chain(self.addresses.keys().copied()).filter(|known| *known != self.replica);
        let known = known.collect::<BTreeSet<_>>();
        known.iter().nth(turn % known.len().max(1)).copied()
    }

    fn ask(&self, turn: usize) {
        let Some(asked) = self.whom_to_ask(turn) else { return };
        let described = self.core.0.descriptor().replica(asked).map(|replica| replica.node);
        let Some(node) = described.or_else(|| self.addresses.get(&asked).copied()) else { return };
        let status = self.shared.status();
        let question = SnapshotQuestion {
            group: self.shared.group,
            uid: self.core.0.descriptor().uid,
            replica: self.replica,
            incarnation: status.incarnation,
            at_least: self.core.0.status().first.prev(),
        };
        let asked = self.deps.outbound.request(node, SNAPSHOT_WANTED, question.encode(), ASK_DEADLINE);
        let events = self.events.clone();
        tokio::spawn(async move {
            if let Ok(reply) = asked.await {
                drop(events.send(Event::SnapshotOffered(decode_offer(&reply))));
            }
        });
    }

    fn record_waited(&mut self, token: SnapshotToken, label: Box<SnapshotLabel>) {
        let (reply, answer) = oneshot::channel();
        self.log.record_snapshot(token, reply);
        self.waiting = Some(Waiting { stage: Stage::Recording { token, label }, ..Waiting::new() });
        let events = self.events.clone();
        tokio::spawn(async move {
            let is_recorded = matches!(answer.await, Ok(Ok(())));
            drop(events.send(Event::WaitedRecorded { is_recorded }));
        });
    }
}
