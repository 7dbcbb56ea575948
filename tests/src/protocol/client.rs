//! Clients: each does one operation at a time, goes where it is sent, tries again what had no effect, and never what may
//! have had one.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::kv::{Condition, KvCommand, Op};
use quorate_storage::payload::{Payload, ProposalId, Tag};
use quorate_storage::{GroupId, Index, RangeEpoch};

use super::dice::Dice;
use super::event::NodeAt;
use super::history::{Action, History, Told};
use super::settings::{CLIENTS, GROUPS, KEYS, NODES};
use crate::checker::OpId;

/// A client waits so long for the answer to one attempt.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Before it tries again, at most.
const PAUSE_MAX: Duration = Duration::from_millis(120);
/// Between a client and a node.
pub(crate) const LATENCY: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(2));

/// A request at a node.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) client: usize,
    pub(crate) attempt: u64,
    pub(crate) group: GroupId,
    pub(crate) key: Bytes,
    pub(crate) action: Action,
    /// Everything up to here had been told to somebody when the operation began.
    pub(crate) told_before: Index,
}

/// How an attempt ends.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Told(Told),
    /// It had no effect here; maybe somebody else knows more.
    Refused {
        hint: Option<NodeAt>,
    },
    /// It may have had one.
    Maybe,
}

/// What a client does next.
#[derive(Debug)]
pub(crate) enum Step {
    /// It sends this, and waits.
    Ask(NodeAt, Box<Asked>, Duration),
    /// It waits.
    Pause(u64, Duration),
    /// It has done everything.
    Rest,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    number: usize,
    dice: Dice,
    left: u64,
    /// Numbers attempts and pauses; only the last counts.
    attempt: u64,
    current: Option<Current>,
    /// Who leads each group, as far as it was told.
    hints: HashMap<GroupId, NodeAt>,
    seen: HashMap<Bytes, Option<Bytes>>,
    think_max: Duration,
}

#[derive(Debug)]
struct Current {
    operation: OpId,
    asked: Asked,
    /// Whether an answer is waited for.
    is_asked: bool,
}

impl Asked {
    /// Names this attempt in the log.
    pub(crate) fn proposal(&self) -> ProposalId {
        ProposalId { stream: self.client as u64 + 1, sequence: self.attempt }
    }

    /// A second key, which every write changes with the first: nobody may see half of a command.
    fn twin(&self) -> Bytes {
        Bytes::from([self.key.as_ref(), b"'"].concat())
    }

    /// The payload of a write.
    pub(crate) fn payload(&self, range_epoch: RangeEpoch) -> Option<Bytes> {
        let (conditions, value) = match &self.action {
            Action::Get => return None,
            Action::Put(value) => (Vec::new(), Some(value)),
            Action::Delete => (Vec::new(), None),
            Action::Swap { expected, new } => {
                let condition = match expected {
                    Some(value) => Condition::Equals(self.key.clone(), value.clone()),
                    None => Condition::Absent(self.key.clone()),
                };
                (vec![condition], Some(new))
            }
        };
        let run = |key: Bytes| match value {
            Some(value) => Op::Put(key, value.clone()),
            None => Op::Delete(key),
        };
        let command = KvCommand { conditions, ops: vec![run(self.key.clone()), run(self.twin())] };
        let body = command.encode().expect("a client's keys and values are short");
        Some(Payload { tag: Tag::Command, range_epoch, proposal: self.proposal(), body }.encode())
    }
}

impl Client {
    pub(crate) fn new(number: usize, seed: u64, operations: u64, time: Duration) -> Self {
        let think_max = 2 * time / u32::try_from(operations.max(1)).unwrap_or(u32::MAX);
        Self {
            number,
            dice: Dice::new(seed, 0xc1 + number as u64),
            left: operations,
            attempt: 0,
            current: None,
            hints: HashMap::new(),
            seen: HashMap::new(),
            think_max,
        }
    }

