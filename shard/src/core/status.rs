//! A look inside a core, for health pages and balancing.

use quorate_storage::{Index, ReplicaId, Term};
use raft::ProgressState;

use super::group::Group;
use super::io::Role;

/// Where a replica stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Who leads.
    pub role: Role,
    /// First index of the log.
    pub first: Index,
    /// Last index of the log, durable or not.
    pub last: Index,
    /// Last durable index.
    pub persisted: Index,
    /// Commit index.
    pub commit: Index,
    /// Last index handed to the applier.
    pub handed: Index,
    /// Last index the applier has reported.
    pub applied: Index,
    /// Whether this replica waits for a snapshot.
    pub is_waiting: bool,
    /// Bytes handed to the applier and not reported.
    pub applying_bytes: u64,
    /// Bytes of recent entries in memory.
    pub tail_bytes: u64,
    /// What a leader knows of each replica, by id; empty elsewhere.
    pub peers: Vec<PeerStatus>,
}

/// What a leader knows of one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Which.
    pub replica: ReplicaId,
    /// Whether it has a vote.
    pub is_voter: bool,
    /// Whether it was heard of within the last election timeout or two.
    pub is_recently_active: bool,
    /// Last index it is known to have, durably.
    pub matched: Index,
    /// The next index it is sent.
    pub next: Index,
    /// How it is being replicated to.
    pub mode: PeerMode,
    /// The snapshot it is being sent; 0 without one.
    pub pending_snapshot: Index,
}

/// How a leader replicates to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerMode {
    /// Looking for the position from which the logs differ, one message at a time.
    Probe,
    /// Streaming.
    Replicate,
    /// Waiting for it to take a snapshot.
    Snapshot,
}

impl Group {
    /// Where this replica stands. One small allocation on a leader, none elsewhere.
    pub fn status(&self) -> Status {
        let log = &self.raw.raft.raft_log;
        Status {
            role: self.role(),
            first: Index(log.first_index()),
            last: Index(log.last_index()),
            persisted: Index(log.persisted),
            commit: Index(log.committed),
            handed: self.apply.handed,
            applied: self.apply.reported,
            is_waiting: self.apply.is_waiting,
            applying_bytes: self.apply.bytes,
            tail_bytes: self.raw.store().tail_bytes(),
            peers: if self.is_leader() { self.peers() } else { Vec::new() },
        }
    }

    /// The term, without the rest of the status.
    pub fn term(&self) -> Term {
        Term(self.raw.raft.term)
    }

    fn peers(&self) -> Vec<PeerStatus> {
        let tracker = self.raw.raft.prs();
        let mut peers: Vec<_> = tracker
            .iter()
            .map(|(&id, progress)| PeerStatus {
                replica: ReplicaId(id),
                is_voter: tracker.conf().voters().contains(id),
                is_recently_active: progress.recent_active,
                matched: Index(progress.matched),
                next: Index(progress.next_idx),
                mode: match progress.state {
                    ProgressState::Probe => PeerMode::Probe,
                    ProgressState::Replicate => PeerMode::Replicate,
                    ProgressState::Snapshot => PeerMode::Snapshot,
                },
                pending_snapshot: Index(progress.pending_snapshot),
            })
            .collect();
        peers.sort_unstable_by_key(|peer| peer.replica);
        peers
    }
}
