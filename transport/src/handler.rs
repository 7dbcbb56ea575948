//! What the transport calls when something arrives, and how requests end.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::NodeId;

use crate::message::{RaftMessage, RequestKind};

/// How a request to another node can fail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request never left this node: nothing happened there.
    #[error("node {0} cannot be reached")]
    Unreachable(NodeId),
    /// The connection broke, or the deadline passed, after the request had been sent: it may have been
    /// carried out.
    #[error("no reply from node {0}")]
    NoReply(NodeId),
    /// The other node (or the queue to it) has no room; nothing happened.
    #[error("node {node} is busy")]
    Busy {
        /// The node.
        node: NodeId,
        /// When to try again.
        retry_after: Duration,
    },
    /// The body is over the frame cap; nothing was sent.
    #[error("a request of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// Size of the body.
        bytes: u64,
        /// The cap.
        bytes_max: u64,
    },
}

impl RequestError {
    /// Whether the request may have been carried out.
    pub fn is_maybe_done(&self) -> bool {
        matches!(self, Self::NoReply(_))
    }
}

/// Sends the one reply to a request. Dropped unused, it answers busy, so a caller never waits in vain.
pub trait Responder: fmt::Debug + Send {
    /// Sends the reply. Never blocks; a reply to a broken connection is dropped.
    fn reply(self: Box<Self>, body: Bytes);
}

/// Receives what arrives at a node. Methods are called on the connection's task: they must not block.
pub trait Handler: fmt::Debug + Send + Sync + 'static {
    /// Raft messages of any groups, in the order they were sent on their lane.
    fn raft(&self, from: NodeId, messages: Vec<RaftMessage>);

    /// A request; `deadline` is what the caller still waits.
    #[expect(clippy::too_many_arguments, reason = "five plain values of one arrival")]
    fn request(
        &self,
        from: NodeId,
        kind: RequestKind,
        body: Bytes,
        deadline: Duration,
        reply: Box<dyn Responder>,
    );

    /// Messages to `node` were dropped: its queue is full, or it cannot be reached. Called on a task of the
    /// transport, never from within a send. Their entries are taken out; of more than a thousand at a time
    /// only the first are named.
    fn unreachable(&self, node: NodeId, dropped: &[RaftMessage]);
}
