//! Commands of the key-value state machine, and what they come to.

use bytes::Bytes;
use quorate_storage::kv::{Condition, KvCommand, KvOutcome, Op, OpFailure, OpResult, When};

use super::Target;
use super::fixture::encoded;
use super::laws::{reads_back, settles};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "kv_command", what: command, seeds: command_seeds },
    Target { name: "kv_outcome", what: outcome, seeds: outcome_seeds },
];

fn command(bytes: &[u8]) {
    let decode = |bytes: &[u8]| KvCommand::decode(&Bytes::copy_from_slice(bytes));
    let encode = |command: &KvCommand| encoded(command.encode()).to_vec();
    reads_back(bytes, decode, encode);
    settles(bytes, |bytes| decode(bytes).ok().map(|command| encode(&command)));
}

fn command_seeds() -> Vec<Vec<u8>> {
    let text = Bytes::from_static;
    let plain = KvCommand {
        conditions: vec![
            Condition::Equals(text(b"a"), text(b"1")),
            Condition::Absent(Bytes::new()),
            Condition::Present(text(b"c")),
        ],
        ops: vec![
            Op::Put(text(b"k"), text(b"value")),
            Op::Put(text(b"empty"), Bytes::new()),
            Op::Delete(text(b"gone")),
        ],
    };
    let set =
        |when, returns_previous| Op::Set { key: text(b"s"), value: text(b"new"), when, returns_previous };
    let mut every = plain.clone();
    every.ops.extend([
        set(When::Always, true),
        set(When::Absent, false),
        set(When::Present, false),
        Op::Append(text(b"text"), text(b"suffix")),
        Op::Add(text(b"count"), -7),
    ]);
    let take = KvCommand { conditions: Vec::new(), ops: vec![Op::Take(text(b"t"))] };
    [plain, every, take, KvCommand::default()]
        .iter()
        .map(|command| encoded(command.encode()).to_vec())
        .collect()
}

fn outcome(bytes: &[u8]) {
    let decode = |bytes: &[u8]| KvOutcome::decode(&Bytes::copy_from_slice(bytes));
    let encode = |outcome: &KvOutcome| outcome.encode().to_vec();
    reads_back(bytes, decode, encode);
    settles(bytes, |bytes| decode(bytes).ok().map(|outcome| encode(&outcome)));
}

fn outcome_seeds() -> Vec<Vec<u8>> {
    let value = || Some(Bytes::from_static(b"value"));
    let every = vec![
        OpResult::done(true),
        OpResult::Done { existed: true, previous: value() },
        OpResult::Unmet { previous: None },
        OpResult::Unmet { previous: value() },
        OpResult::Number(i64::MIN),
        OpResult::Failed(OpFailure::NotAnInteger),
        OpResult::Failed(OpFailure::Overflow),
        OpResult::Failed(OpFailure::ValueTooLarge { bytes: 9_000_000 }),
    ];
    let outcomes = [
        KvOutcome::Applied { results: every },
        KvOutcome::Applied { results: vec![OpResult::done(true), OpResult::done(false)] },
        KvOutcome::Refused { condition: 3, actual: value() },
        KvOutcome::Refused { condition: 0, actual: None },
    ];
    outcomes.iter().map(|outcome| outcome.encode().to_vec()).collect()
}
