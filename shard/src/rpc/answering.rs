//! The one reply a request gets, whatever becomes of the task that works on it.

use quorate_storage::GroupId;
use quorate_transport::Responder;

use super::{Reply, Request};
use crate::error::Error;

/// Holds the responder of a request while it is carried out. A responder that is dropped says "busy", which
/// means "nothing happened": of a write whose task has panicked or was cancelled that could be a lie, and the
/// router would send it again. Dropped unanswered, this says [`Error::Indeterminate`] for a write.
#[derive(Debug)]
pub struct Answering {
    responder: Option<Box<dyn Responder>>,
    /// The group, if the request is a write.
    writes: Option<GroupId>,
}

impl Answering {
    /// Begins to carry out `request`.
    pub fn new(request: &Request, responder: Box<dyn Responder>) -> Self {
        let writes = match request {
            Request::Group { group, call, .. } if call.is_write() => Some(*group),
            Request::Group { .. } | Request::Catalog { .. } | Request::Leaders(_) => None,
        };
        Self { responder: Some(responder), writes }
    }

    /// Answers. Never blocks.
    pub fn reply(mut self, reply: Reply) {
        let body = reply.encode();
        if let Some(responder) = self.responder.take() {
            responder.reply(body);
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let (Some(group), Some(responder)) = (self.writes, self.responder.take()) {
            responder.reply(Reply::Failed(Error::Indeterminate { group }).encode());
        }
    }
}
