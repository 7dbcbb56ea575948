//! "The leader of this group is quarantined": told to the other replicas, so that they need not wait for an election
//! timeout.
//!
//! It only makes a follower forget its leader, as an election timeout would: it proves nothing and decides nothing. A
//! notice that is lost costs the wait; one that is late, of another term or not of the leader has no effect.

use bytes::Bytes;
use quorate_storage::{GroupId, GroupUid, Incarnation, ReplicaId, Term};

const BODY_BYTES: usize = 56;

/// Who was quarantined, and the term it led in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuarantineNotice {
    pub(crate) group: GroupId,
    pub(crate) uid: GroupUid,
    pub(crate) replica: ReplicaId,
    pub(crate) incarnation: Incarnation,
    pub(crate) term: Term,
}

impl QuarantineNotice {
    /// The body of the request: group, uid, replica id, incarnation, term.
    pub(crate) fn encode(&self) -> Bytes {
        let mut body = Vec::with_capacity(BODY_BYTES);
        body.extend_from_slice(&self.group.get().to_le_bytes());
        body.extend_from_slice(&self.uid.0);
        body.extend_from_slice(&self.replica.get().to_le_bytes());
        body.extend_from_slice(&self.incarnation.0);
        body.extend_from_slice(&self.term.get().to_le_bytes());
        assert_eq!(body.len(), BODY_BYTES, "as docs/FORMAT.md has it");
        Bytes::from(body)
    }

    /// Reads the body of another node; `None` unless it has the right length.
    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        if body.len() != BODY_BYTES {
            return None;
        }
        let number = |at: usize| body.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let id = |at: usize| body.get(at..)?.first_chunk::<16>().copied();
        Some(Self {
            group: GroupId(number(0)?),
            uid: GroupUid(id(8)?),
            replica: ReplicaId(number(24)?),
            incarnation: Incarnation(id(32)?),
            term: Term(number(48)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_read_as_it_was_written_and_no_other_length_is() {
        let notice = QuarantineNotice {
            group: GroupId(7),
            uid: GroupUid([1; 16]),
            replica: ReplicaId(3),
            incarnation: Incarnation([2; 16]),
            term: Term(9),
        };
        let body = notice.encode();
        assert_eq!(QuarantineNotice::decode(&body), Some(notice));
        for length in 0..body.len() {
            assert_eq!(QuarantineNotice::decode(&body[..length]), None);
        }
    }
}