    /// Its number of the attempt or pause it is in.
    pub(crate) fn attempt(&self) -> u64 {
        self.attempt
    }

    pub(crate) fn is_done(&self) -> bool {
        self.left == 0 && self.current.is_none()
    }

    /// Operations it has not begun.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Its pause is over, or its patience.
    pub(crate) fn wakes(
        &mut self,
        now: Duration,
        told: impl Fn(GroupId) -> Index,
        history: &mut History,
    ) -> Step {
        match self.current.take() {
            Some(current) if current.is_asked => {
                // A read has no effect, whatever became of it.
                let is_write = current.asked.action.is_write();
                self.forget_hint(current.asked.group);
                if is_write {
                    history.lose(now, current.operation);
                } else {
                    history.void(now, current.operation);
                }
                self.think()
            }
            Some(current) => self.ask(current),
            None if self.left == 0 => Step::Rest,
            None => {
                self.left -= 1;
                let current = self.draw(now, told, history);
                self.ask(current)
            }
        }
    }

    /// An answer to its present attempt.
    pub(crate) fn hears(&mut self, now: Duration, answer: Answer, history: &mut History) -> Step {
        let Some(mut current) = self.current.take() else { return Step::Rest };
        match answer {
            Answer::Told(told) => {
                self.learn(&current.asked, &told);
                history.returns(now, current.operation, &told);
                self.think()
            }
            Answer::Maybe => {
                history.lose(now, current.operation);
                self.think()
            }
            Answer::Refused { hint } => {
                self.forget_hint(current.asked.group);
                self.hints.extend(hint.map(|node| (current.asked.group, node)));
                current.is_asked = false;
                self.current = Some(current);
                self.attempt += 1;
                Step::Pause(self.attempt, self.dice.between(Duration::ZERO, PAUSE_MAX))
            }
        }
    }

    fn draw(&mut self, now: Duration, told: impl Fn(GroupId) -> Index, history: &mut History) -> Current {
        let group = GroupId(1 + self.dice.below(GROUPS));
        let key = Bytes::from(format!("{group}/{}", self.dice.below(KEYS)));
        // Every value is written once.
        let value = Bytes::from(format!("{}-{}", self.number, self.left));
        let action = match self.dice.below(20) {
            0..6 => Action::Get,
            6..12 => Action::Put(value),
            12..18 => {
                let expected = self.seen.get(&key).cloned().unwrap_or_default();
                Action::Swap { expected, new: value }
            }
            _ => Action::Delete,
        };
        let client = self.number;
        let operation = history.invoke(now, client, &key, &action);
        let asked = Asked { client, attempt: 0, group, key, action, told_before: told(group) };
        Current { operation, asked, is_asked: false }
    }

    fn ask(&mut self, mut current: Current) -> Step {
        self.attempt += 1;
        current.asked.attempt = self.attempt;
        current.is_asked = true;
        let node = self.hints.get(&current.asked.group).copied().unwrap_or_else(|| self.dice.pick(NODES));
        let asked = Box::new(current.asked.clone());
        self.current = Some(current);
        Step::Ask(node, asked, PATIENCE)
    }

    fn think(&mut self) -> Step {
        self.attempt += 1;
        if self.left == 0 {
            return Step::Rest;
        }
        Step::Pause(self.attempt, self.dice.between(Duration::ZERO, self.think_max))
    }

    fn learn(&mut self, asked: &Asked, told: &Told) {
        let value = match (told, &asked.action) {
            (Told::Value(value) | Told::Other(value), _) => value.clone(),
            (Told::Done, Action::Put(value) | Action::Swap { new: value, .. }) => Some(value.clone()),
            (Told::Done, _) => None,
        };
        self.seen.insert(asked.key.clone(), value);
    }

    fn forget_hint(&mut self, group: GroupId) {
        self.hints.remove(&group);
    }
}

/// Operations of each client.
pub(crate) fn share(operations: u64) -> u64 {
    operations / CLIENTS as u64
}
