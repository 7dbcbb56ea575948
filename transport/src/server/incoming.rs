//! A connection another node opened: reads its messages and requests, writes replies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use quorate_storage::NodeId;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::time::{MissedTickBehavior, interval};

use crate::error::{Error, Result};
use crate::handshake::Established;
use crate::message::Lane;
use crate::net::Connection;
use crate::server::registry::Registry;
use crate::server::replies::{Overrun, Replies};
use crate::shared::{Shared, wall_ms};
use crate::stats::add;
use crate::wire::{
    CallRequest, Frame, FrameKind, FrameReader, FrameWriter, Ping, Pong, WRITE_BYTES, decode_batch,
};

/// Serves one accepted connection.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    shared: &'a Shared,
    /// Whom everything on this connection is attributed to.
    from: NodeId,
    replies: Arc<Replies>,
}

impl<'a> Incoming<'a> {
    pub(crate) fn new(shared: &'a Shared, from: NodeId) -> Self {
        let replies = Arc::new(Replies::new(&shared.config, shared.stats.clone()));
        Self { shared, from, replies }
    }

    /// Runs until the connection ends; `Ok` only when the transport stops.
    pub(crate) async fn run(&self, connection: Established, registry: &Registry) -> Result<()> {
        let Established { lane, reader, writer, .. } = connection;
        let place = registry.enter(self.from, lane);
        let heard = AtomicU64::new(0);
        tokio::select! {
            biased;
            () = place.replaced.cancelled() => Err(Error::Replaced),
            end = self.read(reader, &heard) => end,
            end = self.write(writer) => end,
            end = self.watch(lane, &heard) => end,
        }
    }

    async fn read(
        &self,
        mut reader: FrameReader<ReadHalf<Box<dyn Connection>>>,
        heard: &AtomicU64,
    ) -> Result<()> {
        loop {
            while let Some(frame) = reader.take_buffered()? {
                self.take(&frame)?;
            }
            let bytes = reader.fill().await?;
            heard.fetch_add(bytes as u64, Ordering::Relaxed);
            add(&self.shared.stats.bytes_received, bytes);
        }
    }

    fn take(&self, frame: &Frame) -> Result<()> {
        match frame.kind {
            FrameKind::RaftBatch => {
                let messages = decode_batch(&frame.body)?;
                add(&self.shared.stats.messages_received, messages.len());
                self.shared.handler.raft(self.from, messages);
            }
            FrameKind::Request => self.take_request(&frame.body)?,
            FrameKind::Ping => {
                self.replies.push_pong(Ping::decode(&frame.body)?);
            }
            kind => return Err(kind.unexpected().into()),
        }
        Ok(())
    }

    fn take_request(&self, body: &Bytes) -> Result<()> {
        let CallRequest { id, kind, deadline, body } = CallRequest::decode(body)?;
        match self.replies.begin(id) {
            Ok(Some(responder)) => {
                add(&self.shared.stats.requests_received, 1);
                self.shared.handler.request(self.from, kind, body, deadline, responder);
                Ok(())
            }
            Ok(None) => {
                add(&self.shared.stats.requests_refused_busy, 1);
                Ok(())
            }
            Err(Overrun) => Err(Error::Overrun),
        }
    }

    async fn write(&self, mut writer: FrameWriter<WriteHalf<Box<dyn Connection>>>) -> Result<()> {
        let draining = &self.shared.draining;
        loop {
            let outgoing = self.replies.take(WRITE_BYTES);
            if outgoing.is_empty() {
                if draining.is_cancelled() {
                    return writer.close().await;
                }
                tokio::select! {
                    biased;
                    () = self.replies.filled() => {}
                    () = draining.cancelled() => {}
                }
                tokio::task::yield_now().await;
                continue;
            }
            if let Some(ping) = outgoing.ping {
                let pong = Pong { ping_wall_ms: ping.wall_ms, wall_ms: wall_ms(&*self.shared.clock) };
                writer.push(FrameKind::Pong, |body| pong.encode(body));
            }
            for reply in &outgoing.replies {
                writer.push(FrameKind::Reply, |body| reply.encode(body));
            }
            let bytes = writer.write().await?;
            self.replies.written(outgoing.replies.len());
            add(&self.shared.stats.writes, 1);
            add(&self.shared.stats.bytes_sent, bytes);
        }
    }

    /// A control lane on which not even pings arrive is dead. A bulk lane may be silent as long as it likes;
    /// it is replaced when its node comes back.
    async fn watch(&self, lane: Lane, heard: &AtomicU64) -> Result<()> {
        if lane != Lane::Control {
            return std::future::pending().await;
        }
        let config = &self.shared.config;
        let mut ticks = interval(config.ping_interval * config.silent_intervals_max);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard_before = u64::MAX;
        loop {
            ticks.tick().await;
            let heard_now = heard.load(Ordering::Relaxed);
            if heard_now == heard_before {
                return Err(Error::Silent);
            }
            heard_before = heard_now;
        }
    }
}
