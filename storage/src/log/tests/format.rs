//! The bytes of the format, pinned: a change here is a new format version.

use super::super::batch::{BatchBuilder, BatchTable, Record};
use super::super::segment::{SegmentHead, SegmentName};
use super::super::summary::Checkpoint;
use super::*;
use crate::identity::{FileHeader, FileKind, KeyId};
use crate::ids::FileId;

fn one_batch(builder: &mut BatchBuilder) -> &[u8] {
    let entries = [entry(2, 1), Entry { kind: EntryKind::ConfChange, ..entry(3, 2) }];
    builder.begin();
    builder.record(&Record::Snapshot { token: birth(), install: true });
    builder.record(&Record::Truncate { last: birth().id });
    builder.entries(&entries, Term(1));
    builder.record(&Record::Compact(entries[0].id()));
    builder.record(&Record::HardState(HardState {
        term: Term(2),
        vote: Some(ReplicaId(9)),
        commit: Index(3),
    }));
    builder.record(&Record::Proof);
    builder.record(&Record::Close);
    builder.begin_body();
    builder.payloads(&entries);
    builder.finish(FileId([5; 16]), 77, 0xdead_beef)
}

#[test]
fn a_batch_is_pinned() {
    let mut builder = BatchBuilder::default();
    let bytes = one_batch(&mut builder);
    assert_eq!(bytes.len(), 4096);
    assert_eq!(&bytes[..4], b"QBAT");
    assert_eq!(crc32fast::hash(bytes), BATCH_CRC, "the bytes of a batch changed");
    let table = BatchTable::at_front(bytes).unwrap();
    assert_eq!(BatchTable::at_end(bytes), Some(table.clone()));
    assert_eq!(table.records.len(), 8);
    assert_eq!(table.find(Index(3)).unwrap().0, Term(2));
    assert!(table.find(Index(4)).is_none());
}

#[test]
fn every_flipped_bit_of_a_table_is_found() {
    let mut builder = BatchBuilder::default();
    let bytes = one_batch(&mut builder).to_vec();
    let body = BatchTable::at_front(&bytes).unwrap().head.body();
    for bit in 0..body.start * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(BatchTable::at_front(&bytes).is_none(), "bit {bit}");
    }
}

fn owner() -> FileOwner {
    FileOwner { group: GroupUid([1; 16]), replica: ReplicaId(2), incarnation: Incarnation([3; 16]) }
}

fn head() -> SegmentHead {
    SegmentHead {
        header: FileHeader {
            kind: FileKind::Log,
            version: 1,
            owner: owner(),
            file: FileId([4; 16]),
            key: KeyId::CLEAR,
        },
        number: 3,
        sequence: 5,
        previous_crc: 0xabad_cafe,
        planned_bytes: 4 << 20,
        last: EntryId { term: Term(2), index: Index(44) },
        start: Checkpoint {
            base: birth().id,
            hard_state: HardState { term: Term(2), vote: Some(ReplicaId(9)), commit: Index(3) },
            snapshots: vec![birth()],
        },
    }
}

#[test]
fn a_segment_head_is_pinned() {
    let (owner, head) = (owner(), head());
    let page = head.encode();
    assert_eq!(crc32fast::hash(&page), HEAD_CRC, "the bytes of a segment head changed");
    assert_eq!(SegmentHead::decode(&page, &owner, Path::new("f")).unwrap(), head);
}

#[test]
fn a_segment_is_named_by_first_index_and_number() {
    let name = SegmentName { number: 12, first: Index(345) };
    assert_eq!(name.path(Path::new("")).to_str(), Some("00000000000000000345-0000000012.wal"));
    assert_eq!(SegmentName::parse("00000000000000000345-0000000012.wal"), Some(name));
    for other in
        ["345-12.wal", "00000000000000000345-0000000012.wal.part", "x", "+0000000000000000345-0000000012.wal"]
    {
        assert_eq!(
            SegmentName::parse(other).filter(|name| name.path(Path::new("")) == Path::new(other)),
            None
        );
    }
}

const BATCH_CRC: u32 = 0xc762_b7bc;
const HEAD_CRC: u32 = 0x8734_44f2;

/// Counting on from them would overflow.
#[test]
fn numbers_that_no_log_reaches_are_damage() {
    let far = EntryId { term: Term(1), index: Index(u64::MAX) };
    let head = SegmentHead { last: far, ..head() };
    assert!(SegmentHead::decode(&head.encode(), &owner(), Path::new("f")).unwrap_err().is_corruption());
    let mut builder = BatchBuilder::default();
    builder.begin();
    builder.record(&Record::Compact(far));
    builder.begin_body();
    assert!(BatchTable::at_front(builder.finish(FileId([5; 16]), 77, 0)).is_none());
    builder.begin();
    builder.record(&Record::Proof);
    builder.begin_body();
    assert!(BatchTable::at_front(builder.finish(FileId([5; 16]), u64::MAX, 0)).is_none());
}
