//! The places in the middle of a slot where scans go on.

use std::collections::BTreeMap;
use std::mem;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_telemetry::rng::Rng;

/// Most places that are kept. One more pushes out the one used least recently.
const PLACES_MAX: usize = 4096;

/// Most bytes of keys that are kept with them.
const KEY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The first id is below this. With the slot behind it a cursor stays below 2^53: some clients hold it as a double.
const FIRST_ID_MAX: u64 = 1 << 38;

/// A bounded table from ids to keys. Ids count up from a random number: one that was given out before a restart, or by
/// another node, is not one of the few that are in the table.
#[derive(Debug)]
pub(in crate::resp) struct Positions {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next_id: u64,
    /// By id: the key, and when it was used last.
    places: BTreeMap<u64, (Bytes, u64)>,
    /// The ids by when they were used last. Holds the same ids as `places`.
    by_use: BTreeMap<u64, u64>,
    uses: u64,
    key_bytes: usize,
}

impl Positions {
    pub(in crate::resp) fn new(rng: &dyn Rng) -> Self {
        let next_id = 1 + rng.next_u64() % (FIRST_ID_MAX - 1);
        Self { table: Mutex::new(Table { next_id, ..Table::default() }) }
    }

    /// Keeps `key` and tells its id, never 0.
    pub(super) fn put(&self, key: &[u8]) -> u64 {
        // Not a slice of something larger.
        let key = Bytes::copy_from_slice(key);
        let mut table = self.table.lock();
        let id = table.next_id;
        table.next_id += 1;
        table.uses += 1;
        let used = table.uses;
        table.key_bytes += key.len();
        table.places.insert(id, (key, used));
        table.by_use.insert(used, id);
        while table.places.len() > PLACES_MAX || table.key_bytes > KEY_BYTES_MAX {
            let Some((_, id)) = table.by_use.pop_first() else { break };
            let pushed_out = table.places.remove(&id);
            table.key_bytes -= pushed_out.map_or(0, |(key, _)| key.len());
        }
        id
    }

    /// The key kept as `id`. It stays: a client that has got no reply asks again with the same cursor.
    pub(super) fn get(&self, id: u64) -> Option<Bytes> {
        let mut table = self.table.lock();
        table.uses += 1;
        let now = table.uses;
        let (key, used) = table.places.get_mut(&id)?;
        let key = key.clone();
        let before = mem::replace(used, now);
        table.by_use.remove(&before);
        table.by_use.insert(now, id);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use quorate_telemetry::rng::SeededRng;

    use super::*;

    #[test]
    fn the_place_used_least_recently_goes_first() {
        let positions = Positions::new(&SeededRng::new(1));
        let first = positions.put(b"first");
        let second = positions.put(b"second");
        for _ in 2..PLACES_MAX {
            positions.put(b"another");
        }
        assert_eq!(positions.get(first).unwrap(), "first");
        positions.put(b"one too many");
        assert_eq!(positions.get(second), None);
        assert_eq!(positions.get(first).unwrap(), "first");
    }

    #[test]
    fn long_keys_are_bounded_by_their_bytes() {
        let positions = Positions::new(&SeededRng::new(2));
        for _ in 0..200 {
            positions.put(&vec![0; 32 * 1024]);
        }
        let table = positions.table.lock();
        assert_eq!(table.places.len(), KEY_BYTES_MAX / (32 * 1024));
        assert_eq!(table.places.len(), table.by_use.len());
        assert!(table.key_bytes <= KEY_BYTES_MAX);
    }
}
