//! The numbers of one node.

use super::{Count, NodeHistograms};

/// A lane between two nodes. A closed set: it is a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Lane {
    /// Votes, heartbeats, read index, requests and replies.
    Control,
    /// Appends and snapshot chunks.
    Bulk,
}

impl Lane {
    /// Both lanes, in the order of the enum.
    pub const ALL: [Self; 2] = [Self::Control, Self::Bulk];

    /// The value of the `lane` label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Bulk => "bulk",
        }
    }
}

/// What went over one lane, all other nodes together.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct LaneStats {
    /// Messages handed to the network.
    pub sent_messages: Count,
    /// Bytes of those, framing included.
    pub sent_bytes: Count,
    /// Messages that arrived whole and valid.
    pub received_messages: Count,
    /// Bytes of those, framing included.
    pub received_bytes: Count,
    /// Messages that were given up before they were sent: the queue was full or the node not connected.
    pub dropped_messages: Count,
}

/// The numbers of a node that belong to no group.
#[derive(Debug, Default)]
pub struct NodeStats {
    lanes: [LaneStats; Lane::ALL.len()],
    /// Connections to other nodes that were established, both directions.
    pub connections: Count,
    /// Connections that ended or were refused.
    pub disconnections: Count,
    /// Frames that failed their length, CRC or validation.
    pub invalid_frames: Count,
    /// Requests sent to other nodes.
    pub requests_sent: Count,
    /// Requests of other nodes answered.
    pub requests_answered: Count,
    /// Syncs of log files.
    pub log_syncs: Count,
    /// Distributions, recorded once per batch and stage.
    pub histograms: NodeHistograms,
}

impl NodeStats {
    /// Numbers whose distributions go to `histograms`. [`NodeStats::default`] drops those: for tests.
    pub fn new(histograms: NodeHistograms) -> Self {
        Self { histograms, ..Self::default() }
    }

    /// What went over `lane`.
    pub fn lane(&self, lane: Lane) -> &LaneStats {
        &self.lanes[lane as usize]
    }
}
