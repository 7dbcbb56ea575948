//! Damage to a backup is found, whatever byte it is.

use super::*;
use crate::backup::manifest::hash_line;
use crate::backup::{MANIFEST_FILE, MANIFEST_HASH_FILE};
use crate::error::Error;
use crate::offline::{FindingClass, VerifyReport, verify_backup};

fn verify(disk: &SimDisk) -> VerifyReport {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    verify_backup(&shared, Path::new(DIR), None, &mut |_| {})
}

#[test]
fn an_intact_backup_is_clean_and_every_file_of_it_is_checked() {
    let disk = SimDisk::new();
    take(&disk).unwrap();
    let report = verify(&disk);
    assert_eq!((report.findings.as_slice(), report.files), ([].as_slice(), 4));
    let snapshots =
        files(&disk).into_iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "snap"));
    assert_eq!(report.bytes, snapshots.map(|(_, bytes)| bytes).sum::<u64>());
}

#[test]
fn every_flipped_byte_is_found_with_its_file() {
    let intact = SimDisk::new();
    take(&intact).unwrap();
    let mut flips = 0;
    for (path, bytes) in files(&intact) {
        for offset in 0..bytes {
            let disk = intact.fork();
            disk.flip(&path, offset, 0x04).unwrap();
            let report = verify(&disk);
            let found = report.first_corruption();
            // The hash of the manifest stands in another file: which of the two is wrong cannot be told.
            let manifest = [MANIFEST_FILE, MANIFEST_HASH_FILE].map(|name| Path::new(DIR).join(name));
            let is_right = found.is_some_and(|found| {
                found.file == path || manifest.contains(&path) && manifest.contains(&found.file)
            });
            assert!(is_right, "{} at {offset}: {:?}", path.display(), report.findings);
            flips += 1;
        }
    }
    assert!(flips > 1_500, "only {flips} bytes");
}

#[test]
fn every_file_that_is_cut_short_or_gone_is_found() {
    let intact = SimDisk::new();
    take(&intact).unwrap();
    for (path, bytes) in files(&intact) {
        for len in (0..bytes).step_by(7) {
            let disk = intact.fork();
            disk.truncate(&path, len).unwrap();
            assert!(verify(&disk).first_corruption().is_some(), "{} cut to {len}", path.display());
        }
        let disk = intact.fork();
        disk.remove_file(&path).unwrap();
        let report = verify(&disk);
        assert_eq!(report.findings[0].class, FindingClass::Damage, "{}", path.display());
        assert_eq!((report.findings[0].problem.as_str(), &report.findings[0].file), ("missing", &path));
    }
}

#[test]
fn a_snapshot_of_another_backup_and_a_strange_file_are_found() {
    let disk = SimDisk::new();
    take(&disk).unwrap();
    let path = Path::new(DIR).join("group-4.snap");
    let (_, other) = published(GROUPS[1], 6);
    disk.remove_file(&path).unwrap();
    disk.open(&path, OpenMode::Create).unwrap().write_all_at(&other, 0).unwrap();
    disk.open(&Path::new(DIR).join("note.txt"), OpenMode::Create).unwrap();
    let report = verify(&disk);
    assert_eq!(report.first_corruption().unwrap().file, path, "{:?}", report.findings);
    assert_eq!(report.first_corruption().unwrap().group, Some(4));
    assert!(report.first_unchecked().unwrap().file.ends_with("note.txt"), "{:?}", report.findings);
}

/// Writes a manifest of these bytes with a hash that fits.
fn forge(disk: &SimDisk, manifest: &[u8]) {
    for (name, bytes) in [(MANIFEST_FILE, manifest), (MANIFEST_HASH_FILE, hash_line(manifest).as_bytes())] {
        let path = Path::new(DIR).join(name);
        disk.remove_file(&path).unwrap();
        disk.open(&path, OpenMode::Create).unwrap().write_all_at(bytes, 0).unwrap();
    }
}

#[test]
fn a_newer_manifest_is_named_and_one_that_is_none_of_ours_refused() {
    let disk = SimDisk::new();
    take(&disk).unwrap();
    let manifest = String::from_utf8(read(&disk, &Path::new(DIR).join(MANIFEST_FILE))).unwrap();
    let newer = manifest.replace("\"format\": 1", "\"format\": 2, \"more\": true");
    forge(&disk, newer.as_bytes());
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { found: 2, supported: 1, .. }), "{error}");
    let changes = [
        ("\"format\": 1", "\"format\": 0"),
        ("\"format\": 1", "\"format\": 1, \"more\": true"),
        ("group-4.snap", "../group-4.snap"),
        ("\"group\": 4", "\"group\": 0"),
        ("0303", "03"),
        ("\"records\": 5", "\"records\": -5"),
    ];
    for (from, to) in changes {
        assert!(manifest.contains(from), "{from}");
        forge(&disk, manifest.replacen(from, to, 1).as_bytes());
        let error = open(&disk).unwrap_err();
        assert!(error.is_corruption(), "{to}: {error}");
    }
}

#[test]
fn the_first_format_is_pinned() {
    let disk = SimDisk::new();
    take(&disk).unwrap();
    let manifest = String::from_utf8(read(&disk, &Path::new(DIR).join(MANIFEST_FILE))).unwrap();
    assert_eq!(crc32fast::hash(manifest.as_bytes()), PINNED_CRC, "the form changed: {manifest}");
}

/// Checksum of the manifest of [`take`] as format 1 has it.
const PINNED_CRC: u32 = 3_100_435_182;
