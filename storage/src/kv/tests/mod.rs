//! The key-value state machine over every store.

mod lsm;
mod machine;
mod memory;

use bytes::Bytes;

use super::{Condition, KvCommand, Op};

/// Commands for the state suite: puts that overwrite, deletes, conditions that hold and that fail.
pub(super) fn command(n: u64) -> Bytes {
    let key = |n: u64| Bytes::from(format!("key-{:03}", n % 13));
    let value = Bytes::from(vec![b'v'; (n * 37 % 300) as usize]);
    let mut command = KvCommand {
        conditions: Vec::new(),
        ops: vec![
            Op::Put(key(n), value),
            Op::Delete(key(n * 7)),
            Op::Put(key(n * 5 + 1), Bytes::from(n.to_string())),
        ],
    };
    if n.is_multiple_of(3) {
        command.conditions.push(Condition::Present(key(n + 1)));
    }
    command.encode().unwrap()
}
