//! One snapshot on its way to one replica: pieces, each asked for by the receiver, at the node's rate. A request that
//! fails on the way is tried again from where the receiver is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::snapshot::{SnapshotChunk, SnapshotChunks, SnapshotDir, SnapshotToken};
use quorate_storage::{GroupUid, Incarnation, NodeId};
use quorate_telemetry::Rng;
use quorate_transport::{RaftMessage, RequestError};
use tokio::sync::oneshot;

use crate::actor::on_worker::STEP_BYTES;
use crate::actor::outbound::SNAPSHOT_CHUNK;
use crate::actor::shared::Shared;
use crate::actor::snapshot_chunk::{ChunkReply, ChunkRequest};
use crate::actor::spec::GroupDeps;

/// For one piece.
const CHUNK_DEADLINE: Duration = Duration::from_secs(5);
/// Before the first new attempt; doubled with each further one.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest wait between two attempts.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What a transfer works with.
pub(crate) struct Transfer {
    pub(crate) node: NodeId,
    pub(crate) uid: GroupUid,
    /// The receiver's directory, zero if it is not known.
    pub(crate) to_incarnation: Incarnation,
    pub(crate) token: SnapshotToken,
    /// Raft's own, held back until the file has arrived.
    pub(crate) message: Option<RaftMessage>,
    pub(crate) dir: SnapshotDir,
    pub(crate) deps: Arc<GroupDeps>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) chunk_bytes: usize,
}

/// Why a snapshot was not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum SendFailure {
    /// This node sends as many as it may.
    #[error("too many snapshots are being sent")]
    Crowded,
    /// The receiving node receives as many as it may.
    #[error("the receiver has no place for it now")]
    Busy,
    /// It is not wanted there: too large, no room, another replica.
    #[error("the receiver does not take it")]
    Refused,
    /// What arrived is not what its token or its label says.
    #[error("the receiver found it corrupt")]
    Corrupt,
    /// It took too long.
    #[error("the deadline passed")]
    Deadline,
    /// The file here cannot be read.
    #[error(transparent)]
    Read(quorate_storage::Error),
    /// The workers have stopped.
    #[error("the group is ending")]
    Ending,
    /// The other side speaks another language.
    #[error("an answer that is none")]
    Malformed,
    /// A piece is over the transport's cap.
    #[error(transparent)]
    TooLarge(RequestError),
}

impl Transfer {
    /// On `Ok` the other side has the whole file, verified, and the message is on its way behind it.
    pub(crate) async fn run(&self) -> Result<(), SendFailure> {
        let (mut file, mut piece) = (None::<Arc<SnapshotChunks>>, None);
        let mut backoff = BACKOFF_MIN;
        let mut was_broken = false;
        loop {
            let Some(reply) = self.send(piece.take()).await? else {
                was_broken = true;
                self.pause(&mut backoff).await;
                continue;
            };
            match reply {
                ChunkReply::GoOn { received } => {
                    self.note_progress(&mut was_broken, received);
                    backoff = BACKOFF_MIN;
                    let chunks = match &file {
                        Some(chunks) => Arc::clone(chunks),
                        None => Arc::clone(file.insert(self.open().await?)),
                    };
                    piece = Some(self.read(chunks, received).await?);
                }
                ChunkReply::Verifying => self.pause(&mut backoff).await,
                ChunkReply::Complete => break,
                ChunkReply::Busy => return Err(SendFailure::Busy),
                ChunkReply::Refused => return Err(SendFailure::Refused),
                ChunkReply::Corrupt => return Err(SendFailure::Corrupt),
            }
        }
        if let Some(message) = &self.message {
            self.deps.outbound.send(self.node, message.clone());
        }
        Ok(())
    }

