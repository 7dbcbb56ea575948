//! One key's operations, made ready for the search.
//!
//! **Values become states.** [`State::NONE`] is no value. A value that no reply and no guard names is
//! [`State::UNNAMED`]: nothing tells two of them apart. Each other value has a state of its own.
//!
//! **What a reply says becomes a set of states** ([`Accept`]): those in which the operation may take effect, for only
//! there it would have been answered so. A refusal accepts what its guard does not.
//!
//! **Open operations whose value was seen must have happened.** If a reply needs the value `v` ([`Accept::Only`]),
//! then the one operation that writes `v` took effect, and before that reply came. So it is given an end there, and
//! from then on is as good as one with a reply: for a put, one that says nothing; for a compare-and-set, that its
//! guard held, which may show in turn that another open operation happened. (Valid in both directions: in every
//! order that explains the history it stands before that end, and a history with an earlier end is harder to explain.)
//!
//! **The other open operations are optional.** One might think that a value that nobody saw can be left out. For a
//! read it can: it changes nothing. For a put it cannot, because something else may have been seen through it: a
//! compare-and-set from `a` that is refused without saying what was there, while `a` is written and nothing else but
//! the lost put; or `DEL` that found something. For a delete it cannot, because "no value" is seen without saying whose
//! it is. For a compare-and-set it cannot for either reason. So they stay, in classes of the same
//! guard and the same new state, which are interchangeable; the search uses them only where nothing else helps.

use std::collections::BTreeMap;

use super::model::{Action, Before, Guard, Reply, Value};
use super::operations::{Operation, Position};

/// What the key holds, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct State(u32);

impl State {
    pub(super) const NONE: Self = Self(0);
    pub(super) const UNNAMED: Self = Self(1);

    /// Whether it stands for one value, so that once it is left it never comes back.
    pub(super) fn is_named(self) -> bool {
        self.0 > Self::UNNAMED.0
    }
}

/// The states in which an operation may take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Accept {
    Any,
    Only(State),
    /// All but these two, which may be the same.
    Except(State, State),
    /// The reply contradicts itself.
    Nothing,
}

impl Accept {
    pub(super) fn accepts(self, state: State) -> bool {
        match self {
            Self::Any => true,
            Self::Only(only) => only == state,
            Self::Except(one, other) => one != state && other != state,
            Self::Nothing => false,
        }
    }

    fn all_but(state: State) -> Self {
        Self::Except(state, state)
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Any, accept) | (accept, Self::Any) => accept,
            (Self::Nothing, _) | (_, Self::Nothing) => Self::Nothing,
            (Self::Only(state), accept) | (accept, Self::Only(state)) => {
                if accept.accepts(state) {
                    Self::Only(state)
                } else {
                    Self::Nothing
                }
            }
            (Self::Except(one, same), Self::Except(other, also)) => {
                assert!(one == same && other == also, "a guard and a reply except one state each");
                Self::Except(one, other)
            }
        }
    }
}

/// An operation that must take effect, at one point between `call` and `end`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    pub(super) call: Position,
    pub(super) end: Position,
    pub(super) accept: Accept,
    /// The state it leaves; `None`: the one it found.
    pub(super) to: Option<State>,
}

/// Open operations of the same kind. Any of them may take effect after its call, or not.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub(super) guard: Accept,
    pub(super) to: State,
    /// Ascending.
    pub(super) calls: Vec<Position>,
}

/// All open operations that may take effect.
#[derive(Clone, Debug, Default)]
pub(super) struct Optional {
    /// Those of which it has to be counted how many were used.
    pub(super) counted: Vec<Class>,
    /// Those that ask for a named state, by that state. Using one leaves it for ever, so nothing has to be counted.
    pub(super) by_state: BTreeMap<State, Vec<Class>>,
}

impl Optional {
    fn new(classes: BTreeMap<(Accept, State), Vec<Position>>) -> Self {
        let mut optional = Self::default();
        for ((guard, to), calls) in classes {
            let class = Class { guard, to, calls };
            match guard {
                Accept::Only(state) if state.is_named() => {
                    optional.by_state.entry(state).or_default().push(class);
                }
                _ => optional.counted.push(class),
            }
        }
        optional
    }

    /// Those that may be used in `state`; those that are counted with their place among them.
    pub(super) fn in_state(&self, state: State) -> impl Iterator<Item = (Option<usize>, &Class)> {
        let counted = self.counted.iter().enumerate().map(|(at, class)| (Some(at), class));
        let counted = counted.filter(move |(_, class)| class.guard.accepts(state));
        let others = self.by_state.get(&state).into_iter().flatten().map(|class| (None, class));
        counted.chain(others)
    }
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This operation of [`Problem::closed`] may take effect from now on.
    Call(usize),
    /// It must have.
    End(usize),
}

/// One key's history.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) closed: Vec<Closed>,
    pub(super) optional: Optional,
    /// Calls and ends of `closed`, in order, with their places.
    pub(super) steps: Vec<(Position, Step)>,
    /// For a named state, the last call of an operation that needs it.
    pub(super) last_needed: BTreeMap<State, Position>,
    /// Whether nothing accepts an unnamed value but what accepts everything.
    pub(super) is_plain: bool,
    names: Vec<Option<Value>>,
}

