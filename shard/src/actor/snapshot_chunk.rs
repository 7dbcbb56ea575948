//! The body of a chunk request and of its reply.
//!
//! Request, little-endian: group (8), group uid (16), incarnation of the receiver (16), the snapshot's term, index,
//! bytes (8 each) and crc (4), offset (8), crc of the piece (4), the piece. Without a piece it asks how far the
//! receiver is. Reply: code (1), bytes received (8).

use bytes::{BufMut, Bytes, BytesMut};
use quorate_storage::snapshot::{SnapshotChunk, SnapshotToken};
use quorate_storage::{EntryId, GroupId, GroupUid, Incarnation, Index, Term};

const HEADER_BYTES: usize = 80;
const REPLY_BYTES: usize = 9;

/// A piece of a snapshot on its way to a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChunkRequest {
    pub(crate) group: GroupId,
    pub(crate) uid: GroupUid,
    /// The receiver's directory, zero if the sender does not know it.
    pub(crate) to: Incarnation,
    pub(crate) token: SnapshotToken,
    pub(crate) offset: u64,
    pub(crate) crc: u32,
    pub(crate) bytes: Bytes,
}

/// What the receiver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkReply {
    /// It has this many bytes and wants the next.
    GoOn { received: u64 },
    /// It has the whole file, verified and in place.
    Complete,
    /// It does not take this snapshot.
    Refused,
    /// It takes it later: as many as it may are being received.
    Busy,
    /// It has all bytes and is looking at them: ask again.
    Verifying,
    /// What arrived is not what the token or the label says. It is gone.
    Corrupt,
}

impl ChunkRequest {
    pub(crate) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEADER_BYTES + self.bytes.len());
        bytes.put_u64_le(self.group.get());
        bytes.extend_from_slice(&self.uid.0);
        bytes.extend_from_slice(&self.to.0);
        bytes.put_u64_le(self.token.id.term.get());
        bytes.put_u64_le(self.token.id.index.get());
        bytes.put_u64_le(self.token.bytes);
        bytes.put_u32_le(self.token.crc);
        bytes.put_u64_le(self.offset);
        bytes.put_u32_le(self.crc);
        bytes.extend_from_slice(&self.bytes);
        bytes.freeze()
    }

    /// `None` for anything that is no such body.
    pub(crate) fn decode(body: &Bytes) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = body.first_chunk()?;
        let id = |at: usize| -> [u8; 16] { std::array::from_fn(|i| header[at + i]) };
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        let short = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        let position = EntryId { term: Term(long(40)), index: Index(long(48)) };
        Some(Self {
            group: GroupId(long(0)),
            uid: GroupUid(id(8)),
            to: Incarnation(id(24)),
            token: SnapshotToken { id: position, bytes: long(56), crc: short(64) },
            offset: long(68),
            crc: short(76),
            bytes: body.slice(HEADER_BYTES..),
        })
    }

    /// The piece, if there is one.
    pub(crate) fn chunk(&self) -> Option<SnapshotChunk> {
        let Self { offset, crc, token, bytes, .. } = self;
        let chunk = SnapshotChunk { offset: *offset, total: token.bytes, crc: *crc, bytes: bytes.clone() };
        (!bytes.is_empty()).then_some(chunk)
    }
}

impl ChunkReply {
    pub(crate) fn encode(self) -> Bytes {
        let (code, received) = match self {
            Self::GoOn { received } => (0, received),
            Self::Complete => (1, 0),
            Self::Refused => (2, 0),
            Self::Busy => (3, 0),
            Self::Verifying => (4, 0),
            Self::Corrupt => (5, 0),
        };
        let mut bytes = BytesMut::with_capacity(REPLY_BYTES);
        bytes.put_u8(code);
        bytes.put_u64_le(received);
        bytes.freeze()
    }

    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let body: &[u8; REPLY_BYTES] = body.try_into().ok()?;
        let received = u64::from_le_bytes(std::array::from_fn(|i| body[1 + i]));
        match body[0] {
            0 => Some(Self::GoOn { received }),
            1 => Some(Self::Complete),
            2 => Some(Self::Refused),
            3 => Some(Self::Busy),
            4 => Some(Self::Verifying),
            5 => Some(Self::Corrupt),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_replies_read_back_as_written() {
        let request = ChunkRequest {
            group: GroupId(7),
            uid: GroupUid([1; 16]),
            to: Incarnation([2; 16]),
            token: SnapshotToken { id: EntryId { term: Term(3), index: Index(4) }, bytes: 5, crc: 6 },
            offset: 7,
            crc: 8,
            bytes: Bytes::from_static(b"piece"),
        };
        assert_eq!(ChunkRequest::decode(&request.encode()), Some(request.clone()));
        assert_eq!(
            crate::actor::group_of_request(crate::actor::SNAPSHOT_CHUNK, &request.encode()),
            Some(GroupId(7))
        );
        for reply in [
            ChunkReply::GoOn { received: 9 },
            ChunkReply::Complete,
            ChunkReply::Refused,
            ChunkReply::Busy,
            ChunkReply::Verifying,
            ChunkReply::Corrupt,
        ] {
            assert_eq!(ChunkReply::decode(&reply.encode()), Some(reply));
        }
    }

    #[test]
    fn short_bodies_are_refused() {
        assert_eq!(ChunkRequest::decode(&Bytes::from_static(&[0; HEADER_BYTES - 1])), None);
        assert_eq!(ChunkReply::decode(&[0; REPLY_BYTES - 1]), None);
        assert_eq!(ChunkReply::decode(&[6; REPLY_BYTES]), None);
    }
}
