//! Both disks keep the trait's promises; the simulated one also forgets and fails as told.

use std::io;
use std::path::{Path, PathBuf};

use super::{CrashMode, Disk, OpenMode, RealDisk, SimDisk};

fn each(claim: impl Fn(&dyn Disk, &Path)) {
    let dir = tempfile::tempdir().unwrap();
    claim(&RealDisk::new(), dir.path());
    let sim = SimDisk::new();
    sim.create_dir_all(Path::new("/dir")).unwrap();
    claim(&sim, Path::new("/dir"));
}

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap()];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn write_synced(disk: &SimDisk, path: &str, bytes: &[u8]) {
    let file = disk.open(Path::new(path), OpenMode::Create).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
}

#[test]
fn bytes_read_back_as_written_and_gaps_are_zero() {
    each(|disk, dir| {
        let path = dir.join("a");
        let file = disk.open(&path, OpenMode::Create).unwrap();
        file.write_all_at(b"tail", 5000).unwrap();
        file.write_all_at(b"head", 4094).unwrap();
        assert_eq!(file.len().unwrap(), 5004);
        let bytes = read(disk, &path).unwrap();
        assert_eq!(&bytes[4092..4100], b"\0\0head\0\0");
        assert_eq!(&bytes[5000..], b"tail");
        assert_eq!(kind(file.read_exact_at(&mut [0; 5], 5000)), io::ErrorKind::UnexpectedEof);
        assert_eq!(disk.bytes_written(), 8);
    });
}

#[test]
fn create_refuses_an_existing_file_and_open_a_missing_one() {
    each(|disk, dir| {
        let path = dir.join("a");
        assert_eq!(kind(disk.open(&path, OpenMode::Write)), io::ErrorKind::NotFound);
        assert_eq!(disk.size(&path).unwrap(), None);
        drop(disk.open(&path, OpenMode::Create).unwrap());
        assert_eq!(kind(disk.open(&path, OpenMode::Create)), io::ErrorKind::AlreadyExists);
        assert_eq!(disk.size(&path).unwrap(), Some(0));
    });
}

#[test]
fn set_len_cuts_and_extends_with_zeros() {
    each(|disk, dir| {
        let file = disk.open(&dir.join("a"), OpenMode::Create).unwrap();
        file.write_all_at(&[7; 9000], 0).unwrap();
        file.set_len(100).unwrap();
        file.set_len(9000).unwrap();
        let bytes = read(disk, &dir.join("a")).unwrap();
        assert!(bytes[..100].iter().all(|&byte| byte == 7) && bytes[100..].iter().all(|&byte| byte == 0));
        file.preallocate(20_000).unwrap();
        file.preallocate(10).unwrap();
        assert_eq!(file.len().unwrap(), 20_000);
    });
}

#[test]
fn rename_replaces_and_list_is_sorted() {
    each(|disk, dir| {
        for name in ["b", "a"] {
            disk.open(&dir.join(name), OpenMode::Create).unwrap().write_all_at(name.as_bytes(), 0).unwrap();
        }
        disk.create_dir_all(&dir.join("c/d")).unwrap();
        disk.create_dir_all(&dir.join("c/d")).unwrap();
        disk.rename(&dir.join("b"), &dir.join("a")).unwrap();
        disk.rename(&dir.join("c"), &dir.join("e")).unwrap();
        let names: Vec<_> = disk.list(dir).unwrap().into_iter().map(|e| (e.name, e.is_dir)).collect();
        assert_eq!(names, [("a".to_owned(), false), ("e".to_owned(), true)]);
        assert_eq!(read(disk, &dir.join("a")).unwrap(), b"b");
        disk.remove_dir_all(&dir.join("e")).unwrap();
        disk.remove_dir_all(&dir.join("e")).unwrap();
        disk.remove_file(&dir.join("a")).unwrap();
        disk.sync_dir(dir).unwrap();
        assert!(disk.list(dir).unwrap().is_empty());
        assert_eq!(disk.sync_count(), 1);
    });
}

#[test]
fn a_lock_is_held_once_until_dropped() {
    each(|disk, dir| {
        let lock = disk.lock(&dir.join("lock")).unwrap();
        assert_eq!(kind(disk.lock(&dir.join("lock"))), io::ErrorKind::WouldBlock);
        drop(lock);
        drop(disk.lock(&dir.join("lock")).unwrap());
        assert!(disk.free_bytes(dir).unwrap() > 0);
    });
}

#[test]
fn a_crash_keeps_what_was_synced_and_kills_handles() {
    let disk = SimDisk::new();
    write_synced(&disk, "/a", b"synced");
    let file = disk.open(Path::new("/a"), OpenMode::Write).unwrap();
    file.write_all_at(b"unsynced", 0).unwrap();
    let lock = disk.lock(Path::new("/a")).unwrap();
    drop(disk.open(Path::new("/b"), OpenMode::Create).unwrap());
    let after = disk.crash(CrashMode::LoseUnsynced);
    assert!(file.len().is_err() && disk.list(Path::new("/")).is_err());
    assert_eq!(read(&after, Path::new("/a")).unwrap(), b"synced");
    assert_eq!(after.files(), [(PathBuf::from("/a"), 6)]);
    let relocked = after.lock(Path::new("/a")).unwrap();
    drop(lock);
    assert!(after.lock(Path::new("/a")).is_err(), "a dead lock's drop frees nothing");
    drop(relocked);
}

