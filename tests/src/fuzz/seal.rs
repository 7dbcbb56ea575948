//! Makes checksums right, so that changed bytes reach what is behind them. Layouts are those of `docs/FORMAT.md`.

/// Bytes of the outer header, its checksum included.
pub(super) const HEADER_BYTES: usize = 128;

/// Puts the CRC-32 of `covered` at `at`, if both lie in `bytes`.
pub(super) fn crc(bytes: &mut [u8], at: usize, covered: std::ops::Range<usize>) -> Option<u32> {
    let crc = crc32fast::hash(bytes.get(covered)?);
    put_u32(bytes, at, crc)?;
    Some(crc)
}

/// The outer header.
pub(super) fn header(bytes: &mut [u8]) {
    let _ = crc(bytes, HEADER_BYTES - 4, 0..HEADER_BYTES - 4);
}

/// An applied record that is all of `bytes`.
pub(super) fn record(bytes: &mut [u8]) -> Option<()> {
    let length = u32::try_from(bytes.len().checked_sub(10)?).ok()?;
    put_u32(bytes, 2, length)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes.get(..6)?);
    hasher.update(bytes.get(10..)?);
    put_u32(bytes, 6, hasher.finalize())
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

pub(super) fn put_u32(bytes: &mut [u8], at: usize, value: u32) -> Option<()> {
    bytes.get_mut(at..at.checked_add(4)?)?.copy_from_slice(&value.to_le_bytes());
    Some(())
}
