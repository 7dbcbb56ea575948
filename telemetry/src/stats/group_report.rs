//! The numbers of one group as JSON.

use serde::Serialize;

use super::{GroupState, GroupStats, Outcome, QuarantineReason};

/// Everything [`GroupStats`] holds, read once, for the admin pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each field is named and documented in `GroupStats`")]
pub struct GroupReport {
    pub group: u64,
    pub state: GroupState,
    pub quarantine_reason: Option<QuarantineReason>,
    pub term: u64,
    pub leader: u64,
    pub commit: u64,
    pub applied: u64,
    pub durable: u64,
    pub first: u64,
    pub last: u64,
    pub snapshot: u64,
    pub leader_changes: u64,
    pub pending_proposals: u64,
    pub proposals_applied: u64,
    pub proposals_failed: u64,
    pub reads_answered: u64,
    pub reads_failed: u64,
    pub timestamps: u64,
    pub timestamps_refused: u64,
    pub leases: u64,
    pub hlc_ceiling: u64,
    pub log_bytes: u64,
    pub log_written_bytes: u64,
    pub log_batches: u64,
    pub log_torn_batches: u64,
    pub repaired_entries: u64,
    pub dropped_entries: u64,
    pub appended_entries: u64,
    pub applied_entries: u64,
    pub applied_batches: u64,
    pub duplicates_dropped: u64,
    pub volatile_replayed: u64,
    pub snapshots_published: u64,
    pub snapshots_installed: u64,
    pub snapshots_failed: u64,
    pub snapshots_corrupt: u64,
    pub snapshots_refused: u64,
    pub snapshots_resumed: u64,
    pub snapshot_waits: u64,
    pub snapshot_sent_bytes: u64,
    pub snapshot_received_bytes: u64,
}

impl GroupStats {
    /// Everything it holds now, of group `group`.
    pub fn report(&self, group: u64) -> GroupReport {
        let (proposals, reads) = (&self.requests.proposals, &self.requests.reads);
        let (proposals_applied, reads_answered) =
            (proposals.of(Outcome::Applied).get(), reads.of(Outcome::Applied).get());
        GroupReport {
            group,
            state: self.state(),
            quarantine_reason: self.quarantine_reason(),
            term: self.raft.term.get(),
            leader: self.raft.leader.get(),
            commit: self.raft.commit.get(),
            applied: self.apply.applied.get(),
            durable: self.apply.durable.get(),
            first: self.raft.first.get(),
            last: self.raft.last.get(),
            snapshot: self.snapshots.index.get(),
            leader_changes: self.raft.leader_changes.get(),
            pending_proposals: self.requests.pending_proposals.get(),
            proposals_applied,
            proposals_failed: proposals.total().saturating_sub(proposals_applied),
            reads_answered,
            reads_failed: reads.total().saturating_sub(reads_answered),
            timestamps: self.requests.timestamps.get(),
            timestamps_refused: self.requests.timestamps_refused.get(),
            leases: self.raft.leases.get(),
            hlc_ceiling: self.apply.hlc_ceiling.get(),
            log_bytes: self.log.bytes.get(),
            log_written_bytes: self.log.written_bytes.get(),
            log_batches: self.log.batches.get(),
            log_torn_batches: self.log.torn_batches.get(),
            repaired_entries: self.log.repaired_entries.get(),
            dropped_entries: self.log.dropped_entries.get(),
            appended_entries: self.log.appended_entries.get(),
            applied_entries: self.apply.entries.get(),
            applied_batches: self.apply.batches.get(),
            duplicates_dropped: self.apply.duplicates_dropped.get(),
            volatile_replayed: self.apply.volatile_replayed.get(),
            snapshots_published: self.snapshots.published.get(),
            snapshots_installed: self.snapshots.installed.get(),
            snapshots_failed: self.snapshots.failed.get(),
            snapshots_corrupt: self.snapshots.corrupt.get(),
            snapshots_refused: self.snapshots.refused.get(),
            snapshots_resumed: self.snapshots.resumed.get(),
            snapshot_waits: self.snapshots.waits.get(),
            snapshot_sent_bytes: self.snapshots.sent_bytes.get(),
            snapshot_received_bytes: self.snapshots.received_bytes.get(),
        }
    }
}
