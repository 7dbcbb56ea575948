//! From a key's history that no order explains to a small part of it that still has none.
//!
//! Only what an explanation could do without is taken away, so that whatever is left is a violation of the whole, too:
//!
//! - *what happens behind some point*: a prefix of what can be explained can be explained, by the order as far as it is
//!   needed;
//! - *an operation with a reply that changes nothing*: without it the rest of the order sees what it saw;
//! - in a plain key ([`Problem::is_plain`]) *an unconditional put together with all reads of its value*, if no guard
//!   names it: they stand in a row, and whatever stands behind them accepts every state, so also the one before.

use std::collections::{BTreeMap, BTreeSet};

use super::Limits;
use super::model::{Action, Before, Guard, Key, Reply, Value};
use super::operations::{Operation, Position};
use super::problem::Problem;
use super::search::{Ending, search};
use super::violation::{Held, Violation};

/// Searches that are spent on making a violation small.
const ATTEMPTS_MAX: usize = 1_000;

/// The violation in `operations`, of which a search within `limits` has found that there is one.
pub(super) fn explain(key: Key, operations: &[Operation], limits: &Limits) -> Violation {
    let shortest = shortest_prefix(operations, limits);
    let mut shrinking = Shrinking { operations: shortest, limits, attempts: 0 };
    shrinking.run();
    let operations = shrinking.operations;
    let (refused, held) = violated(&operations, limits).expect("only what is a violation was kept");
    Violation { key, operations, refused, held }
}

/// The operation whose end nothing explains, and what the key could hold.
fn violated(operations: &[Operation], limits: &Limits) -> Option<(usize, Vec<Held>)> {
    // Told where it shows, not where it could have been foreseen.
    let mut problem = Problem::new(operations);
    let foreseen = std::mem::take(&mut problem.last_needed);
    let mut ending = search(&problem, limits).ending;
    if matches!(ending, Ending::GaveUp(_)) {
        problem.last_needed = foreseen;
        ending = search(&problem, limits).ending;
    }
    let Ending::Refused { closed, held } = ending else { return None };
    let call = problem.closed[closed].call;
    let refused = operations.iter().position(|operation| operation.called.position == call);
    let held = held.into_iter().map(|state| problem.value_of(state).map_or(Held::Unnamed, Held::Value));
    Some((refused.expect("it is one of them"), held.collect()))
}

fn shortest_prefix(operations: &[Operation], limits: &Limits) -> Vec<Operation> {
    let mut ends: Vec<Position> = operations.iter().filter_map(Operation::ended).collect();
    ends.sort_unstable();
    let fewest = ends.partition_point(|&end| violated(&prefix(operations, end), limits).is_none());
    // Behind the last end only if a search gave up on a part, but not on the whole.
    ends.get(fewest).map_or_else(|| operations.to_vec(), |&end| prefix(operations, end))
}

/// What was known at `last`.
fn prefix(operations: &[Operation], last: Position) -> Vec<Operation> {
    let called = operations.iter().filter(|operation| operation.called.position < last);
    let cut = called.cloned().map(|mut operation| {
        operation.end.take_if(|(moment, _)| moment.position > last);
        operation
    });
    cut.collect()
}

struct Shrinking<'a> {
    operations: Vec<Operation>,
    limits: &'a Limits,
    attempts: usize,
}

impl Shrinking<'_> {
    /// Takes away as much at a time as possible: half of what may go, then a quarter, at last single units.
    fn run(&mut self) {
        let mut part = self.units().len();
        while part > 0 {
            let mut from = 0;
            loop {
                let units = self.units();
                if from >= units.len() || self.attempts == ATTEMPTS_MAX {
                    break;
                }
                let to = units.len().min(from + part);
                if !self.try_without(&units[from..to].concat()) {
                    from = to;
                }
            }
            part /= 2;
        }
    }

    /// Whether the rest is still a violation. If so, it is kept.
    fn try_without(&mut self, places: &[usize]) -> bool {
        self.attempts += 1;
        let places: BTreeSet<usize> = places.iter().copied().collect();
        let rest = self.operations.iter().enumerate().filter(|(at, _)| !places.contains(at));
        let rest: Vec<Operation> = rest.map(|(_, operation)| operation.clone()).collect();
        let is_violation = violated(&rest, self.limits).is_some();
        if is_violation {
            self.operations = rest;
        }
        is_violation
    }

    /// Places of operations that may go together.
    fn units(&self) -> Vec<Vec<usize>> {
        let is_plain = Problem::new(&self.operations).is_plain;
        let guarded: BTreeSet<&Value> =
            self.operations.iter().filter_map(|operation| operation.action.expected()).collect();
        let mut puts: BTreeMap<&Value, Vec<usize>> = BTreeMap::new();
        let mut units = Vec::new();
        for (at, operation) in self.operations.iter().enumerate() {
            match put(operation) {
                Some(value) if is_plain && !guarded.contains(value) => {
                    puts.insert(value, vec![at]);
                }
                _ if changes_nothing(operation) => units.push(vec![at]),
                _ => {}
            }
        }
        for (at, operation) in self.operations.iter().enumerate() {
            let Some(value) = told(operation) else { continue };
            if matches!(operation.action, Action::Get) {
                puts.entry(value).and_modify(|places| places.push(at));
            } else {
                // Something that changes the value behind it hangs on it.
                puts.remove(value);
            }
        }
        units.extend(puts.into_values());
        units
    }
}

/// What an unconditional put writes, if nobody was told what it wrote over.
fn put(operation: &Operation) -> Option<&Value> {
    let is_untold = operation.end.as_ref().is_none_or(|(_, reply)| *reply.before() == Before::Untold);
    match &operation.action {
        Action::Change { only_if: Guard::Always, to } if is_untold => to.as_ref(),
        _ => None,
    }
}

fn told(operation: &Operation) -> Option<&Value> {
    match operation.end.as_ref().map(|(_, reply)| reply.before()) {
        Some(Before::Was(value)) => value.as_ref(),
        _ => None,
    }
}

fn changes_nothing(operation: &Operation) -> bool {
    match (&operation.action, &operation.end) {
        (_, Some((_, Reply::Refused(_)))) | (Action::Get, _) => true,
        (Action::Change { .. }, _) => false,
    }
}
