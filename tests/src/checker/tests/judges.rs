//! Two other judges, as plain as can be: they know values, replies and precedence, and none of the checker's rules.

use std::collections::HashSet;

use crate::checker::operations::Operation;
use crate::checker::{Action, Before, Guard, Reply, Value};

/// A register would have said something else.
struct Contradiction;

/// What a register with `was` in it holds after `action`, if it says `reply` to it.
fn answer(
    action: &Action,
    reply: Option<&Reply>,
    was: Option<&Value>,
) -> Result<Option<Value>, Contradiction> {
    let (holds, then) = match action {
        Action::Get => (true, was.cloned()),
        Action::Change { only_if, to } => {
            let holds = match only_if {
                Guard::Always => true,
                Guard::Present => was.is_some(),
                Guard::Is(expected) => expected.as_ref() == was,
            };
            (holds, if holds { to.clone() } else { was.cloned() })
        }
    };
    let is_told = match reply {
        None => true,
        Some(reply) => {
            let is_before = match reply.before() {
                Before::Untold => true,
                Before::Existed(existed) => *existed == was.is_some(),
                Before::Was(value) => value.as_ref() == was,
            };
            is_before && holds == matches!(reply, Reply::Applied(_))
        }
    };
    if is_told { Ok(then) } else { Err(Contradiction) }
}

fn reply(operation: &Operation) -> Option<&Reply> {
    operation.end.as_ref().map(|(_, reply)| reply)
}

fn precedes(one: &Operation, other: &Operation) -> bool {
    one.ended().is_some_and(|end| end < other.called.position)
}

/// Wing and Gong's search with a memory, over one key: each operation next that nothing left over precedes; those
/// without a reply at any time, or not at all.
pub(super) fn by_plain_search(operations: &[Operation]) -> bool {
    assert!(operations.len() <= 64, "a set of operations is a word");
    let closed = operations.iter().enumerate().filter(|(_, operation)| operation.end.is_some());
    let must: u64 = closed.map(|(at, _)| 1 << at).sum();
    let mut seen: HashSet<(u64, Option<Value>)> = HashSet::new();
    let mut work = vec![(0, None)];
    while let Some((done, value)) = work.pop() {
        if done & must == must {
            return true;
        }
        if !seen.insert((done, value.clone())) {
            continue;
        }
        for (at, operation) in operations.iter().enumerate() {
            let is_left = |other: usize| done & 1 << other == 0;
            let mut others = operations.iter().enumerate();
            if !is_left(at) || others.any(|(other, before)| is_left(other) && precedes(before, operation)) {
                continue;
            }
            if let Ok(then) = answer(&operation.action, reply(operation), value.as_ref()) {
                work.push((done | 1 << at, then));
            }
        }
    }
    false
}

/// Every order of every set of operations that has all those with a reply.
pub(super) fn by_every_permutation(operations: &[Operation]) -> bool {
    let open: Vec<usize> = (0..operations.len()).filter(|&at| operations[at].end.is_none()).collect();
    (0..1_u32 << open.len()).any(|chosen| {
        let is_left_out =
            |at: usize| open.iter().position(|&is| is == at).is_some_and(|bit| chosen >> bit & 1 == 0);
        let mut order: Vec<&Operation> =
            operations.iter().enumerate().filter(|&(at, _)| !is_left_out(at)).map(|(_, one)| one).collect();
        let count = order.len();
        some_permutation(&mut order, count, &explains)
    })
}

/// Heap's algorithm.
fn some_permutation<'a>(
    order: &mut Vec<&'a Operation>,
    first: usize,
    is_meant: &impl Fn(&[&'a Operation]) -> bool,
) -> bool {
    if first <= 1 {
        return is_meant(order);
    }
    for at in 0..first {
        if some_permutation(order, first - 1, is_meant) {
            return true;
        }
        order.swap(if first.is_multiple_of(2) { at } else { 0 }, first - 1);
    }
    false
}

fn explains(order: &[&Operation]) -> bool {
    let in_time =
        order.iter().enumerate().all(|(at, one)| order[at..].iter().all(|later| !precedes(later, one)));
    let mut value = None;
    in_time
        && order.iter().all(|operation| match answer(&operation.action, reply(operation), value.as_ref()) {
            Ok(then) => {
                value = then;
                true
            }
            Err(Contradiction) => false,
        })
}
