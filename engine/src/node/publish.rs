//! Once a second: the stores' upkeep, and everything that was counted goes to the metrics recorder.

use std::sync::Arc;

use quorate_shard::disk_space::Room;
use quorate_telemetry::collector::{Collector, PUBLISH_INTERVAL};
use quorate_telemetry::names;
use quorate_transport::Counts;

use super::Core;

/// One number out of the transport's.
type ReadCount = fn(Counts) -> u64;

/// Runs until the node stops.
pub(super) async fn run(core: Arc<Core>) {
    watch_node(&core);
    let mut ticks = tokio::time::interval(PUBLISH_INTERVAL);
    loop {
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            _ = ticks.tick() => {}
        }
        core.stores.tick();
        core.collector.publish();
    }
}

/// What the node's own parts count is read at each publication.
fn watch_node(core: &Core) {
    let collector = &core.collector;
    let disk = Arc::clone(&core.seams.disk);
    collector.watch_counter(&names::DISK_SYNCS, &[], move || disk.sync_count());
    let disk = Arc::clone(&core.seams.disk);
    collector.watch_counter(&names::DISK_WRITTEN_BYTES, &[], move || disk.bytes_written());
    let space = Arc::clone(&core.space);
    collector.watch_gauge(&names::DISK_FREE_BYTES, &[], move || space.free_bytes());
    let space = Arc::clone(&core.space);
    collector.watch_gauge(&names::DISK_FULL, &[], move || u64::from(space.room() != Room::Ample));
    let watch = Arc::clone(&core.deps.clock_watch);
    collector.watch_measurement(&names::CLOCK_OFFSET_SECONDS, move || watch.offset_ms() as f64 / 1_000.0);
    let workers = &core.seams.workers;
    for (pool, workers) in [
        ("log", &workers.log),
        ("apply", &workers.apply),
        ("read", &workers.read),
        ("background", &workers.background),
        ("open", &workers.open),
        ("restore", &workers.restore),
    ] {
        collector.watch_workers(pool, Arc::clone(workers));
    }
    watch_transport(core, collector);
}

fn watch_transport(core: &Core, collector: &Collector) {
    let counters: [(&'static names::Metric, ReadCount); 11] = [
        (&names::CONNECTS, |counts| counts.connects),
        (&names::CONNECT_FAILURES, |counts| counts.connect_failures),
        (&names::ACCEPTS, |counts| counts.accepts),
        (&names::MESSAGES_SENT, |counts| counts.messages_sent),
        (&names::MESSAGES_RECEIVED, |counts| counts.messages_received),
        (&names::MESSAGES_DROPPED, |counts| counts.messages_dropped),
        (&names::MESSAGE_BATCHES_SENT, |counts| counts.batches_sent),
        (&names::REQUESTS_SENT, |counts| counts.requests_sent),
        (&names::REQUESTS_RECEIVED, |counts| counts.requests_received),
        (&names::SENT_BYTES, |counts| counts.bytes_sent),
        (&names::RECEIVED_BYTES, |counts| counts.bytes_received),
    ];
    for (metric, read) in counters {
        let stats = Arc::clone(core.transport.stats());
        collector.watch_counter(metric, &[], move || read(stats.counts()));
    }
}
