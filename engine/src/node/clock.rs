//! Compares this node's wall clock with those of the other nodes, for its groups: a node whose clock is wrong neither
//! campaigns nor leases time.

use std::sync::Arc;
use std::time::Duration;

use quorate_shard::hlc::{CLOCK_OFFSET_MAX, ClockWatch};

use super::Core;

/// How often. Pings are rarer; what happens to this node's own clock in between shows without a measurement.
const MEASURE_INTERVAL: Duration = Duration::from_millis(250);

/// Runs until the node stops.
pub(super) async fn run(core: Arc<Core>) {
    let mut was_fit = true;
    loop {
        measure(&core);
        was_fit = tell(&core.deps.clock_watch, was_fit);
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            () = tokio::time::sleep(MEASURE_INTERVAL) => {}
        }
    }
}

/// Of the nodes in the catalog, those that are heard of.
fn measure(core: &Core) {
    let catalog = core.copy.load();
    let others = catalog.nodes.keys().filter(|&&node| node != core.config.node);
    let ahead_ms: Vec<i64> = others.filter_map(|&node| core.transport.clock_offset_ms(node)).collect();
    core.deps.clock_watch.measure(&ahead_ms);
}

/// Says once when the clock becomes unfit, and when it is fit again.
fn tell(watch: &ClockWatch, was_fit: bool) -> bool {
    let bound_ms = CLOCK_OFFSET_MAX.as_millis();
    match watch.check() {
        Ok(()) if !was_fit => tracing::info!(bound_ms, "this node's clock agrees with the other nodes again"),
        Err(offset_ms) if was_fit => {
            tracing::error!(
                offset_ms,
                bound_ms,
                "this node's clock is wrong: it leads no more groups and leases no time"
            );
        }
        _ => {}
    }
    watch.check().is_ok()
}
