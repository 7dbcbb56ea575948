//! The values: each is a function of its number, and begins with it.

use bytes::Bytes;

/// Distinct keys. Number `n` is written to key `n % KEYS`.
pub(super) const KEYS: u64 = 512;

/// Bytes of the values of a key: most are small, a few are as large as a value may be.
fn bytes_of(key: u64) -> usize {
    match key {
        key if key % 128 == 5 => 8 << 20,
        key if key % 16 == 1 => 200 << 10,
        key if key % 8 == 3 => 60 << 10,
        _ => 100,
    }
}

/// The key of write `number`, spread over all groups.
pub(super) fn key(number: u64) -> Bytes {
    let key = number % KEYS;
    let prefix = u16::try_from(key * (65_536 / KEYS)).expect("a key's prefix fits into two bytes");
    let mut bytes = prefix.to_be_bytes().to_vec();
    bytes.extend_from_slice(format!("key-{key:04}").as_bytes());
    bytes.into()
}

/// What write `number` writes.
pub(super) fn value(number: u64) -> Bytes {
    let mut value = vec![0; bytes_of(number % KEYS)];
    // No two words of two values are equal at the same place, so that a mixture of both is found out.
    for (word, at) in value.chunks_mut(8).zip(0u64..) {
        let bits = number.wrapping_add(at.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        word.copy_from_slice(&bits.to_le_bytes()[..word.len()]);
    }
    value.into()
}

/// The number a value was written with, if it is that value whole.
pub(super) fn number(found: &[u8]) -> Option<u64> {
    let head: [u8; 8] = found.get(..8)?.try_into().ok()?;
    let number = u64::from_le_bytes(head);
    (value(number) == found).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_tells_its_number_only_while_it_is_whole() {
        for written in [0, 5, 17, 3, 12_345] {
            let mut bytes = value(written).to_vec();
            assert_eq!(number(&bytes), Some(written));
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            assert_eq!(number(&bytes), None);
            assert_eq!(number(&bytes[..last]), None);
        }
        let sizes: Vec<_> = [0, 3, 1, 5].map(|n| value(n).len()).into();
        assert_eq!(sizes, [100, 60 << 10, 200 << 10, 8 << 20]);
    }
}
