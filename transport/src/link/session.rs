//! A connection this node opened: writes the outbox, reads replies, pings.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use quorate_telemetry::Clock;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::time::{Duration, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::handshake::Established;
use crate::link::{Outbox, Outgoing};
use crate::message::{Lane, RaftMessage};
use crate::net::Connection;
use crate::shared::{wall_ahead_ms, wall_ms};
use crate::stats::{Stats, add};
use crate::wire::{
    CallReply, FrameKind, FrameReader, FrameWriter, Ping, Pong, WRITE_BYTES, encode_batch, message_bytes,
};

/// The bulk lane is pinged, and given up, so many times later than the control lane.
const BULK_PING_INTERVALS: u32 = 20;

/// What a session works with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session<'a> {
    pub(crate) outbox: &'a Outbox,
    pub(crate) stats: &'a Stats,
    /// Told to finish: write what waits, then end.
    pub(crate) draining: &'a CancellationToken,
    pub(crate) clock: &'a dyn Clock,
    /// The other node's wall clock minus our monotonic one: what does not move when our wall clock jumps.
    pub(crate) peer_clock_ms: &'a AtomicI64,
    pub(crate) ping_interval: Duration,
    pub(crate) silent_intervals_max: u32,
    pub(crate) frame_bytes_max: usize,
}

impl Session<'_> {
    /// Runs until the connection ends; `Ok` only after a drain.
    pub(crate) async fn run(&self, connection: Established) -> Result<()> {
        let Established { lane, reader, writer, .. } = connection;
        let heard = AtomicU64::new(0);
        tokio::select! {
            biased;
            end = self.read_replies(reader, &heard) => end,
            end = self.write_outbox(writer) => end,
            end = self.keep_alive(lane, &heard) => end,
        }
    }

    async fn read_replies(
        &self,
        mut reader: FrameReader<ReadHalf<Box<dyn Connection>>>,
        heard: &AtomicU64,
    ) -> Result<()> {
        loop {
            while let Some(frame) = reader.take_buffered()? {
                match frame.kind {
                    FrameKind::Reply => self.complete(&frame.body)?,
                    FrameKind::Pong => self.note_offset(Pong::decode(&frame.body)?),
                    kind => return Err(kind.unexpected().into()),
                }
            }
            let bytes = reader.fill().await?;
            heard.fetch_add(bytes as u64, Ordering::Relaxed);
            add(&self.stats.bytes_received, bytes);
        }
    }

    fn complete(&self, body: &Bytes) -> Result<()> {
        if !self.outbox.complete(CallReply::decode(body)?) {
            add(&self.stats.replies_late, 1);
        }
        Ok(())
    }

    fn note_offset(&self, pong: Pong) {
        let offset_ms = pong.offset_ms(wall_ms(self.clock));
        self.peer_clock_ms.store(offset_ms.saturating_add(wall_ahead_ms(self.clock)), Ordering::Relaxed);
    }

    async fn write_outbox(&self, mut writer: FrameWriter<WriteHalf<Box<dyn Connection>>>) -> Result<()> {
        loop {
            let outgoing = self.outbox.take(WRITE_BYTES);
            if outgoing.is_empty() {
                if self.draining.is_cancelled() {
                    return writer.close().await;
                }
                tokio::select! {
                    biased;
                    () = self.outbox.filled() => {}
                    () = self.draining.cancelled() => {}
                }
                // Whoever else is about to send gets its messages into the same write.
                tokio::task::yield_now().await;
                continue;
            }
            self.write(&mut writer, outgoing).await?;
        }
    }

    async fn write(
        &self,
        writer: &mut FrameWriter<WriteHalf<Box<dyn Connection>>>,
        outgoing: Outgoing,
    ) -> Result<()> {
        if outgoing.ping {
            let ping = Ping { wall_ms: wall_ms(self.clock) };
            writer.push(FrameKind::Ping, |body| ping.encode(body));
        }
        for request in &outgoing.requests {
            writer.push(FrameKind::Request, |body| request.encode(body));
        }
        let mut unwritten = Unwritten { outbox: self.outbox, stats: self.stats, messages: outgoing.messages };
        // One frame for all messages, unless the cap asks for more.
        let mut rest = unwritten.messages.as_slice();
        while !rest.is_empty() {
            let (batch, behind) = rest.split_at(fitting(rest, self.frame_bytes_max));
            writer.push(FrameKind::RaftBatch, |body| encode_batch(batch, body));
            add(&self.stats.batches_sent, 1);
            rest = behind;
        }
        let bytes = writer.write().await?;
        let messages = std::mem::take(&mut unwritten.messages);
        add(&self.stats.messages_sent, messages.len());
        add(&self.stats.requests_sent, outgoing.requests.len());
        add(&self.stats.writes, 1);
        add(&self.stats.bytes_sent, bytes);
        Ok(())
    }

    /// Pings, and watches that anything is heard. The bulk lane ends with the control lane; by itself it waits much
    /// longer, because behind its backlog a pong may take long. (But not for ever: something between the nodes may have
    /// forgotten this one connection, and what is sent on it is never answered.)
    async fn keep_alive(&self, lane: Lane, heard: &AtomicU64) -> Result<()> {
        let ping_intervals = if lane == Lane::Control { 1 } else { BULK_PING_INTERVALS };
        let mut ticks = interval(self.ping_interval * ping_intervals);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent_intervals = 0;
        let mut heard_before = u64::MAX;
        loop {
            ticks.tick().await;
            let heard_now = heard.load(Ordering::Relaxed);
            silent_intervals = if heard_now == heard_before { silent_intervals + 1 } else { 0 };
            if silent_intervals >= self.silent_intervals_max {
                return Err(Error::Silent);
            }
            heard_before = heard_now;
            self.outbox.push_ping();
        }
    }
}

/// How many of the first messages fit one frame; at least one, which the outbox has checked alone.
fn fitting(messages: &[RaftMessage], frame_bytes_max: usize) -> usize {
    let mut bytes = 0;
    let fits = |message: &&RaftMessage| {
        bytes += message_bytes(message);
        bytes <= frame_bytes_max
    };
    messages.iter().take_while(fits).count().max(1)
}

/// Messages taken from the outbox that may not have left: dropped, they are reported.
#[derive(Debug)]
struct Unwritten<'a> {
    outbox: &'a Outbox,
    stats: &'a Stats,
    messages: Vec<RaftMessage>,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        if !self.messages.is_empty() {
            add(&self.stats.messages_dropped, self.messages.len());
            self.outbox.give_up(std::mem::take(&mut self.messages));
        }
    }
}
