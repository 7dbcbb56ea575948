//! Every decoder of bytes that a network brings, for fuzzing. Nothing else calls this.
//!
//! A *codec* reads bytes and gives what it has read as this release writes it; `None` for bytes that are refused.

use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quorate_storage::{ClusterId, Incarnation, NodeId};

use super::frame::take_frame;
use super::{
    CallReply, CallRequest, Frame, FrameKind, FrameReader, Hello, HelloAck, PROTOCOL_VERSIONS, Ping, Pong,
    ReplyStatus, WireError, decode_batch, encode_batch, write_frame,
};
use crate::handshake::{Handshake, Identity};
use crate::message::{Lane, RaftMessage, RequestKind};
use crate::net::Connection;
use crate::peers::PeerTable;

const CLUSTER: ClusterId = ClusterId([5; 16]);

/// The node that dials in a handshake.
pub const DIALLING: NodeId = NodeId(2);

/// The node that accepts.
pub const ACCEPTING: NodeId = NodeId(1);

/// Cap of the frames behind a handshake; none of them is read.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Codes of all kinds of frames.
pub fn kinds() -> impl Iterator<Item = u8> {
    FrameKind::ALL.into_iter().map(FrameKind::code)
}

/// The codec of the body of a frame of this kind.
pub fn body(kind: u8, bytes: &[u8]) -> Option<Vec<u8>> {
    let kind = FrameKind::ALL.into_iter().find(|known| known.code() == kind)?;
    reencode(kind, &Bytes::copy_from_slice(bytes)).ok()
}

/// A frame of this kind around `body`, with the checksums of an honest sender.
///
/// # Panics
/// If there is no such kind.
pub fn seal(kind: u8, body: &[u8]) -> Vec<u8> {
    let kind = FrameKind::ALL.into_iter().find(|known| known.code() == kind);
    let mut buffer = Vec::new();
    write_frame(&mut buffer, kind.expect("a kind of frame"), |buffer| buffer.extend_from_slice(body));
    buffer
}

/// The body of a batch of raft messages.
pub fn batch(messages: &[RaftMessage]) -> Vec<u8> {
    let mut buffer = Vec::new();
    encode_batch(messages, &mut buffer);
    buffer
}

/// The messages of a batch.
pub fn messages(body: &[u8]) -> Option<Vec<RaftMessage>> {
    decode_batch(&Bytes::copy_from_slice(body)).ok()
}

/// The codec of a stream of frames, of which no body may be longer than `body_bytes_max`: those before the first bad
/// one, and whether there was one.
pub fn stream(bytes: &[u8], body_bytes_max: usize) -> (Vec<u8>, Result<(), WireError>) {
    let mut buffer = BytesMut::from(bytes);
    let mut written = Vec::new();
    loop {
        match take_frame(&mut buffer, body_bytes_max) {
            Ok(Some(Frame { kind, body })) => match reencode(kind, &body) {
                Ok(body) => write_frame(&mut written, kind, |buffer| buffer.extend_from_slice(&body)),
                Err(error) => return (written, Err(error)),
            },
            Ok(None) => return (written, Ok(())),
            Err(error) => return (written, Err(error)),
        }
    }
}

/// How many frames a connection takes that brings `bytes`, before it ends or is refused, and the memory it held them in.
pub async fn received(bytes: &[u8], body_bytes_max: usize) -> (usize, usize) {
    let mut reader = FrameReader::new(bytes, body_bytes_max);
    let (mut frames, mut capacity_max) = (0, 0);
    while reader.next().await.is_ok() {
        frames += 1;
        capacity_max = capacity_max.max(reader.capacity());
    }
    (frames, capacity_max.max(reader.capacity()))
}

/// A body of every kind but a batch, with its kind.
pub fn samples(deadline: Duration) -> Vec<(u8, Vec<u8>)> {
    let hello = Hello {
        versions: PROTOCOL_VERSIONS,
        lane: Lane::Bulk,
        cluster: CLUSTER,
        node: DIALLING,
        incarnation: Incarnation([3; 16]),
        to: ACCEPTING,
    };
    let ack = HelloAck {
        versions: PROTOCOL_VERSIONS,
        version: PROTOCOL_VERSIONS.max,
        refusal: None,
        cluster: CLUSTER,
        node: ACCEPTING,
        incarnation: Incarnation([4; 16]),
    };
    let (request, reply) = (Bytes::from_static(b"what is it"), Bytes::from_static(b"this"));
    let request = CallRequest { id: 1 << 40, kind: RequestKind(513), deadline, body: request };
    let reply = CallReply { id: 1 << 40, status: ReplyStatus::Busy, retry_after: deadline, body: reply };
    let encode = |kind: FrameKind, encode: &dyn Fn(&mut Vec<u8>)| {
        let mut body = Vec::new();
        encode(&mut body);
        (kind.code(), body)
    };
    vec![
        encode(FrameKind::Hello, &|body| hello.encode(body)),
        encode(FrameKind::HelloAck, &|body| ack.encode(body)),
        encode(FrameKind::Ping, &|body| Ping { wall_ms: 1 << 41 }.encode(body)),
        encode(FrameKind::Pong, &|body| Pong { ping_wall_ms: 1 << 41, wall_ms: 9 }.encode(body)),
        encode(FrameKind::Request, &|body| request.encode(body)),
        encode(FrameKind::Reply, &|body| reply.encode(body)),
    ]
}

/// Accepts a connection that brings `bytes` and no more: who it is established with.
pub async fn accept(bytes: &[u8]) -> Option<NodeId> {
    let peers = peers();
    let established = shaking(ACCEPTING, &peers).answer_hello(canned(bytes)).await;
    established.ok().map(|established| established.node)
}

/// Dials a node that answers `bytes` and no more: whether the connection is established.
pub async fn dial(bytes: &[u8]) -> bool {
    let peers = peers();
    shaking(DIALLING, &peers).say_hello(canned(bytes), ACCEPTING, Lane::Bulk).await.is_ok()
}

fn canned(bytes: &[u8]) -> Box<dyn Connection> {
    Box::new(tokio::io::join(Cursor::new(bytes.to_vec()), tokio::io::sink()))
}

fn peers() -> PeerTable {
    let address = |node: NodeId| (node, SocketAddr::from((Ipv4Addr::LOCALHOST, 7_380)));
    PeerTable::new([ACCEPTING, DIALLING].map(address))
}

fn shaking(node: NodeId, peers: &PeerTable) -> Handshake<'_> {
    let identity = Identity { cluster: CLUSTER, node, incarnation: Incarnation([7; 16]) };
    Handshake { identity, peers, deadline: Duration::MAX, frame_bytes_max: FRAME_BYTES_MAX }
}

fn reencode(kind: FrameKind, body: &Bytes) -> Result<Vec<u8>, WireError> {
    let mut buffer = Vec::new();
    match kind {
        FrameKind::Hello => Hello::decode(body)?.encode(&mut buffer),
        FrameKind::HelloAck => HelloAck::decode(body)?.encode(&mut buffer),
        FrameKind::Ping => Ping::decode(body)?.encode(&mut buffer),
        FrameKind::Pong => Pong::decode(body)?.encode(&mut buffer),
        FrameKind::RaftBatch => encode_batch(&decode_batch(body)?, &mut buffer),
        FrameKind::Request => CallRequest::decode(body)?.encode(&mut buffer),
        FrameKind::Reply => CallReply::decode(body)?.encode(&mut buffer),
    }
    Ok(buffer)
}
