//! What clients ask for and what they are told, for the checker's verdict.

use std::time::Duration;

use bytes::Bytes;

use super::invariants::{Checked, Law, broken};
use crate::checker::{self, Before, ClientId, Limits, OpId, Reply, Verdict};

/// What a client asks of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Its value.
    Get,
    /// Sets it.
    Put(Bytes),
    /// Sets it if it has the value the client saw last; absent if that is `None`.
    Swap { expected: Option<Bytes>, new: Bytes },
    /// Removes it.
    Delete,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The value read.
    Value(Option<Bytes>),
    /// It is done.
    Done,
    /// The key had another value, this one: nothing was changed.
    Other(Option<Bytes>),
}

/// All operations of a run.
#[derive(Debug, Default)]
pub(crate) struct History {
    checked: checker::History,
    /// Reads that were answered.
    pub(crate) reads: u64,
    /// Writes of which nobody will know.
    pub(crate) open_ended: u64,
}

impl Action {
    /// Whether it can change anything.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self, Self::Get)
    }
}

impl History {
    /// A client calls.
    pub(crate) fn invoke(&mut self, at: Duration, client: usize, key: &Bytes, action: &Action) -> OpId {
        let client = ClientId(u32::try_from(client).unwrap_or(u32::MAX));
        let action = match action {
            Action::Get => checker::Action::Get,
            Action::Put(value) => checker::Action::put(text(value)),
            Action::Delete => checker::Action::delete(),
            Action::Swap { expected, new } => {
                let expected = expected.as_ref().map(|value| text(value).into());
                checker::Action::compare_and_set(expected, Some(text(new).into()))
            }
        };
        self.checked.invoke(at, client, text(key), action)
    }

    /// It returns.
    pub(crate) fn returns(&mut self, at: Duration, op: OpId, told: &Told) {
        let value = |value: &Option<Bytes>| value.as_ref().map(|value| text(value).into());
        let reply = match told {
            Told::Value(read) => {
                self.reads += 1;
                Reply::found(value(read))
            }
            Told::Done => Reply::done(),
            Told::Other(other) => Reply::Refused(Before::Was(value(other))),
        };
        self.checked.reply(at, op, reply);
    }

    /// It ends without a result, and without an effect.
    pub(crate) fn void(&mut self, at: Duration, op: OpId) {
        self.checked.fail(at, op);
    }

    /// Nobody waits for its end any more: it may have happened, or may still happen.
    pub(crate) fn lose(&mut self, at: Duration, op: OpId) {
        self.open_ended += 1;
        self.checked.lose(at, op);
    }

    /// Whether one copy of the data could have given all these answers.
    pub(crate) fn judge(&self) -> Checked {
        match checker::check(&self.checked, &Limits::default()) {
            Ok(report) => match report.verdict {
                Verdict::Linearizable => Ok(()),
                Verdict::Violation(violation) => broken(Law::Linearizable, violation),
                Verdict::Undecided { key, why } => {
                    broken(Law::Linearizable, format!("{key:?} was given up: {why}"))
                }
            },
            Err(error) => broken(Law::Linearizable, error),
        }
    }
}

/// Keys and values of clients are text.
fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
