//! Writing, reading back, retention.

use super::{dir_on, disk, label, publish, read_all, records};
use crate::disk::{Disk, OpenMode};
use crate::entry::ConfState;
use crate::error::Error;
use crate::ids::{GroupUid, Index, ReplicaId};
use crate::snapshot::{
    ReadFrom, Retention, SnapshotDir, SnapshotFault, SnapshotSink, SnapshotToken, read_label, read_token,
};
use crate::state::StateDigest;
use quorate_telemetry::rng::SeededRng;

fn keep(files_max: usize) -> Retention {
    Retention { files_max, bytes_max: u64::MAX }
}

#[test]
fn a_snapshot_reads_back_as_written() {
    let disk = disk();
    let dir = dir_on(&disk);
    for (index, records) in [(2, records(0, 0)), (3, records(1, 0)), (4, records(3_000, 100))] {
        let token = publish(&dir, index, &records).unwrap();
        assert_eq!(read_all(&dir, token).unwrap(), records);
        dir.verify(&token, ReadFrom::Device).unwrap();
        assert_eq!(read_token(&disk, &dir.path_of(token.id)).unwrap(), (token, label(index)));
        assert_eq!(read_label(&disk, &dir.path_of(token.id)).unwrap(), label(index));
    }
}

#[test]
fn values_larger_than_a_block_are_kept() {
    let disk = disk();
    let dir = dir_on(&disk);
    let records = records(5, 700_000);
    let token = publish(&dir, 2, &records).unwrap();
    assert_eq!(read_all(&dir, token).unwrap(), records);
}

#[test]
fn keys_that_do_not_ascend_close_the_writer() {
    let disk = disk();
    let dir = dir_on(&disk);
    let mut writer = dir.writer(&label(2), &SeededRng::new(1)).unwrap();
    writer.put(b"b", b"").unwrap();
    assert!(matches!(writer.put(b"b", b""), Err(Error::Malformed { .. })));
    assert!(matches!(writer.put(b"c", b""), Err(Error::Closed { .. })));
    assert!(matches!(writer.finish(), Err(Error::Closed { .. })));
    assert!(disk.files().is_empty(), "a writer that is given up leaves nothing behind");
}

#[test]
fn every_flipped_byte_is_found_by_verify_and_by_reading() {
    let disk = disk();
    let dir = dir_on(&disk);
    let token = publish(&dir, 2, &records(30, 20)).unwrap();
    for offset in 0..token.bytes {
        disk.flip(&dir.path_of(token.id), offset, 0x10).unwrap();
        let verified = dir.verify(&token, ReadFrom::Cache).unwrap_err();
        assert!(verified.is_corruption(), "byte {offset}: {verified}");
        read_all(&dir, token).unwrap_err();
        disk.flip(&dir.path_of(token.id), offset, 0x10).unwrap();
    }
    read_all(&dir, token).unwrap();
}

#[test]
fn every_truncation_is_found_by_its_size() {
    let disk = disk();
    let dir = dir_on(&disk);
    let token = publish(&dir, 2, &records(3, 20)).unwrap();
    for bytes in (0..token.bytes).rev() {
        disk.truncate(&dir.path_of(token.id), bytes).unwrap();
        assert!(dir.verify(&token, ReadFrom::Cache).unwrap_err().is_corruption());
        assert!(dir.reader(token).unwrap_err().is_corruption());
        // As if the token had been of the short file: the structure itself must say so, without a panic.
        let short = SnapshotToken { bytes, ..token };
        read_all(&dir, short).unwrap_err();
        assert!(read_token(&disk, &dir.path_of(token.id)).is_err());
    }
}

