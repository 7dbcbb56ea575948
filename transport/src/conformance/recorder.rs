//! A handler that writes down what it is told.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_storage::NodeId;
use tokio::sync::Notify;

use crate::conformance::PATIENCE;
use crate::handler::{Handler, Responder};
use crate::message::{RaftMessage, RequestKind};

/// Answers with the request's own body.
pub(crate) const ECHO: RequestKind = RequestKind(1);
/// Keeps the responder and never answers, until [`Recorder::answer_held`].
pub(crate) const HOLD: RequestKind = RequestKind(2);
/// Drops the responder.
pub(crate) const DROP: RequestKind = RequestKind(3);

/// What has been seen so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) messages: Vec<(NodeId, RaftMessage)>,
    pub(crate) unreachable: Vec<(NodeId, RaftMessage)>,
    pub(crate) requests: usize,
    held: VecDeque<Box<dyn Responder>>,
}

/// Records everything.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    seen: Mutex<Seen>,
    changed: Notify,
}

impl Recorder {
    /// Waits until `condition` holds of what was seen.
    pub(crate) async fn until(&self, claim: &str, condition: impl Fn(&Seen) -> bool) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if condition(&self.seen.lock()) {
                    return;
                }
                changed.await;
            }
        };
        let end = tokio::time::timeout(PATIENCE, wait).await;
        assert!(end.is_ok(), "not within {PATIENCE:?}: {claim}");
    }

    /// Looks at what was seen.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock())
    }

    /// Answers everything that was held.
    pub(crate) fn answer_held(&self, body: &Bytes) {
        let held = std::mem::take(&mut self.seen.lock().held);
        for responder in held {
            responder.reply(body.clone());
        }
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock());
        self.changed.notify_waiters();
    }
}

impl Handler for Recorder {
    fn raft(&self, from: NodeId, messages: Vec<RaftMessage>) {
        self.change(|seen| seen.messages.extend(messages.into_iter().map(|message| (from, message))));
    }

    fn request(
        &self,
        _from: NodeId,
        kind: RequestKind,
        body: Bytes,
        _deadline: Duration,
        reply: Box<dyn Responder>,
    ) {
        let mut held = None;
        match kind {
            ECHO => reply.reply(body),
            HOLD => held = Some(reply),
            _ => drop(reply),
        }
        self.change(|seen| {
            seen.requests += 1;
            seen.held.extend(held);
        });
    }

    fn unreachable(&self, node: NodeId, dropped: &[RaftMessage]) {
        self.change(|seen| seen.unreachable.extend(dropped.iter().map(|message| (node, message.clone()))));
    }
}
