//! Turns the atomics of a node and its groups into series of a recorder, once a second.
//!
//! Counters are published as absolute values and every series is renewed again and again, so a group that is
//! destroyed disappears from the recorder when its idle timeout has passed, and one that returns goes on from where it
//! was. A budget bounds how many groups have series of their own.

mod budget;
mod group;
mod series;
mod sources;
#[cfg(test)]
mod tests;
mod watched;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use self::budget::Candidate;
use self::group::Group;
use self::series::{GroupSeries, NodeSeries, Target};
use self::sources::{Reading, Summary};
use self::watched::{Read, Watched};
use crate::SharedRecorder;
use crate::clock::Clock;
use crate::names::{self, Kind, Metric};
use crate::stats::{GroupReport, GroupStats, NodeStats};
use crate::workers::Workers;

/// How often [`Collector::publish`] is meant to be called.
pub const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);

/// After a pause this long the recorder may have given up series as idle: all are registered anew.
const RENEW_AFTER: Duration = Duration::from_secs(3);

/// Each group's series are registered anew once in so many publications, pause or not.
const RENEW_PUBLICATIONS: u64 = 8;

/// Groups that left this node and whose counts are kept for the case that they return.
const RETIRED_GROUPS_MAX: usize = 1_024;

/// What a collector is told.
#[derive(Clone, Debug)]
pub struct CollectorConfig {
    /// The value of the `node` label; nodes that share a recorder must differ in it.
    pub node: String,
    /// How many groups may have series of their own; the others are summed as `group="other"`. Default 1,000; each
    /// group is about 25 series. Zero: only sums.
    pub group_series_max: usize,
}

impl CollectorConfig {
    /// The defaults, for the node named `node`.
    pub fn new(node: impl Into<String>) -> Self {
        Self { node: node.into(), group_series_max: 1_000 }
    }
}

/// Names and values of labels beside `node`.
pub type Labels<'a> = &'a [(&'static str, &'static str)];

/// Publishes the numbers of one node to a recorder it is given. It installs none.
///
/// ```
/// use std::sync::Arc;
///
/// use quorate_telemetry::stats::Outcome;
/// use quorate_telemetry::{Collector, CollectorConfig, Exporter, SystemClock};
///
/// let exporter = Exporter::default();
/// let clock = Arc::new(SystemClock::new());
/// let collector = Collector::new(exporter.recorder(), clock, CollectorConfig::new("node-1"));
/// let stats = collector.register(7);
/// stats.requests.proposals.of(Outcome::Applied).add(3);
/// collector.publish();
/// assert!(exporter.render().contains("quorate_group_proposals_total{node=\"node-1\",group=\"7\",outcome=\"applied\"} 3"));
/// ```
pub struct Collector {
    target: Target,
    clock: Arc<dyn Clock>,
    group_series_max: usize,
    node_stats: Arc<NodeStats>,
    state: Mutex<State>,
}

struct State {
    groups: BTreeMap<u64, Group>,
    /// Oldest first.
    retired: VecDeque<(u64, Group)>,
    watched: Vec<Watched>,
    /// Counted by all groups there ever were.
    totals: Reading,
    /// Counted by groups while they had no series of their own.
    others: Reading,
    other_series: Option<GroupSeries>,
    node_series: NodeSeries,
    publications: u64,
    published_at: Option<Duration>,
}

impl Collector {
    /// A collector that publishes to `recorder`. Every metric is described to it, and the node's histograms are
    /// registered; nothing else happens before the first [`publish`](Self::publish).
    pub fn new(recorder: SharedRecorder, clock: Arc<dyn Clock>, config: CollectorConfig) -> Self {
        names::describe_all(&recorder);
        let node_stats = Arc::new(NodeStats::new(&recorder, &config.node));
        let target = Target { recorder, node: config.node.into() };
        let state = State {
            groups: BTreeMap::new(),
            retired: VecDeque::new(),
            watched: Vec::new(),
            totals: Reading::default(),
            others: Reading::default(),
            other_series: None,
            node_series: NodeSeries::register(&target),
            publications: 0,
            published_at: None,
        };
        Self {
            target,
            clock,
            group_series_max: config.group_series_max,
            node_stats,
            state: Mutex::new(state),
        }
    }

    /// The node's distributions, for everything on it to record to.
    pub fn node_stats(&self) -> &Arc<NodeStats> {
        &self.node_stats
    }

    /// The numbers of `group`, for its actor to write to, published from now on. A group that was here before gets the
    /// numbers it had: its counts go on, its state is `Opening`, and none of its proposals are pending.
    pub fn register(&self, group: u64) -> Arc<GroupStats> {
        let mut state = self.state.lock();
        if let Some(known) = state.groups.get(&group) {
            return Arc::clone(&known.stats);
        }
        let retired = state.retired.iter().position(|&(retired, _)| retired == group);
        let known = retired.and_then(|position| state.retired.remove(position));
        let entry = known.map_or_else(Group::default, |(_, entry)| entry.returned());
        let stats = Arc::clone(&entry.stats);
        state.groups.insert(group, entry);
        stats
    }

    /// The group has left this node. Its series disappear when the recorder's idle timeout has passed; what it counted
    /// stays in the node's totals.
    pub fn forget(&self, group: u64) {
        let mut state = self.state.lock();
        let Some(mut entry) = state.groups.remove(&group) else { return };
        let delta = entry.read();
        state.totals.add(&delta);
        if entry.series.take().is_none() {
            state.others.add(&delta);
        }
        state.retired.push_back((group, entry));
        if state.retired.len() > RETIRED_GROUPS_MAX {
            state.retired.pop_front();
        }
    }

