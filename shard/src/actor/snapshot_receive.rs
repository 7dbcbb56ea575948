//! Receives the body of a snapshot, piece by piece, into the group's snapshot directory, and verifies it there: against
//! its token, against its own structure, and against the digest in its label. Only then raft hears of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_storage::snapshot::{SnapshotDir, SnapshotLabel, SnapshotSpool, SnapshotToken, SpoolLimits};
use quorate_storage::{EntryId, Error, GroupId, GroupUid, Incarnation, Result};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::actor::shared::Shared;
use crate::actor::snapshot_chunk::{ChunkReply, ChunkRequest};
use crate::actor::spec::GroupDeps;

/// A sender that was not heard of for so long may be replaced by another one of the same position.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Sets the jobs that verify apart from those that write pieces: so a sender that asks is answered meanwhile.
const VERIFY_KEY: u64 = 1 << 63;

/// A group's incoming snapshots: one at a time.
#[derive(Debug)]
pub(crate) struct SnapshotReceiver {
    identity: ReceiverIdentity,
    dir: SnapshotDir,
    limits: SpoolLimits,
    /// A spool nobody sends to any more goes after this time.
    idle_max: Duration,
    deps: Arc<GroupDeps>,
    shared: Arc<Shared>,
    /// Only ever locked by jobs.
    slot: Mutex<Slot>,
    /// Held by the job that verifies.
    verifying: Mutex<()>,
    /// The newest that is complete and in place.
    received: Mutex<Option<(SnapshotToken, SnapshotLabel)>>,
    /// When a sender was heard of last, in milliseconds of monotonic time; `u64::MAX` if none is waited for.
    heard_ms: AtomicU64,
    is_closed: AtomicBool,
}

/// What is being received.
#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    /// With its place among those the node receives.
    Receiving { spool: SnapshotSpool, place: OwnedSemaphorePermit },
    /// All bytes are there.
    Verifying(SnapshotToken),
    /// What had arrived is not what it should be; its sender is still to be told.
    Corrupt(SnapshotToken),
}

/// Whose snapshots a receiver takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReceiverIdentity {
    pub(crate) group: GroupId,
    pub(crate) uid: GroupUid,
    pub(crate) incarnation: Incarnation,
}

impl SnapshotReceiver {
    pub(crate) fn new(
        identity: ReceiverIdentity,
        dir: SnapshotDir,
        (limits, idle_max): (SpoolLimits, Duration),
        deps: Arc<GroupDeps>,
        shared: Arc<Shared>,
    ) -> Arc<Self> {
        Arc::new(Self {
            identity,
            dir,
            limits,
            idle_max,
            deps,
            shared,
            slot: Mutex::default(),
            verifying: Mutex::default(),
            received: Mutex::default(),
            heard_ms: AtomicU64::new(u64::MAX),
            is_closed: AtomicBool::new(false),
        })
    }

    /// Takes a request's body, on a worker, and gives the reply's.
    pub(crate) async fn receive(self: &Arc<Self>, body: Bytes) -> Bytes {
        let receiver = Arc::clone(self);
        let take = move || {
            let request = ChunkRequest::decode(&body);
            request.map_or(ChunkReply::Refused, |request| receiver.take(&request))
        };
        self.on_worker(take).await.unwrap_or(ChunkReply::Refused).encode()
    }

    /// Token and label of the received file of the state that `label` speaks of, whichever replica wrote the file. One of
    /// the same position and another state is forgotten: it is not what raft speaks of.
    pub(crate) fn received(&self, label: &SnapshotLabel) -> Option<(SnapshotToken, SnapshotLabel)> {
        let mut received = self.received.lock();
        let (token, held) = received.as_ref()?;
        if held.is_of_same_state(label) {
            return Some((*token, held.clone()));
        }
        if token.id == label.record.applied {
            tracing::error!(group = %self.identity.group, index = %token.id.index, "a snapshot's file and its message contradict each other");
            self.shared.stats.snapshots.corrupt.increment();
            *received = None;
        }
        None
    }

