//! A verification finds what was changed, says where, and changes nothing.

use super::*;
use crate::disk::CrashMode;
use crate::kv::record::stored_key;
use crate::kv::{ALL_RECORDS, Batch};
use crate::offline::verify::verify_by;
use crate::offline::{Finding, FindingClass};

fn places(report: &VerifyReport) -> Vec<(FindingClass, &Path, Option<u64>)> {
    report.findings.iter().map(|found| (found.class, found.file.as_path(), found.offset)).collect()
}

#[test]
fn a_clean_directory_is_clean_and_stays_as_it_was_on_every_store() {
    for kind in StoreKind::ALL {
        let site = Site::on_files(kind);
        site.fill(LAST);
        let before = site.bytes();
        let report = site.verify();
        assert!(report.findings.is_empty(), "{kind}: {:?}", report.findings);
        let whole: u64 = before.values().map(|bytes| bytes.len() as u64).sum();
        assert!(report.files >= 6 && report.bytes > whole / 2 && report.bytes <= whole, "{kind}: {report:?}");
        assert_eq!(site.bytes(), before, "{kind}");
        assert_eq!(std::fs::read_dir(site.scratch.path()).unwrap().count(), 0, "{kind}: scratch is removed");
    }
}

#[test]
fn progress_ends_at_what_was_checked() {
    let site = Site::on_sim(&SimDisk::new());
    site.fill(LAST);
    let mut last = None;
    let report = verify(&site.stopped(), &site.options(), &mut |progress| last = Some(*progress));
    let last = last.unwrap();
    assert_eq!((last.bytes, last.files, last.findings), (report.bytes, report.files, 0));
    assert_eq!(last.bytes_total, report.bytes, "{last:?}");
}

/// The groups are checked in whatever order threads come to them; nobody can tell from the report.
#[test]
fn a_report_is_the_same_however_many_read() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    let (first, groups) = (site.paths().root().to_path_buf(), site.root.join("groups"));
    for group in 20..40 {
        for (path, bytes) in site.bytes() {
            let Ok(inside) = path.strip_prefix(&first) else { continue };
            let copy = groups.join(group.to_string()).join(inside);
            disk.create_dir_all(copy.parent().unwrap()).unwrap();
            disk.open(&copy, OpenMode::Create).unwrap().write_all_at(&bytes, 0).unwrap();
        }
        for (at, (path, bytes)) in disk.files().into_iter().enumerate() {
            if path.starts_with(groups.join(group.to_string())) {
                disk.flip(&path, (at as u64 * 977 + group * 131) % bytes, 1).unwrap();
            }
        }
    }
    let by = |readers| {
        let mut last = None;
        let report =
            verify_by(&site.stopped(), &site.options(), readers, &mut |progress| last = Some(*progress));
        let last = last.unwrap();
        let told = report.findings.len() as u64;
        assert_eq!((last.bytes, last.files, last.findings), (report.bytes, report.files, told));
        report
    };
    let one = by(1);
    assert!(one.findings.len() >= 20, "{:?}", one.findings);
    for readers in 2..=5 {
        let many = by(readers);
        assert_eq!(many.findings, one.findings, "by {readers}");
        assert_eq!((many.files, many.bytes), (one.files, one.bytes), "by {readers}");
    }
}

/// Whether one of the findings is about the structure in `file` that byte `at` is in.
fn is_told(findings: &[Finding], file: &Path, at: u64) -> bool {
    // Structures of a log segment are batches and tables in pages; others are not so large here.
    findings
        .iter()
        .any(|found| found.file == file && found.offset.is_none_or(|offset| offset / 4096 <= at / 4096))
}

#[test]
fn a_flipped_byte_in_any_of_our_files_is_found_in_that_file() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    let mut classes = BTreeMap::new();
    for (path, bytes) in disk.files() {
        if path.ends_with("node.lock") {
            continue;
        }
        let step = (bytes / 150).max(1) | 1;
        for at in (0..bytes).step_by(usize::try_from(step).unwrap()) {
            let fork = disk.fork();
            fork.flip(&path, at, 1 << (at % 8)).unwrap();
            let report = Site::on_sim(&fork).verify();
            let what = format!("{} at {at}: {:?}", path.display(), report.findings);
            assert!(is_told(&report.findings, &path, at), "{what}");
            let torn = report.findings.iter().all(|found| found.class == FindingClass::TornTail);
            let is_store = path.starts_with(site.paths().state());
            assert!(!torn || is_store || path.starts_with(site.paths().wal()), "{what}");
            let name = path.parent().unwrap().file_name().unwrap().to_owned();
            *classes.entry((name, torn)).or_insert(0) += 1;
        }
    }
    // Only the last batch of the log and the memory store's file can look torn.
    let damaged = classes.keys().filter(|(_, torn)| !torn).count();
    assert!(damaged >= 4, "{classes:?}");
}

