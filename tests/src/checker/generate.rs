//! Histories of a simulated register that is linearizable, for benchmarks and for tests of the checker.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_telemetry::{Rng, SeededRng};

use super::history::History;
use super::model::{Action, Before, ClientId, Guard, OpId, Reply, Value};

/// Simulated time between two events.
const STEP: Duration = Duration::from_micros(1);
/// Of so many lost operations one never takes effect.
const NEVER_ONE_IN: u64 = 3;
/// Of so many steps one lets an operation whose reply is lost take effect.
const LATE_ONE_IN: u64 = 4;

/// What is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Operations.
    pub operations: u32,
    /// Keys.
    pub keys: u32,
    /// Clients with one operation under way each.
    pub clients: u32,
    /// Of a hundred operations, so many have no reply.
    pub open_percent: u8,
    /// Decides everything else.
    pub seed: u64,
}

/// A history with the given shape. An order that explains it exists: that in which its operations took effect here.
///
/// # Panics
/// If there are no keys or no clients.
pub fn linearizable(shape: &Shape) -> History {
    let mut world = World {
        shape: *shape,
        rng: SeededRng::new(shape.seed),
        history: History::default(),
        now: Duration::ZERO,
        registers: BTreeMap::new(),
        clients: (0..shape.clients).map(|_| Client::Idle).collect(),
        late: Vec::new(),
        called: 0,
    };
    while world.called < shape.operations
        || world.clients.iter().any(|client| !matches!(client, Client::Idle))
    {
        world.step();
    }
    world.history
}

/// A number below `bound`.
pub(super) fn draw(rng: &SeededRng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).expect("less than a usize")
}

struct World {
    shape: Shape,
    rng: SeededRng,
    history: History,
    now: Duration,
    /// By key.
    registers: BTreeMap<usize, Value>,
    clients: Vec<Client>,
    /// Operations whose reply is lost and that may still take effect.
    late: Vec<(usize, Action)>,
    called: u32,
}

enum Client {
    Idle,
    /// It has called.
    Called(OpId, usize, Action),
    /// Its operation has taken effect.
    Answered(OpId, Reply),
}

impl World {
    fn step(&mut self) {
        self.now += STEP;
        if !self.late.is_empty() && self.rng.below(LATE_ONE_IN) == 0 {
            let at = draw(&self.rng, self.late.len());
            let (key, action) = self.late.swap_remove(at);
            self.apply(key, &action);
        }
        let at = draw(&self.rng, self.clients.len());
        let client = std::mem::replace(&mut self.clients[at], Client::Idle);
        self.clients[at] = match client {
            Client::Idle if self.called < self.shape.operations => self.call(at),
            Client::Idle => Client::Idle,
            Client::Called(op, key, action) => self.act(op, key, action),
            Client::Answered(op, reply) => {
                self.history.reply(self.now, op, reply);
                Client::Idle
            }
        };
    }

    fn call(&mut self, client: usize) -> Client {
        let key = draw(&self.rng, self.shape.keys as usize);
        let client = ClientId(u32::try_from(client).expect("fewer clients than 2^32"));
        let value = Value::from(format!("v{}", self.called));
        let action = self.action(key, value);
        self.called += 1;
        let op = self.history.invoke(self.now, client, format!("key-{key}").as_str(), action.clone());
        Client::Called(op, key, action)
    }

    fn action(&self, key: usize, value: Value) -> Action {
        // What somebody may have read just now, or what is there no more.
        let expected = match self.rng.below(4) {
            0 => None,
            1 => Some(Value::from(format!("v{}", self.rng.below(u64::from(self.called) + 1)))),
            _ => self.registers.get(&key).cloned(),
        };
        match self.rng.below(16) {
            0..6 => Action::Get,
            6..10 => Action::put(value),
            10 => Action::delete(),
            11 => Action::put_if_absent(value),
            12 => Action::put_if_present(value),
            13 => Action::compare_and_set(expected, None),
            _ => Action::compare_and_set(expected, Some(value)),
        }
    }

    fn act(&mut self, op: OpId, key: usize, action: Action) -> Client {
        if self.rng.below(100) >= u64::from(self.shape.open_percent) {
            let reply = self.apply(key, &action);
            return Client::Answered(op, reply);
        }
        if self.rng.below(2) == 0 {
            self.history.lose(self.now, op);
        }
        if self.rng.below(NEVER_ONE_IN) > 0 {
            self.late.push((key, action));
        }
        Client::Idle
    }

    /// What a register does.
    fn apply(&mut self, key: usize, action: &Action) -> Reply {
        let was = self.registers.get(&key).cloned();
        let before = match (action, self.rng.below(3)) {
            (Action::Get, _) | (_, 0) => Before::Was(was.clone()),
            (_, 1) => Before::Existed(was.is_some()),
            _ => Before::Untold,
        };
        let Action::Change { only_if, to } = action else { return Reply::Applied(before) };
        let holds = match only_if {
            Guard::Always => true,
            Guard::Present => was.is_some(),
            Guard::Is(expected) => *expected == was,
        };
        if !holds {
            return Reply::Refused(before);
        }
        match to {
            Some(value) => self.registers.insert(key, value.clone()),
            None => self.registers.remove(&key),
        };
        Reply::Applied(before)
    }
}
