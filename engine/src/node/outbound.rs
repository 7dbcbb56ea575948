//! How a group's messages leave this node.

use std::time::Duration;

use bytes::Bytes;
use quorate_shard::actor::{self, Outbound};
use quorate_storage::NodeId;
use quorate_transport::net::BoxFuture;
use quorate_transport::{Lane, RaftMessage, RequestError, RequestKind, Transport};

/// Over the transport.
#[derive(Clone, Debug)]
pub(super) struct NodeOutbound {
    pub(super) transport: Transport,
}

impl Outbound for NodeOutbound {
    fn send(&self, node: NodeId, message: RaftMessage) {
        self.transport.send(node, message);
    }

    fn request(
        &self,
        node: NodeId,
        kind: RequestKind,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, RequestError>> {
        let transport = self.transport.clone();
        // What is short and urgent must not wait behind a megabyte of entries.
        let short =
            [actor::QUARANTINE_NOTICE, actor::SNAPSHOT_WANTED, actor::STATE_DIGEST, actor::DIVERGENCE_NOTICE];
        let lane = if short.contains(&kind) { Lane::Control } else { Lane::Bulk };
        Box::pin(async move { transport.request(node, kind, body, lane, deadline).await })
    }
}
