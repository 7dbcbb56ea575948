//! The state header of a snapshot: what the state machine must know before the records.
//!
//! Bytes: magic (4), version (2), length of the body (2), body, CRC-32 of everything before it (4); these are frozen for
//! ever, so that a rotten version is told from a newer one. A file may have none (legacy: the records follow at once),
//! version 1 or version 2; a writer writes the newest.

use std::path::Path;

use crate::error::{Error, Result};
use crate::ids::{Index, Timestamp};
use crate::snapshot::fault::SnapshotFault;
use crate::snapshot::layout::{corrupt, u32_at, u64_at};

/// First bytes of a state header; any version of it.
pub(super) const MAGIC: [u8; 4] = *b"QRSH";

/// Magic, version and length.
pub(super) const PREFIX_BYTES: usize = 8;

/// Checksum behind the body.
const CRC_BYTES: usize = 4;

/// The version this release writes, and the newest it reads.
const VERSION: u16 = 2;

/// Body of version 1: the ceiling.
const V1_BYTES: u16 = 8;

/// Body of version 2 as this release writes it. A later one may append fields, which are skipped here.
const V2_BYTES: u16 = 16;

/// No body is longer.
const BODY_BYTES_MAX: u16 = 1024;

/// What the log's in-memory neighbours start from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateHeader {
    /// Highest physical time a leader may issue; 0 before the first lease.
    pub hlc_ceiling: Timestamp,
    /// Index strictly above which payloads are encrypted. Never index 0, which stands for "none" in the file.
    pub cutover: Option<Index>,
}

impl StateHeader {
    /// The bytes of the newest version.
    pub fn encode(&self) -> Vec<u8> {
        let cutover = self.cutover.map_or(0, Index::get);
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + usize::from(V2_BYTES) + CRC_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&V2_BYTES.to_le_bytes());
        bytes.extend_from_slice(&self.hlc_ceiling.get().to_le_bytes());
        bytes.extend_from_slice(&cutover.to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// How many bytes the header has whose first [`PREFIX_BYTES`] these are, checksum included. `offset` is
    /// where it stands in the file at `path`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a length that its version does not have, or version 0.
    pub(super) fn length(prefix: [u8; PREFIX_BYTES], path: &Path, offset: u64) -> Result<usize> {
        let version = u16::from_le_bytes([prefix[4], prefix[5]]);
        let body = u16::from_le_bytes([prefix[6], prefix[7]]);
        let (expected, fits) = match version {
            1 => (V1_BYTES, body == V1_BYTES),
            2 => (V2_BYTES, (V2_BYTES..=BODY_BYTES_MAX).contains(&body)),
            0 => return Err(corrupt("state header version", path, offset + 4, [u64::from(VERSION), 0])),
            _ => (body, true),
        };
        if !fits {
            let lengths = [expected, body].map(u64::from);
            return Err(SnapshotFault::InvalidLength.error(path, offset + 6, lengths));
        }
        Ok(PREFIX_BYTES + usize::from(body) + CRC_BYTES)
    }

    /// Reads a whole header of [`Self::length`] bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the checksum does not match; else [`Error::NewerFormat`] for an unknown version.
    pub(super) fn decode(bytes: &[u8], path: &Path, offset: u64) -> Result<Self> {
        let (covered, _) = bytes.split_at(bytes.len() - CRC_BYTES);
        let (stored, computed) = (u32_at(bytes, covered.len()), crc32fast::hash(covered));
        if stored != computed {
            return Err(corrupt("state header", path, offset, [u64::from(computed), u64::from(stored)]));
        }
        let found = u16::from_le_bytes([covered[4], covered[5]]);
        if found > VERSION {
            return Err(Error::NewerFormat { file: path.to_path_buf(), found, supported: VERSION });
        }
        let body = &covered[PREFIX_BYTES..];
        let cutover =
            if body.len() >= usize::from(V2_BYTES) { u64_at(body, usize::from(V1_BYTES)) } else { 0 };
        Ok(Self {
            hlc_ceiling: Timestamp(u64_at(body, 0)),
            cutover: (cutover != 0).then_some(Index(cutover)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<StateHeader> {
        let prefix = *bytes.first_chunk().unwrap();
        let length = StateHeader::length(prefix, Path::new("f"), 0)?;
        assert_eq!(length, bytes.len());
        StateHeader::decode(bytes, Path::new("f"), 0)
    }

    fn header(version: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(body.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    #[test]
    fn a_state_header_reads_back_as_written() {
        for cutover in [None, Some(Index(9))] {
            let header = StateHeader { hlc_ceiling: Timestamp(7 << 16), cutover };
            assert_eq!(read(&header.encode()).unwrap(), header);
        }
    }

    #[test]
    fn version_one_has_a_ceiling_and_no_cutover() {
        let expected = StateHeader { hlc_ceiling: Timestamp(5), cutover: None };
        assert_eq!(read(&header(1, &5_u64.to_le_bytes())).unwrap(), expected);
    }

    #[test]
    fn fields_appended_to_version_two_are_skipped() {
        let mut body = [0; 40];
        body[0] = 5;
        body[8] = 6;
        let expected = StateHeader { hlc_ceiling: Timestamp(5), cutover: Some(Index(6)) };
        assert_eq!(read(&header(2, &body)).unwrap(), expected);
    }

    #[test]
    fn an_unknown_version_is_refused() {
        let error = read(&header(3, &[0; 16])).unwrap_err();
        assert!(matches!(error, Error::NewerFormat { found: 3, supported: 2, .. }), "{error}");
        assert!(read(&header(0, &[0; 16])).unwrap_err().is_corruption());
    }

    #[test]
    fn a_rotten_version_is_corruption_and_not_a_newer_one() {
        for version in [1, 2] {
            let mut bytes = header(version, &[0; 16][..if version == 1 { 8 } else { 16 }]);
            for bit in 0..16 {
                bytes[4 + bit / 8] ^= 1 << (bit % 8);
                assert!(read(&bytes).unwrap_err().is_corruption(), "version {version}, bit {bit}");
                bytes[4 + bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn a_wrong_length_or_checksum_is_corruption() {
        for (version, bytes) in [(1, 7), (1, 9), (2, 15), (2, 1025)] {
            assert!(read(&header(version, &vec![0; bytes])).unwrap_err().is_corruption());
        }
        let mut flipped = header(2, &[0; 16]);
        flipped[10] ^= 1;
        assert!(read(&flipped).unwrap_err().is_corruption());
    }
}
