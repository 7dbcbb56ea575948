//! What a run tells of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use super::invariants::Violation;
use super::schedule::Schedule;
use super::trace::TraceHash;

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each counts what its name says")]
pub struct Counts {
    /// Faults that fired, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Starts, by the row of the cold-start gate's table.
    pub gate: BTreeMap<&'static str, u64>,
    /// Running replicas taken out of service.
    pub quarantines: u64,
    pub refused_starts: u64,
    pub elections: u64,
    pub transfers: u64,
    pub conf_changes: u64,
    pub snapshots_published: u64,
    pub publishes_failed: u64,
    pub snapshots_sent: u64,
    pub snapshots_installed: u64,
    pub snapshots_put_aside: u64,
    pub compactions: u64,
    pub waits: u64,
    pub repairs: u64,
    pub log_batches: u64,
    pub torn_batches: u64,
    pub fetches: u64,
    pub packets: u64,
    pub packets_lost: u64,
    pub packets_doubled: u64,
    pub timestamps: u64,
    pub leases: u64,
    pub repaired_entries: u64,
    pub dropped_entries: u64,
    pub acknowledged_writes: u64,
    pub reads: u64,
    pub open_ended: u64,
    pub events: u64,
}

/// A run that has ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was run.
    pub schedule: Schedule,
    /// Two runs of one schedule have the same.
    pub trace: TraceHash,
    /// What was counted.
    pub counts: Counts,
    /// Simulated time.
    pub simulated: Duration,
    /// The law that was broken, if one was.
    pub broken: Option<Violation>,
}

impl Counts {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (row, count) in &other.gate {
            *self.gate.entry(row).or_default() += count;
        }
        let fields = [
            (&mut self.quarantines, other.quarantines),
            (&mut self.refused_starts, other.refused_starts),
            (&mut self.elections, other.elections),
            (&mut self.transfers, other.transfers),
            (&mut self.conf_changes, other.conf_changes),
            (&mut self.snapshots_published, other.snapshots_published),
            (&mut self.publishes_failed, other.publishes_failed),
            (&mut self.snapshots_sent, other.snapshots_sent),
            (&mut self.snapshots_installed, other.snapshots_installed),
            (&mut self.snapshots_put_aside, other.snapshots_put_aside),
            (&mut self.compactions, other.compactions),
            (&mut self.waits, other.waits),
            (&mut self.repairs, other.repairs),
            (&mut self.log_batches, other.log_batches),
            (&mut self.torn_batches, other.torn_batches),
            (&mut self.fetches, other.fetches),
            (&mut self.packets, other.packets),
            (&mut self.packets_lost, other.packets_lost),
            (&mut self.packets_doubled, other.packets_doubled),
            (&mut self.timestamps, other.timestamps),
            (&mut self.leases, other.leases),
            (&mut self.repaired_entries, other.repaired_entries),
            (&mut self.dropped_entries, other.dropped_entries),
            (&mut self.acknowledged_writes, other.acknowledged_writes),
            (&mut self.reads, other.reads),
            (&mut self.open_ended, other.open_ended),
            (&mut self.events, other.events),
        ];
        for (sum, more) in fields {
            *sum += more;
        }
    }

    /// Faults that fired.
    pub fn faults_fired(&self) -> u64 {
        self.faults.values().sum()
    }
}
