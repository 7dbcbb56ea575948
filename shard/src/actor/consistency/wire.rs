//! The bodies of requests between replicas about their states. Byte tables are in `docs/FORMAT.md`.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_storage::identity::Divergence;
use quorate_storage::state::StateDigest;
use quorate_storage::{GroupId, GroupUid, Incarnation, Index, ReplicaId};

use super::ReplicaAnswer;

const QUESTION_BYTES: usize = 60;
const ANSWER_BYTES: usize = 25;
const NOTICE_BYTES: usize = 96;

/// "What is the digest of your state at this index?"
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DigestQuestion {
    pub(crate) group: GroupId,
    pub(crate) uid: GroupUid,
    /// Who asks.
    pub(crate) replica: ReplicaId,
    pub(crate) incarnation: Incarnation,
    pub(crate) index: Index,
    /// How long the index may take to come.
    pub(crate) wait: Duration,
}

/// A replica's own answer. Invariant: neither [`ReplicaAnswer::Away`] nor [`ReplicaAnswer::Refused`]: those are no
/// answer, and an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DigestAnswer {
    /// Who answers.
    pub(crate) replica: ReplicaId,
    pub(crate) answer: ReplicaAnswer,
}

/// "Your state is not what the majority has."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DivergenceNotice {
    pub(crate) group: GroupId,
    pub(crate) uid: GroupUid,
    /// Who says so.
    pub(crate) from: ReplicaId,
    pub(crate) incarnation: Incarnation,
    /// Of whom.
    pub(crate) to: ReplicaId,
    /// As it said itself, and as the majority did.
    pub(crate) divergence: Divergence,
}

impl DigestQuestion {
    pub(crate) fn encode(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(QUESTION_BYTES);
        body.put_u64_le(self.group.get());
        body.put_slice(&self.uid.0);
        body.put_u64_le(self.replica.get());
        body.put_slice(&self.incarnation.0);
        body.put_u64_le(self.index.get());
        body.put_u32_le(u32::try_from(self.wait.as_millis()).unwrap_or(u32::MAX));
        assert_eq!(body.len(), QUESTION_BYTES, "as docs/FORMAT.md has it");
        body.freeze()
    }

    /// `None` unless it has the right length.
    pub(crate) fn decode(mut body: &[u8]) -> Option<Self> {
        (body.len() == QUESTION_BYTES).then_some(())?;
        Some(Self {
            group: GroupId(body.get_u64_le()),
            uid: GroupUid(take_id(&mut body)),
            replica: ReplicaId(body.get_u64_le()),
            incarnation: Incarnation(take_id(&mut body)),
            index: Index(body.get_u64_le()),
            wait: Duration::from_millis(body.get_u32_le().into()),
        })
    }
}

impl DigestAnswer {
    pub(crate) fn encode(&self) -> Bytes {
        let (code, value) = match self.answer {
            ReplicaAnswer::Digest(digest) => (0, digest.0),
            ReplicaAnswer::Passed { applied } => (1, applied.get().into()),
            ReplicaAnswer::Behind { applied } => (2, applied.get().into()),
            ReplicaAnswer::NoDigest => (3, 0),
            ReplicaAnswer::Refused | ReplicaAnswer::Away => return Bytes::new(),
        };
        let mut body = BytesMut::with_capacity(ANSWER_BYTES);
        body.put_u64_le(self.replica.get());
        body.put_u8(code);
        body.put_u128_le(value);
        body.freeze()
    }

    /// `None` unless it is such a body.
    pub(crate) fn decode(mut body: &[u8]) -> Option<Self> {
        (body.len() == ANSWER_BYTES).then_some(())?;
        let replica = ReplicaId(body.get_u64_le());
        let (code, value) = (body.get_u8(), body.get_u128_le());
        let applied = || u64::try_from(value).ok().map(Index);
        let answer = match code {
            0 => ReplicaAnswer::Digest(StateDigest(value)),
            1 => ReplicaAnswer::Passed { applied: applied()? },
            2 => ReplicaAnswer::Behind { applied: applied()? },
            3 => ReplicaAnswer::NoDigest,
            _ => return None,
        };
        Some(Self { replica, answer })
    }
}

impl DivergenceNotice {
    pub(crate) fn encode(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(NOTICE_BYTES);
        body.put_u64_le(self.group.get());
        body.put_slice(&self.uid.0);
        body.put_u64_le(self.from.get());
        body.put_slice(&self.incarnation.0);
        body.put_u64_le(self.to.get());
        body.put_u64_le(self.divergence.index.get());
        body.put_u128_le(self.divergence.own.0);
        body.put_u128_le(self.divergence.majority.0);
        assert_eq!(body.len(), NOTICE_BYTES, "as docs/FORMAT.md has it");
        body.freeze()
    }

    /// `None` unless it has the right length.
    pub(crate) fn decode(mut body: &[u8]) -> Option<Self> {
        (body.len() == NOTICE_BYTES).then_some(())?;
        Some(Self {
            group: GroupId(body.get_u64_le()),
            uid: GroupUid(take_id(&mut body)),
            from: ReplicaId(body.get_u64_le()),
            incarnation: Incarnation(take_id(&mut body)),
            to: ReplicaId(body.get_u64_le()),
            divergence: Divergence {
                index: Index(body.get_u64_le()),
                own: StateDigest(body.get_u128_le()),
                majority: StateDigest(body.get_u128_le()),
            },
        })
    }
}

/// The caller has checked the length.
fn take_id(body: &mut &[u8]) -> [u8; 16] {
    let mut id = [0; 16];
    body.copy_to_slice(&mut id);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_they_were_written_and_nothing_shorter_is() {
        let question = DigestQuestion {
            group: GroupId(7),
            uid: GroupUid([1; 16]),
            replica: ReplicaId(3),
            incarnation: Incarnation([2; 16]),
            index: Index(9),
            wait: Duration::from_millis(500),
        };
        let divergence = Divergence { index: Index(9), own: StateDigest(1 << 100), majority: StateDigest(5) };
        let notice = DivergenceNotice {
            group: GroupId(7),
            uid: GroupUid([1; 16]),
            from: ReplicaId(3),
            incarnation: Incarnation([2; 16]),
            to: ReplicaId(4),
            divergence,
        };
        assert_eq!(DigestQuestion::decode(&question.encode()), Some(question));
        assert_eq!(DivergenceNotice::decode(&notice.encode()), Some(notice));
        let applied = Index(u64::MAX);
        for answer in [
            ReplicaAnswer::Digest(StateDigest(u128::MAX)),
            ReplicaAnswer::Passed { applied },
            ReplicaAnswer::Behind { applied },
            ReplicaAnswer::NoDigest,
        ] {
            let answer = DigestAnswer { replica: ReplicaId(4), answer };
            let body = answer.encode();
            assert_eq!(DigestAnswer::decode(&body), Some(answer));
            for length in 0..body.len() {
                assert_eq!(DigestAnswer::decode(&body[..length]), None);
            }
        }
        for length in 0..QUESTION_BYTES {
            assert_eq!(DigestQuestion::decode(&question.encode()[..length]), None);
            assert_eq!(DivergenceNotice::decode(&notice.encode()[..length]), None);
        }
    }
}