#[test]
fn a_flipped_byte_in_any_file_of_an_lsm_tree_is_found_in_that_file() {
    let site = Site::on_files(StoreKind::Lsm);
    site.fill(LAST);
    let generation = site.paths().state().join("1");
    let files: Vec<_> = site.bytes().into_iter().filter(|(path, _)| path.starts_with(&generation)).collect();
    assert!(files.len() >= 3, "{files:?}");
    for (path, bytes) in files {
        for at in (0..bytes.len()).step_by((bytes.len() / 25).max(1)) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&path, &flipped).unwrap();
            let report = site.verify();
            let what = format!("{} at {at}: {:?}", path.display(), report.findings);
            // A wrong checksum in `current` and a wrong version file look the same.
            let is_current = path.ends_with("current");
            let is_told = report.findings.iter().any(|found| {
                found.class == FindingClass::Damage
                    && (found.file == path || (is_current && found.file.parent() == Some(&generation)))
                    && found.offset.is_none_or(|offset| offset <= at as u64)
            });
            assert!(is_told, "{what}");
        }
        std::fs::write(&path, &bytes).unwrap();
    }
    assert!(site.verify().findings.is_empty());
}

#[test]
fn a_damaged_copy_of_a_sled_database_is_found() {
    let site = Site::on_files(StoreKind::Sled);
    site.fill(LAST);
    // A value whose bytes in sled's log are changed: sled may notice, or lose the record, or give it back wrong.
    let path = site.paths().state().join("1").join("db").join("db");
    let mut bytes = std::fs::read(&path).unwrap();
    let needle = [b'a' + 7; 64];
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at + 10] ^= 4;
    std::fs::write(&path, &bytes).unwrap();
    let report = site.verify();
    let corruption = report.first_corruption();
    assert!(corruption.is_some_and(|found| found.file.starts_with(site.paths().state())), "{report:?}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_wrong_value_and_a_lost_record_are_found_although_the_store_is_sound() {
    // One write per key and index, as a store may count on: each kind of damage has a site of its own.
    let tampered = |kind, write: &dyn Fn(&mut Batch)| {
        let site = Site::on_files(kind);
        site.fill(LAST);
        let dir = site.paths().state().join("1");
        let mut store = site.engine().open(&dir).unwrap();
        let mut batch = Batch::new(Index(LAST));
        write(&mut batch);
        batch.set_marker(store.marker().unwrap().unwrap().to_vec());
        store.write(&batch).unwrap();
        store.close().unwrap();
        (site.verify(), dir)
    };
    for kind in StoreKind::ALL {
        let (report, _) = tampered(kind, &|batch| batch.delete(&[&stored_key(b"key 7")]));
        let problems: Vec<_> = report.findings.iter().map(|found| found.problem.as_str()).collect();
        assert!(problems.iter().any(|problem| problem.contains("state digest")), "{kind}: {problems:?}");
        assert!(problems.iter().any(|problem| problem.contains("count of records")), "{kind}: {problems:?}");

        let put = |batch: &mut Batch| batch.put(&[&stored_key(b"key 7")], &[b"no checksum of this"]);
        let (report, dir) = tampered(kind, &put);
        let [found] = report.findings.as_slice() else { panic!("{kind}: {report:?}") };
        assert!(found.problem.contains("stored value") && found.file == dir, "{kind}: {found:?}");
        assert_eq!(ALL_RECORDS.start, &stored_key(b"")[..], "values of records are what is checked");
    }
}

