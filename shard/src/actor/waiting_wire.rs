//! What a replica that waits for a snapshot asks its leader, and what the leader says.
//!
//! Question, little-endian: group (8), group uid (16), replica id (8), incarnation (16), the least index that is of use
//! (8). Reply: the term, index, bytes (8 each) and crc (4) of the snapshot that is on its way; empty if none is.

use bytes::{BufMut, Bytes, BytesMut};
use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::{EntryId, GroupId, GroupUid, Incarnation, Index, ReplicaId, Term};

const QUESTION_BYTES: usize = 56;
const REPLY_BYTES: usize = 28;

/// A replica wants a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotQuestion {
    pub(crate) group: GroupId,
    pub(crate) uid: GroupUid,
    pub(crate) replica: ReplicaId,
    pub(crate) incarnation: Incarnation,
    /// Its log begins behind this index: an older snapshot leaves a gap.
    pub(crate) at_least: Index,
}

impl SnapshotQuestion {
    pub(crate) fn encode(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(QUESTION_BYTES);
        body.put_u64_le(self.group.get());
        body.extend_from_slice(&self.uid.0);
        body.put_u64_le(self.replica.get());
        body.extend_from_slice(&self.incarnation.0);
        body.put_u64_le(self.at_least.get());
        assert_eq!(body.len(), QUESTION_BYTES, "as docs/FORMAT.md has it");
        body.freeze()
    }

    /// `None` unless it has the right length.
    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let body: &[u8; QUESTION_BYTES] = body.try_into().ok()?;
        let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| body[at + i]));
        let id = |at: usize| -> [u8; 16] { std::array::from_fn(|i| body[at + i]) };
        Some(Self {
            group: GroupId(long(0)),
            uid: GroupUid(id(8)),
            replica: ReplicaId(long(24)),
            incarnation: Incarnation(id(32)),
            at_least: Index(long(48)),
        })
    }
}

/// Tells which snapshot is on its way, if one is.
pub(crate) fn encode_offer(offer: Option<SnapshotToken>) -> Bytes {
    let Some(token) = offer else { return Bytes::new() };
    let mut body = BytesMut::with_capacity(REPLY_BYTES);
    body.put_u64_le(token.id.term.get());
    body.put_u64_le(token.id.index.get());
    body.put_u64_le(token.bytes);
    body.put_u32_le(token.crc);
    body.freeze()
}

/// The snapshot that is on its way; `None` for none, and for anything that is no such reply.
pub(crate) fn decode_offer(body: &[u8]) -> Option<SnapshotToken> {
    let body: &[u8; REPLY_BYTES] = body.try_into().ok()?;
    let long = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| body[at + i]));
    let id = EntryId { term: Term(long(0)), index: Index(long(8)) };
    Some(SnapshotToken {
        id,
        bytes: long(16),
        crc: u32::from_le_bytes(std::array::from_fn(|i| body[24 + i])),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_offers_read_back_as_written_and_no_other_length_does() {
        let question = SnapshotQuestion {
            group: GroupId(7),
            uid: GroupUid([1; 16]),
            replica: ReplicaId(3),
            incarnation: Incarnation([2; 16]),
            at_least: Index(9),
        };
        let body = question.encode();
        assert_eq!(SnapshotQuestion::decode(&body), Some(question));
        let token =
            SnapshotToken { id: EntryId { term: Term(3), index: Index(4) }, bytes: 5, crc: 0xdead_beef };
        let reply = encode_offer(Some(token));
        assert_eq!(decode_offer(&reply), Some(token));
        assert_eq!(decode_offer(&encode_offer(None)), None);
        for length in 0..body.len() {
            assert_eq!(SnapshotQuestion::decode(&body[..length]), None);
        }
        for length in 0..reply.len() {
            assert_eq!(decode_offer(&reply[..length]), None);
        }
    }
}
