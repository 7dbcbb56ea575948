//! What a group asks of the node it lives on: to carry its messages to other nodes.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::{GroupId, NodeId};
use quorate_transport::net::BoxFuture;
use quorate_transport::{RaftMessage, RequestError, RequestKind};

/// The request that carries one chunk of a snapshot file. The node hands its body to
/// [`crate::actor::GroupHandle::receive_snapshot`] of the group named by
/// [`snapshot_chunk_group`], and sends back what that returns.
pub const SNAPSHOT_CHUNK: RequestKind = RequestKind(1);

/// Carries a group's messages. Implemented by the node over its transport; in tests by a loop-back.
pub trait Outbound: fmt::Debug + Send + Sync + 'static {
    /// Queues `message` for the group's replica on `node`. Never blocks. May drop it, and then says so
    /// through [`crate::actor::GroupHandle::unreachable`].
    fn send(&self, node: NodeId, message: RaftMessage);

    /// Sends a request and waits for the reply, up to `deadline`.
    fn request(
        &self,
        node: NodeId,
        kind: RequestKind,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, RequestError>>;
}

/// The group a [`SNAPSHOT_CHUNK`] request is for, if its body is one.
pub fn snapshot_chunk_group(body: &[u8]) -> Option<GroupId> {
    body.first_chunk().map(|bytes| GroupId(u64::from_le_bytes(*bytes)))
}
