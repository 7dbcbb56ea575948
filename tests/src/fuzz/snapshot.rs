//! Snapshot files, and the pieces they arrive in.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quorate_storage::disk::SimDisk;
use quorate_storage::fuzzing::snapshot_damage;
use quorate_storage::snapshot::{
    ReadFrom, SnapshotChunk, SnapshotDir, SnapshotLabel, SnapshotReader, SnapshotSink as _,
    SnapshotSource as _, SnapshotToken, SpoolLimits, read_label, read_token, verify,
};
use quorate_storage::state::AppliedRecord;
use quorate_storage::{EntryId, Index, Term};
use quorate_telemetry::SeededRng;

use super::Target;
use super::fixture::{BORN, disk_with, full_record, owner, read, record, write};
use super::seal::{self, crc, u32_at, u64_at};
use super::source::Source;

pub(super) const TARGETS: &[Target] = &[
    Target { name: "snapshot_file", what: snapshot_file, seeds: file_seeds },
    Target { name: "snapshot_chunks", what: snapshot_chunks, seeds: chunk_seeds },
];

/// A name that is no snapshot's: it says nothing of the position.
const FILE: &str = "/snapshots/file";
const DIR: &str = "/snapshots";
const HEALTHY: &str = "the disk is healthy";

fn snapshot_file(bytes: &[u8]) {
    open(bytes);
    let mut sealed = bytes.to_vec();
    seal_file(&mut sealed);
    open(&sealed);
}

fn open(bytes: &[u8]) {
    let path = Path::new(FILE);
    let disk = disk_with(path, bytes);
    let footer = bytes.len().checked_sub(4).and_then(|at| u32_at(bytes, at)).unwrap_or_default();
    let label = read_label(&disk, path);
    let id = label.as_ref().map_or(BORN, |label| label.record.applied);
    let token = SnapshotToken { id, bytes: bytes.len() as u64, crc: footer };
    let damage = snapshot_damage(&disk, path, &token).expect(HEALTHY);
    let is_whole = verify(&disk, path, &token, ReadFrom::Cache).is_ok();
    if let Ok((found, label)) = read_token(&disk, path) {
        assert!(is_whole && found == token && label.record.applied == id);
    }
    look_into_front(&disk, bytes, token, is_whole);
    let Ok(mut reader) = SnapshotReader::open(&disk, path, token) else { return };
    let mut last: Option<Bytes> = None;
    while let Ok(Some((key, _))) = reader.next_record() {
        assert!(last.as_ref().is_none_or(|last| *last < key), "keys ascend");
        last = Some(key);
    }
    if reader.is_verified() {
        assert!(is_whole, "verified, and not what its token says");
        assert_eq!(damage, 0, "verified, and damaged");
    }
}

/// As a start does that skips the restore: the state header first, the checksum of the whole file later. Under its name.
fn look_into_front(disk: &SimDisk, bytes: &[u8], token: SnapshotToken, is_whole: bool) {
    let dir = SnapshotDir::new(Arc::new(disk.clone()), DIR.into(), owner());
    write(disk, &dir.path_of(token.id), bytes);
    assert!(dir.usable(&[token]).is_ok_and(|usable| usable == [token]), "it is there, of its size");
    let Ok(mut payload) = dir.payload(token) else { return };
    let header = payload.state_header();
    let is_verified = payload.verify().is_ok();
    assert_eq!(is_verified, is_whole, "two ways of verifying differ: {header:?}");
}

/// Makes every checksum right, as far as lengths allow to find it; and the numbers that only repeat others.
fn seal_file(bytes: &mut [u8]) {
    let _ = seal_parts(bytes);
    if let Some(footer) = bytes.len().checked_sub(4) {
        let _ = crc(bytes, footer, 0..footer);
    }
}

fn seal_parts(bytes: &mut [u8]) -> Option<()> {
    seal::header(bytes);
    let label = 132..132 + (u32_at(bytes, 128)? as usize).min(1 << 20);
    seal::record(bytes.get_mut(label.clone())?);
    let mut at = label.end;
    if bytes.get(at..)?.starts_with(b"QRSH") {
        let body = u16::from_le_bytes([*bytes.get(at + 6)?, *bytes.get(at + 7)?]);
        let end = at + 8 + usize::from(body);
        crc(bytes, end, at..end)?;
        at = end + 4;
    }
    let mut blocks = Vec::new();
    while bytes.get(at..)?.starts_with(b"QRSB") {
        let end = at + 24 + u32_at(bytes, at + 20)? as usize;
        blocks.push(crc(bytes, at + 4, at + 8..end)?);
        at = end;
    }
    let lines = bytes.get(at..)?.starts_with(b"QRSI").then_some(at + 24)?;
    for (number, sum) in blocks.iter().enumerate() {
        seal::put_u32(bytes, lines + 16 * number + 12, *sum)?;
    }
    let end = lines + 16 * usize::try_from(u64_at(bytes, at + 8)?.min(1 << 16)).ok()?;
    crc(bytes, at + 4, at + 8..end)?;
    Some(())
}

