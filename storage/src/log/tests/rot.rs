//! Damage at rest: a bad byte anywhere is an error, or is harmless; it never loses an entry quietly.

use super::*;

const LAST: u64 = 40;

/// A log of several segments and its clean stop.
pub(super) fn closed_log() -> SimDisk {
    let disk = new_disk();
    let mut log = create(&disk);
    for index in 2..LAST {
        log.append(&[batch(index..index + 1, 1 + index / 10)], true).unwrap();
    }
    log.append(&[batch(LAST..LAST + 1, 9)], true).unwrap();
    log.close().unwrap();
    disk
}

/// What a damaged log says: an error that names damage, or the whole log.
fn check(disk: &SimDisk, what: &str) -> bool {
    let log = match open(disk) {
        Ok(log) => log,
        Err(Error::Corrupt { .. } | Error::LogLost { .. }) => return false,
        Err(error) => panic!("{what}: {error}"),
    };
    assert_eq!(log.recovered().skeleton.last, Index(LAST), "{what}");
    assert_eq!(log.recovered().hard_state.term, Term(9), "{what}");
    match log.reader().entries(Index(2), Index(LAST + 1), u64::MAX) {
        Ok(entries) => {
            assert_eq!(entries.len() as u64, LAST - 1, "{what}");
            assert!(
                entries.iter().all(|found| *found == entry(found.index.get(), found.term.get())),
                "{what}"
            );
            true
        }
        Err(Error::Corrupt { .. }) => false,
        Err(error) => panic!("{what}: {error}"),
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_harmless() {
    let disk = closed_log();
    let (mut noticed, mut harmless) = (0, 0);
    for (path, bytes) in disk.files() {
        for offset in (0..bytes).step_by(7) {
            // Padding is not interesting as often.
            if offset % 4096 > 700 && offset % 4096 < 3300 && offset % 49 != 0 {
                continue;
            }
            let fork = disk.fork();
            fork.flip(&path, offset, 1 << (offset % 8)).unwrap();
            if check(&fork, &format!("{} at {offset}", path.display())) {
                harmless += 1;
            } else {
                noticed += 1;
            }
        }
    }
    assert!(noticed > 200 && harmless > 200, "{noticed} noticed, {harmless} harmless");
}

#[test]
fn a_cut_file_is_an_error_or_harmless() {
    let disk = closed_log();
    let files = disk.files();
    for (path, bytes) in &files {
        for len in (0..*bytes).step_by(509) {
            let fork = disk.fork();
            fork.truncate(path, len).unwrap();
            check(&fork, &format!("{} cut to {len}", path.display()));
        }
    }
}

#[test]
fn a_missing_segment_below_others_is_lost_log() {
    let disk = closed_log();
    let files = disk.files();
    for (path, _) in &files[..files.len() - 1] {
        let fork = disk.fork();
        fork.remove_file(path).unwrap();
        let error = open(&fork).unwrap_err();
        assert!(matches!(error, Error::LogLost { .. }), "{error}");
    }
}

/// The open segment of a log with a batch of one page at 4,096 and one at 8,192.
fn two_batches() -> (SimDisk, PathBuf) {
    let disk = new_disk();
    let mut log = create(&disk);
    log.append(&[batch(2..5, 1)], true).unwrap();
    log.append(&[batch(5..7, 1)], true).unwrap();
    let path = disk.files()[0].0.clone();
    (disk, path)
}

/// Where the body of a batch of so many records and entries starts.
fn body(records: u64, entries: u64) -> u64 {
    64 + 40 * records + 8 * entries
}

#[test]
fn a_rotten_body_of_a_proven_batch_cuts_nothing_and_its_entries_are_named() {
    let (disk, path) = two_batches();
    disk.flip(&path, 4096 + body(2, 3), 1).unwrap();
    let log = open(&disk).unwrap();
    assert!(log.is_damaged());
    assert_eq!((log.recovered().skeleton.last, log.recovered().torn_batches), (Index(6), 0));
    let lost = entry(2, 1);
    let expected = UnreadableEntry { id: lost.id(), crc: lost.crc(), file: path, offset: 4096 };
    assert_eq!(log.unreadable(Index(2), Index(7)).unwrap(), [expected]);
    let error = log.reader().entries(Index(2), Index(3), 1).unwrap_err();
    assert!(matches!(error, Error::Corrupt { what: "entry", offset: 4096, .. }), "{error}");
    assert_eq!(read(&log, 3, 7).len(), 4, "the others are readable");
}

#[test]
fn a_rotten_body_of_the_last_unproven_batch_counts_as_torn() {
    let (disk, path) = two_batches();
    disk.flip(&path, 8192 + body(1, 2), 1).unwrap();
    let log = open(&disk).unwrap();
    assert_eq!((log.recovered().torn_batches, log.recovered().skeleton.last), (1, Index(4)));
}

#[test]
fn a_proof_turns_a_bad_tail_into_corruption() {
    let disk = new_disk();
    let mut log = create(&disk);
    log.append(&[batch(2..5, 1)], true).unwrap();
    log.prove().unwrap();
    let path = disk.files()[0].0.clone();
    disk.flip(&path, 4096 + body(2, 3), 1).unwrap();
    let log = open(&disk).unwrap();
    assert_eq!((log.recovered().torn_batches, log.unreadable(Index(2), Index(5)).unwrap().len()), (0, 1));
}

#[test]
fn one_rotten_table_of_a_proven_batch_is_harmless_and_two_are_lost_log() {
    let (disk, path) = two_batches();
    for damaged in [vec![4096 + 70], vec![8192 - 70], vec![4096 + 3], vec![8192 - 1]] {
        let fork = disk.fork();
        for offset in damaged {
            fork.flip(&path, offset, 4).unwrap();
        }
        assert_eq!(read(&open(&fork).unwrap(), 2, 7).len(), 5);
    }
    disk.flip(&path, 4096 + 70, 4).unwrap();
    disk.flip(&path, 8192 - 70, 4).unwrap();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, Error::LogLost { .. }), "{error}");
}

