//! What a skip reads of a snapshot: in which order it is trusted, and that nothing changes before.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::cold_start::{apply_header, needs_header};
use crate::disk::{Disk, OpenMode, SimDisk};
use crate::error::{Error, Result};
use crate::identity::FileOwner;
use crate::ids::{Incarnation, Index, ReplicaId, Timestamp};
use crate::snapshot::{
    SnapshotDir, SnapshotFault, SnapshotPayload, SnapshotSource, SnapshotToken, StateHeader,
};
use crate::state::fixture::example_record;
use crate::state::{AppliedRecord, Command, SnapshotHeaderApplier, StateMachine, StateReader, StateView};

const CEILING: Timestamp = Timestamp(7 << 16);

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../snapshot/fixtures/", $name, ".snap"))
    };
}

/// How a state machine treats the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ability {
    /// It does not take headers.
    None,
    /// It has what is in them in its record.
    Covered,
    /// It has ceiling and cutover in memory only.
    MemoryOnly,
}

/// Keeps ceiling and cutover in memory, and nothing else at all.
#[derive(Debug)]
struct HeaderMachine {
    ability: Ability,
    parsed: std::cell::Cell<u32>,
    applied: Vec<StateHeader>,
}

impl HeaderMachine {
    fn new(ability: Ability) -> Self {
        Self { ability, parsed: std::cell::Cell::new(0), applied: Vec::new() }
    }
}

impl SnapshotHeaderApplier for HeaderMachine {
    fn covers_header(&self) -> bool {
        self.ability == Ability::Covered
    }

    fn parse_header(&self, payload: &mut SnapshotPayload) -> Result<Option<StateHeader>> {
        self.parsed.set(self.parsed.get() + 1);
        payload.state_header()
    }

    fn apply_header(&mut self, header: StateHeader) {
        self.applied.push(header);
    }
}

impl StateMachine for HeaderMachine {
    fn check(&self, _: &Bytes) -> Result<()> {
        unreachable!("a start checks no command")
    }

    fn apply(&mut self, _: &[Command], _: &AppliedRecord) -> Result<Vec<Bytes>> {
        unreachable!("a skip applies nothing")
    }

    fn reader(&self) -> Arc<dyn StateReader> {
        unreachable!("a skip reads nothing")
    }

    fn view(&self) -> Result<Box<dyn StateView>> {
        unreachable!("a skip reads nothing")
    }

    fn restore(&mut self, _: &mut dyn SnapshotSource, _: &AppliedRecord) -> Result<()> {
        unreachable!("a skip restores nothing")
    }

    fn checkpoint(&mut self) -> Result<Index> {
        unreachable!("a skip writes nothing")
    }

    fn durable_applied(&self) -> Index {
        Index(0)
    }

    fn close(&mut self) -> Result<()> {
        Ok(())
    }

    fn as_snapshot_header_applier(&mut self) -> Option<&mut dyn SnapshotHeaderApplier> {
        (self.ability != Ability::None).then_some(self as &mut dyn SnapshotHeaderApplier)
    }
}

/// Puts a file on a new disk, under the name of the fixtures' position.
fn place(bytes: &[u8], crc: u32) -> (SimDisk, SnapshotDir, SnapshotToken) {
    let disk = SimDisk::new();
    let group = example_record(1, 1).descriptor.uid;
    let owner = FileOwner { group, replica: ReplicaId(1), incarnation: Incarnation([1; 16]) };
    let dir = SnapshotDir::new(Arc::new(disk.clone()), PathBuf::from("/g"), owner);
    dir.create().unwrap();
    let token = SnapshotToken { id: example_record(2, 3).applied, bytes: bytes.len() as u64, crc };
    let file = disk.open(&dir.path_of(token.id), OpenMode::Create).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    (disk, dir, token)
}

/// A record without ceiling and cutover, as a state machine reports it that keeps them in memory only.
fn bare_record() -> AppliedRecord {
    AppliedRecord { hlc_ceiling: Timestamp(0), cutover: None, ..example_record(5, 3) }
}

/// Has a machine that keeps its ceiling in memory take the header of a file; what it was given, and its record.
fn take(bytes: &[u8], crc: u32) -> (Vec<StateHeader>, AppliedRecord) {
    let (_disk, dir, token) = place(bytes, crc);
    let (mut machine, mut record) = (HeaderMachine::new(Ability::MemoryOnly), bare_record());
    apply_header(&dir, token, &mut machine, &mut record).unwrap();
    (machine.applied, record)
}

/// What is said of a file that must be refused; neither machine, record nor disk has changed.
fn refuse(bytes: &[u8], crc: u32) -> (Error, u32) {
    let (disk, dir, token) = place(bytes, crc);
    let (mut machine, mut record) = (HeaderMachine::new(Ability::MemoryOnly), bare_record());
    let error = apply_header(&dir, token, &mut machine, &mut record).unwrap_err();
    assert_eq!(machine.applied, [], "{error}");
    assert_eq!(record, bare_record(), "{error}");
    assert_eq!(disk.files(), [(dir.path_of(token.id), token.bytes)], "{error}");
    (error, machine.parsed.get())
}

/// A sound file and its footer.
const SOUND: (&[u8], u32) = (fixture!("state_v2"), 0x0818_eb2c);

