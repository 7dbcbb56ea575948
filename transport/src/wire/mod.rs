//! What travels: frames, and the frozen forms inside them.
//!
//! A frame is checked by magic, version, header CRC, length against a cap and body CRC before bytecheck
//! looks at the body; the body is converted to plain structs, code by code, before anyone else sees it.
//! Byte tables: `docs/FORMAT.md`.

mod call;
mod error;
mod frame;
mod hello;
mod ping;
mod raft;
mod reader;
mod rkyv_forms;
#[cfg(test)]
mod tests;
mod writer;

use bytes::Bytes;

pub(crate) use call::{CallReply, CallRequest, ReplyStatus};
pub use error::WireError;
pub(crate) use frame::{Frame, FrameKind, write_frame};
pub(crate) use hello::{Hello, HelloAck, PROTOCOL_VERSIONS, RefusalCode};
pub(crate) use ping::{Ping, Pong};
pub(crate) use raft::{decode_batch, encode_batch, message_bytes};
pub(crate) use reader::FrameReader;
pub(crate) use writer::{FrameWriter, WRITE_BYTES};

/// Bytes in front of every frame's body.
pub const HEADER_BYTES: usize = frame::HEADER_BYTES;

/// Runs `bytes` through everything that reads bytes of a network: as a stream of frames, and as the body of
/// every kind. For fuzzing: whatever the bytes are, it returns.
///
/// # Errors
/// The first thing the stream of frames was refused for.
pub fn decode_anything(bytes: &[u8]) -> Result<(), WireError> {
    let body = Bytes::copy_from_slice(bytes);
    for kind in FrameKind::ALL {
        // Every refusal is fine here; only a panic is not.
        let _ = decode_body(kind, &body);
    }
    let mut buffer = bytes::BytesMut::from(bytes);
    while let Some(frame) = frame::take_frame(&mut buffer, bytes.len())? {
        decode_body(frame.kind, &frame.body)?;
    }
    Ok(())
}

fn decode_body(kind: FrameKind, body: &Bytes) -> Result<(), WireError> {
    match kind {
        FrameKind::Hello => Hello::decode(body).map(|_| ()),
        FrameKind::HelloAck => HelloAck::decode(body).map(|_| ()),
        FrameKind::Ping => Ping::decode(body).map(|_| ()),
        FrameKind::Pong => Pong::decode(body).map(|_| ()),
        FrameKind::RaftBatch => decode_batch(body).map(|_| ()),
        FrameKind::Request => CallRequest::decode(body).map(|_| ()),
        FrameKind::Reply => CallReply::decode(body).map(|_| ()),
    }
}
