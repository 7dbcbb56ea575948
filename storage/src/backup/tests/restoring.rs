//! Making data directories: a half made one never starts, and is made anew.

use quorate_telemetry::Rng;

use super::*;
use crate::backup::{NewReplica, RestoringDir};
use crate::disk::CrashMode;
use crate::entry::ConfState;
use crate::error::Error;
use crate::identity::{DataDir, NodeIdentity, ReplicaIdentity};
use crate::ids::NodeId;
use crate::log::{LogConfig, LogPlace, LogStore as _, SegmentedLog};
use crate::snapshot::SnapshotSource as _;

const ROOT: &str = "/data";
const NEW: ClusterId = ClusterId([8; 16]);
const NODE: NodeId = NodeId(2);
const UID: GroupUid = GroupUid([77; 16]);

fn rng() -> Arc<dyn Rng> {
    Arc::new(SeededRng::new(5))
}

/// Group 4 as it is born again.
fn born() -> NewReplica {
    let mut record = record(GROUPS[1], 5);
    record.descriptor.uid = UID;
    record.digest = digest(UID, 5);
    record.conf_state = ConfState::of_voters(vec![ReplicaId(2)]);
    NewReplica { replica: ReplicaId(2), record }
}

fn restore(disk: &SimDisk) -> Result<NodeIdentity> {
    let backup = open(disk)?;
    let group = backup.manifest().group(GROUPS[1]).unwrap().clone();
    let dir = RestoringDir::begin(Arc::new(disk.clone()), Path::new(ROOT), (NEW, NODE), 0, rng())?;
    dir.make(&born(), &mut |sink| backup.copy_records(&group, sink, &mut |_| {}))?;
    dir.finish()
}

fn start(disk: &SimDisk) -> Result<DataDir> {
    DataDir::open_or_create(Arc::new(disk.clone()), Path::new(ROOT), NEW, NODE, &SeededRng::new(1))
}

/// Checks that the one replica is there, with its log behind its snapshot and the records of the backup in it.
fn check(disk: &SimDisk) {
    let data = start(disk).unwrap();
    assert_eq!(data.groups().unwrap(), [GROUPS[1]]);
    let (paths, NewReplica { replica, record }) = (data.group(GROUPS[1]), born());
    let found: ReplicaIdentity = data.replica(GROUPS[1]).unwrap().unwrap();
    assert_eq!((found.uid, found.replica, found.incarnation), (UID, replica, record.incarnation));
    let (disk, owner) = (Arc::new(disk.clone()), found.owner());
    let place = LogPlace { disk: disk.clone(), dir: paths.wal(), owner, rng: rng() };
    let log = SegmentedLog::open(place, LogConfig::default()).unwrap();
    let state = log.recovered();
    assert_eq!((state.skeleton.base, state.skeleton.last), (record.applied, record.applied.index));
    assert_eq!((state.hard_state.commit, state.hard_state.term), (record.applied.index, record.applied.term));
    let [token] = state.snapshots.as_slice() else { panic!("one snapshot: {state:?}") };
    let mut reader = SnapshotDir::new(disk, paths.snapshots(), owner).reader(*token).unwrap();
    assert_eq!(reader.label().record, record);
    let mut records = 0;
    while reader.next_record().unwrap().is_some() {
        records += 1;
    }
    assert_eq!(records, 5);
}

#[test]
fn a_restored_directory_holds_the_replica_behind_its_snapshot() {
    let disk = SimDisk::new();
    take(&disk).unwrap();
    let identity = restore(&disk).unwrap();
    assert_eq!((identity.cluster, identity.node), (NEW, NODE));
    check(&disk);
    let error = restore(&disk).unwrap_err();
    assert!(matches!(&error, Error::Occupied { path } if path.starts_with(ROOT)), "{error}");
    check(&disk);
}

#[test]
fn whatever_crashes_a_half_made_directory_does_not_start_and_is_made_anew() {
    let taken = SimDisk::new();
    take(&taken).unwrap();
    let calls = {
        let disk = taken.fork();
        let before = disk.calls();
        restore(&disk).unwrap();
        (before, disk.calls())
    };
    let (mut complete, mut refused, mut untouched) = (0, 0, 0);
    for nth in calls.0 + 1..=calls.1 {
        for mode in [
            CrashMode::LoseUnsynced,
            CrashMode::KeepAll,
            CrashMode::KeepPieces { seed: nth, piece_bytes: 512 },
        ] {
            let disk = taken.fork();
            disk.cut_power_at_call(nth);
            let _ = restore(&disk);
            let disk = disk.crash(mode);
            match start(&disk.fork()) {
                Ok(data) if !data.groups().unwrap().is_empty() => {
                    check(&disk);
                    complete += 1;
                    continue;
                }
                // Nothing was made yet: as if no restore had begun.
                Ok(_) => untouched += 1,
                Err(Error::Unfinished { path }) => {
                    assert_eq!(path, Path::new(ROOT));
                    refused += 1;
                }
                Err(other) => panic!("call {nth}, {mode:?}: {other}"),
            }
            restore(&disk).unwrap_or_else(|error| panic!("call {nth}, {mode:?}: {error}"));
            check(&disk);
        }
    }
    assert!(complete > 0 && refused > 30 && untouched > 0, "{complete} {refused} {untouched}");
}

#[test]
fn a_directory_with_anything_in_it_is_left_alone() {
    let disk = SimDisk::new();
    take(&disk).unwrap();
    for name in ["/data/precious", "/data/groups/1/replica"] {
        let disk = disk.fork();
        let path = Path::new(name);
        disk.create_dir_all(path.parent().unwrap()).unwrap();
        disk.open(path, OpenMode::Create).unwrap();
        let error = restore(&disk).unwrap_err();
        assert!(matches!(&error, Error::Occupied { .. }), "{error}");
        assert!(disk.size(path).unwrap().is_some());
    }
    drop(start(&disk).unwrap());
    assert!(matches!(restore(&disk).unwrap_err(), Error::Occupied { .. }), "a node that never had a group");
}

#[test]
fn a_running_node_excludes_a_restore() {
    let disk = SimDisk::new();
    take(&disk).unwrap();
    let running = start(&disk).unwrap();
    assert!(matches!(restore(&disk).unwrap_err(), Error::Locked { .. }));
    drop(running);
}

#[test]
fn a_restore_that_has_no_room_is_refused_before_it_writes_and_says_what_it_takes() {
    let disk = SimDisk::new();
    take(&disk).unwrap();
    let used = disk.files().iter().map(|(_, bytes)| bytes).sum::<u64>();
    disk.set_capacity(Some(used + 5_000));
    let begin =
        |needed| RestoringDir::begin(Arc::new(disk.clone()), Path::new(ROOT), (NEW, NODE), needed, rng());
    let refused = begin(5_001).unwrap_err();
    let Error::NoRoom { path, needed_bytes, free_bytes } = refused else { panic!("{refused}") };
    assert_eq!((path.as_path(), needed_bytes, free_bytes), (Path::new(ROOT), 5_001, 5_000));
    let names: Vec<_> = disk.list(Path::new(ROOT)).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["node.lock"]);
    begin(5_000).unwrap();
}
