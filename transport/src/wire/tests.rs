//! Every form reads back as written, and no bytes make a decoder panic.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use quorate_storage::{ClusterId, EntryKind, Incarnation, NodeId};
use quorate_telemetry::{Rng, SeededRng};

use super::frame::{missing_bytes, take_frame};
use super::hello::VersionRange;
use super::*;
use crate::conformance::samples::{append, full_message, message};
use crate::message::{Lane, RaftMessage, RaftMessageKind, RequestKind};

const CAP: usize = 1 << 20;

/// One frame of every kind, each with something in it.
fn samples() -> Vec<(FrameKind, Vec<u8>)> {
    let hello = Hello {
        versions: PROTOCOL_VERSIONS,
        lane: Lane::Bulk,
        cluster: ClusterId([1; 16]),
        node: NodeId(2),
        incarnation: Incarnation([3; 16]),
        to: NodeId(4),
    };
    let ack = HelloAck {
        versions: PROTOCOL_VERSIONS,
        version: 1,
        refusal: Some(RefusalCode::PeerRefused),
        cluster: ClusterId([1; 16]),
        node: NodeId(4),
        incarnation: Incarnation([5; 16]),
    };
    let batch = [full_message(), message(RaftMessageKind::Heartbeat, 7, 8), append(9, 200)];
    FrameKind::ALL
        .into_iter()
        .map(|kind| {
            let mut buffer = Vec::new();
            write_frame(&mut buffer, kind, |body| match kind {
                FrameKind::Hello => hello.encode(body),
                FrameKind::HelloAck => ack.encode(body),
                FrameKind::Ping => Ping { wall_ms: 1 << 41 }.encode(body),
                FrameKind::Pong => Pong { ping_wall_ms: 1 << 41, wall_ms: (1 << 41) + 9 }.encode(body),
                FrameKind::RaftBatch => encode_batch(&batch, body),
                FrameKind::Request => request().encode(body),
                FrameKind::Reply => reply().encode(body),
            });
            (kind, buffer)
        })
        .collect()
}

fn request() -> CallRequest {
    CallRequest {
        id: 1 << 40,
        kind: RequestKind(513),
        deadline: std::time::Duration::from_millis(1_500),
        body: Bytes::from_static(b"what is it"),
    }
}

fn reply() -> CallReply {
    CallReply {
        id: 1 << 40,
        status: ReplyStatus::Busy,
        retry_after: std::time::Duration::from_millis(20),
        body: Bytes::from_static(b"this"),
    }
}

/// Everything that reads bytes of a network: as a stream of frames, and as the body of every kind.
fn decode_anything(bytes: &[u8]) -> Result<(), WireError> {
    for kind in fuzzing::kinds() {
        // Every refusal is fine here; only a panic is not.
        let _ = fuzzing::body(kind, bytes);
    }
    fuzzing::stream(bytes, bytes.len()).1
}

fn body_of(frame: &[u8]) -> Bytes {
    Bytes::copy_from_slice(&frame[HEADER_BYTES..])
}

/// Gives a changed body the checksums of an honest sender.
fn seal(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    let mut buffer = Vec::new();
    write_frame(&mut buffer, kind, |buffer| buffer.extend_from_slice(body));
    buffer
}

#[test]
fn every_kind_of_message_and_entry_reads_back_as_written() {
    let kinds = [
        RaftMessageKind::Append,
        RaftMessageKind::AppendResponse,
        RaftMessageKind::RequestVote,
        RaftMessageKind::RequestVoteResponse,
        RaftMessageKind::RequestPreVote,
        RaftMessageKind::RequestPreVoteResponse,
        RaftMessageKind::Snapshot,
        RaftMessageKind::Heartbeat,
        RaftMessageKind::HeartbeatResponse,
        RaftMessageKind::TransferLeader,
        RaftMessageKind::TimeoutNow,
        RaftMessageKind::ReadIndex,
        RaftMessageKind::ReadIndexResponse,
    ];
    let mut batch: Vec<RaftMessage> = kinds.map(|kind| message(kind, 1, 2)).to_vec();
    batch.push(full_message());
    batch.push(append(3, 10));
    batch[14].entries[0].kind = EntryKind::ConfChange;
    let mut body = Vec::new();
    encode_batch(&batch, &mut body);
    assert_eq!(decode_batch(&body.into()), Ok(batch));
}

