//! The power goes in every call of the disk, and every sync fails once.

use super::{dir_on, disk, label, publish, read_all, records};
use crate::disk::{CrashMode, SimDisk};
use crate::entry::ConfState;
use crate::error::Result;
use crate::snapshot::{ReadFrom, Retention, SnapshotDir, SnapshotToken, SpoolLimits, read_token};
use quorate_telemetry::rng::SeededRng;

const LIMITS: SpoolLimits = SpoolLimits { file_bytes_max: 1 << 30, reserve_bytes: 0 };

fn modes() -> Vec<CrashMode> {
    let mut modes = vec![CrashMode::LoseUnsynced, CrashMode::KeepAll];
    for seed in 0..6 {
        modes.push(CrashMode::KeepPieces { seed, piece_bytes: 512 });
        modes.push(CrashMode::KeepPieces { seed, piece_bytes: 4_096 });
    }
    modes
}

/// Cuts the power in each call that `act` makes, in every mode, and hands what is left to `check`, with what
/// `act` said.
fn cut_everywhere<T>(
    prepare: impl Fn(&SimDisk),
    act: impl Fn(&SnapshotDir) -> Result<T>,
    check: impl Fn(&SimDisk, &SnapshotDir, Option<T>),
) {
    for mode in modes() {
        for nth in 1.. {
            assert!(nth < 500, "an action of few calls");
            let disk = disk();
            prepare(&disk);
            disk.cut_power_at_call(nth);
            let done = act(&dir_on(&disk)).ok();
            let was_cut = !disk.is_powered();
            let disk = disk.crash(mode);
            check(&disk, &dir_on(&disk), done);
            if !was_cut {
                break;
            }
        }
    }
}

/// Every file of a final name is whole, and a token that was returned has its file.
fn check_whole(disk: &SimDisk, dir: &SnapshotDir, acknowledged: Option<SnapshotToken>) {
    for file in dir.list().unwrap() {
        let (token, _) = read_token(disk, &dir.path_of(file.id)).unwrap();
        read_all(dir, token).unwrap();
    }
    if let Some(token) = acknowledged {
        dir.verify(&token, ReadFrom::Device).unwrap();
        assert_eq!(dir.usable(&[token]).unwrap(), [token]);
    }
}

#[test]
fn a_crash_in_a_publish_leaves_nothing_or_the_whole_file() {
    let records = records(60, 2_000);
    cut_everywhere(
        |_| {},
        |dir| publish(dir, 2, &records),
        |disk, dir, token| {
            check_whole(disk, dir, token);
            dir.sweep(&token.map_or(vec![], |token| vec![token])).unwrap();
            assert_eq!(disk.files().len(), usize::from(token.is_some()));
            publish(dir, 3, &records).unwrap();
        },
    );
}

#[test]
fn a_crash_in_an_install_leaves_nothing_or_the_whole_file() {
    let source = disk();
    let token = publish(&dir_on(&source), 5, &records(60, 2_000)).unwrap();
    let chunks = dir_on(&source).chunks(&token).unwrap();
    let install = |dir: &SnapshotDir| {
        let mut spool = dir.spool(token, LIMITS)?;
        while let Some(chunk) = chunks.read_chunk(spool.received(), 50_000)? {
            spool.put(&chunk)?;
        }
        spool.finish().map(|(token, _)| token)
    };
    cut_everywhere(
        |_| {},
        install,
        |disk, dir, installed| {
            check_whole(disk, dir, installed);
            install(dir).unwrap();
            assert_eq!(disk.files().len(), 1, "an attempt again takes over whatever was left");
        },
    );
}

#[test]
fn a_crash_in_a_birth_can_be_repeated() {
    let birth = |dir: &SnapshotDir| {
        let descriptor = label(1).record.descriptor;
        dir.publish_empty(ConfState::default(), descriptor, &SeededRng::new(7)).map(|(token, _)| token)
    };
    cut_everywhere(
        |_| {},
        birth,
        |disk, dir, born| {
            check_whole(disk, dir, born);
            let token = birth(dir).unwrap();
            let disk = disk.crash(CrashMode::LoseUnsynced);
            check_whole(&disk, &dir_on(&disk), Some(token));
        },
    );
}

#[test]
fn a_crash_in_a_prune_keeps_what_is_to_be_kept() {
    let prepare = |disk: &SimDisk| {
        for index in 2..6 {
            publish(&dir_on(disk), index, &records(3, 20)).unwrap();
        }
    };
    let reference = disk();
    prepare(&reference);
    let dir = dir_on(&reference);
    let recorded: Vec<SnapshotToken> = dir
        .list()
        .unwrap()
        .iter()
        .map(|file| read_token(&reference, &dir.path_of(file.id)).unwrap().0)
        .collect();
    cut_everywhere(
        prepare,
        |dir| dir.prune(&recorded, Retention { files_max: 2, bytes_max: u64::MAX }),
        |disk, dir, _| {
            check_whole(disk, dir, Some(recorded[2]));
            check_whole(disk, dir, Some(recorded[3]));
        },
    );
}

#[test]
fn a_failed_sync_is_never_acknowledged() {
    for nth in 1..=2 {
        let disk = disk();
        disk.fail_sync(nth);
        publish(&dir_on(&disk), 2, &records(3, 20)).unwrap_err();
        let disk = disk.crash(CrashMode::LoseUnsynced);
        assert!(disk.files().is_empty());
    }
}

#[test]
fn a_failed_or_short_write_leaves_nothing() {
    for nth in 1..=4 {
        for arm in [SimDisk::fail_write, SimDisk::shorten_write] {
            let disk = disk();
            arm(&disk, nth);
            publish(&dir_on(&disk), 2, &records(60, 2_000)).unwrap_err();
            assert!(disk.files().is_empty());
        }
    }
}

#[test]
fn a_disk_that_lies_about_syncs_is_noticed_by_these_tests() {
    let disk = disk();
    disk.ignore_syncs(true);
    let token = publish(&dir_on(&disk), 2, &records(3, 20)).unwrap();
    let disk = disk.crash(CrashMode::LoseUnsynced);
    assert_eq!(dir_on(&disk).usable(&[token]).unwrap(), []);
}
