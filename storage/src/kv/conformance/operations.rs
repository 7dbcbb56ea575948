//! Commands of every operation against a model, and processes that die while they are applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quorate_telemetry::{Rng, SeededRng};

use super::interrupted::dump;
use super::stopping_disk::StoppingDisk;
use super::{Make, Subject};
use crate::error::Result;
use crate::ids::Index;
use crate::kv::{
    Condition, KvCommand, KvOutcome, KvStateMachine, Op, OpFailure, OpResult, VALUE_BYTES_MAX, When,
};
use crate::state::conformance::{GROUP_UID, record_at};
use crate::state::{Command, RecordHasher, StateDigest, StateMachine};

/// Entries of one history.
const ENTRIES: u64 = 40;
/// Most operations of one of them.
const OPS: u64 = 60;
/// Keys; few, so that operations meet.
const KEYS: u64 = 12;
/// Histories.
const SEEDS: u64 = 3;
/// Most processes that die over one history; the next one lives.
const CRASHES: u64 = 6;

type Model = BTreeMap<Bytes, Bytes>;

/// The log: what is applied again after a crash.
struct History {
    commands: Vec<KvCommand>,
    /// What each command must answer.
    outcomes: Vec<KvOutcome>,
    /// The state after as many entries as its position.
    states: Vec<Model>,
}

/// Whenever a process dies, even in the middle of a write: the next one finds a state in which each entry with all
/// its operations is, or is not, with the right digest. Applying the rest again, cut into other calls, ends in the
/// same state, with the same answers.
pub fn entries_of_any_operations_are_whole_or_not_there(make: &mut Make<'_>) {
    for seed in 1..=SEEDS {
        let rng = SeededRng::new(seed);
        let history = History::draw(&rng);
        let mut subject = make();
        for crash in 0..=CRASHES {
            let is_last = crash == CRASHES;
            let durable = run(subject.as_ref(), &history, &rng, is_last);
            subject.crash_process();
            let machine = open(subject.as_ref(), subject.disk());
            let found = check(&machine, &history);
            assert!(found >= durable, "seed {seed}: entry {durable} was durable, {found} is there");
            drop(machine);
            subject.crash_process();
        }
    }
}

fn open(subject: &dyn Subject, disk: Arc<dyn crate::disk::Disk>) -> KvStateMachine {
    let dir = subject.dir().join("state");
    KvStateMachine::open(subject.engine(disk.clone()), disk, &dir, GROUP_UID)
}

/// One process: checks what it finds and applies the rest, until it dies. Returns what it knows to be durable.
fn run(subject: &dyn Subject, history: &History, rng: &SeededRng, lives: bool) -> Index {
    let disk = StoppingDisk::new(subject.disk());
    let mut machine = open(subject, Arc::new(disk.clone()));
    let mut applied = check(&machine, history).get();
    let last = if lives { ENTRIES } else { applied + rng.below(ENTRIES - applied + 1) };
    while applied < last {
        if !lives && rng.below(4) == 0 {
            disk.stop_after(rng.below(8));
        }
        let call = 1 + rng.below(4.min(last - applied));
        let Ok(outcomes) = apply(&mut machine, history, applied, call) else { break };
        let range = position(applied)..position(applied + call);
        assert!(outcomes == history.outcomes[range], "entries {applied} + {call} answer otherwise");
        applied += call;
        if rng.below(5) == 0 && machine.checkpoint().is_err() {
            break;
        }
    }
    machine.durable_applied()
}

fn apply(machine: &mut KvStateMachine, history: &History, applied: u64, call: u64) -> Result<Vec<KvOutcome>> {
    let body = |index: u64| history.commands[position(index - 1)].encode().expect("a valid command");
    let entries = applied + 1..=applied + call;
    let commands: Vec<_> =
        entries.map(|index| Command { id: record_at(index).applied, body: body(index) }).collect();
    let outputs = machine.apply(&commands, &record_at(applied + call))?;
    Ok(outputs.iter().map(|output| KvOutcome::decode(output).expect("an outcome")).collect())
}

/// The last entry in the state, which is that of the model.
fn check(machine: &KvStateMachine, history: &History) -> Index {
    assert!(machine.failure().is_none(), "{:?}", machine.failure());
    if crate::state::AppliedIndexReader::applied_record(machine).expect("a record").is_none() {
        return Index(0);
    }
    let (record, records) = dump(machine);
    let index = record.applied.index;
    let model: Vec<_> = history.states[position(index.get())].clone().into_iter().collect();
    assert!(records == model, "the records are not those of entry {index}");
    let hasher = RecordHasher::new(GROUP_UID);
    let digest = model.iter().fold(StateDigest::EMPTY, |sum, (key, value)| sum.with(hasher.hash(key, value)));
    assert_eq!(record.digest, digest, "the digest at entry {index}");
    index
}

