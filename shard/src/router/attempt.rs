//! One attempt: a call carried out here, or by one other node.

use std::time::Duration;

use quorate_storage::{GroupDescriptor, GroupId, NodeId};
use quorate_transport::{Lane, RequestError};

use super::Router;
use crate::actor::ReadLevel;
use crate::error::{Error, Result};
use crate::rpc::{self, Call, Led, Reply, Request};

/// How long a node that is not connected may take to answer anything at all, before the next one is asked.
const REACH_TIMEOUT: Duration = Duration::from_secs(1);

impl Router {
    /// Carries out `call` on `node`, and remembers whom the answer proves to lead.
    pub(super) async fn attempt(
        &self,
        node: NodeId,
        descriptor: &GroupDescriptor,
        call: &Call,
        deadline: Duration,
    ) -> Result<Reply> {
        let group = descriptor.group;
        let outcome = if node == self.parts.node {
            let handle = self.parts.registry.get(group).ok_or(Error::NoSuchGroup { group })?;
            rpc::serve(&handle, descriptor.range_epoch, call.clone(), self.patience(call, deadline)).await
        } else {
            self.reach(node, group, deadline).await?;
            self.ask(node, descriptor, call, self.patience(call, deadline)).await
        };
        if let Ok(reply) = &outcome {
            self.note_leader(node, descriptor, call, reply);
        }
        outcome
    }

    /// What an answer proves: all but local reads are answered by leaders only.
    fn note_leader(&self, node: NodeId, descriptor: &GroupDescriptor, call: &Call, reply: &Reply) {
        let group = descriptor.group;
        match call {
            Call::Transfer(_) => self.hints.forget(group, node),
            call if call.is_local_read() => {}
            _ => self.hints.set(group, node),
        }
        if let Reply::Applied { id, .. } = reply {
            self.parts.leaders.claim(node, Led { group, uid: descriptor.uid, term: id.term });
        }
    }

    /// Makes sure that `node` answers before something is entrusted to it. A node that is down must neither
    /// take the whole deadline nor make the outcome of a write uncertain.
    async fn reach(&self, node: NodeId, group: GroupId, deadline: Duration) -> Result<()> {
        let transport = &self.parts.transport;
        if transport.peer_up(node) {
            return Ok(());
        }
        // Cheap to answer: nobody's catalog is newer.
        let question = Request::Catalog { have: Some(u64::MAX) }.encode().map_err(Error::Invalid)?;
        let timeout = self.left(deadline).min(REACH_TIMEOUT);
        match transport.request(node, rpc::KIND, question, Lane::Control, timeout).await {
            Ok(_) => Ok(()),
            Err(RequestError::Busy { retry_after, .. }) => Err(Error::Busy { group, retry_after }),
            Err(_) => Err(Error::NotLeader { group, hint: None }),
        }
    }

    async fn ask(
        &self,
        node: NodeId,
        descriptor: &GroupDescriptor,
        call: &Call,
        timeout: Duration,
    ) -> Result<Reply> {
        let group = descriptor.group;
        let request = Request::Group { group, epoch: descriptor.range_epoch, call: call.clone() };
        let request = request.encode().map_err(Error::Invalid)?;
        let reply = self.parts.transport.request(node, rpc::KIND, request, Lane::Control, timeout).await;
        let body = reply.map_err(|error| refused(error, group, call))?;
        match Reply::decode(&body) {
            Ok(Reply::Failed(error)) => Err(error),
            Ok(reply) if reply.answers(call) => Ok(reply),
            // Something answered, but not this: a write may have been carried out.
            _ if call.is_write() => Err(Error::Indeterminate { group }),
            Ok(_) => Err(Error::Read(quorate_storage::Error::Malformed { what: "reply: another kind" })),
            Err(malformed) => Err(Error::Read(malformed)),
        }
    }

    /// How long one attempt may take: a replica that cannot prove its freshness leaves time for another.
    fn patience(&self, call: &Call, deadline: Duration) -> Duration {
        let left = self.left(deadline);
        match call.level() {
            Some(ReadLevel::BoundedStale { .. }) => left / 2,
            _ => left,
        }
    }

    fn left(&self, deadline: Duration) -> Duration {
        deadline.saturating_sub(self.parts.clock.monotonic())
    }
}

/// What a failed request means for the call: a write that may have arrived is never called a failure.
fn refused(error: RequestError, group: GroupId, call: &Call) -> Error {
    match error {
        error if error.is_maybe_done() && call.is_write() => Error::Indeterminate { group },
        RequestError::Busy { retry_after, .. } => Error::Busy { group, retry_after },
        RequestError::TooLarge { bytes, bytes_max } => {
            Error::Invalid(quorate_storage::Error::TooLarge { what: "request", bytes, bytes_max })
        }
        _ => Error::NotLeader { group, hint: None },
    }
}
