//! The frontends' writes as operations of the engine, and back.

use bytes::Bytes;
use quorate::storage::kv::VALUE_BYTES_MAX;
use quorate::{Node, Op, OpFailure, OpResult};

use super::errors;
use crate::backend::{BackendError, When, Write, Written};

/// Makes `writes` durable, one result each.
pub(super) async fn write(node: &Node, writes: Vec<Write>) -> Vec<Result<Written, BackendError>> {
    let ops: Vec<Op> = writes.into_iter().map(op).collect();
    let results = node.write_each(&ops).await;
    results.into_iter().map(|result| result.map_err(errors::of_write).and_then(written)).collect()
}

fn op(write: Write) -> Op {
    match write {
        Write::Put { key, value } => Op::Put(key, own(&value)),
        Write::Delete { key } => Op::Delete(key),
        Write::Set { key, value, when, returns_previous } => {
            let when = match when {
                When::Always => quorate::When::Always,
                When::Absent => quorate::When::Absent,
                When::Present => quorate::When::Present,
            };
            Op::Set { key, value: own(&value), when, returns_previous }
        }
        Write::Take { key } => Op::Take(key),
        Write::Append { key, suffix } => Op::Append(key, own(&suffix)),
        Write::Add { key, delta } => Op::Add(key, delta),
    }
}

/// The value shares the memory of a whole request, and lives long in caches: it is copied.
fn own(value: &Bytes) -> Bytes {
    Bytes::copy_from_slice(value)
}

fn written(result: OpResult) -> Result<Written, BackendError> {
    match result {
        OpResult::Done { existed, previous } => Ok(Written::Done { existed, previous }),
        OpResult::Unmet { previous } => Ok(Written::Unmet { previous }),
        OpResult::Number(number) => Ok(Written::Number(number)),
        OpResult::Failed(OpFailure::NotAnInteger) => Err(BackendError::NotAnInteger),
        OpResult::Failed(OpFailure::Overflow) => Err(BackendError::Overflow),
        OpResult::Failed(OpFailure::ValueTooLarge { bytes }) => {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            Err(BackendError::TooLarge { what: "value", bytes, bytes_max: VALUE_BYTES_MAX })
        }
    }
}
