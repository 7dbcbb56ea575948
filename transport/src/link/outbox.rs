//! What waits for one lane of one node, and the requests that wait for their reply.
//!
//! Senders push under a short lock and wake the writer only when it found nothing before; the writer takes
//! everything that fits one write. So a busy lane costs no wakeup per message.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_storage::NodeId;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::handler::RequestError;
use crate::message::{RaftMessage, RequestKind};
use crate::wire::{CallReply, CallRequest, ReplyStatus, message_bytes};

/// When a caller whose request found no room should try again.
pub(crate) const BUSY_RETRY_AFTER: Duration = Duration::from_millis(20);

/// Most dropped messages kept to be reported one by one; more are only counted.
const DROPPED_MAX: usize = 1_024;

/// A request that has been queued: its number, and where its end arrives.
#[derive(Debug)]
pub(crate) struct PendingRequest {
    pub(crate) id: u64,
    pub(crate) end: oneshot::Receiver<Result<Bytes, RequestError>>,
}

/// Limits of one outbox; see [`crate::Config`].
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_field_names, reason = "each is the largest allowed of what its name says")]
pub(crate) struct OutboxLimits {
    pub(crate) messages_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) in_flight_max: usize,
    pub(crate) frame_bytes_max: usize,
}

/// Why a message was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    Full,
    Oversized,
    Closed,
}

/// Room made at first for what one write takes; a write seldom carries more messages.
const TAKEN_GUESS: usize = 256;

/// What one write carries.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) ping: bool,
    pub(crate) messages: Vec<RaftMessage>,
    pub(crate) requests: Vec<CallRequest>,
}

impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        !self.ping && self.messages.is_empty() && self.requests.is_empty()
    }
}

#[derive(Debug)]
struct QueuedRequest {
    id: u64,
    kind: RequestKind,
    deadline: Instant,
    body: Bytes,
}

#[derive(Debug)]
struct InFlight {
    end: oneshot::Sender<Result<Bytes, RequestError>>,
    is_sent: bool,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<RaftMessage>,
    requests: VecDeque<QueuedRequest>,
    /// Of messages and requests together.
    bytes: usize,
    ping: bool,
    /// A connection is wanted although nothing waits.
    is_wanted: bool,
    /// By ascending number. Invariant: every queued request has its place here.
    in_flight: BTreeMap<u64, InFlight>,
    last_id: u64,
    dropped: Vec<RaftMessage>,
    is_closed: bool,
}

/// The queue of one lane to one node.
#[derive(Debug)]
pub(crate) struct Outbox {
    node: NodeId,
    limits: OutboxLimits,
    state: Mutex<State>,
    /// Something was queued where nothing was.
    filled: Notify,
    /// Something was dropped where nothing was.
    dropped: Notify,
}

impl Outbox {
    pub(crate) fn new(node: NodeId, limits: OutboxLimits) -> Self {
        Self { node, limits, state: Mutex::default(), filled: Notify::new(), dropped: Notify::new() }
    }

    /// Queues a message, or drops it and sees that it is reported.
    pub(crate) fn push_message(&self, message: RaftMessage) -> Result<(), Rejected> {
        let bytes = message_bytes(&message);
        let mut state = self.state.lock();
        if let Err(rejected) = self.admit(&state, bytes) {
            self.drop_message(&mut state, message);
            return Err(rejected);
        }
        self.fill(&mut state, |state| {
            state.bytes += bytes;
            state.messages.push_back(message);
        });
        Ok(())
    }

    /// Queues a request.
    ///
    /// # Errors
    /// [`RequestError::TooLarge`], [`RequestError::Busy`]; [`RequestError::Unreachable`] after a stop.
    pub(crate) fn push_request(
        &self,
        kind: RequestKind,
        body: Bytes,
        deadline: Instant,
    ) -> Result<PendingRequest, RequestError> {
        let bytes = CallRequest::OVERHEAD_BYTES + body.len();
        let mut state = self.state.lock();
        self.admit(&state, bytes).map_err(|rejected| self.request_error(rejected, &body))?;
        if state.in_flight.len() >= self.limits.in_flight_max {
            return Err(self.request_error(Rejected::Full, &body));
        }
        let (sender, end) = oneshot::channel();
        state.last_id += 1;
        let id = state.last_id;
        state.in_flight.insert(id, InFlight { end: sender, is_sent: false });
        self.fill(&mut state, |state| {
            state.bytes += bytes;
            state.requests.push_back(QueuedRequest { id, kind, deadline, body });
        });
        Ok(PendingRequest { id, end })
    }

