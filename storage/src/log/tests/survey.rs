//! A survey changes nothing, tells of every flipped byte by file and place, and goes on behind it.

use super::repair::{long_log, rot, written};
use super::rot::closed_log;
use super::*;
use crate::log::read_state;
use crate::log::survey::{Depth, Event, Found, Role, SegmentSurvey, SurveyPlace, survey};

/// What a survey tells of the log on `disk`.
fn look(disk: &SimDisk, depth: Depth) -> (Vec<SegmentSurvey>, Vec<Found>, u64) {
    let place = place(disk);
    let (mut found, mut bytes) = (Vec::new(), 0);
    let place = SurveyPlace { disk, dir: &place.dir, owner: place.owner };
    let segments = survey(place, depth, &mut |event| match event {
        Event::Read(count) => bytes += count,
        Event::Found(what) => found.push(what),
    });
    (segments.unwrap(), found, bytes)
}

fn location(found: &Found) -> (&Path, u64) {
    match &found.error {
        Error::Corrupt { file, offset, .. } => (file, *offset),
        Error::LogLost { file, offset, .. } => (file, offset.unwrap_or(0)),
        other => panic!("{other}"),
    }
}

#[test]
fn a_sound_log_is_clean_and_not_touched() {
    let disk = closed_log();
    let (files, calls) = (disk.files(), disk.bytes_written());
    for depth in [Depth::Tables, Depth::Everything] {
        let (segments, found, bytes) = look(&disk, depth);
        assert!(found.is_empty(), "{found:?}");
        assert!(segments.len() > 3 && segments.iter().all(|segment| segment.is_tail_proven));
        assert_eq!(segments.iter().filter(|segment| segment.role == Role::Open).count(), 1);
        assert_eq!(segments.iter().find_map(|segment| segment.torn_at), None);
        let last = segments.iter().filter_map(|segment| segment.entries).map(|(_, high)| high).max();
        assert_eq!(last, Some(Index(40)));
        let whole: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(bytes, if depth == Depth::Everything { whole } else { segments.last().unwrap().bytes });
    }
    let state = read_state(&disk, &place(&disk).dir, &place(&disk).owner).unwrap();
    assert_eq!((state.skeleton.last, state.clean), (Index(40), true));
    assert_eq!((disk.files(), disk.bytes_written()), (files, calls));
}

#[test]
fn every_flipped_byte_is_told_where_it_is() {
    let disk = closed_log();
    let files = disk.files();
    let (mut damage, mut redundant, mut torn) = (0, 0, 0);
    for (path, bytes) in &files {
        for at in (0..*bytes).step_by(37) {
            let fork = disk.fork();
            fork.flip(path, at, 1 << (at % 8)).unwrap();
            let what = format!("{} at {at}", path.display());
            let (segments, found, _) = look(&fork, Depth::Everything);
            let opened = open(&fork).and_then(|log| log.reader().entries(Index(2), Index(41), u64::MAX));
            if found.is_empty() {
                let cut = segments.iter().find(|segment| segment.torn_at.is_some()).unwrap();
                // A seal behind a full segment may be one that a crash tore; nothing is lost with it.
                let may_be_torn = cut.role == Role::Open || cut.bytes > cut.planned_bytes;
                assert!(cut.path == *path && cut.torn_at <= Some(at) && may_be_torn, "{what}: {cut:?}");
                torn += 1;
                continue;
            }
            let is_near = |(file, offset): (&Path, u64)| file == path && offset / 4096 == at / 4096;
            // What lies behind the last batch is of one structure, the seal; a header says who the file is of.
            let is_told = found.iter().any(|found| {
                is_near(location(found))
                    || (location(found).0 == path && (at < 4096 || location(found).1 <= at))
            });
            assert!(is_told, "{what}: {found:?}");
            if found.iter().all(|found| found.is_redundant) {
                assert!(opened.is_ok(), "{what}: {found:?}");
                redundant += 1;
            } else {
                damage += 1;
            }
            if opened.is_err() {
                assert!(found.iter().any(|found| !found.is_redundant), "{what}: {found:?}");
            }
        }
    }
    assert!(damage > 30 && redundant > 30 && torn > 0, "{damage} {redundant} {torn}");
}

#[test]
fn every_damaged_batch_is_told_not_only_the_first() {
    let disk = new_disk();
    let mut log = create(&disk);
    log.append(&[batch(2..4, 1)], true).unwrap();
    log.append(&[batch(4..6, 1)], true).unwrap();
    log.append(&[batch(6..8, 1)], true).unwrap();
    log.prove().unwrap();
    let path = disk.files()[0].0.clone();
    // A payload of the first batch, both tables of the second, two payloads of the third.
    let body = |entries: u64| 64 + 40 + 8 * entries;
    disk.flip(&path, 4096 + 40 + body(2), 1).unwrap();
    disk.flip(&path, 8192 + 70, 1).unwrap();
    disk.flip(&path, 12_288 - 70, 1).unwrap();
    disk.flip(&path, 12_288 + body(2), 1).unwrap();
    disk.flip(&path, 12_288 + body(2) + 20, 1).unwrap();
    let (_, found, _) = look(&disk, Depth::Everything);
    let told: Vec<_> =
        found.iter().map(|found| (found.entry.map(Index::get), location(found).1 / 4096)).collect();
    assert_eq!(told, [(None, 2), (Some(2), 1), (Some(6), 3), (Some(7), 3)], "entries come last");
}

