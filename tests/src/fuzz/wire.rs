//! What arrives on a connection between nodes: frames, the bodies in them, the handshake.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use quorate_storage::snapshot::SnapshotLabel;
use quorate_storage::{EntryId, Index, ReplicaId, Term};
use quorate_transport::wire::{HEADER_BYTES, fuzzing};
use quorate_transport::{RaftMessage, RaftMessageKind};

use super::Target;
use super::fixture::{GROUP, UID, entries, full_record, replica};
use super::laws::settles;
use super::seal::{crc, u32_at};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "wire_body", what: body, seeds: body_seeds },
    Target { name: "wire_stream", what: stream, seeds: stream_seeds },
    Target { name: "handshake", what: handshake, seeds: handshake_seeds },
];

/// As a connection has it after its handshake.
const FRAME_BYTES_MAX: usize = 16 << 20;
/// As it has it before.
const HELLO_BYTES_MAX: usize = 1 << 10;
/// A reader makes room of 64 KiB ahead, and at most doubles.
const ROOM_BYTES: usize = 256 << 10;

const BATCH: u8 = 5;

/// The first byte says of what kind the rest is.
fn body(bytes: &[u8]) {
    let Some((&kind, body)) = bytes.split_first() else { return };
    settles(body, |body| fuzzing::body(kind, body));
    if kind == BATCH
        && let Some(messages) = fuzzing::messages(body)
    {
        let again = fuzzing::messages(&fuzzing::batch(&messages));
        assert_eq!(again, Some(messages), "a batch is read as it was written");
    }
}

fn stream(bytes: &[u8]) {
    receive(bytes, FRAME_BYTES_MAX);
    let mut sealed = bytes.to_vec();
    seal_frames(&mut sealed);
    receive(&sealed, FRAME_BYTES_MAX);
    receive(&sealed, HELLO_BYTES_MAX);
}

fn receive(bytes: &[u8], frame_bytes_max: usize) {
    let (written, _) = fuzzing::stream(bytes, frame_bytes_max);
    let (again, end) = fuzzing::stream(&written, FRAME_BYTES_MAX);
    assert_eq!((again, end), (written, Ok(())), "frames are read as they were written");
    let received = fuzzing::received(bytes, frame_bytes_max).now_or_never();
    let (_, capacity) = received.expect("bytes in memory are there");
    assert!(capacity <= ROOM_BYTES + 2 * bytes.len(), "{capacity} bytes for {}", bytes.len());
}

/// Makes the checksums of frames right that stand one behind the other.
fn seal_frames(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(length) = u32_at(bytes, at + 8) {
        let body = at + HEADER_BYTES;
        let Some(end) = body.checked_add(length as usize) else { return };
        let _ = crc(bytes, at + 12, body..end);
        if crc(bytes, at + 16, at..at + 16).is_none() {
            return;
        }
        at = end;
    }
}

/// The side that accepts, and the side that dials: nothing but a hello, or an answer, gets anywhere.
fn handshake(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    seal_frames(&mut sealed);
    for bytes in [bytes, &sealed] {
        let accepted = fuzzing::accept(bytes).now_or_never();
        if let Some(node) = accepted.expect("bytes in memory are there") {
            assert_eq!(node, fuzzing::DIALLING, "a stranger was accepted");
        }
        let dialled = fuzzing::dial(bytes).now_or_never();
        let is_established = dialled.expect("bytes in memory are there");
        assert!(!is_established || bytes.len() > HEADER_BYTES, "nothing was answered");
    }
}

fn message(kind: RaftMessageKind, number: u64) -> RaftMessage {
    let log = EntryId { term: Term(4), index: Index(number) };
    RaftMessage {
        group: GROUP,
        uid: UID,
        from: ReplicaId(2),
        from_incarnation: replica(2).incarnation,
        to: ReplicaId(1),
        to_incarnation: replica(1).incarnation,
        kind,
        term: Term(5),
        log,
        commit: EntryId::default(),
        entries: Vec::new(),
        snapshot: None,
        request_snapshot: Index(0),
        reject: false,
        reject_hint: Index(0),
        context: Bytes::new(),
        priority: 0,
    }
}

fn bodies() -> Vec<(u8, Vec<u8>)> {
    let append = RaftMessage {
        entries: entries(Index(7), Index(10), Term(5)),
        commit: EntryId { term: Term(4), index: Index(6) },
        ..message(RaftMessageKind::Append, 7)
    };
    let snapshot = RaftMessage {
        snapshot: Some(Box::new(SnapshotLabel { record: full_record() })),
        reject: true,
        reject_hint: Index(6),
        context: Bytes::from_static(b"context"),
        priority: -3,
        ..message(RaftMessageKind::Snapshot, 9)
    };
    let heartbeat = message(RaftMessageKind::Heartbeat, 0);
    let mut bodies = fuzzing::samples(Duration::from_millis(1_500));
    bodies.push((BATCH, fuzzing::batch(&[heartbeat.clone(), append])));
    bodies.push((BATCH, fuzzing::batch(&[snapshot, heartbeat])));
    bodies
}

fn body_seeds() -> Vec<Vec<u8>> {
    bodies().into_iter().map(|(kind, body)| [&[kind], body.as_slice()].concat()).collect()
}

fn stream_seeds() -> Vec<Vec<u8>> {
    let frames: Vec<_> = bodies().iter().map(|(kind, body)| fuzzing::seal(*kind, body)).collect();
    vec![frames.concat(), frames[..3].concat()]
}

fn handshake_seeds() -> Vec<Vec<u8>> {
    let hellos = fuzzing::samples(Duration::ZERO).into_iter().filter(|(kind, _)| *kind <= 2);
    hellos.map(|(kind, body)| fuzzing::seal(kind, &body)).collect()
}
