//! What a group asks of the node it lives on: to carry its messages to other nodes.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::{GroupId, NodeId};
use quorate_transport::net::BoxFuture;
use quorate_transport::{RaftMessage, RequestError, RequestKind};

/// The request that carries one chunk of a snapshot file.
pub const SNAPSHOT_CHUNK: RequestKind = RequestKind(1);

/// The request that tells a group's other replicas that its leader is quarantined. Short: it belongs on the control
/// lane. Its reply is empty.
pub const QUARANTINE_NOTICE: RequestKind = RequestKind(3);

/// The request for entries that a replica's log has lost. Its reply may be long.
pub const LOG_ENTRIES: RequestKind = RequestKind(4);

/// The request of a replica that waits for a snapshot, to its leader. Short, like its reply: the file comes by
/// [`SNAPSHOT_CHUNK`].
pub const SNAPSHOT_WANTED: RequestKind = RequestKind(6);

/// The request for the digest of a replica's state at an index.
pub const STATE_DIGEST: RequestKind = RequestKind(8);

/// The request that tells a replica that its state is not what the majority has. Its reply is empty.
pub const DIVERGENCE_NOTICE: RequestKind = RequestKind(9);

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

/// The group a request from group to group is for, if it is one. The node hands its body to
/// [`crate::actor::GroupHandle::serve_group`] of that group, and sends back what that returns.
pub fn group_of_request(kind: RequestKind, body: &[u8]) -> Option<GroupId> {
    let kinds =
        [SNAPSHOT_CHUNK, QUARANTINE_NOTICE, LOG_ENTRIES, SNAPSHOT_WANTED, STATE_DIGEST, DIVERGENCE_NOTICE];
    kinds.contains(&kind).then_some(())?;
    // Every such body begins with its group.
    body.first_chunk().map(|bytes| GroupId(u64::from_le_bytes(*bytes)))
}