#[test]
fn headers_of_both_versions_are_applied_once_and_a_legacy_file_has_none() {
    let version_one = StateHeader { hlc_ceiling: CEILING, cutover: None };
    let version_two = StateHeader { hlc_ceiling: CEILING, cutover: Some(Index(41)) };
    let fixtures: [(&[u8], u32, Option<StateHeader>); 4] = [
        (fixture!("legacy"), 0xded3_9786, None),
        (fixture!("state_v1"), 0x7ab6_feaf, Some(version_one)),
        (SOUND.0, SOUND.1, Some(version_two)),
        (fixture!("state_v2_grown"), 0x544d_8a05, Some(version_two)),
    ];
    for (bytes, crc, expected) in fixtures {
        let (applied, record) = take(bytes, crc);
        assert_eq!(applied, Vec::from_iter(expected), "{crc:#x}");
        let expected = expected.unwrap_or_default();
        assert_eq!((record.hlc_ceiling, record.cutover), (expected.hlc_ceiling, expected.cutover));
        assert_eq!(record.applied, bare_record().applied, "applied never moves");
    }
}

#[test]
fn a_record_that_knows_a_higher_ceiling_keeps_it() {
    let (_disk, dir, token) = place(SOUND.0, SOUND.1);
    let higher = AppliedRecord { hlc_ceiling: Timestamp(CEILING.get() + 1), ..bare_record() };
    let (mut machine, mut record) = (HeaderMachine::new(Ability::MemoryOnly), higher.clone());
    apply_header(&dir, token, &mut machine, &mut record).unwrap();
    assert_eq!(record, AppliedRecord { cutover: Some(Index(41)), ..higher });
}

#[test]
fn a_state_machine_that_needs_no_header_has_no_byte_read_for_it() {
    for ability in [Ability::None, Ability::Covered] {
        // There is no such file: whoever touched it would fail.
        let (disk, dir, token) = place(SOUND.0, SOUND.1);
        disk.remove_file(&dir.path_of(token.id)).unwrap();
        let (mut machine, mut record) = (HeaderMachine::new(ability), bare_record());
        assert!(!needs_header(&mut machine));
        apply_header(&dir, token, &mut machine, &mut record).unwrap();
        assert_eq!((machine.applied, machine.parsed.get(), record), (Vec::new(), 0, bare_record()));
    }
    assert!(needs_header(&mut HeaderMachine::new(Ability::MemoryOnly)));
}

#[test]
fn the_three_steps_come_in_their_order_and_none_changes_anything() {
    let (sound, crc) = SOUND;
    let fault = |error: &Error| SnapshotFault::of(error);
    // Wrong in every way: what is told is the first step.
    let (error, parsed) = refuse(&sound[..90], !crc);
    assert_eq!((fault(&error), parsed), (Some(SnapshotFault::TooSmall), 0), "{error}");
    // The footer is not the token's, and the header is damaged, too.
    let mut damaged = sound.to_vec();
    damaged[sound.len() / 2] ^= 1;
    let (error, parsed) = refuse(&damaged, !crc);
    assert_eq!((fault(&error), parsed), (Some(SnapshotFault::TokenCrc), 0), "{error}");
    let end = sound.len() - 1;
    let mut damaged = sound.to_vec();
    damaged[end] ^= 1;
    let (error, parsed) = refuse(&damaged, crc);
    assert_eq!((fault(&error), parsed), (Some(SnapshotFault::TokenCrc), 0), "{error}");
}

#[test]
fn a_flipped_bit_anywhere_is_found_before_the_header_is_applied() {
    let (sound, crc) = SOUND;
    for at in 0..sound.len() {
        let mut damaged = sound.to_vec();
        damaged[at] ^= 0x10;
        refuse(&damaged, crc);
    }
    // Behind the header nothing parses: only the checksum of the file can tell.
    let mut damaged = sound.to_vec();
    damaged[sound.len() - 30] ^= 0x10;
    let (error, parsed) = refuse(&damaged, crc);
    assert_eq!((SnapshotFault::of(&error), parsed), (Some(SnapshotFault::FileCrc), 1), "{error}");
}

#[test]
fn an_unreadable_header_is_as_fatal_as_a_wrong_checksum() {
    let fixtures: [(&[u8], u32, Option<SnapshotFault>); 5] = [
        (fixture!("state_v3"), 0x0818_eb2c, None),
        (fixture!("unknown_magic"), 0x0818_eb2c, Some(SnapshotFault::UnknownMagic)),
        (fixture!("state_v1_long"), 0x922c_6dcd, Some(SnapshotFault::InvalidLength)),
        (fixture!("state_v2_short"), 0xdaf6_6144, Some(SnapshotFault::InvalidLength)),
        (fixture!("state_v2_over"), 0x88c3_928c, Some(SnapshotFault::InvalidLength)),
    ];
    for (bytes, crc, expected) in fixtures {
        let (error, _) = refuse(bytes, crc);
        assert_eq!(SnapshotFault::of(&error), expected, "{error}");
        let is_newer = matches!(error, Error::NewerFormat { found: 3, supported: 2, .. });
        assert_eq!(is_newer, expected.is_none(), "{error}");
    }
}
