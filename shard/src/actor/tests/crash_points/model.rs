//! Entries of 64 operations, and what they come to, decided without the code under test.

use bytes::Bytes;
use quorate_storage::kv::{KvCommand, Op};
use quorate_storage::state::StateDigest;

use super::super::store::{Records, digest_of};

/// Operations of one entry.
const OPS: usize = 64;
/// Keys that they share.
const KEYS: usize = 12;

/// The entries, and the state after any number of them.
pub(super) struct Model {
    pub(super) commands: Vec<Bytes>,
    /// After none of the entries, after the first, and so on.
    states: Vec<(Records, StateDigest)>,
}

impl Model {
    pub(super) fn new(entries: usize) -> Self {
        let mut records = Records::new();
        let mut states = vec![with_digest(&records)];
        let mut commands = Vec::new();
        for entry in 0..entries {
            let ops: Vec<_> = (0..OPS).map(|at| op(entry, at)).collect();
            for op in &ops {
                run(op, &mut records);
            }
            states.push(with_digest(&records));
            commands.push(KvCommand { conditions: Vec::new(), ops }.encode().unwrap());
        }
        for (at, (_, digest)) in states.iter().enumerate() {
            assert!(states[..at].iter().all(|(_, other)| other != digest), "entry {at} changes nothing");
        }
        Self { commands, states }
    }

    /// What `entries` of them come to.
    pub(super) fn after(&self, entries: usize) -> &(Records, StateDigest) {
        &self.states[entries]
    }

    /// How many entries, each of them whole, come to `records`; `None` if there is a part of one in it.
    pub(super) fn entries_of(&self, records: &Records) -> Option<usize> {
        self.states.iter().position(|(state, _)| state == records)
    }
}

/// Every entry puts, extends and removes every text and adds to every number, so that no part of one looks like a whole.
fn op(entry: usize, at: usize) -> Op {
    let text = Bytes::from(format!("text-{}", (entry * 5 + at * 7 + at / 4) % KEYS));
    match at % 4 {
        0 => Op::Put(text, Bytes::from(format!("{:->40}", format!("{entry}.{at}")))),
        1 => Op::Append(text, Bytes::from(format!("+{entry}.{at}"))),
        2 => Op::Add(
            Bytes::from(format!("number-{}", at / 4 % KEYS)),
            i64::try_from(entry * OPS + at).unwrap() - 300,
        ),
        _ => Op::Delete(text),
    }
}

fn run(op: &Op, records: &mut Records) {
    match op {
        Op::Put(key, value) => drop(records.insert(key.clone(), value.clone())),
        Op::Delete(key) => drop(records.remove(key)),
        Op::Append(key, suffix) => {
            let mut value = records.get(key).map_or(Vec::new(), |value| value.to_vec());
            value.extend_from_slice(suffix);
            records.insert(key.clone(), value.into());
        }
        Op::Add(key, delta) => {
            let text = records.get(key).map_or("0", |value| std::str::from_utf8(value).unwrap());
            let sum = text.parse::<i64>().unwrap() + delta;
            records.insert(key.clone(), sum.to_string().into());
        }
        other => panic!("no entry has a {other:?}"),
    }
}

fn with_digest(records: &Records) -> (Records, StateDigest) {
    (records.clone(), digest_of(records))
}
