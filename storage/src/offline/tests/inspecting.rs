//! An inspection tells what is there, and leaves it as it was.

use super::*;
use crate::error::Error;
use crate::offline::{FindingClass, InspectReport, inspect};

fn look(site: &Site) -> InspectReport {
    inspect(&site.stopped(), &site.options())
}

#[test]
fn an_inspection_is_json_of_a_pinned_shape() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    let before = site.bytes();
    let written = disk.bytes_written();
    let report = look(&site);
    let json = serde_json::to_string_pretty(&report).unwrap();
    assert_eq!(json.trim(), include_str!("inspect.json").trim(), "{json}");
    assert_eq!((site.bytes(), disk.bytes_written()), (before, written));
}

#[test]
fn every_store_is_inspected_without_a_change_to_it() {
    for kind in StoreKind::ALL {
        let site = Site::on_files(kind);
        site.fill(LAST);
        let state = site.paths().state().join("1");
        if kind == StoreKind::Lsm {
            // What an opening of the tree would remove.
            std::fs::write(state.join("tables").join("999"), b"a table no version names").unwrap();
            std::fs::write(state.join("v999"), b"a version of no use").unwrap();
        }
        let before = site.bytes();
        let report = look(&site);
        assert_eq!(site.bytes(), before, "{kind}");
        assert!(report.findings.is_empty(), "{kind}: {:?}", report.findings);
        let [group] = report.groups.as_slice() else { panic!("{:?}", report.groups) };
        let [generation] = group.generations.as_slice() else { panic!("{:?}", group.generations) };
        assert_eq!((generation.store, generation.status), (Some(kind.name()), "current"));
        assert_eq!(generation.is_trusted, Some(true));
        assert_eq!(std::fs::read_dir(site.scratch.path()).unwrap().count(), 0, "{kind}: scratch is removed");
        if kind == StoreKind::Sled {
            assert!(generation.not_inspected.is_some() && generation.record.is_none());
            assert!(group.cold_start.is_none());
            continue;
        }
        let held = generation.record.as_ref().unwrap();
        assert_eq!((held.applied.index, generation.records), (LAST, Some(LAST)));
        let gate = group.cold_start.as_ref().unwrap();
        assert_eq!((gate.outcome, gate.floor.index, gate.snapshot), ("skipped", LAST, Some(SNAPSHOT)));
    }
}

#[test]
fn the_gate_is_asked_what_it_would_decide() {
    // A store that is ahead of its log, one that is gone, and one that does not open.
    let site = Site::on_sim(&SimDisk::new());
    site.fill(LAST + 3);
    let gate = look(&site).groups[0].cold_start.clone().unwrap();
    assert_eq!((gate.outcome, gate.reason, gate.held), ("refused", "ahead_of_log", Some(LAST + 3)));

    let site = Site::on_files(StoreKind::Lsm);
    site.fill(LAST);
    let state = site.paths().state().join("1");
    std::fs::remove_file(state.join("current")).unwrap();
    let report = look(&site);
    let gate = report.groups[0].cold_start.clone().unwrap();
    assert_eq!((gate.outcome, gate.restore_from), ("fallback", Some(SNAPSHOT)), "{gate:?}");
    std::fs::remove_dir_all(&state).unwrap();
    let gate = look(&site).groups[0].cold_start.clone().unwrap();
    assert_eq!((gate.outcome, gate.reason), ("fallback", "missing_meta"));
}

#[test]
fn the_mark_of_a_diverged_replica_is_shown_and_the_gate_is_not_asked() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    let path = site.mark();
    let report = look(&site);
    let group = &report.groups[0];
    let mark = group.diverged.as_ref().unwrap();
    assert_eq!((&mark.file, mark.index), (&path, SNAPSHOT));
    assert_eq!((&mark.own[..2], &mark.majority[..2], mark.own.len()), ("a0", "b0", 32));
    assert!(group.cold_start.is_none() && group.log.is_some() && report.findings.is_empty());
    disk.flip(&path, 130, 1).unwrap();
    let report = look(&site);
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert_eq!((finding.class, &finding.file), (FindingClass::Damage, &path));
}

#[test]
fn snapshot_files_are_told_apart() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    let dir = site.paths().snapshots();
    let id = |index| EntryId { term: Term(1), index: Index(index) };
    let name = |index| crate::snapshot::file_name(id(index));
    disk.rename(&dir.join(name(1)), &dir.join(name(1) + ".bad")).unwrap();
    disk.open(&dir.join(name(15) + ".part"), OpenMode::Create).unwrap();
    disk.open(&dir.join(name(14)), OpenMode::Create).unwrap().write_all_at(&[7; 400], 0).unwrap();
    let report = look(&site);
    let mut told: Vec<_> = report.groups[0].snapshots.iter().map(|found| found.status).collect();
    told.sort_unstable();
    assert_eq!(told, ["bad", "missing", "orphan", "receiving", "usable"]);
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert_eq!((finding.class, &finding.file), (FindingClass::Damage, &dir.join(name(14))));
    assert_eq!(finding.group, Some(GROUP.get()));
}

#[test]
fn a_damaged_log_is_listed_as_far_as_it_can_be_read() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    let (path, _) = disk.files().into_iter().find(|(path, _)| path.starts_with(site.paths().wal())).unwrap();
    disk.flip(&path, 4096 + 70, 1).unwrap();
    disk.flip(&path, 2 * 4096 - 70, 1).unwrap();
    let report = look(&site);
    assert!(!report.findings.is_empty());
    let group = &report.groups[0];
    assert!(group.segments[0].batches > 0 && group.generations[0].record.is_some(), "{group:?}");
}

#[test]
fn a_running_node_and_a_directory_of_something_else_are_refused() {
    let disk = SimDisk::new();
    let site = Site::on_sim(&disk);
    site.fill(LAST);
    let data = site.open_dir();
    let error = StoppedDir::lock(site.disk.clone(), &site.root).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    drop(data);
    drop(site.stopped());
    let before = disk.files();
    let error = StoppedDir::lock(site.disk.clone(), &site.paths().wal()).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert_eq!(disk.files(), before);
}
