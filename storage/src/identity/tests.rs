//! Identities on a simulated disk.

use std::path::Path;
use std::sync::Arc;

use quorate_telemetry::rng::SeededRng;

use super::*;
use crate::disk::{CrashMode, Disk, OpenMode, SimDisk};
use crate::error::{Error, Result};
use crate::ids::{ClusterId, GroupId, GroupUid, Incarnation, NodeId, ReplicaId};

const CLUSTER: ClusterId = ClusterId([1; 16]);
const NODE: NodeId = NodeId(7);
const GROUP: GroupId = GroupId(3);

fn open_as(disk: &SimDisk, cluster: ClusterId, node: NodeId) -> Result<DataDir> {
    let rng = SeededRng::new(disk.calls());
    DataDir::open_or_create(Arc::new(disk.clone()), Path::new("/data"), cluster, node, &rng)
}

fn open(disk: &SimDisk) -> Result<DataDir> {
    open_as(disk, CLUSTER, NODE)
}

fn replica(id: u64) -> ReplicaIdentity {
    ReplicaIdentity {
        group: GROUP,
        uid: GroupUid([2; 16]),
        replica: ReplicaId(id),
        incarnation: Incarnation([u8::try_from(id).unwrap(); 16]),
        tombstone: false,
    }
}

fn create(disk: &SimDisk, data: &DataDir, identity: ReplicaIdentity) -> Result<()> {
    let paths = data.prepare(identity.group)?;
    disk.create_dir_all(&paths.wal()).unwrap();
    disk.open(&paths.wal().join("1.wal"), OpenMode::Create).unwrap();
    disk.sync_dir(paths.root()).unwrap();
    disk.sync_dir(&paths.wal()).unwrap();
    identity.create(disk, &paths.replica_file(), &SeededRng::new(1))
}

#[test]
fn a_directory_stays_the_node_s_over_a_power_cut() {
    let disk = SimDisk::new();
    let incarnation = open(&disk).unwrap().incarnation();
    assert!(!incarnation.is_zero());
    let disk = disk.crash(CrashMode::LoseUnsynced);
    assert_eq!(open(&disk).unwrap().incarnation(), incarnation);
}

#[test]
fn another_cluster_or_node_is_refused() {
    let disk = SimDisk::new();
    drop(open(&disk).unwrap());
    for (cluster, node, what) in [(ClusterId([9; 16]), NODE, "cluster"), (CLUSTER, NodeId(8), "node")] {
        let error = open_as(&disk, cluster, node).unwrap_err();
        assert!(matches!(error, Error::Foreign { what: w, .. } if w == what), "{error}");
    }
    open(&disk).unwrap();
}

#[test]
fn a_directory_is_open_once_at_a_time() {
    let disk = SimDisk::new();
    let data = open(&disk).unwrap();
    let clone = data.clone();
    drop(data);
    assert!(matches!(open(&disk), Err(Error::Locked { .. })));
    drop(clone);
    open(&disk).unwrap();
}

#[test]
fn a_directory_without_its_node_file_is_not_adopted() {
    let disk = SimDisk::new();
    let data = open(&disk).unwrap();
    create(&disk, &data, replica(1)).unwrap();
    drop(data);
    disk.remove_file(Path::new("/data/node")).unwrap();
    assert!(matches!(open(&disk), Err(Error::Missing { .. })));
}

#[test]
fn a_newer_node_file_is_refused_and_left_untouched() {
    let disk = SimDisk::new();
    drop(open(&disk).unwrap());
    let path = Path::new("/data/node");
    let file = disk.open(path, OpenMode::Write).unwrap();
    let mut before = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut before, 0).unwrap();
    before[8] = 2;
    let crc = crc32fast::hash(&before[..HEADER_BYTES - 4]);
    before[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc.to_le_bytes());
    file.write_all_at(&before, 0).unwrap();
    let files = disk.files();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, Error::NewerFormat { found: 2, supported: 1, .. }), "{error}");
    let mut after = vec![0; before.len()];
    file.read_exact_at(&mut after, 0).unwrap();
    assert_eq!((after, disk.files()), (before, files));
}

