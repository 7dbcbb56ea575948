//! Streams a snapshot's file to a follower, then sends the message that was held back for it. The core is always told
//! how it ended, at the latest by the deadline: raft-rs would wait for ever.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::NodeId;
use quorate_storage::snapshot::{SnapshotChunk, SnapshotChunks, SnapshotDir, SnapshotToken};
use quorate_telemetry::Workers;
use quorate_transport::RaftMessage;
use tokio::sync::oneshot;

use crate::actor::mailbox::Event;
use crate::actor::outbound::{Outbound, SNAPSHOT_CHUNK};
use crate::actor::run::Actor;
use crate::actor::snapshot_chunk::{ChunkReply, ChunkRequest};
use crate::core::Input;

/// For one piece.
const CHUNK_DEADLINE: Duration = Duration::from_secs(5);

impl Actor {
    /// Starts a transfer of the snapshot `message` speaks of.
    pub(crate) fn send_snapshot(&mut self, node: NodeId, message: RaftMessage) {
        let to = message.to;
        let token = message.snapshot.as_deref().and_then(|label| self.publisher.token(label));
        let Some(token) = token else {
            return self.inputs.push(Input::SnapshotSent { to, delivered: false });
        };
        let transfer = Transfer {
            node,
            token,
            message,
            dir: self.publisher.dir.clone(),
            outbound: Arc::clone(&self.deps.outbound),
            workers: Arc::clone(&self.deps.workers.background),
            chunk_bytes: self.config.snapshots.chunk_bytes as usize,
        };
        let (events, deadline) = (self.events.clone(), self.config.snapshots.send_deadline);
        let group = self.shared.group;
        self.tasks.spawn(async move {
            let outcome = tokio::time::timeout(deadline, transfer.run()).await;
            let delivered = matches!(outcome, Ok(Some(())));
            tracing::info!(%group, %to, index = %token.id.index, delivered, "snapshot transfer ended");
            drop(events.send(Event::SnapshotSent { to, delivered }));
        });
    }
}

struct Transfer {
    node: NodeId,
    token: SnapshotToken,
    message: RaftMessage,
    dir: SnapshotDir,
    outbound: Arc<dyn Outbound>,
    workers: Arc<dyn Workers>,
    chunk_bytes: usize,
}

impl Transfer {
    /// `Some` once the other side has the whole file.
    async fn run(self) -> Option<()> {
        let mut chunks: Option<Arc<SnapshotChunks>> = None;
        let mut piece = None;
        loop {
            match self.send(piece.take()).await? {
                ChunkReply::Refused => return None,
                ChunkReply::Complete => break,
                ChunkReply::GoOn { received } => {
                    let file = match chunks.take() {
                        Some(file) => file,
                        None => self.open().await?,
                    };
                    piece = Some(self.read(Arc::clone(&file), received).await?);
                    chunks = Some(file);
                }
            }
        }
        self.outbound.send(self.node, self.message);
        Some(())
    }

    /// Sends a piece, or asks how far the receiver is.
    async fn send(&self, piece: Option<SnapshotChunk>) -> Option<ChunkReply> {
        let (offset, crc, bytes) =
            piece.map_or((0, 0, Bytes::new()), |piece| (piece.offset, piece.crc, piece.bytes));
        let request = ChunkRequest {
            group: self.message.group,
            uid: self.message.uid,
            to: self.message.to_incarnation,
            token: self.token,
            offset,
            crc,
            bytes,
        };
        let reply = self.outbound.request(self.node, SNAPSHOT_CHUNK, request.encode(), CHUNK_DEADLINE).await;
        ChunkReply::decode(&reply.ok()?)
    }

    async fn open(&self) -> Option<Arc<SnapshotChunks>> {
        let (dir, token) = (self.dir.clone(), self.token);
        self.on_worker(move || dir.chunks(&token).map(Arc::new)).await
    }

    async fn read(&self, file: Arc<SnapshotChunks>, offset: u64) -> Option<SnapshotChunk> {
        let bytes_max = self.chunk_bytes;
        self.on_worker(move || file.read_chunk(offset, bytes_max)).await?
    }

    async fn on_worker<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> quorate_storage::Result<T> + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let key = self.message.group.get();
        self.workers.submit(key, Box::new(move || drop(reply.send(job())))).ok()?;
        match answer.await.ok()? {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::warn!(group = %self.message.group, %error, "cannot send a snapshot");
                None
            }
        }
    }
}
