//! The search for an order: Wing and Gong's (1993) with Lowe's (2017) remembered configurations, "just in time".
//!
//! The history is walked from front to back. A [`Config`] is what an order has come to: which of the operations under
//! way have taken effect, what the key holds, which optional ones were used. All configurations that are possible are
//! held at once; when an operation ends, those in which it has not taken effect go on until it has: other operations
//! under way, then it. If none is left, no order explains this reply.
//!
//! *Nothing is left out by waiting for an end.* Take an order that explains the history, and the first operation to
//! end. What stands before it in the order was called before it ended, else it would have to stand behind. So those
//! operations, all under way, then it, are a way that is tried; and so on with the next one to end.
//!
//! These rules make it small. Each keeps at least one order if there is one:
//!
//! 1. *What changes nothing takes effect as soon as it can.* Moved forward to there it sees the same, and nothing
//!    else notices.
//! 2. *A named value is not left while it is needed* by an operation that has not taken effect: it was written once
//!    and does not come back.
//! 3. *Optional operations stand directly in front of one that the value before them would not have let take effect.*
//!    Take a run of them and what follows. If that would also have taken effect without them: when it changes nothing the
//!    run moves behind it (an open operation has no end to be late for); when it changes the value, what it leaves is
//!    the same without the run, which is dropped. The same for the rest of a run that has come to a fitting value, and
//!    for the beginning of one in front of an operation that might have stood first.
//! 4. *Of two configurations that differ only in the optional ones used, the one that used fewer is enough.*
//! 5. *In a plain key* ([`Problem::is_plain`]) *an unconditional put of an unnamed value takes effect directly in
//!    front of the next operation that accepts every state and changes it*, or at its own end. Only such an operation
//!    can stand behind it: nothing else accepts an unnamed value, and what changes nothing moves in front. Having
//!    it out of the way helps whatever comes later. If what stands behind it is a run of optional operations, then the run
//!    leads to no value (the only state that an optional operation leaves and something needs). From any other state
//!    rule 3 tries that run anyway; where there is no value already, it is tried for the put's sake.
//!
//! The tests compare all of it with a search that has none of these rules.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::problem::{Accept, Class, Closed, Problem, State, Step};
use super::{GaveUp, Limits};

/// Operations under way at a time that can be told apart: the bits of a set of [`Slots`].
const UNDER_WAY_MAX: usize = 128;

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) ending: Ending,
    /// Configurations that were looked at.
    pub(super) steps: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Explained,
    /// No order explains that this operation ended as it did.
    Refused {
        /// Its place in [`Problem::closed`].
        closed: usize,
        /// What the key could hold while it waited.
        held: Vec<State>,
    },
    GaveUp(GaveUp),
}

/// Operations under way, by their slots.
type Slots = u128;

/// How many of each counted class were used.
type Used = Box<[u32]>;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Config {
    state: State,
    /// Those under way that have taken effect.
    done: Slots,
    used: Used,
}

/// A set of configurations without those that rule 4 makes superfluous.
#[derive(Debug, Default)]
struct Configs {
    by_place: BTreeMap<(State, Slots), Vec<Used>>,
    count: usize,
}

impl Configs {
    /// Whether it was not superfluous.
    fn insert(&mut self, config: &Config) -> bool {
        let all = match self.by_place.entry((config.state, config.done)) {
            Entry::Vacant(vacant) => vacant.insert(Vec::new()),
            Entry::Occupied(occupied) => occupied.into_mut(),
        };
        if all.iter().any(|used| is_at_most(used, &config.used)) {
            return false;
        }
        self.count -= all.len();
        all.retain(|used| !is_at_most(&config.used, used));
        all.push(config.used.clone());
        self.count += all.len();
        true
    }

    fn iter(&self) -> impl Iterator<Item = Config> {
        self.by_place.iter().flat_map(|(&(state, done), all)| {
            all.iter().map(move |used| Config { state, done, used: used.clone() })
        })
    }
}

fn is_at_most(fewer: &Used, more: &Used) -> bool {
    fewer.iter().zip(more).all(|(fewer, more)| fewer <= more)
}