#[test]
fn every_flipped_byte_of_an_identity_is_corruption() {
    let disk = SimDisk::new();
    let data = open(&disk).unwrap();
    create(&disk, &data, replica(1)).unwrap();
    let paths = [data.path().join("node"), data.group(GROUP).replica_file()];
    drop(data);
    for (at, path) in paths.iter().enumerate() {
        let bytes = disk.size(path).unwrap().unwrap();
        for offset in 0..bytes {
            disk.flip(path, offset, 1).unwrap();
            let error = match at {
                0 => open(&disk).unwrap_err(),
                _ => open(&disk).unwrap().replica(GROUP).unwrap_err(),
            };
            assert!(error.is_corruption(), "byte {offset}: {error}");
            disk.flip(path, offset, 1).unwrap();
        }
    }
}

#[test]
fn a_replica_counts_once_its_file_is_there() {
    let disk = SimDisk::new();
    let data = open(&disk).unwrap();
    let paths = data.prepare(GROUP).unwrap();
    disk.create_dir_all(&paths.wal()).unwrap();
    assert_eq!((data.groups().unwrap(), data.replica(GROUP).unwrap()), (vec![], None));
    create(&disk, &data, replica(1)).unwrap();
    assert_eq!(data.groups().unwrap(), [GROUP]);
    assert_eq!(data.replica(GROUP).unwrap(), Some(replica(1)));
    assert!(data.prepare(GROUP).is_err(), "somebody lives there");
    let error = replica(2).create(&disk, &paths.replica_file(), &SeededRng::new(1)).unwrap_err();
    assert!(matches!(error, Error::Foreign { what: "replica", .. }), "{error}");
    replica(1).create(&disk, &paths.replica_file(), &SeededRng::new(1)).unwrap();
}

#[test]
fn a_corrupt_replica_file_hides_no_group() {
    let disk = SimDisk::new();
    let data = open(&disk).unwrap();
    create(&disk, &data, replica(1)).unwrap();
    disk.flip(&data.group(GROUP).replica_file(), 20, 1).unwrap();
    assert_eq!(data.groups().unwrap(), [GROUP]);
    assert!(data.replica(GROUP).is_err());
}

#[test]
fn a_removed_replica_never_comes_back_under_its_id() {
    let disk = SimDisk::new();
    let data = open(&disk).unwrap();
    create(&disk, &data, replica(1)).unwrap();
    data.bury(GROUP).unwrap();
    assert_eq!(data.groups().unwrap(), []);
    assert!(data.replica(GROUP).unwrap().unwrap().tombstone);
    assert!(create(&disk, &data, replica(1)).is_err());
    create(&disk, &data, replica(2)).unwrap();
    assert_eq!(data.groups().unwrap(), [GROUP]);
    data.bury(GroupId(99)).unwrap();
}

#[test]
fn a_crash_in_a_removal_leaves_the_replica_or_its_tombstone() {
    for mode in
        [CrashMode::LoseUnsynced, CrashMode::KeepAll, CrashMode::KeepPieces { seed: 1, piece_bytes: 512 }]
    {
        for nth in 1..100 {
            let disk = SimDisk::new();
            let data = open(&disk).unwrap();
            create(&disk, &data, replica(1)).unwrap();
            disk.cut_power_at_call(nth);
            let buried = data.bury(GROUP);
            let was_cut = !disk.is_powered();
            let disk = disk.crash(mode);
            let data = open(&disk).unwrap();
            let found = data.replica(GROUP).unwrap().unwrap();
            let has_log = disk.size(&data.group(GROUP).wal().join("1.wal")).unwrap().is_some();
            assert_eq!(has_log, !found.tombstone, "cut at call {nth}: {found:?}");
            assert!(buried.is_err() || found.tombstone);
            if !was_cut {
                break;
            }
        }
    }
}

#[test]
fn a_crash_in_the_first_open_can_be_repeated() {
    for mode in
        [CrashMode::LoseUnsynced, CrashMode::KeepAll, CrashMode::KeepPieces { seed: 1, piece_bytes: 512 }]
    {
        for nth in 1..50 {
            let disk = SimDisk::new();
            disk.cut_power_at_call(nth);
            let opened = open(&disk).map(|data| data.incarnation());
            let disk = disk.crash(mode);
            let again = open(&disk).unwrap().incarnation();
            if let Ok(incarnation) = opened {
                assert_eq!(again, incarnation);
                break;
            }
        }
    }
}

