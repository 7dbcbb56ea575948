//! The frame: a fixed header, then a body of one form.

use bytes::{Buf, Bytes, BytesMut};

use crate::wire::WireError;

/// Magic (4), version (1), kind (1), reserved (2), body length (4), body CRC (4), header CRC (4).
pub(crate) const HEADER_BYTES: usize = 20;

/// Bytes the header's own checksum covers.
const CHECKED_BYTES: usize = HEADER_BYTES - 4;

const MAGIC: u32 = u32::from_le_bytes(*b"QRTM");

/// Layout of the header. What bodies mean is negotiated by the hello, not by this number.
const VERSION: u8 = 1;

/// What a body is. The codes are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Hello = 1,
    HelloAck = 2,
    Ping = 3,
    Pong = 4,
    RaftBatch = 5,
    Request = 6,
    Reply = 7,
}

impl FrameKind {
    pub(crate) const ALL: [Self; 7] =
        [Self::Hello, Self::HelloAck, Self::Ping, Self::Pong, Self::RaftBatch, Self::Request, Self::Reply];

    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    fn from_code(code: u8) -> Result<Self, WireError> {
        Self::ALL.into_iter().find(|kind| kind.code() == code).ok_or(WireError::Kind { found: code })
    }

    /// The refusal of a frame that came at the wrong moment or in the wrong direction.
    pub(crate) const fn unexpected(self) -> WireError {
        WireError::Kind { found: self.code() }
    }
}

/// A frame whose checksums hold. The body shares the memory it was received into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    pub(crate) body: Bytes,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    kind: FrameKind,
    body_bytes: usize,
    body_crc: u32,
}

impl Header {
    fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let length = u32::try_from(self.body_bytes).unwrap_or(u32::MAX);
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4] = VERSION;
        bytes[5] = self.kind.code();
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..CHECKED_BYTES]);
        bytes[CHECKED_BYTES..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEADER_BYTES], body_bytes_max: usize) -> Result<Self, WireError> {
        let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        if number(0) != MAGIC {
            return Err(WireError::Magic { found: number(0) });
        }
        if bytes[4] != VERSION {
            return Err(WireError::Version { found: bytes[4], supported: VERSION });
        }
        let expected = crc32fast::hash(&bytes[..CHECKED_BYTES]);
        if number(CHECKED_BYTES) != expected {
            return Err(WireError::HeaderCrc { expected, found: number(CHECKED_BYTES) });
        }
        let kind = FrameKind::from_code(bytes[5])?;
        if bytes[6..8] != [0, 0] {
            return Err(WireError::Malformed { what: "reserved bytes of the frame header" });
        }
        let body_bytes = number(8) as usize;
        if body_bytes > body_bytes_max {
            return Err(WireError::TooLarge { bytes: body_bytes as u64, bytes_max: body_bytes_max as u64 });
        }
        Ok(Self { kind, body_bytes, body_crc: number(12) })
    }
}

/// Appends one frame to `buffer`; `body` appends the body.
pub(crate) fn write_frame(buffer: &mut Vec<u8>, kind: FrameKind, body: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER_BYTES]);
    body(buffer);
    let body = &buffer[start + HEADER_BYTES..];
    assert!(u32::try_from(body.len()).is_ok(), "senders keep bodies below the frame cap");
    let header = Header { kind, body_bytes: body.len(), body_crc: crc32fast::hash(body) }.encode();
    buffer[start..start + HEADER_BYTES].copy_from_slice(&header);
}

/// Takes the first frame off `buffer`, or nothing if it has not arrived as a whole. The length is checked
/// against `body_bytes_max` as soon as the header is there.
pub(crate) fn take_frame(buffer: &mut BytesMut, body_bytes_max: usize) -> Result<Option<Frame>, WireError> {
    let Some(header) = peek_header(buffer, body_bytes_max)? else { return Ok(None) };
    if buffer.len() < HEADER_BYTES + header.body_bytes {
        return Ok(None);
    }
    buffer.advance(HEADER_BYTES);
    let body = buffer.split_to(header.body_bytes).freeze();
    let expected = crc32fast::hash(&body);
    if header.body_crc != expected {
        return Err(WireError::BodyCrc { expected, found: header.body_crc });
    }
    Ok(Some(Frame { kind: header.kind, body }))
}

/// How many bytes the first frame in `buffer` still lacks (at least; a header that is not whole is counted
/// alone).
pub(crate) fn missing_bytes(buffer: &BytesMut, body_bytes_max: usize) -> Result<usize, WireError> {
    let body_bytes = peek_header(buffer, body_bytes_max)?.map_or(0, |header| header.body_bytes);
    Ok((HEADER_BYTES + body_bytes).saturating_sub(buffer.len()))
}

fn peek_header(buffer: &BytesMut, body_bytes_max: usize) -> Result<Option<Header>, WireError> {
    buffer.first_chunk().map(|header| Header::decode(header, body_bytes_max)).transpose()
}
