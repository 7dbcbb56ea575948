//! What happened, in order.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::model::{Action, ClientId, Key, OpId, Reply, Value};

/// Calls and their ends in the order in which they happened.
///
/// One operation precedes another if it ended before the other was called: by the order of the events. Times are for
/// the reader only, so many events may have the same one, as they do in virtual time. For the verdict to mean
/// something a call must be noted before the request is sent, and its end after the reply was received.
///
/// As text it has a line of JSON for each event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    events: Vec<Event>,
    calls: u32,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it was noted: nanoseconds of a monotonic clock.
    pub nanos: u64,
    /// The operation.
    pub op: OpId,
    /// What happened to it.
    #[serde(flatten)]
    pub what: What,
}

/// What happens to an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// It was called.
    Invoke {
        /// By whom.
        client: ClientId,
        /// The key.
        key: Key,
        /// What was asked for.
        action: Action,
    },
    /// It ended with a reply.
    Return {
        /// The reply.
        reply: Reply,
    },
    /// It ended with an error that says that it had no effect and will have none: it is no operation at all.
    Fail,
    /// Nobody waits for its reply any more. It stays open for ever, as one without any end does.
    Lose,
}

/// Why something is no history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A line is no event.
    #[error("line {line}: {source}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// Calls are not numbered in their order.
    #[error("operation {} is called where {expected} is next", op.0)]
    CalledOutOfOrder {
        /// The operation.
        op: OpId,
        /// What should be called.
        expected: u32,
    },
    /// Something ends that was not called.
    #[error("operation {} ends, but was not called", op.0)]
    NeverCalled {
        /// The operation.
        op: OpId,
    },
    /// Something ends twice.
    #[error("operation {} ends twice", op.0)]
    EndedTwice {
        /// The operation.
        op: OpId,
    },
    /// A change that asks for nothing cannot be refused; if it failed, [`What::Fail`] says so.
    #[error("operation {} is refused, but it had no condition", op.0)]
    RefusedWithoutGuard {
        /// The operation.
        op: OpId,
    },
    /// A value is written by two operations to one key: nobody could tell whose a reader saw.
    #[error("operations {} and {} both write {value} to {key}", first.0, second.0)]
    WrittenTwice {
        /// The key.
        key: Key,
        /// The value.
        value: Value,
        /// One of them.
        first: OpId,
        /// The other.
        second: OpId,
    },
}

impl History {
    /// Notes a call. Before the request is sent.
    ///
    /// # Panics
    /// After 2^32 calls.
    pub fn invoke(&mut self, at: Duration, client: ClientId, key: impl Into<Key>, action: Action) -> OpId {
        let op = OpId(self.calls);
        self.calls = self.calls.checked_add(1).expect("fewer calls than 2^32");
        self.note(at, op, What::Invoke { client, key: key.into(), action });
        op
    }

    /// Notes a reply. After it was received.
    pub fn reply(&mut self, at: Duration, op: OpId, reply: Reply) {
        self.note(at, op, What::Return { reply });
    }

    /// Notes that an operation had no effect and will have none.
    pub fn fail(&mut self, at: Duration, op: OpId) {
        self.note(at, op, What::Fail);
    }

    /// Notes that an operation's end will never be known. Saying nothing says the same.
    pub fn lose(&mut self, at: Duration, op: OpId) {
        self.note(at, op, What::Lose);
    }

    /// The events, in their order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// One line of JSON for each event, each with its end of line.
    pub fn to_lines(&self) -> impl Iterator<Item = String> {
        self.events.iter().map(|event| {
            let line = serde_json::to_string(event);
            line.unwrap_or_else(|cause| unreachable!("an event is plain data: {cause}")) + "\n"
        })
    }

    /// Reads what [`History::to_lines`] gives. Empty lines are skipped.
    ///
    /// # Errors
    /// [`HistoryError::Line`], [`HistoryError::CalledOutOfOrder`].
    pub fn from_lines(text: &str) -> Result<Self, HistoryError> {
        let mut history = Self::default();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let event: Event =
                serde_json::from_str(line).map_err(|source| HistoryError::Line { line: at + 1, source })?;
            if matches!(event.what, What::Invoke { .. }) {
                if event.op.0 != history.calls {
                    return Err(HistoryError::CalledOutOfOrder { op: event.op, expected: history.calls });
                }
                history.calls += 1;
            }
            history.events.push(event);
        }
        Ok(history)
    }

    fn note(&mut self, at: Duration, op: OpId, what: What) {
        let nanos = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        self.events.push(Event { nanos, op, what });
    }
}