#[test]
fn a_damaged_entry_with_an_intact_copy_is_redundant() {
    let disk = long_log();
    for index in [3, 17, 33] {
        rot(&disk, index);
    }
    let mut log = open(&disk).unwrap();
    log.repair(vec![written(3), written(33)]).unwrap();
    // The end of a segment later, the copies are in one that is sealed.
    for index in 41..60 {
        log.append(&[batch(index..index + 1, 9)], true).unwrap();
    }
    let told = || {
        let (_, found, _) = look(&disk, Depth::Everything);
        let entries = found.iter().map(|found| (found.entry.map(Index::get), found.is_redundant));
        entries.collect::<Vec<_>>()
    };
    assert_eq!(told(), [(Some(3), true), (Some(17), false), (Some(33), true)]);
    // Where the copy is damaged too, the entry is lost.
    rot(&disk, 33);
    assert_eq!(told(), [(None, true), (Some(3), true), (Some(17), false), (Some(33), false)]);
}

#[test]
fn a_torn_tail_is_no_damage_and_a_proven_one_is() {
    let disk = new_disk();
    let mut log = create(&disk);
    log.append(&[batch(2..4, 1)], true).unwrap();
    log.append(&[batch(4..6, 1)], true).unwrap();
    let path = disk.files()[0].0.clone();
    let torn = disk.fork();
    torn.flip(&path, 8192 + 64 + 40 + 16, 1).unwrap();
    let (segments, found, _) = look(&torn, Depth::Everything);
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(segments[0].torn_at, Some(8192));
    // A start cuts it, and what it left is still no damage.
    let mut again = open(&torn).unwrap();
    again.append(&[batch(4..5, 1)], true).unwrap();
    let (segments, found, _) = look(&torn, Depth::Everything);
    assert!(found.is_empty(), "{found:?}");
    assert_eq!((segments.len(), segments[0].torn_at), (2, Some(8192)));
    log.prove().unwrap();
    disk.flip(&path, 8192 + 64 + 40 + 16, 1).unwrap();
    let (_, found, _) = look(&disk, Depth::Everything);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn records_of_a_segment_are_listed() {
    let disk = new_disk();
    let config = LogConfig { first_segment_bytes: 64 << 10, ..CONFIG };
    let mut log = SegmentedLog::create(place(&disk), config, birth()).unwrap();
    log.append(&[batch(2..8, 1)], true).unwrap();
    log.append(&[batch(5..9, 2)], true).unwrap();
    let token = SnapshotToken { id: EntryId { term: Term(1), index: Index(4) }, bytes: 300, crc: 9 };
    log.record_snapshot(token).unwrap();
    log.compact(Index(3)).unwrap();
    let (segments, found, _) = look(&disk, Depth::Tables);
    assert!(found.is_empty(), "{found:?}");
    let [segment] = segments.as_slice() else { panic!("{segments:?}") };
    assert_eq!(segment.truncations, [EntryId { term: Term(1), index: Index(4) }]);
    assert_eq!(segment.snapshots, [(token, false)]);
    assert_eq!(segment.compactions, [EntryId { term: Term(1), index: Index(3) }]);
    assert_eq!(segment.entries, Some((Index(2), Index(8))));
    assert_eq!(segment.hard_state.map(|state| state.term), Some(Term(2)));
    assert!(!segment.is_tail_proven);
}

#[test]
fn a_missing_segment_is_told() {
    let disk = closed_log();
    let files = disk.files();
    disk.remove_file(&files[1].0).unwrap();
    let (segments, found, _) = look(&disk, Depth::Everything);
    assert_eq!(segments[0].role, Role::Leftover, "{segments:?}");
    // The start says what that means; the survey reads what is there.
    assert!(found.is_empty(), "{found:?}");
    assert!(read_state(&disk, &place(&disk).dir, &place(&disk).owner).is_err());
}

#[test]
fn a_closed_segment_whose_seal_reads_as_zeros_is_told() {
    let disk = closed_log();
    let (path, bytes) = disk.files()[1].clone();
    let before = crate::log::segment::find_seal(&*disk.open(&path, OpenMode::Read).unwrap(), &path, bytes);
    let (at, _) = before.unwrap().expect("a closed segment is sealed");
    let file = disk.open(&path, OpenMode::Write).unwrap();
    file.write_all_at(&vec![0; usize::try_from(bytes - at).unwrap()], at).unwrap();
    let (_, found, _) = look(&disk, Depth::Everything);
    assert!(found.iter().any(|found| found.is_redundant && location(found).0 == path), "{found:?}");
    open(&disk).expect("a seal is a shortcut");
}