#[test]
fn every_damaged_block_of_a_snapshot_is_found_not_only_the_first() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    let snapshots = site.snapshots();
    let path = snapshots.path_of(EntryId { term: Term(1), index: Index(SNAPSHOT) });
    let bytes = &site.bytes()[&path];
    let block = bytes.windows(4).position(|magic| magic == b"QRSB").unwrap() as u64;
    let label = 140;
    for at in [label, block + 40, bytes.len() as u64 - 1] {
        disk.flip(&path, at, 1).unwrap();
    }
    let report = site.verify();
    let offsets: Vec<_> = report.findings.iter().map(|found| (found.file == path, found.offset)).collect();
    assert_eq!(offsets.len(), 3, "{:?}", report.findings);
    assert!(offsets.contains(&(true, Some(block))), "{offsets:?}");
    assert!(offsets.contains(&(true, Some(bytes.len() as u64 - 4))), "{offsets:?}");
}

#[test]
fn a_snapshot_whose_records_do_not_add_up_is_found() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    // A sound file, but of a state that never was.
    let mut label = record(SNAPSHOT + 1);
    label.digest = StateDigest(1);
    let mut log = SegmentedLog::open(site.place(), LOG).unwrap();
    let writer = site.snapshots().writer(&SnapshotLabel { record: label }, &SeededRng::new(1)).unwrap();
    let token = writer.finish().unwrap();
    log.record_snapshot(token).unwrap();
    log.close().unwrap();
    let report = site.verify();
    let [found] = report.findings.as_slice() else { panic!("{report:?}") };
    assert!(found.problem.contains("state digest of a snapshot"), "{found:?}");
}

#[test]
fn a_torn_tail_is_told_and_is_no_corruption() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    let mut log = SegmentedLog::open(site.place(), LOG).unwrap();
    log.append(&[batch(LAST + 1)], true).unwrap();
    let (path, _) = disk.files().into_iter().rfind(|(path, _)| path.starts_with(site.paths().wal())).unwrap();
    let before = &site.bytes()[&path];
    let start =
        (0..before.len()).step_by(4096).rfind(|&at| before[at..].starts_with(b"QBAT")).unwrap() as u64;
    disk.flip(&path, start + 70, 1).unwrap();
    let report = site.verify();
    assert_eq!(places(&report), [(FindingClass::TornTail, path.as_path(), Some(start))]);
    assert!(report.first_corruption().is_none() && report.first_unchecked().is_none());
}

#[test]
fn a_damaged_replica_file_does_not_hide_what_is_behind_it() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    let replica_file = site.paths().replica_file();
    disk.flip(&replica_file, 130, 1).unwrap();
    let (segment, _) =
        disk.files().into_iter().find(|(path, _)| path.starts_with(site.paths().wal())).unwrap();
    disk.flip(&segment, 4096 + 70, 1).unwrap();
    let report = site.verify();
    let told: Vec<_> = places(&report).into_iter().map(|(class, file, _)| (class, file)).collect();
    assert_eq!(
        told,
        [(FindingClass::Damage, replica_file.as_path()), (FindingClass::Redundant, segment.as_path())]
    );
}

#[test]
fn what_belongs_to_others_or_a_newer_release_is_unchecked_not_damaged() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    let stranger = ReplicaIdentity { uid: OTHER, ..identity() };
    disk.remove_file(&site.paths().replica_file()).unwrap();
    stranger.create(&disk, &site.paths().replica_file(), &SeededRng::new(1)).unwrap();
    let report = site.verify();
    assert!(report.first_unchecked().is_some(), "{report:?}");
    assert!(
        report.findings.iter().any(|found| found.problem.contains("belongs to another group")),
        "{report:?}"
    );
}

#[test]
fn a_lost_segment_and_a_lost_snapshot_are_found() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    let fork = disk.fork();
    let newest = site.snapshots().path_of(EntryId { term: Term(1), index: Index(SNAPSHOT) });
    fork.remove_file(&newest).unwrap();
    let report = Site::on_sim(&fork).verify();
    assert_eq!(places(&report), [(FindingClass::Damage, newest.as_path(), None)]);
    for (path, _) in disk.files().iter().filter(|(path, _)| path.starts_with(site.paths().wal())) {
        disk.remove_file(path).unwrap();
    }
    let report = site.verify();
    assert_eq!(places(&report)[0], (FindingClass::Damage, site.paths().wal().as_path(), None));
}

