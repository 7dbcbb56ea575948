//! What is written before anything is damaged. Pure: a seed and a size decide it.

use bytes::Bytes;
use quorate::Op;
use quorate_telemetry::Rng as _;
use quorate_telemetry::SeededRng;

use crate::corruption::image::Model;

/// Values of most keys have fewer bytes than this, and at least a tenth.
const SMALL_BYTES_MAX: u64 = 2_000;
/// One key of so many has a larger value: longer than a block of a store, or in several chunks of one.
const LARGER_EVERY: u64 = 100;
const LARGER_BYTES: [u64; 3] = [20 << 10, 60 << 10, 150 << 10];
/// Only a history of so many bytes has one value of a MiB.
const HUGE_FROM_BYTES: u64 = 8 << 20;
const HUGE_BYTES: u64 = 1 << 20;

/// Writes in waves: all keys; then a third of them anew, and some removed; then some once more.
#[derive(Debug)]
pub(super) struct History {
    pub(super) waves: [Vec<Op>; 3],
    /// What every reader must find afterwards.
    pub(super) model: Model,
}

impl History {
    /// One of about `bytes` of live values.
    pub(super) fn new(bytes: u64, seed: u64) -> Self {
        let mut history = Self { waves: Default::default(), model: Model::new() };
        let rng = SeededRng::new(seed);
        let (mut number, mut live) = (0_u64, 0_u64);
        while live < bytes {
            let value_bytes = value_bytes(number, bytes, &rng);
            live += value_bytes;
            history.put(0, number, value_bytes, &rng);
            number += 1;
        }
        for at in 0..number {
            match at {
                _ if at % 20 == 7 => history.delete(1, at),
                _ if at % 3 == 0 => history.put(1, at, value_bytes(at, bytes, &rng), &rng),
                _ if at % 8 == 1 => history.put(2, at, value_bytes(at, bytes, &rng), &rng),
                _ => {}
            }
        }
        history
    }

    fn put(&mut self, wave: usize, number: u64, value_bytes: u64, rng: &SeededRng) {
        let mut value = Vec::with_capacity(usize::try_from(value_bytes).unwrap_or(0) + 8);
        while (value.len() as u64) < value_bytes {
            value.extend_from_slice(&rng.next_u64().to_le_bytes());
        }
        let (key, value) = (key(number), Bytes::from(value));
        self.model.insert(key.clone(), Some(value.clone()));
        self.waves[wave].push(Op::Put(key, value));
    }

    fn delete(&mut self, wave: usize, number: u64) {
        self.model.insert(key(number), None);
        self.waves[wave].push(Op::Delete(key(number)));
    }
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("key-{number:08}"))
}

fn value_bytes(number: u64, history_bytes: u64, rng: &SeededRng) -> u64 {
    if number == 1 && history_bytes >= HUGE_FROM_BYTES {
        return HUGE_BYTES;
    }
    if number % LARGER_EVERY == 2 {
        let which = usize::try_from(number / LARGER_EVERY % 3).unwrap_or(0);
        return LARGER_BYTES[which];
    }
    SMALL_BYTES_MAX / 10 + rng.below(SMALL_BYTES_MAX * 9 / 10)
}
