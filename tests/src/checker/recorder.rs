//! Notes what concurrent clients do.

use std::sync::Arc;

use parking_lot::Mutex;
use quorate_telemetry::Clock;

use super::history::History;
use super::model::{Action, ClientId, Key, OpId, Reply};

/// A [`History`] that many clients write at the same time. Clones write the same one.
///
/// The order of the events is that in which they get the lock, which a call holds for a clock reading and a push:
/// whoever notes its reply before another one notes its call comes before it.
#[derive(Clone, Debug)]
pub struct Recorder {
    history: Arc<Mutex<History>>,
    clock: Arc<dyn Clock>,
}

impl Recorder {
    /// An empty history with times of `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { history: Arc::default(), clock }
    }

    /// Notes a call. Before the request is sent.
    pub fn invoke(&self, client: ClientId, key: impl Into<Key>, action: Action) -> OpId {
        let key = key.into();
        let mut history = self.history.lock();
        history.invoke(self.clock.monotonic(), client, key, action)
    }

    /// Notes a reply. After it was received.
    pub fn reply(&self, op: OpId, reply: Reply) {
        let mut history = self.history.lock();
        history.reply(self.clock.monotonic(), op, reply);
    }

    /// Notes that an operation had no effect and will have none.
    pub fn fail(&self, op: OpId) {
        let mut history = self.history.lock();
        history.fail(self.clock.monotonic(), op);
    }

    /// Notes that an operation's end will never be known.
    pub fn lose(&self, op: OpId) {
        let mut history = self.history.lock();
        history.lose(self.clock.monotonic(), op);
    }

    /// What was noted until now.
    pub fn history(&self) -> History {
        self.history.lock().clone()
    }
}
