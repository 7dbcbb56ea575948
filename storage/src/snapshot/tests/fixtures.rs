//! Files as releases wrote them, byte for byte: what is read, and what is refused by which name.
//!
//! Each is the snapshot of `example_record(2, 3)` with the same three records; they differ in the state header.

use std::path::Path;

use super::{dir_on, disk, label, read_all, records};
use crate::disk::{Disk, OpenMode, SimDisk};
use crate::error::{Error, Result};
use crate::ids::{Index, Timestamp};
use crate::snapshot::{
    ReadFrom, SnapshotFault, SnapshotReader, SnapshotSource, SnapshotToken, StateHeader, read_token,
};

const CEILING: Timestamp = Timestamp(7 << 16);

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../fixtures/", $name, ".snap"))
    };
}

/// Puts a fixture on a new disk, under the name of its position.
fn place(bytes: &[u8], crc: u32) -> (SimDisk, SnapshotToken) {
    let disk = disk();
    let token = SnapshotToken { id: label(2).record.applied, bytes: bytes.len() as u64, crc };
    let file = disk.open(&dir_on(&disk).path_of(token.id), OpenMode::Create).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    (disk, token)
}

/// The state header of a fixture that must read back whole.
fn read(bytes: &[u8], crc: u32) -> Option<StateHeader> {
    let (disk, token) = place(bytes, crc);
    let dir = dir_on(&disk);
    dir.verify(&token, ReadFrom::Device).unwrap();
    assert_eq!(read_token(&disk, &dir.path_of(token.id)).unwrap(), (token, label(2)));
    assert_eq!(read_all(&dir, token).unwrap(), records(3, 20));
    dir.reader(token).unwrap().state_header().copied()
}

/// What opening or reading a fixture says that must be refused, although every checksum in it is right.
fn refusal(bytes: &[u8], crc: u32) -> Error {
    let (disk, token) = place(bytes, crc);
    let dir = dir_on(&disk);
    dir.verify(&token, ReadFrom::Cache).unwrap();
    let read = |mut reader: SnapshotReader| -> Result<()> { reader.next_record().map(drop) };
    let error = dir.reader(token).and_then(read).unwrap_err();
    assert_eq!(disk.files(), [(dir.path_of(token.id), token.bytes)], "nothing was touched");
    error
}

#[test]
fn a_file_without_a_state_header_is_read_as_legacy() {
    assert_eq!(read(fixture!("legacy"), 0xded3_9786), None);
}

#[test]
fn version_one_of_the_state_header_has_the_ceiling() {
    let header = StateHeader { hlc_ceiling: CEILING, cutover: None };
    assert_eq!(read(fixture!("state_v1"), 0x7ab6_feaf), Some(header));
}

#[test]
fn version_two_of_the_state_header_has_ceiling_and_cutover_and_may_have_grown() {
    let header = StateHeader { hlc_ceiling: CEILING, cutover: Some(Index(41)) };
    assert_eq!(read(fixture!("state_v2"), 0x0818_eb2c), Some(header));
    assert_eq!(read(fixture!("state_v2_grown"), 0x544d_8a05), Some(header));
}

#[test]
fn this_release_writes_version_two_of_the_state_header_as_pinned() {
    let bytes: &[u8] = fixture!("state_v2");
    let written = StateHeader { hlc_ceiling: CEILING, cutover: Some(Index(41)) }.encode();
    assert!(bytes.windows(written.len()).any(|window| window == written));
}

#[test]
fn an_unknown_version_of_the_state_header_is_refused_as_newer() {
    let error = refusal(fixture!("state_v3"), 0x0818_eb2c);
    assert!(matches!(error, Error::NewerFormat { found: 3, supported: 2, .. }), "{error}");
}

#[test]
fn a_length_that_its_version_does_not_have_is_refused() {
    let fixtures: [(&[u8], u32); 3] = [
        (fixture!("state_v1_long"), 0x922c_6dcd),
        (fixture!("state_v2_short"), 0xdaf6_6144),
        (fixture!("state_v2_over"), 0x88c3_928c),
    ];
    for (bytes, crc) in fixtures {
        let error = refusal(bytes, crc);
        assert_eq!(SnapshotFault::of(&error), Some(SnapshotFault::InvalidLength), "{error}");
    }
}

#[test]
fn a_section_of_no_known_magic_is_refused_and_its_place_named() {
    let error = refusal(fixture!("unknown_magic"), 0x0818_eb2c);
    assert_eq!(SnapshotFault::of(&error), Some(SnapshotFault::UnknownMagic), "{error}");
    let Error::Corrupt { file, offset, .. } = error else { unreachable!() };
    assert_eq!(&fixture!("unknown_magic")[usize::try_from(offset).unwrap()..][..4], b"QRSX");
    assert!(file.starts_with(Path::new("/g")));
}