#[test]
fn an_entry_that_rots_while_the_log_is_open_is_an_error_of_the_read() {
    let disk = new_disk();
    let mut log = create(&disk);
    log.append(&[batch(2..5, 1)], true).unwrap();
    let path = disk.files()[0].0.clone();
    disk.flip(&path, 4096 + body(2, 3), 1).unwrap();
    let error = log.reader().entries(Index(2), Index(3), 1).unwrap_err();
    assert!(matches!(error, Error::Corrupt { what: "entry", offset: 4096, .. }), "{error}");
    assert_eq!(read(&log, 3, 5).len(), 2, "others are not concerned");
}

/// The whole of a file.
fn content(disk: &SimDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, OpenMode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// A seal is believed for its checksum; what it says must fit together all the same.
#[test]
fn a_seal_of_any_numbers_with_right_checksums_is_an_error_or_harmless() {
    const END: usize = 28;
    let disk = closed_log();
    let (sealed, bytes) = disk.files().first().cloned().unwrap();
    let whole = content(&disk, &sealed);
    let end = usize::try_from(bytes).unwrap() - END;
    assert!(whole[end..].starts_with(b"QSEAL"));
    let start = usize::try_from(u64::from_le_bytes(*whole[end + 8..].first_chunk().unwrap())).unwrap();
    let mut tried = 0;
    for at in start..end - 8 {
        for number in [0, 1, 40, 1 << 40, u64::MAX] {
            let mut changed = whole.clone();
            changed[at..at + 8].copy_from_slice(&number.to_le_bytes());
            let crc = crc32fast::hash(&changed[start..end]);
            changed[end + 20..end + 24].copy_from_slice(&crc.to_le_bytes());
            let crc = crc32fast::hash(&changed[end..end + 24]);
            changed[end + 24..].copy_from_slice(&crc.to_le_bytes());
            let fork = disk.fork();
            fork.open(&sealed, OpenMode::Write).unwrap().write_all_at(&changed, 0).unwrap();
            let Ok(log) = open(&fork) else { continue };
            for index in 2..=LAST {
                let _ = log.reader().entries(Index(index), Index(index + 1), u64::MAX);
            }
            tried += 1;
        }
    }
    assert!(tried > 50, "{tried} were opened");
}

/// A page of another file where the first page of a batch should be: the second table is right, and tells what was lost.
#[test]
fn a_batch_under_the_first_page_of_another_files_is_never_served_as_that_one() {
    let written = |what: &str, calls: usize| {
        let disk = new_disk();
        // File ids come from the calls so far.
        (0..calls).for_each(|_| drop(disk.size(Path::new("/g"))));
        let mut log = create(&disk);
        let entries = (2..5).map(|index| Entry { payload: what.repeat(600).into(), ..entry(index, 1) });
        log.append(&[LogBatch { entries: entries.collect(), ..batch(2..2, 1) }], true).unwrap();
        log.prove().unwrap();
        disk
    };
    let (own, other) = (written("own", 0), written("his", 1));
    let path = own.files().first().unwrap().0.clone();
    let page = content(&other, &path)[4096..8192].to_vec();
    own.open(&path, OpenMode::Write).unwrap().write_all_at(&page, 4096).unwrap();
    let log = open(&own).unwrap();
    assert!(log.is_damaged());
    let unreadable: Vec<_> =
        log.unreadable(Index(2), Index(5)).unwrap().iter().map(|entry| entry.id.index.get()).collect();
    assert!(unreadable.contains(&2), "{unreadable:?}");
    for index in 2..5 {
        match log.reader().entries(Index(index), Index(index + 1), u64::MAX) {
            Ok(found) => assert!(found[0].payload.starts_with(b"own"), "{index} is another log's"),
            Err(error) => assert!(unreadable.contains(&index) && error.is_corruption(), "{index}: {error}"),
        }
    }
}