#[test]
fn verification_names_its_step() {
    let disk = disk();
    let dir = dir_on(&disk);
    let token = publish(&dir, 2, &records(3, 20)).unwrap();
    let step =
        |token: SnapshotToken| SnapshotFault::of(&dir.verify(&token, ReadFrom::Cache).unwrap_err()).unwrap();
    assert_eq!(step(SnapshotToken { bytes: token.bytes + 1, ..token }), SnapshotFault::OtherSize);
    assert_eq!(step(SnapshotToken { crc: !token.crc, ..token }), SnapshotFault::TokenCrc);
    disk.flip(&dir.path_of(token.id), 40, 1).unwrap();
    assert_eq!(step(token), SnapshotFault::FileCrc);
    // Each step before the next: with everything wrong, the size is told first and the checksum last.
    assert_eq!(step(SnapshotToken { crc: !token.crc, ..token }), SnapshotFault::TokenCrc);
    disk.truncate(&dir.path_of(token.id), 100).unwrap();
    assert_eq!(step(SnapshotToken { bytes: 100, ..token }), SnapshotFault::TooSmall);
}

#[test]
fn a_snapshot_of_another_group_or_name_is_refused() {
    let disk = disk();
    let dir = dir_on(&disk);
    let mut foreign = label(2);
    foreign.record.descriptor.uid = GroupUid([7; 16]);
    let error = dir.writer(&foreign, &SeededRng::new(1)).unwrap_err();
    assert!(matches!(error, Error::Foreign { what: "group", .. }), "{error}");
    let token = publish(&dir, 2, &records(3, 20)).unwrap();
    let mut other = token;
    other.id.index = Index(3);
    disk.rename(&dir.path_of(token.id), &dir.path_of(other.id)).unwrap();
    assert!(dir.reader(other).unwrap_err().is_corruption());
    assert!(read_label(&disk, &dir.path_of(other.id)).unwrap_err().is_corruption());
}

#[test]
fn a_published_position_is_never_written_again() {
    let disk = disk();
    let dir = dir_on(&disk);
    let token = publish(&dir, 2, &records(3, 20)).unwrap();
    let error = publish(&dir, 2, &records(2, 20)).unwrap_err();
    assert!(matches!(error, Error::Io { action: "publish", .. }), "{error}");
    dir.verify(&token, ReadFrom::Cache).unwrap();
}

#[test]
fn a_group_is_born_once_with_an_empty_snapshot() {
    let disk = disk();
    let dir = dir_on(&disk);
    let conf_state = ConfState::of_voters(vec![ReplicaId(1)]);
    let birth = |seed| {
        let descriptor = label(1).record.descriptor;
        dir.publish_empty(conf_state.clone(), descriptor, &SeededRng::new(seed)).unwrap()
    };
    let (token, born) = birth(1);
    assert_eq!((token.id.term.get(), token.id.index.get()), (1, 1));
    assert_eq!((&born.record.conf_state, born.record.digest), (&conf_state, StateDigest(0)));
    assert_eq!(read_all(&dir, token).unwrap(), []);
    assert_eq!(birth(2), (token, born.clone()), "an intact leftover is taken as it is");
    disk.flip(&dir.path_of(token.id), 200, 1).unwrap();
    let (again, reborn) = birth(3);
    assert_eq!(reborn, born);
    dir.verify(&again, ReadFrom::Cache).unwrap();
}

#[test]
fn usable_are_recorded_files_of_the_right_size() {
    let disk = disk();
    let dir = dir_on(&disk);
    let tokens: Vec<_> = (2..6).map(|index| publish(&dir, index, &records(3, 20)).unwrap()).collect();
    disk.truncate(&dir.path_of(tokens[3].id), 100).unwrap();
    disk.remove_file(&dir.path_of(tokens[1].id)).unwrap();
    assert_eq!(dir.usable(&tokens).unwrap(), [tokens[0], tokens[2]]);
    let stale = SnapshotToken { bytes: 1, ..tokens[0] };
    assert_eq!(dir.usable(&[stale, tokens[0]]).unwrap(), [tokens[0]]);
    assert_eq!(dir.usable(&[tokens[0], stale]).unwrap(), []);
}

