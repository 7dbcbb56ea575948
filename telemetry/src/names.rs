//! Every metric there is: name, kind, unit and help text in one place.
//!
//! Names begin with `quorate_` and end in their unit, counters in `_total`. What carries a `group` label begins with
//! `quorate_group_` (cold starts aside), so that nobody adds a node's total and its groups together. Every series
//! carries a `node` label.

use metrics::{KeyName, Level, Metadata, Recorder, SharedString, Unit};

/// The label that names the node; on everything.
pub const NODE_LABEL: &str = "node";
/// The label that names the group: its number, or [`OTHER_GROUPS`].
pub const GROUP_LABEL: &str = "group";
/// The label that tells how something ended.
pub const OUTCOME_LABEL: &str = "outcome";
/// The label that tells why a cold start fell back.
pub const FALLBACK_REASON_LABEL: &str = "fallback_reason";
/// The label that tells what groups are doing.
pub const STATE_LABEL: &str = "state";
/// The label that tells why something was refused or given up.
pub const REASON_LABEL: &str = "reason";
/// The label that names a worker pool.
pub const POOL_LABEL: &str = "pool";
/// The label that tells the version of the software.
pub const VERSION_LABEL: &str = "version";
/// The value of the `group` label that stands for all groups without series of their own.
pub const OTHER_GROUPS: &str = "other";

