//! Log entries and Raft's durable state, in our own form. raft-rs's structs are made from these after they
//! have been checked, and never parsed from bytes.

use bytes::Bytes;

use crate::ids::{Index, ReplicaId, Term};

/// A position in a log together with the term of the entry that stands there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    /// Term of the entry.
    pub term: Term,
    /// Index of the entry.
    pub index: Index,
}

/// What an entry carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A payload (see [`crate::payload`]), or nothing: the empty entry of a new leader.
    Normal,
    /// A [`crate::ConfChange`] in our form.
    ConfChange,
}

impl EntryKind {
    /// The number that stands for this kind on disk and on the wire. Part of the format.
    pub const fn code(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::ConfChange => 1,
        }
    }

    /// The kind of a number, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Normal),
            1 => Some(Self::ConfChange),
            _ => None,
        }
    }
}

/// One entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Term under which the leader appended it.
    pub term: Term,
    /// Its position.
    pub index: Index,
    /// What the payload is.
    pub kind: EntryKind,
    /// The payload; cheap to clone.
    pub payload: Bytes,
}

impl Entry {
    /// Term and index.
    pub const fn id(&self) -> EntryId {
        EntryId { term: self.term, index: self.index }
    }

    /// The entry's identity check: CRC-32 over index, term, kind (little-endian, 8 + 8 + 1 bytes) and
    /// payload. Equal on every replica. Part of the format.
    pub fn crc(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.index.get().to_le_bytes());
        hasher.update(&self.term.get().to_le_bytes());
        hasher.update(&[self.kind.code()]);
        hasher.update(&self.payload);
        hasher.finalize()
    }
}

/// Raft's hard state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// Highest term seen.
    pub term: Term,
    /// Who got this replica's vote in `term`.
    pub vote: Option<ReplicaId>,
    /// Highest index known to be committed.
    pub commit: Index,
}

/// A group's membership as Raft counts it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfState {
    /// Voters (of the incoming configuration, in joint consensus).
    pub voters: Vec<ReplicaId>,
    /// Voters of the outgoing configuration; empty outside joint consensus.
    pub voters_outgoing: Vec<ReplicaId>,
    /// Replicas that follow without a vote.
    pub learners: Vec<ReplicaId>,
    /// Voters of the outgoing configuration that become learners when joint consensus is left.
    pub learners_next: Vec<ReplicaId>,
    /// Whether raft leaves joint consensus by itself.
    pub auto_leave: bool,
}

impl ConfState {
    /// A plain configuration of voters.
    pub fn of_voters(voters: Vec<ReplicaId>) -> Self {
        Self { voters, ..Self::default() }
    }

    /// Whether two configurations count at the moment.
    pub fn is_joint(&self) -> bool {
        !self.voters_outgoing.is_empty()
    }

    /// Whether `replica` has a part in this configuration.
    pub fn contains(&self, replica: ReplicaId) -> bool {
        [&self.voters, &self.voters_outgoing, &self.learners, &self.learners_next]
            .iter()
            .any(|set| set.contains(&replica))
    }
}