    /// Asks for a ping with the next write.
    pub(crate) fn push_ping(&self) {
        let mut state = self.state.lock();
        self.fill(&mut state, |state| state.ping = true);
    }

    /// Asks for a connection although there is nothing to send.
    pub(crate) fn want_connection(&self) {
        let mut state = self.state.lock();
        self.fill(&mut state, |state| state.is_wanted = true);
    }

    /// Forgets a request whose caller has gone. Says whether it had been sent; `None` if it has ended.
    pub(crate) fn forget(&self, id: u64) -> Option<bool> {
        let mut state = self.state.lock();
        let in_flight = state.in_flight.remove(&id)?;
        if !in_flight.is_sent
            && let Ok(at) = state.requests.binary_search_by_key(&id, |request| request.id)
            && let Some(request) = state.requests.remove(at)
        {
            state.bytes -= CallRequest::OVERHEAD_BYTES + request.body.len();
        }
        Some(in_flight.is_sent)
    }

    /// Waits until there is a reason to have a connection.
    pub(crate) async fn demand(&self) {
        loop {
            {
                let mut state = self.state.lock();
                state.ping = false;
                if state.is_wanted || !state.messages.is_empty() || !state.requests.is_empty() {
                    state.is_wanted = false;
                    return;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Waits until something was queued after nothing was.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Takes what waits, up to about `bytes_max`: requests first, up to half of it, then messages. Takes at
    /// least one of each that waits.
    pub(crate) fn take(&self, bytes_max: usize) -> Outgoing {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.is_wanted = false;
        let ping = std::mem::take(&mut state.ping);
        let (requests, request_bytes) = take_requests(state, bytes_max / 2);
        let (messages, message_bytes) = take_messages(state, bytes_max.saturating_sub(request_bytes));
        state.bytes -= request_bytes + message_bytes;
        Outgoing { ping, messages, requests }
    }

    /// Hands a reply to its caller. Says whether there still was one.
    pub(crate) fn complete(&self, reply: CallReply) -> bool {
        let Some(in_flight) = self.state.lock().in_flight.remove(&reply.id) else { return false };
        let result = match reply.status {
            ReplyStatus::Done => Ok(reply.body),
            ReplyStatus::Busy => Err(RequestError::Busy { node: self.node, retry_after: reply.retry_after }),
            ReplyStatus::Lost => Err(RequestError::NoReply(self.node)),
        };
        in_flight.end.send(result).is_ok()
    }

    /// The connection broke: requests that had been sent end without a reply.
    pub(crate) fn fail_sent(&self) {
        let mut state = self.state.lock();
        let (sent, queued) =
            std::mem::take(&mut state.in_flight).into_iter().partition(|(_, in_flight)| in_flight.is_sent);
        state.in_flight = queued;
        drop(state);
        let sent: BTreeMap<u64, InFlight> = sent;
        for in_flight in sent.into_values() {
            // A caller that has gone needs no answer.
            drop(in_flight.end.send(Err(RequestError::NoReply(self.node))));
        }
    }

    /// The node cannot be reached: everything that waits is dropped and reported. Returns the number of
    /// messages.
    pub(crate) fn fail_queued(&self) -> usize {
        let mut state = self.state.lock();
        let messages = std::mem::take(&mut state.messages);
        let requests = std::mem::take(&mut state.requests);
        let unsent: Vec<InFlight> =
            requests.iter().filter_map(|request| state.in_flight.remove(&request.id)).collect();
        state.bytes = 0;
        let count = messages.len();
        for message in messages {
            self.drop_message(&mut state, message);
        }
        drop(state);
        for in_flight in unsent {
            drop(in_flight.end.send(Err(RequestError::Unreachable(self.node))));
        }
        count
    }

    /// Reports messages that had been taken and were not written.
    pub(crate) fn give_up(&self, messages: Vec<RaftMessage>) {
        let mut state = self.state.lock();
        for message in messages {
            self.drop_message(&mut state, message);
        }
    }

    /// Waits for dropped messages and takes them.
    pub(crate) async fn take_dropped(&self) -> Vec<RaftMessage> {
        loop {
            let dropped = self.take_dropped_now();
            if !dropped.is_empty() {
                return dropped;
            }
            self.dropped.notified().await;
        }
    }

    /// Takes dropped messages without waiting.
    pub(crate) fn take_dropped_now(&self) -> Vec<RaftMessage> {
        std::mem::take(&mut self.state.lock().dropped)
    }

    /// Takes nothing any more.
    pub(crate) fn close(&self) {
        self.state.lock().is_closed = true;
    }

    fn admit(&self, state: &State, bytes: usize) -> Result<(), Rejected> {
        let count = state.messages.len() + state.requests.len();
        if bytes > self.limits.frame_bytes_max {
            Err(Rejected::Oversized)
        } else if state.is_closed {
            Err(Rejected::Closed)
        } else if count > 0
            && (count >= self.limits.messages_max || state.bytes + bytes > self.limits.bytes_max)
        {
            Err(Rejected::Full)
        } else {
            Ok(())
        }
    }

    fn request_error(&self, rejected: Rejected, body: &Bytes) -> RequestError {
        match rejected {
            Rejected::Full => RequestError::Busy { node: self.node, retry_after: BUSY_RETRY_AFTER },
            Rejected::Closed => RequestError::Unreachable(self.node),
            Rejected::Oversized => RequestError::TooLarge {
                bytes: body.len() as u64,
                bytes_max: (self.limits.frame_bytes_max - CallRequest::OVERHEAD_BYTES) as u64,
            },
        }
    }

    fn fill(&self, state: &mut State, push: impl FnOnce(&mut State)) {
        let was_idle =
            state.messages.is_empty() && state.requests.is_empty() && !state.ping && !state.is_wanted;
        push(state);
        if was_idle {
            self.filled.notify_one();
        }
    }

    fn drop_message(&self, state: &mut State, mut message: RaftMessage) {
        if state.dropped.is_empty() {
            self.dropped.notify_one();
        }
        if state.dropped.len() < DROPPED_MAX {
            // Who hears of it needs the address, not the payload.
            message.entries = Vec::new();
            state.dropped.push(message);
        }
    }
}

fn take_requests(state: &mut State, bytes_max: usize) -> (Vec<CallRequest>, usize) {
    let mut taken = Vec::new();
    let mut bytes = 0;
    if state.requests.is_empty() {
        return (taken, bytes);
    }
    let now = Instant::now();
    while let Some(next) = state.requests.front() {
        let next_bytes = CallRequest::OVERHEAD_BYTES + next.body.len();
        if bytes > 0 && bytes + next_bytes > bytes_max {
            break;
        }
        let Some(QueuedRequest { id, kind, deadline, body }) = state.requests.pop_front() else { break };
        bytes += next_bytes;
        if let Some(in_flight) = state.in_flight.get_mut(&id) {
            in_flight.is_sent = true;
            taken.push(CallRequest { id, kind, deadline: deadline.saturating_duration_since(now), body });
        }
    }
    (taken, bytes)
}

fn take_messages(state: &mut State, bytes_max: usize) -> (Vec<RaftMessage>, usize) {
    let mut taken = Vec::with_capacity(state.messages.len().min(TAKEN_GUESS));
    let mut bytes = 0;
    while let Some(next) = state.messages.front() {
        let next_bytes = message_bytes(next);
        if bytes > 0 && bytes + next_bytes > bytes_max {
            break;
        }
        bytes += next_bytes;
        taken.extend(state.messages.pop_front());
    }
    (taken, bytes)
}