#[test]
fn pruning_keeps_the_newest_usable_and_everything_newer() {
    let disk = disk();
    let dir = dir_on(&disk);
    let tokens: Vec<_> = (2..7).map(|index| publish(&dir, index, &records(3, 20)).unwrap()).collect();
    let recorded = &tokens[..4];
    disk.truncate(&dir.path_of(tokens[3].id), 100).unwrap();
    assert_eq!(dir.prune(recorded, keep(9)).unwrap(), tokens[..3]);
    assert_eq!(dir.list().unwrap().len(), 5, "too few to remove any");
    assert_eq!(dir.prune(recorded, keep(2)).unwrap(), tokens[1..3]);
    let left = |dir: &SnapshotDir| -> Vec<_> { dir.list().unwrap().iter().map(|file| file.id).collect() };
    assert_eq!(left(&dir), [tokens[1].id, tokens[2].id, tokens[3].id, tokens[4].id]);
    let recorded = [tokens[1], tokens[4]];
    assert_eq!(dir.prune(&recorded, keep(3)).unwrap(), recorded);
    assert_eq!(left(&dir), [tokens[1].id, tokens[4].id], "what the log never recorded is no use any more");
}

#[test]
fn reading_back_in_pieces_finds_what_verification_finds() {
    let disk = disk();
    let dir = dir_on(&disk);
    let token = publish(&dir, 2, &records(30, 20)).unwrap();
    let read_back = |token: SnapshotToken| {
        let mut back = dir.read_back(token)?;
        let mut steps = 1;
        while !back.step(100)? {
            steps += 1;
        }
        assert_eq!(back.left(), 0);
        Ok::<u64, Error>(steps)
    };
    assert_eq!(read_back(token).unwrap(), (token.bytes - 4).div_ceil(100));
    for offset in 0..token.bytes {
        disk.flip(&dir.path_of(token.id), offset, 0x10).unwrap();
        let found = read_back(token).unwrap_err();
        assert_eq!(found.to_string(), dir.verify(&token, ReadFrom::Device).unwrap_err().to_string());
        disk.flip(&dir.path_of(token.id), offset, 0x10).unwrap();
    }
    let short = SnapshotToken { bytes: token.bytes - 1, ..token };
    assert!(read_back(short).unwrap_err().is_corruption());
}

#[test]
fn sweeping_removes_orphans_and_nothing_else() {
    let disk = disk();
    let dir = dir_on(&disk);
    let kept = publish(&dir, 2, &records(3, 20)).unwrap();
    let orphan = publish(&dir, 3, &records(3, 20)).unwrap();
    let bad = publish(&dir, 4, &records(3, 20)).unwrap();
    let aside = dir.quarantine(bad.id).unwrap();
    for suffix in ["part", "tmp"] {
        let path = dir.path_of(orphan.id).with_extension(format!("snap.{suffix}"));
        disk.open(&path, OpenMode::Create).unwrap();
    }
    assert_eq!(dir.sweep(&[kept]).unwrap(), 3);
    let left: Vec<_> = disk.files().into_iter().map(|(path, _)| path).collect();
    assert_eq!(left, [dir.path_of(kept.id), aside]);
}

/// Its last bytes are the checksum of the state header, and the file's footer at once.
#[test]
fn a_file_that_ends_with_its_state_header_is_corrupt() {
    let disk = disk();
    let dir = dir_on(&disk);
    let whole = publish(&dir, 7, &Vec::new()).unwrap();
    let mut bytes = super::file_bytes(&disk, &dir, &whole);
    // Index and tail go.
    bytes.truncate(bytes.len() - 24 - 20);
    let crc = u32::from_le_bytes(*bytes.last_chunk().unwrap());
    let cut = SnapshotToken { bytes: bytes.len() as u64, crc, ..whole };
    disk.truncate(&dir.path_of(cut.id), cut.bytes).unwrap();
    let mut payload = dir.payload(cut).unwrap();
    assert!(payload.state_header().unwrap().is_some());
    assert!(payload.drain().unwrap_err().is_corruption());
    assert!(payload.verify().unwrap_err().is_corruption());
}