#[test]
fn requests_replies_and_hellos_read_back_as_written() {
    let mut body = Vec::new();
    request().encode(&mut body);
    assert_eq!(CallRequest::decode(&body.into()), Ok(request()));
    let mut body = Vec::new();
    reply().encode(&mut body);
    assert_eq!(CallReply::decode(&body.into()), Ok(reply()));
    for (kind, frame) in samples() {
        let body = body_of(&frame);
        let mut again = Vec::new();
        match kind {
            FrameKind::Hello => Hello::decode(&body).unwrap().encode(&mut again),
            FrameKind::HelloAck => HelloAck::decode(&body).unwrap().encode(&mut again),
            _ => continue,
        }
        assert_eq!(again, body, "{kind:?}");
    }
}

#[test]
fn payloads_share_the_memory_of_their_frame() {
    let mut body = Vec::new();
    encode_batch(&[append(1, 1_000)], &mut body);
    let body = Bytes::from(body);
    let messages = decode_batch(&body).unwrap();
    let payload = messages[0].entries[0].payload.as_ptr_range();
    assert!(body.as_ptr_range().contains(&payload.start));
}

#[test]
fn a_message_never_takes_more_than_its_bound() {
    for message in [full_message(), append(1, 0), append(1, 5_000), message(RaftMessageKind::Heartbeat, 1, 1)]
    {
        let mut body = Vec::new();
        encode_batch(std::slice::from_ref(&message), &mut body);
        assert!(body.len() <= message_bytes(&message), "{} > {}", body.len(), message_bytes(&message));
    }
    let (mut body, request) = (Vec::new(), request());
    request.encode(&mut body);
    assert!(body.len() <= CallRequest::OVERHEAD_BYTES + request.body.len());
    let (mut body, reply) = (Vec::new(), reply());
    reply.encode(&mut body);
    assert!(body.len() <= CallReply::OVERHEAD_BYTES + reply.body.len());
}

#[test]
fn every_flipped_bit_of_a_frame_is_found() {
    for (kind, frame) in samples() {
        for bit in 0..frame.len() * 8 {
            let mut flipped = BytesMut::from(&frame[..]);
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(take_frame(&mut flipped, CAP).is_err(), "bit {bit} of {kind:?} went unnoticed");
        }
    }
}

#[test]
fn a_frame_is_taken_only_as_a_whole() {
    for (kind, frame) in samples() {
        let mut arriving = BytesMut::new();
        for (at, byte) in frame.iter().enumerate() {
            assert_eq!(take_frame(&mut arriving, CAP), Ok(None), "{kind:?} after {at} bytes");
            assert!(missing_bytes(&arriving, CAP).unwrap() > 0);
            arriving.extend_from_slice(&[*byte]);
        }
        assert_eq!(take_frame(&mut arriving, CAP).unwrap().unwrap().kind, kind);
        assert!(arriving.is_empty());
    }
}

#[test]
fn a_length_is_refused_before_its_body_arrives() {
    let frame = seal(FrameKind::Request, &[0; 101]);
    let mut header = BytesMut::from(&frame[..HEADER_BYTES]);
    let refused = WireError::TooLarge { bytes: 101, bytes_max: 100 };
    assert_eq!(take_frame(&mut header, 100), Err(refused));
    assert_eq!(missing_bytes(&header, 100), Err(refused));
}

#[tokio::test]
async fn a_claimed_length_allocates_nothing_ahead_of_its_bytes() {
    let frame = seal(FrameKind::Request, &vec![0; 16 << 20]);
    let mut reader = FrameReader::new(&frame[..HEADER_BYTES + 10], 16 << 20);
    let end = reader.next().await;
    assert!(matches!(end, Err(crate::Error::Wire(WireError::Truncated { bytes: 30 }))), "{end:?}");
    assert!(reader.capacity() <= 256 << 10, "{} bytes for 30", reader.capacity());
}

#[test]
fn unknown_codes_are_malformed() {
    let mut body = Vec::new();
    encode_batch(&[message(RaftMessageKind::Heartbeat, 1, 1)], &mut body);
    let honest = decode_batch(&Bytes::from(body.clone())).unwrap();
    let mut refused = 0;
    for at in 0..body.len() {
        let mut changed = body.clone();
        changed[at] = 200;
        match decode_batch(&changed.into()) {
            Ok(messages) => assert_ne!(messages, honest),
            Err(error) => {
                assert!(matches!(error, WireError::Malformed { .. }));
                refused += 1;
            }
        }
    }
    // At least the kind, the bool and the lengths and offsets of four vectors.
    assert!(refused >= 10, "{refused}");
}