    /// What is wrong with the file here, if anything is; then it has been put aside.
    pub(crate) async fn look_for_rot(&self) -> Option<quorate_storage::Error> {
        let (dir, token) = (self.dir.clone(), self.token);
        let mut back = match self.on_worker(move || dir.read_back(token)).await {
            Ok(back) => back,
            Err(failure) => return self.put_aside(failure).await,
        };
        loop {
            self.deps.snapshots.take_bytes(back.left().min(STEP_BYTES)).await;
            let step = move || back.step(STEP_BYTES).map(|is_done| (back, is_done));
            match self.on_worker(step).await {
                Ok((_, true)) => return None,
                Ok((stepped, false)) => back = stepped,
                Err(failure) => return self.put_aside(failure).await,
            }
        }
    }

    async fn put_aside(&self, failure: SendFailure) -> Option<quorate_storage::Error> {
        let SendFailure::Read(error) = failure else { return None };
        if !error.is_corruption() {
            return None;
        }
        let (dir, id) = (self.dir.clone(), self.token.id);
        if let Err(failure) = self.on_worker(move || dir.quarantine(id)).await {
            tracing::warn!(group = %self.shared.group, %failure, "a corrupt snapshot was not put aside");
        }
        Some(error)
    }

    fn note_progress(&self, was_broken: &mut bool, received: u64) {
        let is_resumed = std::mem::take(was_broken) && received > 0;
        self.shared.stats.snapshots.resumed.add(u64::from(is_resumed));
    }

    /// Sends a piece, or asks how far the receiver is. `None` if that did not get through.
    async fn send(&self, piece: Option<SnapshotChunk>) -> Result<Option<ChunkReply>, SendFailure> {
        let (offset, crc, bytes) =
            piece.map_or((0, 0, Bytes::new()), |piece| (piece.offset, piece.crc, piece.bytes));
        self.deps.snapshots.take_bytes(bytes.len() as u64).await;
        self.shared.stats.snapshots.sent_bytes.add(bytes.len() as u64);
        let request = ChunkRequest {
            group: self.shared.group,
            uid: self.uid,
            to: self.to_incarnation,
            token: self.token,
            offset,
            crc,
            bytes,
        };
        let outbound = &self.deps.outbound;
        match outbound.request(self.node, SNAPSHOT_CHUNK, request.encode(), CHUNK_DEADLINE).await {
            Ok(reply) => ChunkReply::decode(&reply).map(Some).ok_or(SendFailure::Malformed),
            Err(error @ RequestError::TooLarge { .. }) => Err(SendFailure::TooLarge(error)),
            // Broken, late or crowded out: the receiver is asked how far it is.
            Err(_) => Ok(None),
        }
    }

    /// Waits between half of `backoff` and all of it, and doubles it.
    async fn pause(&self, backoff: &mut Duration) {
        let half = *backoff / 2;
        let jitter_us = self.rng.below(u64::try_from(half.as_micros()).unwrap_or(1).max(1));
        tokio::time::sleep(half + Duration::from_micros(jitter_us)).await;
        *backoff = (*backoff * 2).min(BACKOFF_MAX);
    }

    async fn open(&self) -> Result<Arc<SnapshotChunks>, SendFailure> {
        let (dir, token) = (self.dir.clone(), self.token);
        self.on_worker(move || dir.chunks(&token).map(Arc::new)).await
    }

    async fn read(&self, file: Arc<SnapshotChunks>, offset: u64) -> Result<SnapshotChunk, SendFailure> {
        let bytes_max = self.chunk_bytes;
        let piece = self.on_worker(move || file.read_chunk(offset, bytes_max)).await?;
        // Behind the end there is none: the receiver counts wrong.
        piece.ok_or(SendFailure::Malformed)
    }

    async fn on_worker<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> quorate_storage::Result<T> + Send + 'static,
    ) -> Result<T, SendFailure> {
        let (reply, answer) = oneshot::channel();
        let key = self.shared.group.get();
        let submitted = self.deps.workers.background.submit(key, Box::new(move || drop(reply.send(job()))));
        submitted.map_err(|_stopped| SendFailure::Ending)?;
        answer.await.map_err(|_dropped| SendFailure::Ending)?.map_err(SendFailure::Read)
    }
}
