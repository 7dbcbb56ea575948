//! Receives the body of a snapshot, piece by piece, into the group's snapshot directory.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_storage::snapshot::{SnapshotDir, SnapshotLabel, SnapshotSpool, SnapshotToken, SpoolLimits};
use quorate_storage::{GroupId, GroupUid, Incarnation};
use quorate_telemetry::Workers;
use tokio::sync::oneshot;

use crate::actor::snapshot_chunk::{ChunkReply, ChunkRequest};

/// A group's incoming snapshots: one at a time.
#[derive(Debug)]
pub(crate) struct SnapshotReceiver {
    group: GroupId,
    uid: GroupUid,
    incarnation: Incarnation,
    dir: SnapshotDir,
    limits: SpoolLimits,
    workers: Arc<dyn Workers>,
    /// Only ever locked by the one job that writes a piece.
    spool: Mutex<Option<(SnapshotToken, SnapshotSpool)>>,
    /// The newest that is complete and in place.
    received: Mutex<Option<(SnapshotToken, SnapshotLabel)>>,
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
        limits: SpoolLimits,
        workers: Arc<dyn Workers>,
    ) -> Arc<Self> {
        let ReceiverIdentity { group, uid, incarnation } = identity;
        let (spool, received) = (Mutex::default(), Mutex::default());
        Arc::new(Self { group, uid, incarnation, dir, limits, workers, spool, received })
    }

    /// Takes a request's body, on a worker, and gives the reply's.
    pub(crate) async fn receive(self: &Arc<Self>, body: Bytes) -> Bytes {
        let (reply, answer) = oneshot::channel();
        let receiver = Arc::clone(self);
        let job = move || {
            let outcome = ChunkRequest::decode(&body).map(|request| receiver.take(&request));
            let _ = reply.send(outcome.unwrap_or(ChunkReply::Refused));
        };
        // A pool that has stopped drops the job, and with it the way to answer.
        let _ = self.workers.submit(self.group.get(), Box::new(job));
        answer.await.unwrap_or(ChunkReply::Refused).encode()
    }

    /// The token of the received file whose label this is.
    pub(crate) fn received(&self, label: &SnapshotLabel) -> Option<SnapshotToken> {
        let received = self.received.lock();
        received.as_ref().filter(|(_, held)| held == label).map(|(token, _)| *token)
    }

    fn take(&self, request: &ChunkRequest) -> ChunkReply {
        let is_for_another = !request.to.is_zero() && request.to != self.incarnation;
        if request.group != self.group || request.uid != self.uid || is_for_another {
            return ChunkReply::Refused;
        }
        if self.received.lock().as_ref().is_some_and(|(token, _)| *token == request.token) {
            return ChunkReply::Complete;
        }
        let mut slot = self.spool.lock();
        let outcome = self.put(&mut slot, request);
        outcome.unwrap_or_else(|error| {
            tracing::warn!(group = %self.group, %error, "refused a piece of a snapshot");
            *slot = None;
            ChunkReply::Refused
        })
    }

    fn put(
        &self,
        slot: &mut Option<(SnapshotToken, SnapshotSpool)>,
        request: &ChunkRequest,
    ) -> quorate_storage::Result<ChunkReply> {
        // Another snapshot than the one being received: its leader is a newer one.
        if slot.as_ref().is_none_or(|(token, _)| *token != request.token) {
            *slot = None;
            *slot = Some((request.token, self.dir.spool(request.token, self.limits)?));
        }
        let Some((_, spool)) = slot else { return Ok(ChunkReply::Refused) };
        if let Some(chunk) = request.chunk().filter(|chunk| chunk.offset == spool.received()) {
            spool.put(&chunk)?;
        }
        if !spool.is_complete() {
            return Ok(ChunkReply::GoOn { received: spool.received() });
        }
        let Some((_, spool)) = slot.take() else { return Ok(ChunkReply::Refused) };
        *self.received.lock() = Some(spool.finish()?);
        Ok(ChunkReply::Complete)
    }
}