fn position(index: u64) -> usize {
    usize::try_from(index).expect("a short history")
}

impl History {
    fn draw(rng: &SeededRng) -> Self {
        let mut history = Self { commands: Vec::new(), outcomes: Vec::new(), states: vec![Model::new()] };
        for _ in 0..ENTRIES {
            let mut state = history.states.last().cloned().unwrap_or_default();
            let command = command(rng);
            history.outcomes.push(run_command(&mut state, &command));
            history.commands.push(command);
            history.states.push(state);
        }
        history
    }
}

fn key(rng: &SeededRng) -> Bytes {
    Bytes::from(format!("key-{}", rng.below(KEYS)))
}

fn value(rng: &SeededRng) -> Bytes {
    match rng.below(40) {
        0 => vec![b'9'; super::LONG_VALUE_BYTES].into(),
        1 => vec![b'l'; VALUE_BYTES_MAX / 8].into(),
        2..10 => Bytes::from_static(b"text"),
        10 => i64::MAX.to_string().into(),
        11 => Bytes::from_static(b"-0"),
        _ => rng.below(1_000).to_string().into(),
    }
}

fn command(rng: &SeededRng) -> KvCommand {
    let mut returned = false;
    let op = |_| {
        let op = op(rng);
        let is_second = returned && op.is_returning();
        returned |= op.is_returning();
        if is_second { Op::Delete(op.key().clone()) } else { op }
    };
    let ops = (0..rng.below(OPS)).map(op).collect();
    let conditions = match rng.below(4) {
        0 => vec![Condition::Present(key(rng)), Condition::Absent(key(rng))],
        _ => Vec::new(),
    };
    KvCommand { conditions, ops }
}

fn op(rng: &SeededRng) -> Op {
    let key = key(rng);
    match rng.below(12) {
        0..2 => Op::Put(key, value(rng)),
        2 => Op::Delete(key),
        3..5 => {
            let when = [When::Always, When::Absent, When::Present][position(rng.below(3))];
            Op::Set { key, value: value(rng), when, returns_previous: rng.below(4) == 0 }
        }
        5 => Op::Take(key),
        6..9 => Op::Append(key, value(rng)),
        _ => Op::Add(key, 5 - i64::try_from(rng.below(10)).expect("a small number")),
    }
}

/// What the documentation of the operations says, as plainly as it can be done.
fn run_command(state: &mut Model, command: &KvCommand) -> KvOutcome {
    for (condition, tested) in (0..).zip(&command.conditions) {
        let actual = state.get(tested.key()).cloned();
        let holds = match tested {
            Condition::Equals(_, value) => actual.as_ref() == Some(value),
            Condition::Absent(_) => actual.is_none(),
            Condition::Present(_) => actual.is_some(),
        };
        if !holds {
            return KvOutcome::Refused { condition, actual };
        }
    }
    KvOutcome::Applied { results: command.ops.iter().map(|op| run_op(state, op)).collect() }
}

fn run_op(state: &mut Model, op: &Op) -> OpResult {
    let before = state.get(op.key()).cloned();
    let existed = before.is_some();
    let (result, now) = match op.clone() {
        Op::Put(_, value) => (OpResult::done(existed), Some(value)),
        Op::Delete(_) => (OpResult::done(existed), None),
        Op::Take(_) => (OpResult::Done { existed, previous: before }, None),
        Op::Set { value, when, returns_previous, .. } => {
            let previous = if returns_previous { before.clone() } else { None };
            let is_unmet = when == When::Absent && existed || when == When::Present && !existed;
            if is_unmet {
                (OpResult::Unmet { previous }, before)
            } else {
                (OpResult::Done { existed, previous }, Some(value))
            }
        }
        Op::Append(_, suffix) => {
            let whole = [before.clone().unwrap_or_default(), suffix].concat();
            if whole.len() > VALUE_BYTES_MAX {
                (OpResult::Failed(OpFailure::ValueTooLarge { bytes: whole.len() as u64 }), before)
            } else {
                let bytes = i64::try_from(whole.len()).expect("a length");
                (OpResult::Number(bytes), Some(whole.into()))
            }
        }
        Op::Add(_, delta) => {
            let text = before.clone().map_or("0".to_owned(), |text| String::from_utf8_lossy(&text).into());
            match text.parse::<i64>().ok().filter(|number| number.to_string() == text) {
                None => (OpResult::Failed(OpFailure::NotAnInteger), before),
                Some(number) => match number.checked_add(delta) {
                    None => (OpResult::Failed(OpFailure::Overflow), before),
                    Some(sum) => (OpResult::Number(sum), Some(sum.to_string().into())),
                },
            }
        }
    };
    match now {
        Some(value) => state.insert(op.key().clone(), value),
        None => state.remove(op.key()),
    };
    result
}
