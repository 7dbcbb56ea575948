//! The bodies of a question for log entries and of its answer. Byte tables are in `docs/FORMAT.md`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_storage::{EntryId, EntryKind, GroupId, GroupUid, Incarnation, Index, ReplicaId, Term};

/// Most entries of one question.
pub(super) const ASKED_MAX: usize = 4_096;
/// Most bytes of payload of one answer (at least one entry is sent): it has to fit into a frame.
pub(super) const ANSWER_BYTES_MAX: u64 = 8 << 20;

const QUESTION_BYTES: usize = 52;
const ANSWER_BYTES: usize = 20;

/// "What do you have at these places?"
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntriesQuestion {
    /// The group.
    pub group: GroupId,
    /// Its identity.
    pub uid: GroupUid,
    /// Who asks.
    pub replica: ReplicaId,
    /// Its directory.
    pub incarnation: Incarnation,
    /// Ascending by index; at most 4,096.
    pub asked: Vec<EntryId>,
}

/// What a replica has, durably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntriesAnswer {
    /// Who answers.
    pub replica: ReplicaId,
    /// Its term, as it was before the log was looked at.
    pub term: Term,
    /// One for each that was asked for.
    pub found: Vec<Found>,
}

impl EntriesAnswer {
    /// Whether the first that was asked for is not in that log any more: only a snapshot has what it did.
    pub fn has_compacted(&self) -> bool {
        self.found.first() == Some(&Found::Compacted)
    }
}

/// What stands in a log at an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The entry of that index and term.
    Entry {
        /// What it is.
        kind: EntryKind,
        /// Its payload.
        payload: Bytes,
    },
    /// Something that cannot be read here either.
    Unreadable,
    /// An entry of another term.
    Other {
        /// Whether that one is known to be committed.
        is_committed: bool,
    },
    /// Nothing: the log ends before.
    Beyond,
    /// It was compacted away.
    Compacted,
    /// It was not looked at: the answer was long enough.
    Omitted,
}

impl EntriesQuestion {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(QUESTION_BYTES + 16 * self.asked.len());
        body.put_u64_le(self.group.get());
        body.put_slice(&self.uid.0);
        body.put_u64_le(self.replica.get());
        body.put_slice(&self.incarnation.0);
        body.put_u32_le(u32::try_from(self.asked.len()).expect("at most ASKED_MAX"));
        for id in &self.asked {
            body.put_u64_le(id.index.get());
            body.put_u64_le(id.term.get());
        }
        body.freeze()
    }

    /// `None` for anything that is no such body.
    pub fn decode(mut body: Bytes) -> Option<Self> {
        let group = GroupId(body.try_get_u64_le().ok()?);
        let uid = GroupUid(take_id(&mut body)?);
        let replica = ReplicaId(body.try_get_u64_le().ok()?);
        let incarnation = Incarnation(take_id(&mut body)?);
        let count = body.try_get_u32_le().ok()? as usize;
        if count > ASKED_MAX || body.remaining() != 16 * count {
            return None;
        }
        let asked = (0..count)
            .map(|_| {
                let index = Index(body.get_u64_le());
                EntryId { term: Term(body.get_u64_le()), index }
            })
            .collect();
        Some(Self { group, uid, replica, incarnation, asked })
    }
}

impl EntriesAnswer {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(ANSWER_BYTES + 8 * self.found.len());
        body.put_u64_le(self.replica.get());
        body.put_u64_le(self.term.get());
        body.put_u32_le(u32::try_from(self.found.len()).expect("at most ASKED_MAX"));
        for found in &self.found {
            let code = match found {
                Found::Entry { kind, payload } => {
                    body.put_u8(0);
                    body.put_u8(kind.code());
                    body.put_u32_le(u32::try_from(payload.len()).expect("bounded by the log's entries"));
                    body.put_slice(payload);
                    continue;
                }
                Found::Unreadable => 1,
                Found::Other { is_committed: false } => 2,
                Found::Other { is_committed: true } => 3,
                Found::Beyond => 4,
                Found::Compacted => 5,
                Found::Omitted => 6,
            };
            body.put_u8(code);
        }
        body.freeze()
    }

    /// `None` for anything that is no such body.
    pub fn decode(mut body: Bytes) -> Option<Self> {
        let replica = ReplicaId(body.try_get_u64_le().ok()?);
        let term = Term(body.try_get_u64_le().ok()?);
        let count = body.try_get_u32_le().ok()? as usize;
        if count > ASKED_MAX {
            return None;
        }
        let mut found = Vec::with_capacity(count);
        for _ in 0..count {
            found.push(match body.try_get_u8().ok()? {
                0 => {
                    let kind = EntryKind::from_code(body.try_get_u8().ok()?)?;
                    let bytes = body.try_get_u32_le().ok()? as usize;
                    (bytes <= body.remaining()).then_some(())?;
                    Found::Entry { kind, payload: body.split_to(bytes) }
                }
                1 => Found::Unreadable,
                2 => Found::Other { is_committed: false },
                3 => Found::Other { is_committed: true },
                4 => Found::Beyond,
                5 => Found::Compacted,
                6 => Found::Omitted,
                _ => return None,
            });
        }
        (!body.has_remaining()).then_some(Self { replica, term, found })
    }
}

fn take_id(body: &mut Bytes) -> Option<[u8; 16]> {
    let mut id = [0; 16];
    body.try_copy_to_slice(&mut id).ok()?;
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_are_read_as_they_were_written_and_nothing_shorter_is() {
        let question = EntriesQuestion {
            group: GroupId(7),
            uid: GroupUid([1; 16]),
            replica: ReplicaId(3),
            incarnation: Incarnation([2; 16]),
            asked: vec![
                EntryId { term: Term(1), index: Index(5) },
                EntryId { term: Term(2), index: Index(9) },
            ],
        };
        let body = question.encode();
        assert_eq!(body.len(), QUESTION_BYTES + 32);
        assert_eq!(EntriesQuestion::decode(body.clone()), Some(question));
        let payload = Bytes::from_static(b"payload");
        let found = vec![
            Found::Entry { kind: EntryKind::ConfChange, payload },
            Found::Unreadable,
            Found::Other { is_committed: false },
            Found::Other { is_committed: true },
            Found::Beyond,
            Found::Compacted,
            Found::Omitted,
        ];
        let answer = EntriesAnswer { replica: ReplicaId(4), term: Term(6), found };
        let reply = answer.encode();
        assert_eq!(EntriesAnswer::decode(reply.clone()), Some(answer));
        for length in 0..body.len() {
            assert_eq!(EntriesQuestion::decode(body.slice(..length)), None);
        }
        for length in 0..reply.len() {
            assert_eq!(EntriesAnswer::decode(reply.slice(..length)), None);
        }
    }
}
