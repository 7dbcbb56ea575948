//! Fills the large group.

use bytes::Bytes;
use quorate::{Node, WriteBatch};
use quorate_telemetry::Rng as _;
use quorate_telemetry::rng::SeededRng;
use tokio::task::JoinSet;

use super::keys::large_key;
use crate::Error;

/// Bytes of values in one batch: below an entry's bound.
const BATCH_BYTES: usize = 512 << 10;
/// Batches under way.
const BATCHES_MAX: usize = 4;
/// Tries of one batch, which a full group may refuse.
const TRIES_MAX: usize = 100;

/// Puts values of `value_bytes`, about `bytes` of them in all, that no store makes smaller.
pub(super) async fn fill(node: &Node, bytes: u64, (value_bytes, seed): (usize, u64)) -> Result<(), Error> {
    let rng = SeededRng::new(seed);
    let value_bytes = value_bytes.max(8);
    let per_batch = (BATCH_BYTES / value_bytes).max(1);
    let mut under_way = JoinSet::new();
    let (mut number, mut written) = (0, 0);
    while written < bytes {
        let pairs: Vec<(Bytes, Bytes)> =
            (number..).take(per_batch).map(|key| (large_key(key), value(&rng, value_bytes))).collect();
        number += per_batch as u64;
        written += (per_batch * value_bytes) as u64;
        if under_way.len() >= BATCHES_MAX {
            finished(under_way.join_next().await)?;
        }
        under_way.spawn(put(node.clone(), pairs));
    }
    while let Some(done) = under_way.join_next().await {
        finished(Some(done))?;
    }
    Ok(())
}

async fn put(node: Node, pairs: Vec<(Bytes, Bytes)>) -> Result<(), Error> {
    let mut tries = 0;
    loop {
        let batch =
            pairs.iter().fold(WriteBatch::new(), |batch, (key, value)| batch.put(key.clone(), value.clone()));
        tries += 1;
        match node.write(batch).await {
            Ok(_) => return Ok(()),
            // The same keys and values again: whether it was written before does not matter.
            Err(_) if tries < TRIES_MAX => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn finished(done: Option<Result<Result<(), Error>, tokio::task::JoinError>>) -> Result<(), Error> {
    done.map_or(Ok(()), |done| done.expect("a writer does not panic"))
}

fn value(rng: &SeededRng, bytes: usize) -> Bytes {
    let mut value = Vec::with_capacity(bytes.next_multiple_of(8));
    while value.len() < bytes {
        value.extend_from_slice(&rng.next_u64().to_le_bytes());
    }
    value.truncate(bytes);
    value.into()
}
