//! Which operations for one group travel together in one entry, and which entries side by side.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_storage::kv::{OPS_MAX, Op, RETURNING_OPS_MAX};

/// Most bytes of keys and values of one entry; a single operation may be larger.
const ENTRY_BYTES_MAX: usize = 1 << 20;

/// Most bytes of keys and values in entries under way side by side, so that a large call does not take all the
/// room a group has for its callers.
const STEP_BYTES_MAX: usize = 2 << 20;

/// Most entries under way side by side.
const STEP_PARTS_MAX: usize = 64;

/// The operations of one entry.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Positions of its operations, ascending.
    pub(super) places: Vec<usize>,
    bytes: usize,
    returning: usize,
}

impl Part {
    fn has_room(&self, op: &Op) -> bool {
        let is_alone = self.places.is_empty();
        is_alone
            || self.places.len() < OPS_MAX
                && self.bytes + op.bytes() <= ENTRY_BYTES_MAX
                && self.returning + usize::from(op.is_returning()) <= RETURNING_OPS_MAX
    }

    fn push(&mut self, place: usize, op: &Op) {
        self.places.push(place);
        self.bytes += op.bytes();
        self.returning += usize::from(op.is_returning());
    }
}

/// Steps that must follow each other; the parts of a step go side by side. Operations on one key keep their order:
/// they are in one part, or in parts of ascending steps. `places` are those of the operations in `ops` that are
/// for the group, ascending.
pub(super) fn steps(ops: &[Op], places: &[usize]) -> Vec<Vec<Part>> {
    let mut rounds: Vec<Vec<Part>> = Vec::new();
    // Round and part of the last operation on a key.
    let mut last: BTreeMap<&Bytes, (usize, usize)> = BTreeMap::new();
    for &place in places {
        let op = &ops[place];
        let before = last.get(op.key()).copied();
        let at = match before {
            Some((round, part)) if rounds[round][part].has_room(op) => (round, part),
            before => open_part(&mut rounds, before.map_or(0, |(round, _)| round + 1), op),
        };
        rounds[at.0][at.1].push(place, op);
        last.insert(op.key(), at);
    }
    rounds.into_iter().flat_map(split).collect()
}

/// The newest part of `round`, or one behind it if that has no room.
fn open_part(rounds: &mut Vec<Vec<Part>>, round: usize, op: &Op) -> (usize, usize) {
    if round == rounds.len() {
        rounds.push(Vec::new());
    }
    let parts = &mut rounds[round];
    if parts.last().is_none_or(|part| !part.has_room(op)) {
        parts.push(Part::default());
    }
    (round, parts.len() - 1)
}

/// Cuts a round into steps that are not too large.
fn split(round: Vec<Part>) -> Vec<Vec<Part>> {
    let mut steps: Vec<Vec<Part>> = Vec::new();
    let mut bytes = 0;
    for part in round {
        bytes += part.bytes;
        match steps.last_mut() {
            Some(step) if step.len() < STEP_PARTS_MAX && bytes <= STEP_BYTES_MAX => step.push(part),
            _ => {
                bytes = part.bytes;
                steps.push(vec![part]);
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use quorate_telemetry::{Rng, SeededRng};

    use super::*;

    const SEED: u64 = 0x5eed_0041;

    fn put(key: &str, bytes: usize) -> Op {
        Op::Put(Bytes::copy_from_slice(key.as_bytes()), Bytes::from(vec![0; bytes]))
    }

    fn take(key: &str) -> Op {
        Op::Take(Bytes::copy_from_slice(key.as_bytes()))
    }

    fn planned(ops: &[Op]) -> Vec<Vec<Vec<usize>>> {
        let places: Vec<usize> = (0..ops.len()).collect();
        let places_of = |step: Vec<Part>| step.into_iter().map(|part| part.places).collect();
        steps(ops, &places).into_iter().map(places_of).collect()
    }

    #[test]
    fn what_fits_is_one_entry() {
        assert_eq!(planned(&[put("a", 1), put("b", 1), put("a", 1), take("a")]), [[[0, 1, 2, 3]]]);
        assert!(planned(&[]).is_empty());
    }

    #[test]
    fn one_value_is_returned_by_an_entry() {
        let ops = [take("a"), put("a", 1), take("b"), take("a"), put("a", 1)];
        assert_eq!(planned(&ops), [vec![vec![0, 1], vec![2]], vec![vec![3, 4]]]);
    }

    #[test]
    fn an_entry_ends_at_its_bytes_and_at_its_operations() {
        let half = ENTRY_BYTES_MAX / 2;
        let ops = [put("a", half), put("b", half), put("c", half), put("d", 8 * half), put("e", 1)];
        assert_eq!(planned(&ops), [vec![vec![0], vec![1], vec![2]], vec![vec![3]], vec![vec![4]]]);
        let many: Vec<Op> = (0..=OPS_MAX).map(|n| put(&n.to_string(), 0)).collect();
        let parts = planned(&many);
        assert_eq!(parts[0].iter().map(Vec::len).collect::<Vec<_>>(), [OPS_MAX, 1]);
        let same = vec![put("a", 0); OPS_MAX + 1];
        assert_eq!(planned(&same).iter().map(|step| step[0].len()).collect::<Vec<_>>(), [OPS_MAX, 1]);
    }

    #[test]
    fn every_operation_is_planned_once_and_keys_keep_their_order() {
        let rng = SeededRng::new(SEED);
        for _ in 0..200 {
            let op = |_| {
                let key = rng.below(9).to_string();
                match rng.below(10) {
                    0..3 => take(&key),
                    3 => put(&key, ENTRY_BYTES_MAX / 3),
                    _ => put(&key, 3),
                }
            };
            let ops: Vec<Op> = (0..rng.below(60)).map(op).collect();
            let mut seen: BTreeMap<&Bytes, (usize, usize, usize)> = BTreeMap::new();
            let mut count = 0;
            for (at_step, step) in planned(&ops).iter().enumerate() {
                for (at_part, part) in step.iter().enumerate() {
                    for &place in part {
                        count += 1;
                        let at = (at_step, at_part, place);
                        if let Some(before) = seen.insert(ops[place].key(), at) {
                            let is_same_part = (before.0, before.1) == (at.0, at.1);
                            assert!(before.2 < place, "seed {SEED:#x}: {before:?} and {at:?}");
                            assert!(is_same_part || before.0 < at.0, "seed {SEED:#x}: {before:?} and {at:?}");
                        }
                    }
                }
            }
            assert_eq!(count, ops.len(), "seed {SEED:#x}");
        }
    }
}
