//! The node under test: one voter, so that nothing but its own disk can give back what it acknowledged.

use std::sync::Arc;
use std::time::Duration;

use quorate::config::uniform_ranges;
use quorate::{Config, Lifecycle, Node, Seams};
use quorate_telemetry::clock::SystemClock;

use super::log_disk::LyingLog;
use super::{ChildArgs, Error};

/// Groups beside group 0.
const GROUPS: u16 = 4;
/// Snapshots are frequent, so that cuts hit them too.
const SNAPSHOT_ENTRIES: u64 = 60;

/// On a slow or busy disk a write of 8 MiB takes its time; a failed one ends the writer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// A start replays a small log and restores a small snapshot.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Opens the node and waits until its groups serve.
pub(super) async fn open(args: &ChildArgs) -> Result<Node, Error> {
    let mut config = Config::new(&args.data);
    config.store = args.store;
    config.bootstrap.ranges = uniform_ranges(GROUPS);
    config.snapshots.entries = Some(SNAPSHOT_ENTRIES);
    config.deadline = WRITE_TIMEOUT;
    // Flushes and compactions of the store have to happen as well.
    config.memtable_bytes = 16 << 20;
    let mut seams = Seams::production(&config)?;
    seams.clock = Arc::new(SystemClock::with_boot_id_file(&args.boot_id)?);
    if args.lying_log {
        seams.disk = Arc::new(LyingLog(seams.disk));
    }
    let node = quorate::open_with_seams(config, seams).await?;
    match node.ready(READY_TIMEOUT).await {
        Ok(()) => Ok(node),
        Err(_) => Err(Error::NotReady { groups: not_running(&node) }),
    }
}

fn not_running(node: &Node) -> String {
    let groups = node.local_groups();
    let stopped = groups.iter().filter(|status| status.lifecycle != Lifecycle::Running);
    let told: Vec<String> =
        stopped.map(|status| format!("group {}: {:?}", status.group, status.lifecycle)).collect();
    told.join("; ")
}
