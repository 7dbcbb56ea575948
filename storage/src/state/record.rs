//! The bytes of an [`AppliedRecord`]: format version (2), length (4), CRC-32 of both and the body (4), body:
//! the archived `AppliedRecordV1`. Little-endian.

use std::path::Path;

use rkyv::rancor;

use crate::error::{Error, Result};
use crate::state::AppliedRecord;
use crate::state::format::AppliedRecordV1;

/// Bytes before the body.
const HEADER_BYTES: usize = 10;

/// Where the checksum stands in the header.
const CRC_AT: usize = 6;

impl AppliedRecord {
    /// The format version this release writes, and the newest it reads.
    pub const FORMAT: u16 = 1;

    /// The record's bytes, as a store or a snapshot header keeps them.
    pub fn encode(&self) -> Vec<u8> {
        let body = rkyv::to_bytes::<rancor::Error>(&AppliedRecordV1::from(self))
            .unwrap_or_else(|cause| unreachable!("an owned record always archives: {cause}"));
        let body_bytes = u32::try_from(body.len()).unwrap_or_else(|_| {
            unreachable!("a record is bounded by its replicas and keys, {} bytes", body.len())
        });
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(&Self::FORMAT.to_le_bytes());
        bytes.extend_from_slice(&body_bytes.to_le_bytes());
        bytes.extend_from_slice(&checksum(&bytes[..CRC_AT], &body).to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Reads a record's bytes. `file` is named in errors. `Ok(None)` if they are of an older format, which
    /// this release no longer reads: the same as no record.
    ///
    /// # Errors
    /// [`Error::NewerFormat`] if a newer release wrote them; [`Error::Corrupt`] if length or checksum do
    /// not match; [`Error::Malformed`] if the body is no valid record although the checksum matches.
    pub fn decode(bytes: &[u8], file: &Path) -> Result<Option<Self>> {
        let corrupt = |what, expected: usize, found: usize| Error::Corrupt {
            what,
            file: file.to_path_buf(),
            offset: 0,
            expected: expected as u64,
            found: found as u64,
        };
        let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(corrupt("applied record header", HEADER_BYTES, bytes.len()));
        };
        let [v0, v1, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
        let format = u16::from_le_bytes([v0, v1]);
        let body_bytes = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if body_bytes != body.len() {
            return Err(corrupt("applied record length", body_bytes, body.len()));
        }
        let expected = u32::from_le_bytes([c0, c1, c2, c3]);
        let found = checksum(&header[..CRC_AT], body);
        if expected != found {
            return Err(corrupt("applied record", expected as usize, found as usize));
        }
        // Only now: a damaged record must not pass for a newer one.
        if format > Self::FORMAT {
            return Err(Error::NewerFormat {
                file: file.to_path_buf(),
                found: format,
                supported: Self::FORMAT,
            });
        }
        if format < Self::FORMAT {
            return Ok(None);
        }
        let form = rkyv::from_bytes::<AppliedRecordV1, rancor::Error>(body)
            .map_err(|_| Error::Malformed { what: "applied record" })?;
        Self::try_from(form).map(Some)
    }
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::state::fixture::example_record;

    #[test]
    fn a_record_reads_back_as_written() {
        let record = example_record(7, 3);
        let decoded = AppliedRecord::decode(&record.encode(), Path::new("state/1")).unwrap();
        assert_eq!(decoded, Some(record));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = example_record(7, 3).encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let decoded = AppliedRecord::decode(&flipped, Path::new("state/1"));
            let is_found = decoded.as_ref().is_err_and(Error::is_corruption);
            assert!(is_found, "bit {bit} is not called damage: {decoded:?}");
        }
    }

    #[test]
    fn a_newer_format_is_named_and_an_older_one_is_no_record() {
        let record = example_record(7, 3).encode();
        let with_format = |format: u16| {
            let mut bytes = record.clone();
            bytes[..2].copy_from_slice(&format.to_le_bytes());
            let crc = checksum(&bytes[..CRC_AT], &bytes[HEADER_BYTES..]);
            bytes[CRC_AT..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
            AppliedRecord::decode(&bytes, Path::new("state/1"))
        };
        assert!(matches!(with_format(2), Err(Error::NewerFormat { found: 2, supported: 1, .. })));
        assert_eq!(with_format(0).unwrap(), None);
    }

    #[test]
    fn the_first_format_is_pinned() {
        let bytes = example_record(7, 3).encode();
        assert_eq!(crc32fast::hash(&bytes), PINNED_CRC, "the archived form changed: {bytes:02x?}");
    }

    /// Checksum of the bytes of `example_record(7, 3)` as format 1 has them.
    const PINNED_CRC: u32 = 2_890_894_376;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            assert!(!matches!(AppliedRecord::decode(&bytes, Path::new("state/1")), Ok(Some(_))));
        }
    }
}