#[test]
fn changed_bodies_with_right_checksums_never_panic() {
    const ROUNDS: usize = 4_000;
    let seed = 0x0071_7561_u64;
    let rng = SeededRng::new(seed);
    for (kind, frame) in samples() {
        let honest = body_of(&frame);
        for round in 0..ROUNDS {
            let mut body = honest.to_vec();
            for _ in 0..=rng.below(4) {
                let at = usize::try_from(rng.below(body.len() as u64)).unwrap();
                match rng.below(4) {
                    0 => body[at] = rng.next_u64().to_le_bytes()[0],
                    1 => body[at] ^= 1 << rng.below(8),
                    2 => body.truncate(at.max(1)),
                    _ => body[at] = 0xff,
                }
            }
            let outcome = std::panic::catch_unwind(|| decode_anything(&seal(kind, &body)).is_ok());
            assert!(outcome.is_ok(), "seed {seed:#x}, {kind:?}, round {round}: {body:02x?}");
        }
    }
}

#[test]
fn the_first_forms_are_pinned() {
    for (kind, frame) in samples() {
        let body_crc = crc32fast::hash(&frame[HEADER_BYTES..]);
        let pinned = PINNED.iter().find(|(pinned, ..)| *pinned == kind).unwrap();
        assert_eq!((kind, frame.len() - HEADER_BYTES, body_crc), *pinned, "a frozen form changed");
    }
}

/// Kind, length and checksum of the samples' bodies as protocol version 1 has them.
const PINNED: [(FrameKind, usize, u32); 7] = [
    (FrameKind::Hello, 61, 1_373_467_628),
    (FrameKind::HelloAck, 55, 79_476_128),
    (FrameKind::Ping, 8, 1_722_157_831),
    (FrameKind::Pong, 16, 2_820_423_121),
    (FrameKind::RaftBatch, 2_042, 3_073_008_358),
    (FrameKind::Request, 32, 1_136_848_171),
    (FrameKind::Reply, 25, 272_530_540),
];

#[test]
fn the_first_header_is_pinned() {
    let frame = seal(FrameKind::Reply, b"123456789");
    let header = *b"QRTM\x01\x07\0\0\x09\0\0\0\x26\x39\xf4\xcb";
    assert_eq!(frame[..16], header, "{:02x?}", &frame[..16]);
    assert_eq!(frame[16..20], crc32fast::hash(&header).to_le_bytes());
    assert_eq!(&frame[20..], b"123456789");
}

#[test]
fn a_clock_offset_is_measured_from_half_way() {
    let pong = Pong { ping_wall_ms: 1_000, wall_ms: 1_510 };
    assert_eq!(pong.offset_ms(1_020), 500);
    assert_eq!(Pong { wall_ms: 0, ..pong }.offset_ms(1_000), -1_000);
    assert_eq!(Pong { ping_wall_ms: 0, wall_ms: u64::MAX }.offset_ms(0), i64::MAX);
    assert_eq!(Pong { ping_wall_ms: u64::MAX, wall_ms: 0 }.offset_ms(u64::MAX), i64::MIN);
}

#[test]
fn versions_agree_on_the_newest_both_speak() {
    let range = |min, max| VersionRange { min, max };
    assert_eq!(range(1, 2).agree(range(2, 3)), Some(2));
    assert_eq!(range(2, 3).agree(range(1, 2)), Some(2));
    assert_eq!(range(1, 1).agree(range(1, 9)), Some(1));
    assert_eq!(range(1, 2).agree(range(3, 4)), None);
    assert_eq!(range(3, 4).agree(range(1, 2)), None);
    assert_eq!(range(1, 5).agree(range(4, 2)), None);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1_024)) {
        let _ = decode_anything(&bytes);
        for kind in FrameKind::ALL {
            let _ = decode_anything(&seal(kind, &bytes));
        }
    }

    #[test]
    fn any_batch_reads_back_as_written(
        sizes in proptest::collection::vec(0_usize..300, 0..20),
        numbers in any::<[u64; 4]>(),
        context in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let batch: Vec<RaftMessage> = sizes
            .iter()
            .map(|&bytes| RaftMessage {
                context: context.clone().into(),
                ..append(numbers[bytes % 4].saturating_sub(1), bytes)
            })
            .collect();
        let mut body = Vec::new();
        encode_batch(&batch, &mut body);
        prop_assert!(body.len() <= batch.iter().map(message_bytes).sum::<usize>() + 16);
        prop_assert_eq!(decode_batch(&body.into()), Ok(batch));
    }
}
