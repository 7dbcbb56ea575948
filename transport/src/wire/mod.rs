//! What travels: frames, and the frozen forms inside them.
//!
//! A frame is checked by magic, version, header CRC, length against a cap and body CRC before bytecheck
//! looks at the body; the body is converted to plain structs, code by code, before anyone else sees it.
//! Byte tables: `docs/FORMAT.md`.

mod call;
mod error;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod hello;
mod ping;
mod raft;
mod reader;
mod rkyv_forms;
#[cfg(test)]
mod tests;
mod writer;

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
