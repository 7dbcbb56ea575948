//! How a group's messages leave this node.

use std::time::Duration;

use bytes::Bytes;
use quorate_shard::actor::Outbound;
use quorate_storage::NodeId;
use quorate_transport::net::BoxFuture;
use quorate_transport::{Lane, RaftMessage, RequestError, RequestKind, Transport};

/// Over the transport; a node without a listener has nobody to talk to.
#[derive(Clone, Debug)]
pub(super) struct NodeOutbound {
    pub(super) transport: Option<Transport>,
}

impl Outbound for NodeOutbound {
    fn send(&self, node: NodeId, message: RaftMessage) {
        if let Some(transport) = &self.transport {
            transport.send(node, message);
        }
    }

    fn request(
        &self,
        node: NodeId,
        kind: RequestKind,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, RequestError>> {
        let transport = self.transport.clone();
        Box::pin(async move {
            match transport {
                Some(transport) => transport.request(node, kind, body, Lane::Bulk, deadline).await,
                None => Err(RequestError::Unreachable(node)),
            }
        })
    }
}