#[test]
fn a_dead_process_leaves_its_caches_and_a_later_power_cut_takes_them() {
    let disk = SimDisk::new();
    write_synced(&disk, "/a", b"old");
    disk.open(Path::new("/a"), OpenMode::Write).unwrap().write_all_at(b"new", 0).unwrap();
    let disk = disk.crash(CrashMode::KeepAll);
    assert_eq!(read(&disk, Path::new("/a")).unwrap(), b"new");
    assert_eq!(read(&disk.crash(CrashMode::LoseUnsynced), Path::new("/a")).unwrap(), b"old");
}

#[test]
fn content_synced_under_an_unsynced_name_is_lost() {
    let disk = SimDisk::new();
    disk.open(Path::new("/a"), OpenMode::Create).unwrap().sync_data().unwrap();
    assert!(disk.crash(CrashMode::LoseUnsynced).files().is_empty());
}

#[test]
fn a_rename_is_durable_after_the_directory_sync_and_never_torn() {
    for seed in 0..64 {
        let disk = SimDisk::new();
        write_synced(&disk, "/a", b"x");
        disk.rename(Path::new("/a"), Path::new("/b")).unwrap();
        let after = disk.crash(CrashMode::KeepPieces { seed, piece_bytes: 512 });
        assert_eq!(after.files().len(), 1, "seed {seed}");
    }
    let disk = SimDisk::new();
    write_synced(&disk, "/a", b"x");
    disk.rename(Path::new("/a"), Path::new("/b")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(disk.crash(CrashMode::LoseUnsynced).files(), [(PathBuf::from("/b"), 1)]);
}

#[test]
fn pieces_of_an_unsynced_write_survive_by_seed() {
    let torn = |seed| {
        let disk = SimDisk::new();
        write_synced(&disk, "/a", &[1; 8192]);
        disk.open(Path::new("/a"), OpenMode::Write).unwrap().write_all_at(&[2; 8192], 0).unwrap();
        read(&disk.crash(CrashMode::KeepPieces { seed, piece_bytes: 512 }), Path::new("/a")).unwrap()
    };
    let bytes = torn(7);
    assert_eq!(bytes, torn(7));
    assert!(bytes.contains(&1) && bytes.contains(&2));
    assert!(bytes.chunks(512).all(|piece| piece.iter().all(|byte| *byte == piece[0])));
}

#[test]
fn a_failed_sync_loses_what_it_should_have_written_for_good() {
    let disk = SimDisk::new();
    write_synced(&disk, "/a", b"old");
    let file = disk.open(Path::new("/a"), OpenMode::Write).unwrap();
    file.write_all_at(b"new", 0).unwrap();
    disk.fail_sync(1);
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
    file.sync_data().unwrap();
    let disk = disk.crash(CrashMode::KeepAll);
    assert_eq!(read(&disk, Path::new("/a")).unwrap(), b"new", "the cache still shows it");
    disk.open(Path::new("/a"), OpenMode::Read).unwrap().drop_cache().unwrap();
    assert_eq!(read(&disk, Path::new("/a")).unwrap(), b"old");
}

#[test]
fn writes_fail_as_told() {
    let disk = SimDisk::new();
    let file = disk.open(Path::new("/a"), OpenMode::Create).unwrap();
    disk.fail_write(2);
    file.write_all_at(b"one", 0).unwrap();
    assert_eq!(file.write_all_at(b"two", 0).unwrap_err().raw_os_error(), Some(5));
    disk.shorten_write(1);
    assert!(file.write_all_at(b"four", 0).is_err());
    assert_eq!(read(&disk, Path::new("/a")).unwrap(), b"foe");
    disk.set_capacity(Some(10));
    assert_eq!(kind(file.preallocate(11)), io::ErrorKind::StorageFull);
    assert_eq!(disk.free_bytes(Path::new("/")).unwrap(), 7);
    file.write_all_at(&[0; 10], 0).unwrap();
}

#[test]
fn an_armed_power_cut_stops_everything_until_the_crash() {
    let disk = SimDisk::new();
    write_synced(&disk, "/a", b"old");
    let file = disk.open(Path::new("/a"), OpenMode::Write).unwrap();
    disk.cut_power_at_call(2);
    file.write_all_at(b"new", 0).unwrap();
    assert!(file.sync_data().is_err() && file.len().is_err() && !disk.is_powered());
    let after = disk.crash(CrashMode::LoseUnsynced);
    assert_eq!(read(&after, Path::new("/a")).unwrap(), b"old");
}

#[test]
fn rot_changes_the_file_at_rest() {
    let disk = SimDisk::new();
    write_synced(&disk, "/a", b"abc");
    disk.flip(Path::new("/a"), 1, 0x20).unwrap();
    assert_eq!(read(&disk, Path::new("/a")).unwrap(), b"aBc");
    disk.truncate(Path::new("/a"), 2).unwrap();
    assert_eq!(read(&disk.crash(CrashMode::LoseUnsynced), Path::new("/a")).unwrap(), b"aB");
    assert!(disk.reopen().flip(Path::new("/a"), 2, 1).is_err());
}

#[test]
fn a_stalled_sync_returns_when_released() {
    let disk = SimDisk::new();
    let file = disk.open(Path::new("/a"), OpenMode::Create).unwrap();
    disk.stall_syncs(true);
    let syncing = std::thread::spawn(move || file.sync_data());
    disk.stall_syncs(false);
    syncing.join().unwrap().unwrap();
}