    /// Publishes what `read` returns as a series of `metric` from now on. `read` is called at each publication, so it
    /// must be cheap, must not call this collector, and should hold on to counters and not to what does the counting.
    /// A counter that goes back stands still until it has caught up.
    ///
    /// # Panics
    /// When `metric` is no counter.
    pub fn watch_counter(
        &self,
        metric: &'static Metric,
        labels: Labels,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        assert_eq!(metric.kind, Kind::Counter, "{} is no counter", metric.name);
        self.state.lock().watched.push(Watched {
            metric,
            labels: labels.to_vec(),
            read: Read::Whole(Box::new(read)),
        });
    }

    /// As [`watch_counter`](Self::watch_counter), of a gauge.
    ///
    /// # Panics
    /// When `metric` is no gauge.
    pub fn watch_gauge(
        &self,
        metric: &'static Metric,
        labels: Labels,
        read: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        assert_eq!(metric.kind, Kind::Gauge, "{} is no gauge", metric.name);
        self.state.lock().watched.push(Watched {
            metric,
            labels: labels.to_vec(),
            read: Read::Whole(Box::new(read)),
        });
    }

    /// As [`watch_gauge`](Self::watch_gauge), of something that is measured and may be negative.
    ///
    /// # Panics
    /// When `metric` is no gauge.
    pub fn watch_measurement(&self, metric: &'static Metric, read: impl Fn() -> f64 + Send + Sync + 'static) {
        assert_eq!(metric.kind, Kind::Gauge, "{} is no gauge", metric.name);
        let read = Read::Measured(Box::new(read));
        self.state.lock().watched.push(Watched { metric, labels: Vec::new(), read });
    }

    /// Publishes the depth of a worker pool as `pool` from now on.
    pub fn watch_workers(&self, pool: &'static str, workers: Arc<dyn Workers>) {
        self.watch_gauge(&names::WORKER_JOBS, &[(names::POOL_LABEL, pool)], move || workers.depth() as u64);
    }

    /// Everything known about each group, by number.
    pub fn report(&self) -> Vec<GroupReport> {
        self.state.lock().groups.iter().map(|(&group, entry)| entry.stats.report(group)).collect()
    }

    /// Everything known about `group`, if it is on this node.
    pub fn report_group(&self, group: u64) -> Option<GroupReport> {
        self.state.lock().groups.get(&group).map(|entry| entry.stats.report(group))
    }

    /// Publishes everything once. To be called every [`PUBLISH_INTERVAL`]; it blocks on nothing but itself, and takes
    /// about a millisecond for a thousand groups.
    pub fn publish(&self) {
        let mut state = self.state.lock();
        let begin = self.clock.monotonic();
        let paused = state.published_at.is_some_and(|last| begin.saturating_sub(last) > RENEW_AFTER);
        state.published_at = Some(begin);
        state.publications += 1;

        let deltas = state.read_groups();
        state.publish_start_times(&self.node_stats);
        state.assign_series(&self.target, self.group_series_max, paused);
        let summary = state.publish_groups(&self.target, &deltas);
        if paused || state.publications.is_multiple_of(RENEW_PUBLICATIONS) {
            state.node_series = NodeSeries::register(&self.target);
        }
        state.node_series.publish(&state.totals, &summary);
        for watched in &state.watched {
            watched.publish(&self.target);
        }
        let took = self.clock.monotonic().saturating_sub(begin);
        self.target.gauge(&names::COLLECTOR_PUBLISH_SECONDS, &[]).set(took.as_secs_f64());
    }
}

impl State {
    fn read_groups(&mut self) -> Vec<Reading> {
        self.groups.values_mut().map(Group::read).collect()
    }

    /// Groups share the node's distribution, whether they have series or not.
    fn publish_start_times(&self, node: &NodeStats) {
        for (outcome, took) in self.groups.values().flat_map(|entry| entry.stats.cold_starts.take_times()) {
            node.cold_start_seconds(outcome).record(took.as_secs_f64());
        }
    }

    /// Gives series to the groups that are to have them, and takes them from the others.
    fn assign_series(&mut self, target: &Target, group_series_max: usize, renew_all: bool) {
        let candidates = self.groups.iter().map(|(&group, entry)| Candidate {
            group,
            is_unhealthy: entry.stats.state().is_unhealthy(),
            is_shown: entry.series.is_some(),
            load: entry.load,
        });
        let chosen = budget::choose(candidates.collect(), group_series_max);
        let others = chosen.len() < self.groups.len();
        for (&group, entry) in &mut self.groups {
            let renew = renew_all || group.wrapping_add(self.publications).is_multiple_of(RENEW_PUBLICATIONS);
            if !chosen.contains(&group) {
                entry.series = None;
            } else if renew || entry.series.is_none() {
                entry.series = Some(GroupSeries::register(target, &group.to_string()));
            }
        }
        self.other_series = others.then(|| GroupSeries::register_others(target));
    }

    fn publish_groups(&mut self, target: &Target, deltas: &[Reading]) -> Summary {
        let mut summary = Summary::default();
        for ((&group, entry), delta) in self.groups.iter().zip(deltas) {
            self.totals.add(delta);
            summary.add(&entry.stats, entry.series.is_some());
            if let Some(series) = &entry.series {
                series.publish(entry.last(), |source| (source.read)(&entry.stats));
                target.publish_cold_starts(group, &entry.stats.cold_starts);
            } else {
                self.others.add(delta);
            }
        }
        if let Some(series) = &self.other_series {
            let hidden = || self.groups.values().filter(|entry| entry.series.is_none());
            series.publish(&self.others, |source| hidden().map(|entry| (source.read)(&entry.stats)).sum());
        }
        summary
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("node", &self.target.node).finish_non_exhaustive()
    }
}