impl Problem {
    pub(super) fn new(operations: &[Operation]) -> Self {
        let states = States::of(operations);
        let ends = forced_ends(operations);
        let mut closed = Vec::new();
        let mut optional: BTreeMap<(Accept, State), Vec<Position>> = BTreeMap::new();
        for (operation, end) in operations.iter().zip(ends) {
            let Operation { action, called, .. } = operation;
            let call = called.position;
            let reply = operation.end.as_ref().map(|(_, reply)| reply);
            if let Some(end) = end {
                let (accept, to) = states.closed(action, reply);
                closed.push(Closed { call, end, accept, to });
            } else if let Some(class) = states.optional(action) {
                optional.entry(class).or_default().push(call);
            }
        }
        let guards = optional.keys().map(|&(guard, _)| guard);
        let mut accepts = closed.iter().map(|op| op.accept).chain(guards);
        let is_plain = !accepts.any(|accept| matches!(accept, Accept::Except(..)));
        let mut last_needed = BTreeMap::new();
        for op in &closed {
            if let Accept::Only(state) = op.accept
                && state.is_named()
            {
                // In the order of their calls.
                last_needed.insert(state, op.call);
            }
        }
        let steps = steps(&closed);
        let optional = Optional::new(optional);
        Self { closed, optional, steps, last_needed, is_plain, names: states.names }
    }

    /// What `state` stands for; `Err` if that is some value that nobody named.
    pub(super) fn value_of(&self, state: State) -> Result<Option<Value>, Unnamed> {
        if state == State::UNNAMED { Err(Unnamed) } else { Ok(self.names[state.0 as usize].clone()) }
    }
}

/// One of the values that no reply and no guard names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unnamed;

fn steps(closed: &[Closed]) -> Vec<(Position, Step)> {
    let calls = closed.iter().enumerate().map(|(at, op)| (op.call, 0, Step::Call(at)));
    // A forced operation ends where the one that saw it does; their order does not matter, but is fixed.
    let ends = closed.iter().enumerate().map(|(at, op)| (op.end, at, Step::End(at)));
    let mut steps: Vec<_> = calls.chain(ends).collect();
    steps.sort_by_key(|&(position, at, _)| (position, at));
    steps.into_iter().map(|(position, _, step)| (position, step)).collect()
}

/// Where each operation must have taken effect at the latest; `None` if it may not have.
fn forced_ends(operations: &[Operation]) -> Vec<Option<Position>> {
    let mut ends: Vec<Option<Position>> = operations.iter().map(Operation::ended).collect();
    let writers: BTreeMap<&Value, usize> = operations
        .iter()
        .enumerate()
        .filter_map(|(at, operation)| operation.action.written().map(|value| (value, at)))
        .collect();
    let mut work: Vec<usize> = (0..operations.len()).filter(|&at| ends[at].is_some()).collect();
    while let Some(at) = work.pop() {
        let writer = needed(&operations[at]).and_then(|value| writers.get(value));
        let (Some(end), Some(&writer)) = (ends[at], writer) else { continue };
        if operations[writer].end.is_none() && ends[writer].is_none_or(|earlier| end < earlier) {
            ends[writer] = Some(end);
            work.push(writer);
        }
    }
    ends
}

/// The value that must have been there when an operation that did take effect, did.
fn needed(operation: &Operation) -> Option<&Value> {
    match operation.end.as_ref().map(|(_, reply)| reply) {
        Some(Reply::Applied(Before::Was(value)) | Reply::Refused(Before::Was(value))) => value.as_ref(),
        Some(Reply::Refused(_)) => None,
        Some(Reply::Applied(_)) | None => operation.action.expected(),
    }
}

/// The states of one key's values.
struct States {
    names: Vec<Option<Value>>,
    of: BTreeMap<Value, State>,
}

impl States {
    fn of(operations: &[Operation]) -> Self {
        let mut states = Self { names: vec![None; 2], of: BTreeMap::new() };
        for operation in operations {
            if let Some(value) = operation.action.expected() {
                states.name(value);
            }
            if let Some((_, reply)) = &operation.end
                && let Before::Was(Some(value)) = reply.before()
            {
                states.name(value);
            }
        }
        states
    }

    fn name(&mut self, value: &Value) {
        if !self.of.contains_key(value) {
            let state = State(u32::try_from(self.names.len()).expect("fewer values than 2^32"));
            self.names.push(Some(value.clone()));
            self.of.insert(value.clone(), state);
        }
    }

    fn state(&self, value: Option<&Value>) -> State {
        value.map_or(State::NONE, |value| self.of.get(value).copied().unwrap_or(State::UNNAMED))
    }

    /// Where an operation that did take effect may do so, and what it leaves. Without a reply: its guard held.
    fn closed(&self, action: &Action, reply: Option<&Reply>) -> (Accept, Option<State>) {
        let before = match reply.map(Reply::before) {
            None | Some(Before::Untold) => Accept::Any,
            Some(Before::Existed(true)) => Accept::all_but(State::NONE),
            Some(Before::Existed(false)) => Accept::Only(State::NONE),
            Some(Before::Was(value)) => Accept::Only(self.state(value.as_ref())),
        };
        let Action::Change { only_if, to } = action else { return (before, None) };
        if matches!(reply, Some(Reply::Refused(_))) {
            let guard = match only_if {
                Guard::Always => Accept::Nothing,
                Guard::Present => Accept::Only(State::NONE),
                Guard::Is(value) => Accept::all_but(self.state(value.as_ref())),
            };
            return (guard.and(before), None);
        }
        (self.guard(only_if).and(before), Some(self.state(to.as_ref())))
    }

    fn optional(&self, action: &Action) -> Option<(Accept, State)> {
        let Action::Change { only_if, to } = action else { return None };
        let to = self.state(to.as_ref());
        // To delete if there is something is to delete.
        let is_delete = matches!(only_if, Guard::Present) && to == State::NONE;
        Some((if is_delete { Accept::Any } else { self.guard(only_if) }, to))
    }

    fn guard(&self, guard: &Guard) -> Accept {
        match guard {
            Guard::Always => Accept::Any,
            Guard::Present => Accept::all_but(State::NONE),
            Guard::Is(value) => Accept::Only(self.state(value.as_ref())),
        }
    }
}
