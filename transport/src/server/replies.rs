//! Replies that wait to be written to one accepted connection, and the responder a handler answers with.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::handler::Responder;
use crate::link::BUSY_RETRY_AFTER;
use crate::stats::{Stats, add};
use crate::wire::{CallReply, Ping, ReplyStatus};

#[derive(Debug, Default)]
struct State {
    replies: VecDeque<CallReply>,
    bytes: usize,
    /// A ping to answer.
    ping: Option<Ping>,
    /// Requests taken whose reply has not been written.
    served: usize,
}

/// What one write carries.
#[derive(Debug, Default)]
pub(crate) struct OutgoingReplies {
    /// To be answered by a pong.
    pub(crate) ping: Option<Ping>,
    pub(crate) replies: Vec<CallReply>,
}

impl OutgoingReplies {
    pub(crate) fn is_empty(&self) -> bool {
        self.ping.is_none() && self.replies.is_empty()
    }
}

/// The replies of one connection.
#[derive(Debug)]
pub(crate) struct Replies {
    state: Mutex<State>,
    filled: Notify,
    served_max: usize,
    bytes_max: usize,
    frame_bytes_max: usize,
    stats: Arc<Stats>,
}

impl Replies {
    pub(crate) fn new(config: &crate::Config, stats: Arc<Stats>) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            served_max: config.requests_served_max,
            bytes_max: config.reply_bytes_max,
            frame_bytes_max: config.frame_bytes_max,
            stats,
        }
    }

    /// Makes room for one more request and gives its responder. Without room the caller is told busy; if
    /// even that would pile up (a caller that sends and does not read), this says so by `Err`.
    pub(crate) fn begin(self: &Arc<Self>, id: u64) -> Result<Option<Box<dyn Responder>>, Overrun> {
        let has_room = {
            let mut state = self.state.lock();
            state.served += 1;
            // Above twice the bound nobody reads the refusals.
            if state.served > self.served_max.saturating_mul(2) {
                return Err(Overrun);
            }
            state.served <= self.served_max
        };
        let responder = ReplyOnce { id, replies: Some(self.clone()) };
        if has_room {
            return Ok(Some(Box::new(responder)));
        }
        drop(responder);
        Ok(None)
    }

    /// Asks for a pong with the next write.
    pub(crate) fn push_pong(&self, ping: Ping) {
        let mut state = self.state.lock();
        let was_idle = state.replies.is_empty() && state.ping.is_none();
        state.ping = Some(ping);
        drop(state);
        if was_idle {
            self.filled.notify_one();
        }
    }

    /// Waits until something was queued after nothing was.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes what waits, up to about `bytes_max`; at least one reply.
    pub(crate) fn take(&self, bytes_max: usize) -> OutgoingReplies {
        let mut state = self.state.lock();
        let ping = state.ping.take();
        let mut replies = Vec::new();
        let mut bytes = 0;
        while let Some(next) = state.replies.front() {
            let next_bytes = CallReply::OVERHEAD_BYTES + next.body.len();
            if bytes > 0 && bytes + next_bytes > bytes_max {
                break;
            }
            bytes += next_bytes;
            replies.extend(state.replies.pop_front());
        }
        state.bytes -= bytes;
        OutgoingReplies { ping, replies }
    }

    /// These replies have been written: their requests are over.
    pub(crate) fn written(&self, count: usize) {
        self.state.lock().served -= count;
    }

    fn push(&self, mut reply: CallReply) {
        let mut state = self.state.lock();
        let bytes = CallReply::OVERHEAD_BYTES + reply.body.len();
        if bytes > self.frame_bytes_max || state.bytes + bytes > self.bytes_max && !state.replies.is_empty() {
            // It has been carried out, so "busy" would be a lie.
            reply.status = ReplyStatus::Lost;
            reply.body = Bytes::new();
            add(&self.stats.replies_lost, 1);
        }
        let was_idle = state.replies.is_empty() && state.ping.is_none();
        state.bytes += CallReply::OVERHEAD_BYTES + reply.body.len();
        state.replies.push_back(reply);
        drop(state);
        if was_idle {
            self.filled.notify_one();
        }
    }
}

/// The other side sends requests and does not read what they come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overrun;

/// Answers one request of a connection.
#[derive(Debug)]
struct ReplyOnce {
    id: u64,
    /// None once answered.
    replies: Option<Arc<Replies>>,
}

impl Responder for ReplyOnce {
    fn reply(mut self: Box<Self>, body: Bytes) {
        if let Some(replies) = self.replies.take() {
            let retry_after = Duration::ZERO;
            replies.push(CallReply { id: self.id, status: ReplyStatus::Done, retry_after, body });
        }
    }
}

impl Drop for ReplyOnce {
    fn drop(&mut self) {
        if let Some(replies) = self.replies.take() {
            let retry_after = BUSY_RETRY_AFTER;
            replies.push(CallReply {
                id: self.id,
                status: ReplyStatus::Busy,
                retry_after,
                body: Bytes::new(),
            });
        }
    }
}