#[test]
fn a_crash_at_any_call_leaves_nothing_that_counts_as_corruption() {
    let modes =
        |seed| [CrashMode::LoseUnsynced, CrashMode::KeepAll, CrashMode::KeepPieces { seed, piece_bytes: 64 }];
    let fault_free = SimDisk::new();
    Site::on_sim(&fault_free).fill(LAST);
    let (calls, mut torn) = (fault_free.calls(), 0);
    for call in 1..=calls {
        let disk = SimDisk::new();
        disk.cut_power_at_call(call);
        // The last calls are those of a drop, which fail in silence.
        let _ = Site::on_sim(&disk).try_fill(LAST);
        for mode in modes(call) {
            let fork = disk.fork().crash(mode);
            let site = Site::on_sim(&fork);
            let Ok(dir) = StoppedDir::lock(site.disk.clone(), &site.root) else { continue };
            let look = || {
                let report = verify(&dir, &site.options(), &mut |_| {});
                let bad = report.findings.iter().find(|found| found.class != FindingClass::TornTail);
                assert_eq!(bad, None, "call {call} of {calls}, {mode:?}");
                report.findings.len()
            };
            torn += look();
            // Nor does it once a start has cut what was torn, and the log has gone on.
            if let Ok(mut log) = SegmentedLog::open(site.place(), LOG) {
                let next = log.recovered().skeleton.last.next();
                log.append(&[batch(next.get())], true).unwrap();
                log.close().unwrap();
                look();
            }
        }
    }
    assert!(calls > 100 && torn > 5, "{calls} calls, {torn} torn tails");
}

#[test]
fn a_node_that_was_killed_leaves_nothing_that_counts_as_corruption() {
    for kind in StoreKind::ALL {
        let site = Site::on_files(kind);
        site.fill(LAST);
        let mut log = SegmentedLog::open(site.place(), LOG).unwrap();
        let mut machine = site.machine(&site.paths());
        let entry = batch(LAST + 1);
        log.append(&[entry], true).unwrap();
        apply(&mut machine, LAST + 1..=LAST + 1).unwrap();
        drop((log, machine));
        let report = site.verify();
        assert!(report.findings.is_empty(), "{kind}: {report:?}");
    }
}

#[test]
fn a_missing_replica_file_of_a_replica_that_ran_is_found_and_hides_nothing() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    let replica_file = site.paths().replica_file();
    disk.remove_file(&replica_file).unwrap();
    let segment = disk
        .files()
        .iter()
        .map(|(path, _)| path.clone())
        .find(|path| path.extension().is_some_and(|end| end == "wal"))
        .unwrap();
    disk.flip(&segment, 4_100, 1).unwrap();
    let report = site.verify();
    assert_eq!(places(&report)[0], (FindingClass::Damage, replica_file.as_path(), None));
    assert!(is_told(&report.findings, &segment, 4_100), "{:?}", report.findings);
}

#[test]
fn a_state_that_holds_less_than_its_snapshot_is_found() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    let state = site.paths().state();
    for lost in [state.clone(), state.join("1").join("batches")] {
        let fork = disk.fork();
        let site = Site::on_sim(&fork);
        if lost == state {
            fork.remove_dir_all(&lost).unwrap();
        } else {
            fork.truncate(&lost, 0).unwrap();
        }
        let report = site.verify();
        let found = report.first_corruption().unwrap();
        assert!(found.problem.contains("state that a snapshot was published of"), "{found:?}");
        assert!(found.file.starts_with(&state), "{found:?}");
    }
}

#[test]
fn a_damaged_memory_of_the_peers_is_redundant() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    let peers = BTreeMap::from([(NodeId(2), Incarnation([2; 16]))]);
    site.open_dir().remember_peers(&peers).unwrap();
    let path = site.root.join("peers");
    assert!(site.verify().findings.is_empty());
    disk.flip(&path, 150, 1).unwrap();
    assert_eq!(places(&site.verify()), [(FindingClass::Redundant, path.as_path(), Some(128))]);
}

#[test]
fn a_diverged_replica_is_not_clean_and_neither_is_a_damaged_mark() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    let clean = site.verify();
    let path = site.mark();
    let report = site.verify();
    assert_eq!(places(&report), [(FindingClass::Diverged, path.as_path(), None)]);
    let found = report.first_corruption().unwrap();
    assert_eq!((found.group, found.entry), (Some(GROUP.get()), Some(SNAPSHOT)), "{found:?}");
    assert_eq!(report.files, clean.files + 1);
    disk.flip(&path, 130, 1).unwrap();
    assert!(matches!(places(&site.verify())[..], [(FindingClass::Damage, file, _)] if file == path));
}
