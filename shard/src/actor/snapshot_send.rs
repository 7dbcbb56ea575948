//! Sends a snapshot to a follower: the file in pieces, then the message that was held back for it. The core is always
//! told how it ended, at the latest by the deadline: raft-rs would wait for ever.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::{Incarnation, NodeId, ReplicaId};
use quorate_transport::RaftMessage;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::actor::mailbox::Event;
use crate::actor::run::Actor;
use crate::actor::shared::Shared;
use crate::actor::snapshot_transfer::{SendFailure, Transfer};
use crate::core::Input;

/// How long raft-rs waits, after a failure, before it is told and asks for the next transfer.
const PAUSE: Duration = Duration::from_secs(1);

/// The transfers under way: one to a follower.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    running: BTreeMap<ReplicaId, Running>,
    started: u64,
}

#[derive(Debug)]
struct Running {
    number: u64,
    token: SnapshotToken,
    task: AbortHandle,
}

impl Transfers {
    /// Whether this transfer is the one that counts; it has ended.
    pub(crate) fn end(&mut self, to: ReplicaId, number: u64) -> bool {
        let counts = self.running.get(&to).is_some_and(|running| running.number == number);
        if counts {
            self.running.remove(&to);
        }
        counts
    }

    /// Ends all of them, unreported: whoever does not lead any more has nothing to send.
    pub(crate) fn abort_all(&mut self) {
        while let Some((_, running)) = self.running.pop_first() {
            running.task.abort();
        }
    }

    fn begin(&mut self, to: ReplicaId) -> u64 {
        if let Some(earlier) = self.running.remove(&to) {
            earlier.task.abort();
        }
        self.started += 1;
        self.started
    }
}

impl Actor {
    /// Starts a transfer of the snapshot `message` speaks of.
    pub(crate) fn send_snapshot(&mut self, node: NodeId, message: RaftMessage) {
        let to = message.to;
        let token = message.snapshot.as_deref().and_then(|label| self.publisher.token(label));
        match token {
            Some(token) => self.begin_transfer(node, (to, message.to_incarnation), token, Some(message)),
            None => self.inputs.push(Input::SnapshotSent { to, delivered: false }),
        }
    }

    /// Sends a replica that waits for a snapshot the one of `token`, unless one is on its way to it already. Which is.
    pub(crate) fn help(&mut self, node: NodeId, to: ReplicaId, token: SnapshotToken) -> SnapshotToken {
        if let Some(running) = self.transfers.running.get(&to) {
            return running.token;
        }
        let incarnation = self.core.0.incarnation_of(to).unwrap_or_default();
        self.begin_transfer(node, (to, incarnation), token, None);
        token
    }

    fn begin_transfer(
        &mut self,
        node: NodeId,
        (to, to_incarnation): (ReplicaId, Incarnation),
        token: SnapshotToken,
        message: Option<RaftMessage>,
    ) {
        let number = self.transfers.begin(to);
        let is_rafts = message.is_some();
        let report = Report { events: self.events.clone(), to, number, is_rafts, delivered: false };
        let config = &self.config.snapshots;
        let transfer = Transfer {
            node,
            uid: self.core.0.descriptor().uid,
            to_incarnation,
            token,
            message,
            dir: self.publisher.dir.clone(),
            deps: Arc::clone(&self.deps),
            shared: Arc::clone(&self.shared),
            rng: self.rng.stream(number),
            chunk_bytes: config.chunk_bytes as usize,
        };
        let task = self.tasks.spawn(send(transfer, config.send_deadline, report));
        self.transfers.running.insert(to, Running { number, token, task });
    }

    /// A follower could not use a snapshot. If the file here has rotten it is put aside; either way a fresh one is due.
    pub(crate) fn on_suspect(&mut self, token: SnapshotToken, rot: Option<quorate_storage::Error>) {
        let (group, index) = (self.shared.group, token.id.index);
        match rot {
            Some(error) => self.distrust(token, &error),
            None => {
                tracing::error!(%group, %index, "a follower finds a snapshot corrupt that is intact here");
            }
        }
        self.publisher.trigger.force();
    }
}

/// Tells the actor how a transfer ended, however it ends: a panic and an abort, too.
struct Report {
    events: mpsc::UnboundedSender<Event>,
    to: ReplicaId,
    number: u64,
    is_rafts: bool,
    delivered: bool,
}

impl Drop for Report {
    fn drop(&mut self) {
        let Self { to, number, is_rafts, delivered, .. } = *self;
        drop(self.events.send(Event::SnapshotSent { to, number, is_rafts, delivered }));
    }
}

async fn send(transfer: Transfer, deadline: Duration, mut report: Report) {
    let outcome = within(&transfer, deadline).await;
    let shared: &Shared = &transfer.shared;
    report.delivered = outcome.is_ok();
    let (group, to, index) = (shared.group, report.to, transfer.token.id.index);
    let Err(failure) = outcome else {
        return tracing::info!(%group, %to, %index, "snapshot sent");
    };
    tracing::warn!(%group, %to, %index, %failure, "snapshot not sent");
    shared.stats.snapshots.failed.increment();
    if matches!(failure, SendFailure::Corrupt) {
        let rot = transfer.look_for_rot().await;
        drop(report.events.send(Event::SnapshotSuspect { token: transfer.token, rot }));
    }
    // A receiver that has no place now, or is away, is not asked again at once.
    let jitter_ms = transfer.rng.below(PAUSE.as_secs() * 1_000);
    tokio::time::sleep(PAUSE + Duration::from_millis(jitter_ms)).await;
}

/// The deadline is for the transfer itself, and grows with its bytes: it is the longest they can take at the node's
/// rate. Waiting for a place among the node's transfers has the fixed part for itself.
async fn within(transfer: &Transfer, deadline: Duration) -> Result<(), SendFailure> {
    let budget = &transfer.deps.snapshots;
    let place = tokio::time::timeout(deadline, budget.send()).await;
    let _place = place.map_err(|_elapsed| SendFailure::Crowded)?;
    let deadline = deadline.saturating_add(budget.time_for(transfer.token.bytes));
    tokio::time::timeout(deadline, transfer.run()).await.unwrap_or(Err(SendFailure::Deadline))
}