fn file_seeds() -> Vec<Vec<u8>> {
    let states = [(full_record(), 0), (record(at(9), 1), 3), (record(at(7), 3), 40)];
    states.iter().map(|(record, records)| published(record, *records).1).collect()
}

fn at(index: u64) -> EntryId {
    EntryId { term: Term(2), index: Index(index) }
}

/// The file of a snapshot of `record` with so many records, and its token.
pub(super) fn published(record: &AppliedRecord, records: usize) -> (SnapshotToken, Vec<u8>) {
    let disk = SimDisk::new();
    let dir = SnapshotDir::new(Arc::new(disk.clone()), DIR.into(), owner());
    dir.create().expect(HEALTHY);
    let label = SnapshotLabel { record: record.clone() };
    let mut writer = dir.writer(&label, &SeededRng::new(1)).expect(HEALTHY);
    for number in 0..records {
        let (key, value) = (format!("key-{number:03}"), "v".repeat(number * 3));
        writer.put(key.as_bytes(), value.as_bytes()).expect(HEALTHY);
    }
    let token = writer.finish().expect(HEALTHY);
    (token, read(&disk, &dir.path_of(record.applied)))
}

/// Files received in an input of chunks are no larger.
const RECEIVED_BYTES_MAX: u64 = 1 << 20;

/// A token, then pieces: each how it differs from what is due, its length and its bytes.
fn snapshot_chunks(bytes: &[u8]) {
    let mut source = Source(bytes);
    let id = EntryId { term: Term(source.long()), index: Index(source.long()) };
    let token = SnapshotToken { id, bytes: source.long(), crc: u32_at(source.0, 0).unwrap_or_default() };
    source.0 = source.0.get(4..).unwrap_or_default();
    let disk = SimDisk::new();
    let dir = SnapshotDir::new(Arc::new(disk.clone()), DIR.into(), owner());
    dir.create().expect(HEALTHY);
    let limits = SpoolLimits { file_bytes_max: RECEIVED_BYTES_MAX, reserve_bytes: 0 };
    let Ok(mut spool) = dir.spool(token, limits) else { return };
    while !source.is_empty() {
        let how = source.byte();
        let length = usize::from(u16::from_le_bytes([source.byte(), source.byte()])).min(source.0.len());
        let (piece, rest) = source.0.split_at(length);
        source.0 = rest;
        let mut chunk = SnapshotChunk {
            offset: spool.received(),
            total: token.bytes,
            crc: crc32fast::hash(piece),
            bytes: Bytes::copy_from_slice(piece),
        };
        match how {
            1 => chunk.offset = source.long(),
            2 => chunk.total = source.long(),
            3 => chunk.crc ^= 1,
            _ => {}
        }
        let before = spool.received();
        let is_taken = spool.put(&chunk).is_ok();
        let expected = before + if is_taken { length as u64 } else { 0 };
        assert_eq!(spool.received(), expected, "a refused piece changes nothing");
        assert!(spool.received() <= token.bytes);
        assert!(how != 3 || !is_taken, "a wrong checksum was taken");
    }
    if let Ok((found, label)) = spool.finish() {
        assert_eq!((found, label.record.applied), (token, token.id));
        let mut reader = dir.reader(token).expect("it was verified");
        while let Ok(Some(_)) = reader.next_record() {}
    }
}

fn chunk_seeds() -> Vec<Vec<u8>> {
    let send = |(token, file): (SnapshotToken, Vec<u8>), piece_bytes: usize| {
        let SnapshotToken { id, bytes, crc } = token;
        let mut sent = [id.term.get(), id.index.get(), bytes].map(u64::to_le_bytes).concat();
        sent.extend_from_slice(&crc.to_le_bytes());
        for piece in file.chunks(piece_bytes) {
            sent.push(0);
            sent.extend_from_slice(&u16::try_from(piece.len()).unwrap_or_default().to_le_bytes());
            sent.extend_from_slice(piece);
        }
        sent
    };
    vec![send(published(&record(at(9), 1), 3), 100), send(published(&full_record(), 0), 1_000)]
}
