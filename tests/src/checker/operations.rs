//! Events put together to operations, key by key.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::history::{Event, History, HistoryError, What};
use super::model::{Action, ClientId, Guard, Key, OpId, Reply, Value};

/// Where an event stands in its history.
pub(super) type Position = usize;

/// A call and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number.
    pub op: OpId,
    /// Who called.
    pub client: ClientId,
    /// What was asked for.
    pub action: Action,
    /// When.
    pub called: Moment,
    /// When and with what it ended; `None` if nobody knows.
    pub end: Option<(Moment, Reply)>,
}

/// An event's place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Its place among all events. Decides what precedes what.
    pub(super) position: Position,
    /// Its time.
    nanos: u64,
}

impl Operation {
    /// Where it ended.
    pub(super) fn ended(&self) -> Option<Position> {
        self.end.as_ref().map(|(moment, _)| moment.position)
    }
}

/// The operations of each key in the order of their calls, without those that definitely failed.
///
/// # Errors
/// [`HistoryError`], but for those of its text form.
pub(super) fn by_key(history: &History) -> Result<BTreeMap<Key, Vec<Operation>>, HistoryError> {
    let ends = ends(history.events())?;
    let mut keys: BTreeMap<Key, Vec<Operation>> = BTreeMap::new();
    for (position, event) in history.events().iter().enumerate() {
        let What::Invoke { client, key, action } = &event.what else { continue };
        let end = match ends.get(&event.op) {
            Some((_, What::Fail)) => continue,
            Some((moment, What::Return { reply })) => Some((*moment, reply.clone())),
            Some((_, What::Lose | What::Invoke { .. })) | None => None,
        };
        if is_refused_without_guard(action, end.as_ref()) {
            return Err(HistoryError::RefusedWithoutGuard { op: event.op });
        }
        let called = Moment { position, nanos: event.nanos };
        let operation = Operation { op: event.op, client: *client, action: action.clone(), called, end };
        match keys.get_mut(key) {
            Some(operations) => operations.push(operation),
            None => drop(keys.insert(key.clone(), vec![operation])),
        }
    }
    for (key, operations) in &keys {
        check_written_once(key, operations)?;
    }
    Ok(keys)
}

fn ends(events: &[Event]) -> Result<BTreeMap<OpId, (Moment, &What)>, HistoryError> {
    let mut ends = BTreeMap::new();
    let mut calls = 0;
    for (position, Event { nanos, op, what }) in events.iter().enumerate() {
        if matches!(what, What::Invoke { .. }) {
            calls += 1;
            continue;
        }
        if op.0 >= calls {
            return Err(HistoryError::NeverCalled { op: *op });
        }
        if ends.insert(*op, (Moment { position, nanos: *nanos }, what)).is_some() {
            return Err(HistoryError::EndedTwice { op: *op });
        }
    }
    Ok(ends)
}

fn is_refused_without_guard(action: &Action, end: Option<&(Moment, Reply)>) -> bool {
    let is_free = matches!(action, Action::Get | Action::Change { only_if: Guard::Always, .. });
    is_free && matches!(end, Some((_, Reply::Refused(_))))
}

fn check_written_once(key: &Key, operations: &[Operation]) -> Result<(), HistoryError> {
    let mut writers: BTreeMap<&Value, OpId> = BTreeMap::new();
    for operation in operations {
        let Some(value) = operation.action.written() else { continue };
        if let Some(first) = writers.insert(value, operation.op) {
            let (key, value) = (key.clone(), value.clone());
            return Err(HistoryError::WrittenTwice { key, value, first, second: operation.op });
        }
    }
    Ok(())
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { op, client, action, called, end } = self;
        write!(f, "client {:<3} op {:<6} {called:>12} ", client.0, op.0)?;
        match end {
            Some((ended, reply)) => write!(f, "to {ended:>12}  {action} -> {reply}"),
            None => write!(f, "to {:>12}  {action} -> reply lost", "?"),
        }
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = Duration::from_nanos(self.nanos).as_secs_f64() * 1_000.0;
        f.pad(&format!("{millis:.3}ms"))
    }
}
