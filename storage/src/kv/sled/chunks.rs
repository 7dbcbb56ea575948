//! How values lie in a sled tree: no item is over 64 KiB, because sled moves larger ones to files that it
//! never syncs.
//!
//! Under the record's key: 0 and the value, or 1 and the value's length (4, big-endian). Then the value lies in
//! chunks under 2, the record's key, the chunk's number (4, big-endian).

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::{Error, Result};
use crate::kv::lsm::failed;
use crate::kv::record;

/// Longest value, and longest chunk.
const CHUNK_BYTES: u16 = u16::MAX;

const INLINE: u8 = 0;
const CHUNKED: u8 = 1;

/// First byte of the keys of chunks: they lie behind all records.
const CHUNK_PREFIX: u8 = record::PREFIX + 1;

/// Adds a record to a batch.
pub(super) fn put(batch: &mut sled::Batch, key: &[u8], value: &[u8]) {
    if value.len() <= CHUNK_BYTES.into() {
        batch.insert(key, [&[INLINE], value].concat());
        return;
    }
    let value_bytes = u32::try_from(value.len()).unwrap_or_else(|_| unreachable!("values are bounded"));
    batch.insert(key, [&[CHUNKED][..], &value_bytes.to_be_bytes()].concat());
    for (number, chunk) in (0..).zip(value.chunks(CHUNK_BYTES.into())) {
        batch.insert(chunk_key(key, number), chunk);
    }
}

/// Adds the removal of what lies under `key` beside `stored`, its item.
pub(super) fn delete_chunks(batch: &mut sled::Batch, key: &[u8], stored: &[u8]) {
    for number in 0..chunk_count(stored) {
        batch.remove(chunk_key(key, number));
    }
}

/// The value whose item under `key` is `stored`.
pub(super) fn assemble(tree: &sled::Tree, key: &[u8], stored: &[u8]) -> Result<Bytes> {
    let malformed = Error::Malformed { what: "item of the sled store" };
    match stored.split_first() {
        Some((&INLINE, value)) => Ok(Bytes::copy_from_slice(value)),
        Some((&CHUNKED, _)) => {
            let mut value = BytesMut::new();
            for number in 0..chunk_count(stored) {
                let chunk = tree.get(chunk_key(key, number)).map_err(|source| failed("read", source))?;
                value.put_slice(&chunk.ok_or(malformed.clone())?);
            }
            Ok(value.freeze())
        }
        _ => Err(malformed),
    }
}

fn chunk_count(stored: &[u8]) -> u32 {
    match stored {
        &[CHUNKED, a, b, c, d] => u32::from_be_bytes([a, b, c, d]).div_ceil(CHUNK_BYTES.into()),
        _ => 0,
    }
}

fn chunk_key(key: &[u8], number: u32) -> Vec<u8> {
    [&[CHUNK_PREFIX], key, &number.to_be_bytes()].concat()
}
