//! The marker of the key-value state machine: what is derived from its records, then the applied record.
//! Bytes: live records (8), live bytes of keys and values (8), CRC-32 of both (4), the encoded record.
//! Little-endian.

use std::path::Path;

use crate::error::{Error, Result};
use crate::state::AppliedRecord;

/// Bytes before the applied record.
const COUNTS_BYTES: usize = 20;

/// What a state holds, without looking at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Live records.
    pub records: u64,
    /// Bytes of their keys and plain values.
    pub bytes: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.records += 1;
        self.bytes += (key.len() + value.len()) as u64;
    }

    /// # Panics
    /// If the record was never counted: the marker then did not belong to its state.
    pub(crate) fn remove(&mut self, key: &[u8], value: &[u8]) {
        let bytes = (key.len() + value.len()) as u64;
        assert!(self.records > 0 && self.bytes >= bytes, "a record that was never counted is removed");
        self.records -= 1;
        self.bytes -= bytes;
    }
}

/// The marker's bytes.
pub(crate) fn encode(counts: Counts, record: &AppliedRecord) -> Vec<u8> {
    let record = record.encode();
    let mut bytes = Vec::with_capacity(COUNTS_BYTES + record.len());
    bytes.extend_from_slice(&counts.records.to_le_bytes());
    bytes.extend_from_slice(&counts.bytes.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend_from_slice(&record);
    bytes
}

/// Reads a marker. `Ok(None)` if its record is of an older format. `dir` is named in errors.
pub(crate) fn decode(bytes: &[u8], dir: &Path) -> Result<Option<(Counts, AppliedRecord)>> {
    let corrupt = |expected: usize, found: usize| Error::Corrupt {
        what: "marker",
        file: dir.to_path_buf(),
        offset: 0,
        expected: expected as u64,
        found: found as u64,
    };
    let Some((head, record)) = bytes.split_first_chunk::<COUNTS_BYTES>() else {
        return Err(corrupt(COUNTS_BYTES, bytes.len()));
    };
    let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| head[at + i]));
    let expected = u32::from_le_bytes(std::array::from_fn(|i| head[16 + i]));
    let found = crc32fast::hash(&head[..16]);
    if expected != found {
        return Err(corrupt(expected as usize, found as usize));
    }
    let counts = Counts { records: number(0), bytes: number(8) };
    Ok(AppliedRecord::decode(record, dir)?.map(|record| (counts, record)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::fixture::example_record;

    #[test]
    fn a_marker_reads_back_and_every_flipped_bit_is_found() {
        let counts = Counts { records: 3, bytes: 1 << 40 };
        let bytes = encode(counts, &example_record(9, 2));
        let dir = Path::new("state/1");
        assert_eq!(decode(&bytes, dir).unwrap(), Some((counts, example_record(9, 2))));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, dir).is_err(), "bit {bit} went unnoticed");
        }
    }
}
