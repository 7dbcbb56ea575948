//! The frontends' writes as operations of the engine, and back.

use bytes::Bytes;
use quorate::storage::kv::VALUE_BYTES_MAX;
use quorate::{Node, Op, OpFailure, OpResult};

use super::admission::Admission;
use super::errors;
use crate::backend::{Access, BackendError, When, Write, Written};

/// Makes `writes` durable, one result each.
pub(super) async fn write(
    node: &Node,
    writes: Vec<Write>,
    access: Access,
) -> Vec<Result<Written, BackendError>> {
    let mut admission = Admission::of_writes(node, access);
    if admission.serves_all(writes.iter().map(Write::key)) {
        let ops: Vec<Op> = writes.into_iter().map(op).collect();
        return node.write_each(&ops).await.into_iter().map(outcome).collect();
    }
    let mut results = Vec::with_capacity(writes.len());
    let (mut places, mut ops) = (Vec::new(), Vec::new());
    for (at, write) in writes.into_iter().enumerate() {
        let admitted = admission.admit(write.key()).await;
        if admitted.is_ok() {
            places.push(at);
            ops.push(op(write));
        }
        // Stands for the outcome until it is written.
        results.push(admitted.and(Err(BackendError::NoLeader)));
    }
    for (at, result) in places.into_iter().zip(node.write_each(&ops).await) {
        results[at] = outcome(result);
    }
    results
}

fn outcome(result: quorate::Result<OpResult>) -> Result<Written, BackendError> {
    result.map_err(errors::of_write).and_then(written)
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
