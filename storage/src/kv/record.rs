//! The form of a user's record in a store. Key: the prefix byte, the user's key. Value: CRC-32 of both the
//! stored key and the plain value (4, little-endian), the plain value.

use std::path::Path;

use bytes::Bytes;

use super::batch::Batch;
use crate::error::{Error, Result};

/// First byte of the stored key of every user record; below it stand the system's.
pub const PREFIX: u8 = 0x01;

/// Bytes before the plain value.
const CRC_BYTES: usize = 4;

/// The stored key of a user's key.
pub fn stored_key(user_key: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + user_key.len());
    key.push(PREFIX);
    key.extend_from_slice(user_key);
    key
}

/// Adds a user's record to a batch.
pub fn put(batch: &mut Batch, user_key: &[u8], value: &[u8]) {
    let crc = checksum(user_key, value).to_le_bytes();
    batch.put(&[&[PREFIX], user_key], &[&crc, value]);
}

/// Adds the removal of a user's record to a batch.
pub fn delete(batch: &mut Batch, user_key: &[u8]) {
    batch.delete(&[&[PREFIX], user_key]);
}

/// The plain value of a stored one, if it is the value that was written under `user_key`. `dir` is named in
/// the error.
///
/// # Errors
/// [`Error::Corrupt`] if the checksum does not match.
pub fn verify<'a>(user_key: &[u8], stored: &'a [u8], dir: &Path) -> Result<&'a [u8]> {
    let corrupt = |expected: u32, found: u32| Error::Corrupt {
        what: "stored value",
        file: dir.to_path_buf(),
        offset: 0,
        expected: expected.into(),
        found: found.into(),
    };
    let Some((crc, value)) = stored.split_first_chunk::<CRC_BYTES>() else {
        // Shorter than its checksum: there is none to compare.
        return Err(corrupt(checksum(user_key, &[]), 0));
    };
    let (expected, found) = (u32::from_le_bytes(*crc), checksum(user_key, value));
    if expected != found {
        return Err(corrupt(expected, found));
    }
    Ok(value)
}

/// [`verify`] without a copy.
pub fn verified(user_key: &[u8], stored: &Bytes, dir: &Path) -> Result<Bytes> {
    verify(user_key, stored, dir)?;
    Ok(stored.slice(CRC_BYTES..))
}

fn checksum(user_key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[PREFIX]);
    hasher.update(user_key);
    hasher.update(value);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_under_another_key_or_with_a_flipped_bit_is_corrupt() {
        let mut batch = Batch::default();
        put(&mut batch, b"key", b"value");
        let write = batch.writes().next().unwrap();
        let dir = Path::new("state/1");
        assert_eq!(write.key, stored_key(b"key"));
        let mut stored = write.value.unwrap().to_vec();
        assert_eq!(verify(b"key", &stored, dir).unwrap(), b"value");
        assert!(verify(b"kez", &stored, dir).unwrap_err().is_corruption());
        stored[5] ^= 1;
        assert!(verify(b"key", &stored, dir).unwrap_err().is_corruption());
        assert!(verify(b"key", &stored[..3], dir).unwrap_err().is_corruption());
    }
}
