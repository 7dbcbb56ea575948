//! Once a second: the stores' upkeep, and what the groups, the transport and the disk have counted goes to the
//! metrics collector.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_shard::actor::{ActorCounters, GroupHandle, GroupStatus, Lifecycle};
use quorate_storage::GroupId;
use quorate_telemetry::collector::{Collector, PUBLISH_INTERVAL};
use quorate_telemetry::names;
use quorate_telemetry::stats::{GroupState, GroupStats, Outcome};
use quorate_transport::Counts;

use super::Core;

/// One group's numbers, and what of its counters has been told already.
struct Told {
    stats: Arc<GroupStats>,
    counters: ActorCounters,
}

/// Runs until the node stops.
pub(super) async fn run(core: Arc<Core>) {
    watch_node(&core);
    let mut told: BTreeMap<GroupId, Told> = BTreeMap::new();
    let mut ticks = tokio::time::interval(PUBLISH_INTERVAL);
    loop {
        tokio::select! {
            biased;
            () = core.stopping.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let groups = core.registry.all();
        told.retain(|group, _| {
            let stays = groups.contains_key(group);
            if !stays {
                core.collector.forget(group.get());
            }
            stays
        });
        for (&group, handle) in groups.iter() {
            let entry = told.entry(group).or_insert_with(|| Told {
                stats: core.collector.register(group.get()),
                counters: ActorCounters::default(),
            });
            tell(entry, handle);
        }
        core.stores.tick();
        core.collector.publish();
    }
}

fn tell(told: &mut Told, handle: &GroupHandle) {
    let status = handle.status();
    let stats = &told.stats;
    stats.set_state(state_of(&status));
    let leader = status.role.leader.map_or(0, |leader| leader.get());
    if leader != 0 && leader != stats.raft.leader.get() {
        stats.raft.leader_changes.increment();
    }
    stats.raft.leader.set(leader);
    stats.raft.term.set(status.role.term.get());
    stats.raft.commit.set(status.commit.get());
    stats.raft.first.set(status.first.get());
    stats.raft.last.set(status.last.get());
    stats.apply.applied.set(status.applied.get());
    stats.snapshots.index.set(status.snapshot.map_or(0, |snapshot| snapshot.index.get()));
    // A group that was started again counts from zero: then all of it is new.
    let now = handle.counters();
    let before = if now.log_syncs >= told.counters.log_syncs { told.counters } else { ActorCounters::default() };
    stats.requests.reads.of(Outcome::Applied).add(now.reads.saturating_sub(before.reads));
    stats.requests.proposals.of(Outcome::Busy).add(now.requests_refused.saturating_sub(before.requests_refused));
    stats.log.batches.add(now.log_syncs.saturating_sub(before.log_syncs));
    stats.apply.batches.add(now.apply_batches.saturating_sub(before.apply_batches));
    stats.apply.entries.add(now.entries_applied.saturating_sub(before.entries_applied));
    stats.apply.duplicates_dropped.add(now.duplicates_dropped.saturating_sub(before.duplicates_dropped));
    stats.snapshots.published.add(now.snapshots_published.saturating_sub(before.snapshots_published));
    told.counters = now;
}

fn state_of(status: &GroupStatus) -> GroupState {
    let is_learner = !status.is_voter;
    match status.lifecycle {
        Lifecycle::Quarantined(_) => GroupState::Quarantined,
        _ if status.role.is_leader => GroupState::Leader,
        _ if status.role.leader.is_none() => GroupState::NoLeader,
        _ if is_learner => GroupState::Learner,
        _ => GroupState::Follower,
    }
}

/// What the node's own parts count is read at each publication.
fn watch_node(core: &Core) {
    let collector = &core.collector;
    let disk = Arc::clone(&core.seams.disk);
    collector.watch_counter(&names::DISK_SYNCS, &[], move || disk.sync_count());
    let disk = Arc::clone(&core.seams.disk);
    collector.watch_counter(&names::DISK_WRITTEN_BYTES, &[], move || disk.bytes_written());
    let workers = &core.seams.workers;
    for (pool, workers) in [
        ("log", &workers.log),
        ("apply", &workers.apply),
        ("read", &workers.read),
        ("background", &workers.background),
    ] {
        collector.watch_workers(pool, Arc::clone(workers));
    }
    watch_transport(core, collector);
}

fn watch_transport(core: &Core, collector: &Collector) {
    let counters: [(&'static names::Metric, fn(Counts) -> u64); 11] = [
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