pub(crate) const METADATA: Metadata<'static> = Metadata::new("quorate", Level::INFO, None);

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It moves.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its full name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it counts in.
    pub unit: Unit,
    /// One sentence for the `# HELP` line.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident: $kind:ident, $unit:ident, $name:literal, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric =
                Metric { name: $name, kind: Kind::$kind, unit: Unit::$unit, help: $help };
        )*

        /// All metrics, in the order of this file.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    // The node.
    BUILD_INFO: Gauge, Count, "quorate_build_info", "Always 1; the version of the software is a label.";
    GROUPS: Gauge, Count, "quorate_groups", "Groups on this node, by what their replica here is doing.";
    QUARANTINED_GROUPS: Gauge, Count, "quorate_quarantined_groups", "Quarantined groups on this node, by what took them out of service.";
    APPLY_LAG_ENTRIES_MAX: Gauge, Count, "quorate_apply_lag_entries_max", "Committed entries that the group furthest behind has not applied yet.";
    PENDING_PROPOSALS: Gauge, Count, "quorate_pending_proposals", "Proposals taken and not answered yet, all groups together.";
    LOG_BYTES: Gauge, Bytes, "quorate_log_bytes", "Bytes of log files on disk, all groups together.";
    WORKER_JOBS: Gauge, Count, "quorate_worker_jobs", "Jobs queued or running in a worker pool.";
    GROUP_SERIES_DROPPED: Gauge, Count, "quorate_group_series_dropped", "Groups over the budget of series; they are summed as group=\"other\".";
    COLLECTOR_PUBLISH_SECONDS: Gauge, Seconds, "quorate_collector_publish_seconds", "Seconds the latest publication of the metrics took.";
    PROPOSALS: Counter, Count, "quorate_proposals_total", "Proposals answered, by how they ended.";
    READS: Counter, Count, "quorate_reads_total", "Reads answered, by how they ended.";
    TIMESTAMPS: Counter, Count, "quorate_timestamps_total", "Timestamps of hybrid logical clocks given, and remote ones merged.";
    TIMESTAMPS_REFUSED: Counter, Count, "quorate_timestamps_refused_total", "Requests for timestamps that were not met here.";
    LEASES: Counter, Count, "quorate_hlc_leases_total", "Leases of hybrid logical clocks proposed by leaders here.";
    LEADER_CHANGES: Counter, Count, "quorate_leader_changes_total", "Leader changes seen by replicas of this node.";
    APPENDED_ENTRIES: Counter, Count, "quorate_log_appended_entries_total", "Entries made durable in logs.";
    LOG_WRITTEN_BYTES: Counter, Bytes, "quorate_log_written_bytes_total", "Bytes written to log files, padding and headers included.";
    LOG_BATCHES: Counter, Count, "quorate_log_batches_total", "Batches written to log files.";
    LOG_TORN_BATCHES: Counter, Count, "quorate_log_torn_batches_total", "Unproven last batches cut at a start.";
    LOG_REPAIRED_ENTRIES: Counter, Count, "quorate_log_repaired_entries_total", "Unreadable log entries that were fetched from other replicas.";
    LOG_DROPPED_ENTRIES: Counter, Count, "quorate_log_dropped_entries_total", "Log entries dropped in a repair because they cannot have been committed.";
    APPLIED_ENTRIES: Counter, Count, "quorate_applied_entries_total", "Entries applied to state machines.";
    APPLIED_BATCHES: Counter, Count, "quorate_applied_batches_total", "Batches applied to state machines.";
    COLD_START_READ_BYTES: Counter, Bytes, "quorate_cold_start_read_bytes_total", "Bytes of snapshots, and of logs for a volatile replay, that the starts of groups have read.";
    DUPLICATES_DROPPED: Counter, Count, "quorate_duplicates_dropped_total", "Entries at or below the floor that were dropped.";
    VOLATILE_REPLAYED: Counter, Count, "quorate_volatile_replayed_total", "Volatile entries replayed by the cold-start gate.";
    SNAPSHOTS_PUBLISHED: Counter, Count, "quorate_snapshots_published_total", "Snapshots published.";
    SNAPSHOTS_INSTALLED: Counter, Count, "quorate_snapshots_installed_total", "Received snapshots installed.";
    SNAPSHOTS_FAILED: Counter, Count, "quorate_snapshots_failed_total", "Snapshots that could not be published, sent, received or installed.";
    SNAPSHOTS_CORRUPT: Counter, Count, "quorate_snapshots_corrupt_total", "Snapshot files found corrupt: read back, received, sent, restored, or scanned.";
    SNAPSHOTS_REFUSED: Counter, Count, "quorate_snapshots_refused_total", "Snapshots not begun: no room, or too many received at one time.";
    SNAPSHOT_SENT_BYTES: Counter, Bytes, "quorate_snapshot_sent_bytes_total", "Bytes of snapshots sent to other replicas.";
    SNAPSHOT_RECEIVED_BYTES: Counter, Bytes, "quorate_snapshot_received_bytes_total", "Bytes of snapshots received from other replicas.";
    SNAPSHOT_WAITS: Counter, Count, "quorate_snapshot_waits_total", "Times a replica had no intact snapshot that its log reaches, and waited for one of another replica.";
    SNAPSHOTS_RESUMED: Counter, Count, "quorate_snapshots_resumed_total", "Snapshot transfers that went on after a broken connection.";
    SCRUBS: Counter, Count, "quorate_scrubs_total", "Background scans that found a replica's state whole.";
    SCRUBS_INTERRUPTED: Counter, Count, "quorate_scrubs_interrupted_total", "Background scans that were broken off without a result.";
    SCRUBS_ROTTEN: Counter, Count, "quorate_scrubs_rotten_total", "Background scans that found a state store rotten.";
    SCRUB_READ_BYTES: Counter, Bytes, "quorate_scrub_read_bytes_total", "Bytes read by background scans.";
    STORES_REBUILT: Counter, Count, "quorate_stores_rebuilt_total", "State stores built anew because their files took far more room than what they held.";
    STORE_REBUILDS_OVERTAKEN: Counter, Count, "quorate_store_rebuilds_overtaken_total", "Rebuilds of a bloated state store given up because too much was applied meanwhile.";
    STORE_REBUILDS_FAILED: Counter, Count, "quorate_store_rebuilds_failed_total", "Rebuilds of a bloated state store that failed; it stayed as it was.";
    CONSISTENCY_CHECKS: Counter, Count, "quorate_consistency_checks_total", "Comparisons of replicas' states, begun by their leader here.";
    CONSISTENCY_UNVERIFIED: Counter, Count, "quorate_consistency_unverified_total", "Comparisons that had fewer than two states to compare.";
    CONSISTENCY_DIVERGED: Counter, Count, "quorate_consistency_diverged_total", "Comparisons in which a majority proved a replica's state wrong.";
    CONSISTENCY_DIVIDED: Counter, Count, "quorate_consistency_divided_total", "Comparisons in which states differed and no majority told which is right.";
    LOG_APPEND_SECONDS: Histogram, Seconds, "quorate_log_append_seconds", "Seconds to make one batch of the log durable: its write and its sync.";
    LOG_BATCH_BYTES: Histogram, Bytes, "quorate_log_batch_bytes", "Bytes of the commands in one log batch.";
    APPLY_SECONDS: Histogram, Seconds, "quorate_apply_seconds", "Seconds to apply one batch.";
    APPLY_BATCH_ENTRIES: Histogram, Count, "quorate_apply_batch_entries", "Entries in one applied batch.";
    PROPOSE_TO_APPLY_SECONDS: Histogram, Seconds, "quorate_propose_to_apply_seconds", "Seconds from taking the oldest proposal of a batch until the batch was applied.";
    COLD_START_SECONDS: Histogram, Seconds, "quorate_cold_start_seconds", "Seconds the start of a group took, by what the cold-start gate came to.";

    // Watched: counted by others, read by the collector.
    CLOCK_OFFSET_SECONDS: Gauge, Seconds, "quorate_clock_offset_seconds", "Seconds the wall clock is ahead of the median of the nodes; 0 while fewer than three are heard of.";
    DISK_SYNCS: Counter, Count, "quorate_disk_syncs_total", "Syncs of files and directories.";
    DISK_WRITTEN_BYTES: Counter, Bytes, "quorate_disk_written_bytes_total", "Bytes written to files.";
    DISK_FREE_BYTES: Gauge, Bytes, "quorate_disk_free_bytes", "Bytes free on the disk of the data directory.";
    DISK_FULL: Gauge, Count, "quorate_disk_full", "1 while writes are refused for want of room on the disk.";
    CONNECTS: Counter, Count, "quorate_transport_connects_total", "Connections to other nodes opened, handshake included.";
    CONNECT_FAILURES: Counter, Count, "quorate_transport_connect_failures_total", "Attempts to open a connection to another node that failed.";
    ACCEPTS: Counter, Count, "quorate_transport_accepts_total", "Connections of other nodes taken, handshake included.";
    HANDSHAKES_REFUSED: Counter, Count, "quorate_transport_handshakes_refused_total", "Handshakes refused by either side, by reason.";
    CONNECTIONS_BROKEN: Counter, Count, "quorate_transport_connections_broken_total", "Connections this node closed, by reason.";
    MESSAGES_SENT: Counter, Count, "quorate_transport_messages_sent_total", "Raft messages written to connections.";
    MESSAGES_RECEIVED: Counter, Count, "quorate_transport_messages_received_total", "Valid raft messages received.";
    MESSAGES_DROPPED: Counter, Count, "quorate_transport_messages_dropped_total", "Raft messages given up before they were sent.";
    MESSAGE_BATCHES_SENT: Counter, Count, "quorate_transport_message_batches_sent_total", "Batches of raft messages written to connections.";
    REQUESTS_SENT: Counter, Count, "quorate_transport_requests_sent_total", "Requests sent to other nodes.";
    REQUESTS_RECEIVED: Counter, Count, "quorate_transport_requests_received_total", "Requests of other nodes given to their handler.";
    REQUESTS_REFUSED: Counter, Count, "quorate_transport_requests_refused_total", "Requests of other nodes answered busy.";
    REPLIES_DISCARDED: Counter, Count, "quorate_transport_replies_discarded_total", "Replies that reached nobody, by reason.";
    TRANSPORT_WRITES: Counter, Count, "quorate_transport_writes_total", "Writes to connections between nodes.";
    SENT_BYTES: Counter, Bytes, "quorate_transport_sent_bytes_total", "Bytes sent to other nodes.";
    RECEIVED_BYTES: Counter, Bytes, "quorate_transport_received_bytes_total", "Bytes received from other nodes.";
    RESP_CONNECTIONS: Gauge, Count, "quorate_resp_connections", "Redis clients connected.";
    RESP_CONNECTIONS_ACCEPTED: Counter, Count, "quorate_resp_connections_accepted_total", "Connections of Redis clients taken.";
    RESP_CONNECTIONS_REFUSED: Counter, Count, "quorate_resp_connections_refused_total", "Connections of Redis clients refused.";
    RESP_COMMANDS: Counter, Count, "quorate_resp_commands_total", "Redis commands processed.";

    // One group; within the budget of series.
    COLD_START_RESTORES: Counter, Count, "quorate_cold_start_restore_total", "Starts of a group, by what the cold-start gate came to and why.";
    COLD_START_GAP: Gauge, Count, "quorate_cold_start_applied_index_gap", "Entries between the applied index and the snapshot at the latest start.";
    GROUP_IS_LEADER: Gauge, Count, "quorate_group_is_leader", "1 where the replica on this node leads.";
    GROUP_QUARANTINED: Gauge, Count, "quorate_group_quarantined", "1 where the replica on this node is quarantined.";
    GROUP_TERM: Gauge, Count, "quorate_group_term", "The raft term.";
    GROUP_COMMIT_INDEX: Gauge, Count, "quorate_group_commit_index", "Index of the last committed entry.";
    GROUP_APPLIED_INDEX: Gauge, Count, "quorate_group_applied_index", "Index of the last applied entry.";
    GROUP_FIRST_INDEX: Gauge, Count, "quorate_group_first_index", "Index of the first entry in the log.";
    GROUP_LAST_INDEX: Gauge, Count, "quorate_group_last_index", "Index of the last entry in the log.";
    GROUP_SNAPSHOT_INDEX: Gauge, Count, "quorate_group_snapshot_index", "Index of the newest snapshot.";
    GROUP_PENDING_PROPOSALS: Gauge, Count, "quorate_group_pending_proposals", "Proposals taken and not answered yet.";
    GROUP_LOG_BYTES: Gauge, Bytes, "quorate_group_log_bytes", "Bytes of log files on disk.";
    GROUP_STORE_DISK_BYTES: Gauge, Bytes, "quorate_group_store_disk_bytes", "Bytes of the state store's files, as of the latest look.";
    GROUP_STORE_LIVE_BYTES: Gauge, Bytes, "quorate_group_store_live_bytes", "Bytes of the keys and values in the state store, as of the latest look.";
    GROUP_HLC_CEILING: Gauge, Seconds, "quorate_group_hlc_ceiling_timestamp_seconds", "Unix time below which the group's leader may give timestamps, as far as this replica has applied; 0 before the first lease.";
    GROUP_SCRUBBED: Gauge, Seconds, "quorate_group_scrubbed_timestamp_seconds", "When the latest background scan that found the state whole ended, in seconds since the Unix epoch.";
    GROUP_PROPOSALS: Counter, Count, "quorate_group_proposals_total", "Proposals answered, by how they ended.";
    GROUP_READS: Counter, Count, "quorate_group_reads_total", "Reads answered, however they ended.";
    GROUP_LEADER_CHANGES: Counter, Count, "quorate_group_leader_changes_total", "Leader changes seen by this replica.";
    GROUP_APPENDED_ENTRIES: Counter, Count, "quorate_group_log_appended_entries_total", "Entries made durable in the log.";
    GROUP_LOG_WRITTEN_BYTES: Counter, Bytes, "quorate_group_log_written_bytes_total", "Bytes written to log files.";
    GROUP_APPLIED_ENTRIES: Counter, Count, "quorate_group_applied_entries_total", "Entries applied to the state machine.";
}

/// Tells `recorder` the unit and help text of every metric.
pub fn describe_all(recorder: &dyn Recorder) {
    for metric in ALL {
        let name = KeyName::from_const_str(metric.name);
        let help = SharedString::const_str(metric.help);
        match metric.kind {
            Kind::Counter => recorder.describe_counter(name, Some(metric.unit), help),
            Kind::Gauge => recorder.describe_gauge(name, Some(metric.unit), help),
            Kind::Histogram => recorder.describe_histogram(name, Some(metric.unit), help),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_prefixed_and_end_in_their_unit() {
        let mut seen = BTreeSet::new();
        for metric in ALL {
            let name = metric.name;
            assert!(seen.insert(name), "{name} stands twice");
            assert!(name.starts_with("quorate_"), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            let stem = name.trim_end_matches("_total");
            assert_eq!(stem.ends_with("_seconds"), metric.unit == Unit::Seconds, "{name}");
            assert_eq!(stem.ends_with("_bytes"), metric.unit == Unit::Bytes, "{name}");
            assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{name}");
        }
    }
}
