//! Receiving.

use super::{dir_on, disk, file_bytes, label, publish, read_all, records};
use crate::disk::Disk;
use crate::error::Error;
use crate::identity::FileOwner;
use crate::ids::GroupUid;
use crate::snapshot::{SnapshotChunk, SnapshotDir, SpoolLimits};
use std::path::PathBuf;
use std::sync::Arc;

const LIMITS: SpoolLimits = SpoolLimits { file_bytes_max: 1 << 20, reserve_bytes: 1 << 10 };

#[test]
fn a_streamed_snapshot_is_the_same_file() {
    let (source, target) = (disk(), disk());
    let token = publish(&dir_on(&source), 5, &records(50, 2_000)).unwrap();
    let chunks = dir_on(&source).chunks(&token).unwrap();
    assert_eq!(chunks.total(), token.bytes);
    let mut spool = dir_on(&target).spool(token, LIMITS).unwrap();
    while let Some(chunk) = chunks.read_chunk(spool.received(), 7_777).unwrap() {
        spool.put(&chunk).unwrap();
    }
    assert!(spool.is_complete());
    assert_eq!(spool.finish().unwrap(), (token, label(5)));
    let bytes = [&source, &target].map(|disk| file_bytes(disk, &dir_on(disk), &token));
    assert_eq!(bytes[0], bytes[1]);
    read_all(&dir_on(&target), token).unwrap();
}

#[test]
fn a_chunk_out_of_order_or_bounds_is_refused_and_changes_nothing() {
    let disk = disk();
    let dir = dir_on(&disk);
    let token = publish(&dir, 5, &records(3, 20)).unwrap();
    let good = dir.chunks(&token).unwrap().read_chunk(0, 100).unwrap().unwrap();
    let target = super::disk();
    let mut spool = dir_on(&target).spool(token, LIMITS).unwrap();
    let empty = bytes::Bytes::new();
    let long = bytes::Bytes::from(vec![0; usize::try_from(token.bytes).unwrap() + 1]);
    for bad in [
        SnapshotChunk { offset: 1, ..good.clone() },
        SnapshotChunk { total: token.bytes + 1, ..good.clone() },
        SnapshotChunk { crc: !good.crc, ..good.clone() },
        SnapshotChunk { crc: crc32fast::hash(&empty), bytes: empty, ..good.clone() },
        SnapshotChunk { crc: crc32fast::hash(&long), bytes: long, ..good.clone() },
    ] {
        assert!(spool.put(&bad).unwrap_err().is_corruption());
        assert_eq!(spool.received(), 0);
    }
    spool.put(&good).unwrap();
    assert!(spool.put(&good).unwrap_err().is_corruption(), "the same chunk again");
    assert!(spool.finish().unwrap_err().is_corruption(), "bytes are missing");
    assert!(target.files().is_empty(), "what was received is removed");
}

#[test]
fn a_snapshot_over_the_cap_or_without_room_is_refused_at_the_door() {
    let source = disk();
    let token = publish(&dir_on(&source), 5, &records(3, 20)).unwrap();
    let small = SpoolLimits { file_bytes_max: token.bytes - 1, ..LIMITS };
    assert!(matches!(dir_on(&disk()).spool(token, small), Err(Error::TooLarge { .. })));
    let full = disk();
    full.set_capacity(Some(token.bytes + LIMITS.reserve_bytes - 1));
    let error = dir_on(&full).spool(token, LIMITS).unwrap_err();
    let needed = token.bytes + LIMITS.reserve_bytes;
    assert!(matches!(error, Error::NoRoom { needed_bytes, .. } if needed_bytes == needed), "{error}");
    let two = disk();
    two.set_capacity(Some(2 * token.bytes + LIMITS.reserve_bytes - 1));
    let first = dir_on(&two).spool(token, LIMITS).unwrap();
    let mut later = token;
    later.id.index = later.id.index.next();
    let error = dir_on(&two).spool(later, LIMITS).unwrap_err();
    assert!(matches!(error, Error::NoRoom { .. }), "room that another one needs: {error}");
    drop(first);
    two.sync_dir(dir_on(&two).path()).unwrap();
    dir_on(&two).spool(later, LIMITS).unwrap();
}

#[test]
fn a_snapshot_that_is_not_the_announced_one_is_refused() {
    let (source, target) = (disk(), disk());
    let token = publish(&dir_on(&source), 5, &records(3, 20)).unwrap();
    let chunk = dir_on(&source).chunks(&token).unwrap().read_chunk(0, 1 << 20).unwrap().unwrap();
    let mut other = token;
    other.crc ^= 1;
    let mut later = token;
    later.id.index = later.id.index.next();
    for announced in [other, later] {
        let mut spool = dir_on(&target).spool(announced, LIMITS).unwrap();
        spool.put(&chunk).unwrap();
        assert!(spool.finish().unwrap_err().is_corruption());
    }
    let owner = FileOwner { group: GroupUid([3; 16]), ..super::owner() };
    let foreign = SnapshotDir::new(Arc::new(target.clone()), PathBuf::from("/g"), owner);
    let mut spool = foreign.spool(token, LIMITS).unwrap();
    spool.put(&chunk).unwrap();
    assert!(matches!(spool.finish(), Err(Error::Foreign { what: "group", .. })));
    assert!(target.files().is_empty());
}

#[test]
fn another_file_of_that_position_is_never_replaced() {
    let (source, target) = (disk(), disk());
    let token = publish(&dir_on(&source), 5, &records(3, 20)).unwrap();
    let own = publish(&dir_on(&target), 5, &records(4, 20)).unwrap();
    let chunk = dir_on(&source).chunks(&token).unwrap().read_chunk(0, 1 << 20).unwrap().unwrap();
    let mut spool = dir_on(&target).spool(token, LIMITS).unwrap();
    spool.put(&chunk).unwrap();
    assert!(matches!(spool.finish(), Err(Error::Io { action: "install", .. })));
    read_all(&dir_on(&target), own).unwrap();
}