/// A run of optional operations.
struct Run {
    /// The state before it.
    start: State,
    /// Whether it may come back there: it is made for what it absorbs.
    returns: bool,
    /// Those it has come to.
    states: Vec<State>,
}

impl Run {
    fn is_detour(&self, next: &Class) -> bool {
        let is_late = !self.states.is_empty() && next.guard.accepts(self.start);
        is_late || self.states.contains(&next.to) || (next.to == self.start && !self.returns)
    }
}

/// Looks for an order that explains `problem`.
pub(super) fn search(problem: &Problem, limits: &Limits) -> Outcome {
    let mut search = Search { problem, limits, now: 0, under_way: Vec::new(), absorbable: 0, steps: 0 };
    let ending = match search.run() {
        Ok(None) => Ending::Explained,
        Ok(Some((closed, held))) => Ending::Refused { closed, held },
        Err(why) => Ending::GaveUp(why),
    };
    Outcome { ending, steps: search.steps }
}

struct Search<'a> {
    problem: &'a Problem,
    limits: &'a Limits,
    /// The place that has been reached.
    now: usize,
    /// The operation in each slot.
    under_way: Vec<Option<usize>>,
    /// Those under way that rule 5 is about.
    absorbable: Slots,
    steps: u64,
}

impl Search<'_> {
    /// The operation whose end nothing explains, if there is one.
    fn run(&mut self) -> Result<Option<(usize, Vec<State>)>, GaveUp> {
        let problem = self.problem;
        let start = vec![0; problem.optional.counted.len()].into_boxed_slice();
        let mut configs = Configs::default();
        configs.insert(&Config { state: State::NONE, done: 0, used: start });
        for &(position, step) in &problem.steps {
            self.now = position;
            match step {
                Step::Call(op) => self.call(op)?,
                Step::End(op) => {
                    let slot = self.slot_of(op);
                    let (next, seen) = self.end(&configs, slot)?;
                    if next.count == 0 {
                        let mut held: Vec<State> = seen.by_place.keys().map(|&(state, _)| state).collect();
                        held.dedup();
                        return Ok(Some((op, held)));
                    }
                    configs = next;
                    self.under_way[slot] = None;
                    self.absorbable &= !bit(slot);
                }
            }
        }
        Ok(None)
    }

    fn call(&mut self, op: usize) -> Result<(), GaveUp> {
        let free = self.under_way.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.under_way.len());
        if slot == UNDER_WAY_MAX {
            return Err(GaveUp::UnderWay(UNDER_WAY_MAX));
        }
        self.under_way.resize(self.under_way.len().max(slot + 1), None);
        self.under_way[slot] = Some(op);
        let Closed { accept, to, .. } = self.problem.closed[op];
        if self.problem.is_plain && accept == Accept::Any && to == Some(State::UNNAMED) {
            self.absorbable |= bit(slot);
        }
        Ok(())
    }

    fn slot_of(&self, op: usize) -> usize {
        let slot = self.under_way.iter().position(|&under_way| under_way == Some(op));
        slot.expect("an operation is called before it ends")
    }

    /// All configurations in which the operation in `slot` has taken effect, and those that were tried on the way.
    fn end(&mut self, configs: &Configs, slot: usize) -> Result<(Configs, Configs), GaveUp> {
        let (mut next, mut seen) = (Configs::default(), Configs::default());
        let mut work: Vec<Config> = Vec::new();
        for config in configs.iter() {
            self.reach(config, slot, &mut work, (&mut next, &mut seen));
        }
        while let Some(config) = work.pop() {
            self.steps += 1;
            if self.steps > self.limits.steps_max {
                return Err(GaveUp::Steps(self.limits.steps_max));
            }
            let held = next.count + seen.count + configs.count;
            if held > self.limits.held_max {
                return Err(GaveUp::Held(self.limits.held_max));
            }
            for other in 0..self.under_way.len() {
                let Some(op) = self.under_way[other] else { continue };
                let is_absorbed_later = other != slot && self.absorbable & bit(other) != 0;
                if config.done & bit(other) != 0 || is_absorbed_later {
                    continue;
                }
                let mut after = Vec::new();
                self.take_effect(&config, other, &self.problem.closed[op], &mut after);
                for config in after {
                    self.reach(config, slot, &mut work, (&mut next, &mut seen));
                }
            }
        }
        Ok((next, seen))
    }

    /// Puts a configuration where it belongs: to `next` if the operation in `slot` has taken effect, else to the work.
    fn reach(
        &self,
        mut config: Config,
        slot: usize,
        work: &mut Vec<Config>,
        (next, seen): (&mut Configs, &mut Configs),
    ) {
        config.done |= self.unchanging(config.state);
        if config.done & bit(slot) != 0 {
            config.done &= !bit(slot);
            next.insert(&config);
        } else if seen.insert(&config) {
            work.push(config);
        }
    }

    /// Operations under way that may take effect in `state` and leave it as it is (rule 1).
    fn unchanging(&self, state: State) -> Slots {
        self.slots(|op| op.to.is_none() && op.accept.accepts(state))
    }

    /// Operations under way that need `state`, so that it must not be left (rule 2).
    fn needing(&self, state: State) -> Slots {
        self.slots(|op| op.accept == Accept::Only(state))
    }

    fn slots(&self, is_meant: impl Fn(&Closed) -> bool) -> Slots {
        let ops = self.under_way.iter().enumerate();
        ops.filter_map(|(slot, op)| op.filter(|&op| is_meant(&self.problem.closed[op])).map(|_| bit(slot)))
            .fold(0, |slots, slot| slots | slot)
    }

    /// Adds to `after` what comes of it if `op`, in `slot`, takes effect next: at once, or after optional ones (rule 3).
    fn take_effect(&self, config: &Config, slot: usize, op: &Closed, after: &mut Vec<Config>) {
        if op.accept.accepts(config.state) {
            let is_in_the_way = self.absorbable & !config.done & !bit(slot) != 0;
            if is_in_the_way && op.to.is_some() && op.accept == Accept::Only(State::NONE) {
                let mut run = Run { start: config.state, returns: true, states: Vec::new() };
                self.run_up(config, (slot, op), &mut run, after);
            }
            let mut next = config.clone();
            next.done |= bit(slot);
            if let Some(to) = op.to {
                if !self.may_leave(config.state, next.done) {
                    return;
                }
                next.done |= self.absorbed(op.accept);
                next.state = to;
            }
            after.push(next);
        } else if self.may_leave(config.state, config.done) {
            let mut run = Run { start: config.state, returns: false, states: Vec::new() };
            self.run_up(config, (slot, op), &mut run, after);
        }
    }

    /// Optional operations, one behind the other, until `op` may take effect. Without detours: no state comes again, and
    /// what could have stood first does so, for what stands before it could be left out.
    fn run_up(&self, config: &Config, (slot, op): (usize, &Closed), run: &mut Run, after: &mut Vec<Config>) {
        for (counted, class) in self.problem.optional.in_state(config.state) {
            let used = counted.map_or(0, |at| config.used[at] as usize);
            let called = class.calls.partition_point(|&call| call < self.now);
            if used >= called || run.is_detour(class) {
                continue;
            }
            let mut next = config.clone();
            next.state = class.to;
            if let Some(at) = counted {
                next.used[at] += 1;
            }
            next.done |= self.absorbed(class.guard);
            if op.accept.accepts(class.to) {
                self.take_effect(&next, slot, op, after);
            } else {
                run.states.push(class.to);
                self.run_up(&next, (slot, op), run, after);
                run.states.pop();
            }
        }
    }

    /// Whether nothing that has not taken effect needs `state` (rule 2).
    fn may_leave(&self, state: State, done: Slots) -> bool {
        !state.is_named()
            || self.problem.last_needed.get(&state).is_none_or(|&last| last <= self.now)
                && self.needing(state) & !done == 0
    }

    /// What takes effect directly in front of an operation that accepts this and changes the state (rule 5).
    fn absorbed(&self, accept: Accept) -> Slots {
        if accept == Accept::Any { self.absorbable } else { 0 }
    }
}

fn bit(slot: usize) -> Slots {
    1 << slot
}
