//! The key-value state machine over every store.

mod budget;
mod machine;
mod rebuild;
mod rotten_version;
mod suites;
mod unsynced_version;

use bytes::Bytes;

use super::{Condition, KvCommand, Op, When};

/// Commands for the state suite: every operation, some that cannot be done, conditions that hold and that fail.
pub(super) fn command(n: u64) -> Bytes {
    let key = |n: u64| Bytes::from(format!("key-{:03}", n % 13));
    let value = Bytes::from(vec![b'v'; (n * 37 % 300) as usize]);
    let mut command = KvCommand {
        conditions: Vec::new(),
        ops: vec![
            Op::Put(key(n), value),
            Op::Delete(key(n * 7)),
            Op::Put(key(n * 5 + 1), Bytes::from(n.to_string())),
            Op::Add(key(n * 5 + 1), -7),
            Op::Append(key(n + 2), Bytes::from_static(b"suffix")),
            Op::Add(key(n + 2), 1),
            Op::Set {
                key: key(n + 4),
                value: Bytes::from_static(b"0"),
                when: When::Absent,
                returns_previous: false,
            },
        ],
    };
    if n.is_multiple_of(2) {
        command.ops.push(Op::Take(key(n + 6)));
    }
    if n.is_multiple_of(3) {
        command.conditions.push(Condition::Present(key(n + 1)));
    }
    command.encode().unwrap()
}