    /// Token and label of the file of this position, if one was received, verified, and is in place.
    pub(crate) fn received_at(&self, id: EntryId) -> Option<(SnapshotToken, SnapshotLabel)> {
        self.received.lock().as_ref().filter(|(held, _)| held.id == id).cloned()
    }

    /// The file of `token` turned out to be of no use: should it be sent again, it is taken again.
    pub(crate) fn forget(&self, token: SnapshotToken) {
        let mut received = self.received.lock();
        if received.as_ref().is_some_and(|(held, _)| *held == token) {
            *received = None;
        }
    }

    /// Once a tick: drops what nobody sends any more. Never blocks.
    pub(crate) fn expire(self: &Arc<Self>) {
        if self.is_silent_for(self.idle_max) {
            self.heard_ms.store(u64::MAX, Ordering::Relaxed);
            let receiver = Arc::clone(self);
            let job = Box::new(move || receiver.give_up());
            // A pool that has stopped drops the job, and the spool goes with this receiver.
            let _ = self.deps.workers.background.submit(self.identity.group.get(), job);
        }
    }

    /// Takes nothing more; what was received in part is gone, and no file is touched any more, on return.
    pub(crate) async fn close(self: &Arc<Self>) {
        self.is_closed.store(true, Ordering::Release);
        let receiver = Arc::clone(self);
        let job = move || {
            let _verified = receiver.verifying.lock();
            *receiver.slot.lock() = Slot::Empty;
        };
        self.on_worker(job).await;
    }

    fn take(self: &Arc<Self>, request: &ChunkRequest) -> ChunkReply {
        let ReceiverIdentity { group, uid, incarnation } = self.identity;
        let is_for_another = !request.to.is_zero() && request.to != incarnation;
        let is_closed = self.is_closed.load(Ordering::Acquire);
        if request.group != group || request.uid != uid || is_for_another || is_closed {
            return ChunkReply::Refused;
        }
        // Of one position there is one state: what an earlier leader sent is as good as what this one has.
        if self.received_at(request.token.id).is_some() {
            return ChunkReply::Complete;
        }
        let mut slot = self.slot.lock();
        let reply = self.answer(&mut slot, request).unwrap_or_else(|error| {
            tracing::warn!(%group, %error, "refused a piece of a snapshot");
            *slot = Slot::Empty;
            let stats = &self.shared.stats.snapshots;
            stats.refused.add(u64::from(matches!(error, Error::NoRoom { .. } | Error::TooLarge { .. })));
            stats.failed.increment();
            ChunkReply::Refused
        });
        match &*slot {
            // Who is told to wait is not the one that is waited for.
            Slot::Receiving { spool, .. } if *spool.token() != request.token => {}
            Slot::Receiving { .. } => self.heard_ms.store(self.now_ms(), Ordering::Relaxed),
            _ => self.heard_ms.store(u64::MAX, Ordering::Relaxed),
        }
        reply
    }

    fn answer(self: &Arc<Self>, slot: &mut Slot, request: &ChunkRequest) -> Result<ChunkReply> {
        match slot {
            Slot::Receiving { spool, .. } if *spool.token() == request.token => {}
            Slot::Receiving { spool, .. } => {
                // A leader's newer snapshot is worth more than the rest of an older one.
                let is_newer = request.token.id.index > spool.token().id.index;
                if !is_newer && !self.is_silent_for(SILENCE_MAX) {
                    return Ok(ChunkReply::Busy);
                }
                *slot = Slot::Empty;
            }
            Slot::Verifying(token) if *token == request.token => return Ok(ChunkReply::Verifying),
            Slot::Verifying(_) => return Ok(ChunkReply::Busy),
            Slot::Corrupt(token) => {
                let is_it = *token == request.token;
                *slot = Slot::Empty;
                if is_it {
                    return Ok(ChunkReply::Corrupt);
                }
            }
            Slot::Empty => {}
        }
        self.put(slot, request)
    }

