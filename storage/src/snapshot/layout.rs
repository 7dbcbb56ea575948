//! The numbers and names of a snapshot file. `docs/FORMAT.md` draws them.

use std::path::Path;

use crate::entry::EntryId;
use crate::error::Error;
use crate::identity::HEADER_BYTES;
use crate::ids::{Index, Term};

/// Largest key and value together, in bytes, that one record may have.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A block is closed once its body has this many bytes.
pub(super) const BLOCK_BODY_BYTES_TARGET: usize = 64 * 1024;

/// A file that is written is synced each time so many bytes have gathered: the system never has more to write at
/// once, so that the syncs of logs on the same disk do not wait behind a gigabyte, nor their threads behind this one.
pub(super) const SYNC_BYTES: u64 = 256 << 10;

/// Lengths in front of each record.
pub(super) const RECORD_HEADER_BYTES: usize = 8;

/// No body is longer: the last record may be as large as a record can be.
pub(super) const BLOCK_BODY_BYTES_MAX: usize =
    BLOCK_BODY_BYTES_TARGET + RECORD_HEADER_BYTES + RECORD_BYTES_MAX;

/// Magic, checksum, sequence, records, body bytes.
pub(super) const BLOCK_HEADER_BYTES: usize = 24;

/// Magic, checksum, blocks, records.
pub(super) const INDEX_HEADER_BYTES: usize = 24;

/// Offset, records and checksum of one block.
pub(super) const INDEX_ENTRY_BYTES: usize = 16;

/// Magic, zeros, offset of the index, footer.
pub(super) const TAIL_BYTES: usize = 20;

/// The last bytes of a file: CRC-32 of everything before them.
pub(super) const FOOTER_BYTES: usize = 4;

/// Length in front of the label.
pub(super) const LABEL_LENGTH_BYTES: usize = 4;

/// No label is longer. Replicas and wrapped keys are few; two range bounds are keys.
pub(super) const LABEL_BYTES_MAX: usize = 1024 * 1024;

/// No snapshot file is shorter.
pub(super) const FILE_BYTES_MIN: u64 =
    (HEADER_BYTES + LABEL_LENGTH_BYTES + INDEX_HEADER_BYTES + TAIL_BYTES) as u64;

pub(super) const BLOCK_MAGIC: [u8; 4] = *b"QRSB";
pub(super) const INDEX_MAGIC: [u8; 4] = *b"QRSI";
pub(super) const TAIL_MAGIC: [u8; 4] = *b"QRSE";

/// Behind the name of a file that is being received.
pub(super) const PART_SUFFIX: &str = ".part";
/// Behind the name of a file that is being written.
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";
/// Behind the name of a file that was found corrupt.
pub(super) const QUARANTINE_SUFFIX: &str = ".bad";

const SUFFIX: &str = ".snap";
const DIGITS: usize = 20;

const _: () = assert!(BLOCK_BODY_BYTES_MAX <= u32::MAX as usize, "a block's length is a u32");
const _: () = assert!(FOOTER_BYTES < TAIL_BYTES, "the footer ends the tail");

/// The name of the snapshot of `id`: term and index with 20 digits each, so that names sort as positions do.
///
/// # Examples
/// ```
/// use quorate_storage::snapshot::{file_name, parse_file_name};
/// use quorate_storage::{EntryId, Index, Term};
///
/// let id = EntryId { term: Term(3), index: Index(41) };
/// assert_eq!(file_name(id), "00000000000000000003-00000000000000000041.snap");
/// assert_eq!(parse_file_name(&file_name(id)), Some(id));
/// ```
pub fn file_name(id: EntryId) -> String {
    format!("{:0DIGITS$}-{:0DIGITS$}{SUFFIX}", id.term.get(), id.index.get())
}

/// The position a snapshot's name stands for; `None` for any other name.
pub fn parse_file_name(name: &str) -> Option<EntryId> {
    let (term, index) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let number = |digits: &str| {
        let plain = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    };
    Some(EntryId { term: Term(number(term)?), index: Index(number(index)?) })
}

/// An [`Error::Corrupt`] whose numbers are lengths, magics or checksums.
pub(super) fn corrupt(what: &'static str, file: &Path, offset: u64, [expected, found]: [u64; 2]) -> Error {
    Error::Corrupt { what, file: file.to_path_buf(), offset, expected, found }
}

/// A length that some `usize` or cap already bounds.
pub(super) fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or_else(|_| unreachable!("{bytes} bytes were bounded before"))
}

/// A length in a `u32` field, whose bound is checked by the caller.
pub(super) fn length_field(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or_else(|_| unreachable!("{bytes} bytes were bounded before")).to_le_bytes()
}

/// The little-endian `u32` at `at`. The caller has checked the length.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

/// The little-endian `u64` at `at`. The caller has checked the length.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_are_snapshots() {
        let id = EntryId { term: Term(u64::MAX), index: Index(1) };
        let name = file_name(id);
        assert_eq!(parse_file_name(&name), Some(id));
        for suffix in [PART_SUFFIX, TEMPORARY_SUFFIX, QUARANTINE_SUFFIX] {
            assert_eq!(parse_file_name(&format!("{name}{suffix}")), None);
        }
        for name in ["", "1-1.snap", "x.snap", "+0000000000000000001-00000000000000000001.snap"] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
        let overflow = "99999999999999999999-00000000000000000001.snap";
        assert_eq!(parse_file_name(overflow), None);
    }

    #[test]
    fn names_sort_as_positions_do() {
        let name = |term, index| file_name(EntryId { term: Term(term), index: Index(index) });
        assert!(name(2, 10) > name(2, 9));
        assert!(name(10, 1) > name(9, 100));
    }
}