#[test]
fn the_other_nodes_directories_are_remembered_over_a_power_cut() {
    let disk = SimDisk::new();
    let data = open(&disk).unwrap();
    assert!(data.peers().unwrap().is_empty());
    let peers: std::collections::BTreeMap<_, _> =
        (1..4).map(|node| (NodeId(node), Incarnation([u8::try_from(node).unwrap(); 16]))).collect();
    data.remember_peers(&peers).unwrap();
    drop(data);
    let disk = disk.crash(CrashMode::LoseUnsynced);
    assert_eq!(open(&disk).unwrap().peers().unwrap(), peers);
}

#[test]
fn every_flipped_bit_of_the_peers_file_is_found() {
    let disk = SimDisk::new();
    let data = open(&disk).unwrap();
    data.remember_peers(&[(NODE, Incarnation([3; 16]))].into()).unwrap();
    let path = Path::new("/data/peers");
    for offset in 0..disk.size(path).unwrap().unwrap() {
        disk.flip(path, offset, 1).unwrap();
        data.peers().unwrap_err();
        disk.flip(path, offset, 1).unwrap();
    }
    assert_eq!(data.peers().unwrap().len(), 1);
}

#[test]
fn a_replica_that_was_set_aside_is_kept_and_makes_room() {
    let disk = SimDisk::new();
    let data = open(&disk).unwrap();
    create(&disk, &data, replica(5)).unwrap();
    let aside = data.set_aside(GROUP).unwrap();
    assert!(data.groups().unwrap().is_empty() && data.replica(GROUP).unwrap().is_none());
    create(&disk, &data, replica(6)).unwrap();
    drop(data);
    let disk = disk.crash(CrashMode::LoseUnsynced);
    let data = open(&disk).unwrap();
    assert_eq!(data.groups().unwrap(), [GROUP]);
    assert_eq!(data.replica(GROUP).unwrap(), Some(replica(6)));
    assert_eq!(ReplicaIdentity::read(&disk, &aside.join("replica")).unwrap(), Some(replica(5)));
    assert!(disk.size(&aside.join("wal").join("1.wal")).unwrap().is_some());
    assert!(matches!(data.set_aside(GroupId(9)), Err(Error::Missing { .. })));
}

#[test]
fn a_replica_whose_file_is_damaged_is_known_by_its_log_and_set_aside() {
    let disk = SimDisk::new();
    let data = open(&disk).unwrap();
    create(&disk, &data, replica(5)).unwrap();
    let paths = data.group(GROUP);
    let header = FileHeader::new(FileKind::Log, replica(5).owner(), &SeededRng::new(3));
    let log = disk.open(&paths.wal().join("1.wal"), OpenMode::Write).unwrap();
    log.write_all_at(&header.encode(), 0).unwrap();
    disk.flip(&paths.replica_file(), 130, 1).unwrap();
    assert!(matches!(data.replica(GROUP), Err(Error::Corrupt { .. })));
    assert_eq!(data.occupant(GROUP).unwrap(), Some(ReplicaId(5)));
    let aside = data.set_aside(GROUP).unwrap();
    let name = format!("{GROUP}.quarantined-{}", replica(5).incarnation);
    assert_eq!(aside.file_name().unwrap().to_str(), Some(name.as_str()));
    assert_eq!(data.occupant(GROUP).unwrap(), None);
}

#[test]
fn a_damaged_directory_that_nothing_names_the_owner_of_is_not_moved() {
    let disk = SimDisk::new();
    let data = open(&disk).unwrap();
    create(&disk, &data, replica(5)).unwrap();
    disk.flip(&data.group(GROUP).replica_file(), 130, 1).unwrap();
    assert!(matches!(data.occupant(GROUP), Err(Error::Corrupt { .. })));
    assert!(matches!(data.set_aside(GROUP), Err(Error::Corrupt { .. })));
}
