//! What hot paths count: plain atomics per group, and the histograms of a node.
//!
//! Everything here may be touched from any thread at any time, takes no lock (cold starts aside) and orders nothing:
//! a reader sees each number as it was a moment ago, not all numbers of one moment. The [collector] publishes them.
//!
//! [collector]: crate::collector

mod cell;
mod cold_start;
mod group;
mod group_report;
mod group_state;
mod node;
mod outcome;
mod quarantine;

pub use self::cell::{Count, Level};
pub use self::cold_start::{ColdStart, ColdStartCount, ColdStartOutcome, ColdStarts};
pub use self::group::{ApplyStats, GroupStats, LogStats, RaftStats, RequestStats, SnapshotStats};
pub use self::group_report::GroupReport;
pub use self::group_state::GroupState;
pub use self::node::NodeStats;
pub use self::outcome::{Outcome, OutcomeCounts};
pub use self::quarantine::QuarantineReason;
