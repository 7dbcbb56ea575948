//! The format is pinned, and older or foreign variants are read or refused.

use super::{dir_on, disk, file_bytes, label, publish, records};
use crate::disk::{Disk, OpenMode, SimDisk};
use crate::error::{Error, Result};
use crate::identity::HEADER_BYTES;
use crate::snapshot::{SnapshotDir, SnapshotSource, SnapshotToken, StateHeader};

/// CRC-32 of a file of format 1 with three records, without what is random in it.
const PINNED_FOOTER: u32 = 406_047_149;

/// Bytes of the state header that this release writes.
const STATE_HEADER_BYTES: usize = 28;

#[test]
fn the_first_format_is_pinned() {
    let disk = disk();
    let dir = dir_on(&disk);
    let token = publish(&dir, 2, &records(3, 20)).unwrap();
    let mut bytes = file_bytes(&disk, &dir, &token);
    // What a random source draws is not part of the format: the file id, and the checksum over it.
    bytes[56..72].fill(0);
    bytes[124..128].fill(0);
    let end = bytes.len() - 4;
    assert_eq!(crc32fast::hash(&bytes[..end]), PINNED_FOOTER, "the format changed: {bytes:02x?}");
}

/// Where the state header starts.
fn state_header_at(bytes: &[u8]) -> usize {
    let label = u32::from_le_bytes(bytes[HEADER_BYTES..HEADER_BYTES + 4].try_into().unwrap());
    HEADER_BYTES + 4 + usize::try_from(label).unwrap()
}

/// Puts another state header into a snapshot file without records, and mends everything behind it.
fn with_state_header(disk: &SimDisk, header: &[u8]) -> (SnapshotDir, SnapshotToken) {
    let dir = dir_on(disk);
    let token = publish(&dir, 2, &records(0, 0)).unwrap();
    let mut bytes = file_bytes(disk, &dir, &token);
    let at = state_header_at(&bytes);
    bytes.splice(at..at + STATE_HEADER_BYTES, header.iter().copied());
    let index_at = (at + header.len()) as u64;
    let end = bytes.len();
    bytes[end - 12..end - 4].copy_from_slice(&index_at.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..end - 4]);
    bytes[end - 4..].copy_from_slice(&crc.to_le_bytes());
    disk.remove_file(&dir.path_of(token.id)).unwrap();
    disk.open(&dir.path_of(token.id), OpenMode::Create).unwrap().write_all_at(&bytes, 0).unwrap();
    (dir, SnapshotToken { bytes: bytes.len() as u64, crc, ..token })
}

fn read(disk: &SimDisk, header: &[u8]) -> Result<Option<StateHeader>> {
    let (dir, token) = with_state_header(disk, header);
    let mut reader = dir.reader(token)?;
    let header = reader.state_header().copied();
    assert_eq!(reader.next_record()?, None);
    assert!(reader.is_verified());
    Ok(header)
}

fn state_header(version: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"QRSH".to_vec();
    bytes.extend_from_slice(&[version, 0, u8::try_from(body.len()).unwrap(), 0]);
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

#[test]
fn a_legacy_file_has_no_state_header() {
    assert_eq!(read(&disk(), &[]).unwrap(), None);
}

#[test]
fn older_and_longer_state_headers_are_read() {
    let ceiling = label(2).record.hlc_ceiling;
    let old = read(&disk(), &state_header(1, &ceiling.get().to_le_bytes())).unwrap().unwrap();
    assert_eq!(old, StateHeader { hlc_ceiling: ceiling, cutover: None });
    let mut body = [0; 64];
    body[..8].copy_from_slice(&ceiling.get().to_le_bytes());
    assert_eq!(read(&disk(), &state_header(2, &body)).unwrap(), Some(old));
}

#[test]
fn an_unknown_state_header_is_refused() {
    let error = read(&disk(), &state_header(3, &[0; 16])).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { found: 3, .. }), "{error}");
    assert!(read(&disk(), b"QRSX\0\0\0\0").unwrap_err().is_corruption());
}

#[test]
fn a_newer_file_is_refused_and_left_untouched() {
    let disk = disk();
    let dir = dir_on(&disk);
    let token = publish(&dir, 2, &records(3, 20)).unwrap();
    let path = dir.path_of(token.id);
    let mut header = file_bytes(&disk, &dir, &token)[..HEADER_BYTES].to_vec();
    header[8] = 2;
    let crc = crc32fast::hash(&header[..HEADER_BYTES - 4]);
    header[HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    disk.open(&path, OpenMode::Write).unwrap().write_all_at(&header, 0).unwrap();
    let before = file_bytes(&disk, &dir, &token);
    let error = dir.reader(token).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { found: 2, supported: 1, .. }), "{error}");
    assert_eq!(file_bytes(&disk, &dir, &token), before);
}
