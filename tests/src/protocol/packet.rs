//! What nodes send to each other.

use quorate_shard::shell::{EntriesAnswer, EntriesQuestion};
use quorate_storage::snapshot::{SnapshotChunk, SnapshotToken};
use quorate_storage::{GroupId, GroupUid, Incarnation, Index, ReplicaId};
use quorate_transport::RaftMessage;

/// One packet.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    /// A message of raft.
    Raft(RaftMessage),
    /// A piece of a snapshot's file.
    Chunk(ChunkPacket),
    /// What has become of it.
    ChunkAnswer { group: GroupId, to: ReplicaId, number: u64, answer: ChunkAnswer },
    /// A replica that waits asks another one for a snapshot.
    SnapshotWanted { group: GroupId, from: ReplicaId, to: ReplicaId, at_least: Index },
    /// Which one that one sends.
    SnapshotOffered { group: GroupId, to: ReplicaId, token: SnapshotToken },
    /// A replica whose log lacks entries asks every other one.
    EntriesWanted { question: Box<EntriesQuestion>, number: u64 },
    /// What that one has.
    EntriesAnswered { group: GroupId, to: ReplicaId, number: u64, answer: Box<EntriesAnswer> },
}

/// A piece of a snapshot's file, and for whom.
#[derive(Clone, Debug)]
pub(crate) struct ChunkPacket {
    pub(crate) group: GroupId,
    pub(crate) uid: GroupUid,
    pub(crate) from: ReplicaId,
    pub(crate) to: ReplicaId,
    /// Of the addressee; zero if it is not known.
    pub(crate) incarnation: Incarnation,
    /// Which transfer of its sender.
    pub(crate) number: u64,
    pub(crate) token: SnapshotToken,
    pub(crate) chunk: SnapshotChunk,
}

/// A receiver's answer to a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkAnswer {
    /// So much is there.
    GoOn { received: u64 },
    /// All of it is there, verified and in place.
    Complete,
    /// What arrived is not what its token says.
    Corrupt,
    /// It takes none, or not this one.
    Refused,
}

impl Packet {
    pub(crate) fn group(&self) -> GroupId {
        match self {
            Self::Raft(message) => message.group,
            Self::Chunk(chunk) => chunk.group,
            Self::EntriesWanted { question, .. } => question.group,
            Self::ChunkAnswer { group, .. }
            | Self::EntriesAnswered { group, .. }
            | Self::SnapshotWanted { group, .. }
            | Self::SnapshotOffered { group, .. } => *group,
        }
    }

    /// The replica it is for.
    pub(crate) fn to(&self) -> ReplicaId {
        match self {
            Self::Raft(message) => message.to,
            Self::Chunk(chunk) => chunk.to,
            // For whoever is there.
            Self::EntriesWanted { .. } => ReplicaId(0),
            Self::ChunkAnswer { to, .. }
            | Self::EntriesAnswered { to, .. }
            | Self::SnapshotWanted { to, .. }
            | Self::SnapshotOffered { to, .. } => *to,
        }
    }

    /// What tells it from others, for the trace.
    pub(crate) fn mark(&self) -> u64 {
        match self {
            Self::Raft(message) => {
                let kind = message.kind as u64;
                let log = message.log.index.get() ^ message.log.term.get().rotate_left(20);
                let entries = message.entries.len() as u64;
                kind ^ log.rotate_left(8) ^ message.term.get().rotate_left(40) ^ entries.rotate_left(56)
            }
            Self::Chunk(chunk) => chunk.chunk.offset.rotate_left(7) ^ u64::from(chunk.chunk.crc) ^ 0x51,
            Self::ChunkAnswer { number, .. } => number ^ 0x52,
            Self::SnapshotWanted { at_least, .. } => at_least.get() ^ 0x53,
            Self::SnapshotOffered { token, .. } => token.id.index.get() ^ 0x54,
            Self::EntriesWanted { question, number } => {
                question.asked.len() as u64 ^ number.rotate_left(20) ^ 0x55
            }
            Self::EntriesAnswered { number, answer, .. } => answer.term.get() ^ number.rotate_left(20) ^ 0x56,
        }
    }
}
