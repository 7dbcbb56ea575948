//! Engine keys of the Redis frontend: the slot (2 bytes, big-endian), then the client's key.
//!
//! The slot is the one of Redis Cluster (CRC-16 of the hash tag, modulo 16,384). With the slot in front a
//! range of slots is a range of keys, so the router needs to know nothing of hashing. Part of the data format.

use bytes::{BufMut, Bytes, BytesMut};
use redis_protocol::redis_keyslot;

/// Bytes of the slot in front of a client's key.
pub const SLOT_BYTES: usize = 2;

/// Most bytes of a key the engine stores.
pub const ENGINE_KEY_BYTES_MAX: usize = 32 * 1024;

/// Most bytes of a client's key.
pub const KEY_BYTES_MAX: usize = ENGINE_KEY_BYTES_MAX - SLOT_BYTES;

/// Most bytes of a value.
pub const VALUE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many slots there are.
pub const SLOTS: u16 = 16_384;

/// The engine key of a client's key. One copy.
///
/// # Panics
/// If `key` is longer than [`KEY_BYTES_MAX`]: the caller has to refuse it first.
pub fn engine_key(key: &[u8]) -> Bytes {
    assert!(key.len() <= KEY_BYTES_MAX, "a key of {} bytes passed the limit check", key.len());
    let slot = redis_keyslot(key);
    assert!(slot < SLOTS, "slot {slot} does not exist");
    let mut bytes = BytesMut::with_capacity(SLOT_BYTES + key.len());
    bytes.put_u16(slot);
    bytes.put_slice(key);
    bytes.freeze()
}

/// The slot of an engine key, or of a bound of a range of them; what such a bound has less than two bytes counts as
/// zeros.
pub fn slot_of(engine_key: &[u8]) -> u16 {
    let byte = |at| engine_key.get(at).copied().unwrap_or(0);
    u16::from_be_bytes([byte(0), byte(1)])
}

/// The first engine key there could be of `slot`; of [`SLOTS`] the bound behind all of them.
///
/// # Panics
/// If there is no such slot.
pub fn slot_start(slot: u16) -> Bytes {
    assert!(slot <= SLOTS, "slot {slot} does not exist");
    Bytes::copy_from_slice(&slot.to_be_bytes())
}

/// The client's key of an engine key. Shares its memory.
///
/// # Panics
/// If it is shorter than its slot: no engine key is.
pub fn client_key(engine_key: &Bytes) -> Bytes {
    assert!(engine_key.len() >= SLOT_BYTES, "an engine key begins with its slot");
    engine_key.slice(SLOT_BYTES..)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CRC-16/XMODEM bit by bit, over the hash tag as the Redis Cluster specification has it.
    fn slot_by_specification(key: &[u8]) -> u16 {
        let open = key.iter().position(|&b| b == b'{');
        let tag = open.and_then(|open| {
            let close = key[open + 1..].iter().position(|&b| b == b'}')?;
            (close > 0).then(|| &key[open + 1..open + 1 + close])
        });
        let mut crc = 0u16;
        for &byte in tag.unwrap_or(key) {
            crc ^= u16::from(byte) << 8;
            for _ in 0..8 {
                crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            }
        }
        crc % SLOTS
    }

    #[test]
    fn an_engine_key_is_the_cluster_slot_then_the_key() {
        let keys: [&[u8]; 12] = [
            b"",
            b"foo",
            b"123456789",
            b"{user1000}.following",
            b"{user1000}.followers",
            b"foo{}{bar}",
            b"foo{{bar}}zap",
            b"foo{bar}{zap}",
            b"{",
            b"}{",
            b"a{b",
            b"\x00\xff",
        ];
        for key in keys {
            let bytes = engine_key(key);
            assert_eq!(bytes[..2], slot_by_specification(key).to_be_bytes(), "{key:?}");
            assert_eq!(client_key(&bytes), key);
            assert!(slot_start(slot_of(&bytes)) <= bytes && bytes < slot_start(slot_of(&bytes) + 1));
        }
        assert_eq!(engine_key(b"foo")[..2], 12182u16.to_be_bytes());
    }

    #[test]
    #[should_panic(expected = "passed the limit check")]
    fn an_oversized_key_never_becomes_an_engine_key() {
        engine_key(&vec![0; KEY_BYTES_MAX + 1]);
    }
}