    fn put(self: &Arc<Self>, slot: &mut Slot, request: &ChunkRequest) -> Result<ChunkReply> {
        if matches!(slot, Slot::Empty) {
            let Some(place) = self.deps.snapshots.receive() else {
                self.shared.stats.snapshots.refused.increment();
                return Ok(ChunkReply::Busy);
            };
            let spool = self.dir.spool(request.token, self.limits)?;
            *slot = Slot::Receiving { spool, place };
        }
        let Slot::Receiving { spool, .. } = slot else { return Ok(ChunkReply::Busy) };
        if let Some(chunk) = request.chunk().filter(|chunk| chunk.offset == spool.received()) {
            spool.put(&chunk)?;
            self.shared.stats.snapshots.received_bytes.add(chunk.bytes.len() as u64);
        }
        if !spool.is_complete() {
            return Ok(ChunkReply::GoOn { received: spool.received() });
        }
        let verifying = Slot::Verifying(request.token);
        if let Slot::Receiving { spool, place } = std::mem::replace(slot, verifying) {
            let receiver = Arc::clone(self);
            let job = Box::new(move || receiver.verify(spool, place));
            let key = self.identity.group.get() ^ VERIFY_KEY;
            // A pool that has stopped drops the job, and the spool with it.
            let _ = self.deps.workers.background.submit(key, job);
        }
        Ok(ChunkReply::Verifying)
    }

    /// The end of a transfer: puts the file in place if it is sound.
    fn verify(&self, spool: SnapshotSpool, place: OwnedSemaphorePermit) {
        let _verifying = self.verifying.lock();
        if self.is_closed.load(Ordering::Acquire) {
            return;
        }
        let token = *spool.token();
        let mut next = Next { slot: &self.slot, is: Slot::Empty };
        let outcome = self.finish(spool);
        drop(place);
        match outcome {
            Ok(label) => *self.received.lock() = Some((token, label)),
            Err(error) => {
                let is_corrupt = error.is_corruption();
                tracing::error!(group = %self.identity.group, index = %token.id.index, %error, "a received snapshot is refused");
                self.shared.stats.snapshots.failed.increment();
                self.shared.stats.snapshots.corrupt.add(u64::from(is_corrupt));
                if is_corrupt {
                    next.is = Slot::Corrupt(token);
                }
            }
        }
    }

    fn finish(&self, spool: SnapshotSpool) -> Result<SnapshotLabel> {
        let (token, label) = spool.finish()?;
        let mut reader = self.dir.reader(token)?;
        let file = self.dir.path_of(token.id);
        let verified = self.deps.machines.verify_snapshot(&mut reader, &label, &file);
        if verified.as_ref().is_err_and(Error::is_corruption) {
            let aside = self.dir.quarantine(token.id);
            tracing::warn!(group = %self.identity.group, ?aside, "a corrupt snapshot was put aside");
        }
        verified.map(|()| label)
    }

    fn give_up(&self) {
        let mut slot = self.slot.lock();
        if self.heard_ms.load(Ordering::Relaxed) != u64::MAX {
            return; // Its sender is back.
        }
        if let Slot::Receiving { spool, .. } = &*slot {
            let index = spool.token().id.index;
            tracing::warn!(group = %self.identity.group, %index, "a snapshot's sender is gone");
            *slot = Slot::Empty;
            self.shared.stats.snapshots.failed.increment();
        }
    }

    fn is_silent_for(&self, time: Duration) -> bool {
        let heard_ms = self.heard_ms.load(Ordering::Relaxed);
        u128::from(self.now_ms().saturating_sub(heard_ms)) > time.as_millis()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.deps.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    /// Runs `job` on a worker; `None` if the pool has stopped.
    async fn on_worker<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move || drop(reply.send(job())));
        self.deps.workers.background.submit(self.identity.group.get(), job).ok()?;
        answer.await.ok()
    }
}

/// What the slot is after a verification, even one that panics: a sender must not wait for it for ever.
struct Next<'a> {
    slot: &'a Mutex<Slot>,
    is: Slot,
}

impl Drop for Next<'_> {
    fn drop(&mut self) {
        *self.slot.lock() = std::mem::take(&mut self.is);
    }
}
