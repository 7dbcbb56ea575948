//! Little-endian fields, one after the other: how the log's fixed structures are written and read.

use crate::entry::{EntryId, HardState};
use crate::ids::{Index, NUMBER_MAX, ReplicaId, Term};
use crate::snapshot::SnapshotToken;

/// Appends fields to a buffer.
pub(super) trait PutFields {
    fn put(&mut self, bytes: &[u8]);

    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    fn put_id(&mut self, id: EntryId) {
        self.put_u64(id.index.get());
        self.put_u64(id.term.get());
    }

    fn put_hard_state(&mut self, state: &HardState) {
        self.put_u64(state.term.get());
        self.put_u64(state.vote.map_or(0, ReplicaId::get));
        self.put_u64(state.commit.get());
    }

    fn put_token(&mut self, token: &SnapshotToken) {
        self.put_id(token.id);
        self.put_u64(token.bytes);
        self.put_u32(token.crc);
    }
}

impl PutFields for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Takes fields off a slice; `None` once it is too short.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A term, an index or a sequence.
    pub(super) fn number(&mut self) -> Option<u64> {
        self.u64().filter(|number| *number <= NUMBER_MAX)
    }

    pub(super) fn id(&mut self) -> Option<EntryId> {
        let index = Index(self.number()?);
        Some(EntryId { term: Term(self.number()?), index })
    }

    pub(super) fn hard_state(&mut self) -> Option<HardState> {
        let term = Term(self.number()?);
        let vote = vote(self.u64()?);
        Some(HardState { term, vote, commit: Index(self.number()?) })
    }

    pub(super) fn token(&mut self) -> Option<SnapshotToken> {
        let id = self.id()?;
        Some(SnapshotToken { id, bytes: self.u64()?, crc: self.u32()? })
    }

    /// A count of items of `item_bytes` each, which the rest must be able to hold.
    pub(super) fn count(&mut self, item_bytes: usize) -> Option<usize> {
        let count = usize::try_from(self.u32()?).ok()?;
        (count <= self.0.len() / item_bytes).then_some(count)
    }
}

/// A replica id of 0 is nobody's.
pub(super) fn vote(id: u64) -> Option<ReplicaId> {
    (id != 0).then_some(ReplicaId(id))
}
