//! Handles of the recorder: those of the node and those of one group.

use std::sync::Arc;

use metrics::{Counter, Gauge, Key, Label};

use super::sources::{COUNTERS, GAUGES, GaugeSource, Reading, Summary};
use crate::SharedRecorder;
use crate::names::{self, METADATA, Metric};
use crate::stats::{ColdStarts, GroupState, QuarantineReason};

/// A recorder, and the node whose label goes on everything.
pub(super) struct Target {
    pub(super) recorder: SharedRecorder,
    pub(super) node: Arc<str>,
}

impl Target {
    pub(super) fn counter(&self, metric: &Metric, labels: &[(&'static str, &str)]) -> Counter {
        self.recorder.register_counter(&self.key(metric, labels), &METADATA)
    }

    pub(super) fn gauge(&self, metric: &Metric, labels: &[(&'static str, &str)]) -> Gauge {
        self.recorder.register_gauge(&self.key(metric, labels), &METADATA)
    }

    /// Starts are few and their reasons many: they are registered as they come.
    pub(super) fn publish_cold_starts(&self, group: u64, starts: &ColdStarts) {
        let group = group.to_string();
        for (outcome, reason, count) in starts.counts() {
            let labels = [
                (names::GROUP_LABEL, group.as_str()),
                (names::OUTCOME_LABEL, outcome.label()),
                (names::FALLBACK_REASON_LABEL, reason),
            ];
            self.counter(&names::COLD_START_RESTORES, &labels).absolute(count);
        }
        if let Some((outcome, gap)) = starts.last_gap() {
            let labels = [(names::GROUP_LABEL, group.as_str()), (names::OUTCOME_LABEL, outcome.label())];
            self.gauge(&names::COLD_START_GAP, &labels).set(gap as f64);
        }
    }

    fn key(&self, metric: &Metric, labels: &[(&'static str, &str)]) -> Key {
        let mut all = Vec::with_capacity(labels.len() + 1);
        all.push(Label::new(names::NODE_LABEL, Arc::clone(&self.node)));
        all.extend(labels.iter().map(|&(label, value)| Label::new(label, value.to_owned())));
        Key::from_parts(metric.name, all)
    }
}

/// The series of one group, or of all others together.
pub(super) struct GroupSeries {
    /// By position in [`COUNTERS`].
    counters: Vec<(usize, Counter)>,
    gauges: Vec<(&'static GaugeSource, Gauge)>,
}

impl GroupSeries {
    pub(super) fn register(target: &Target, group: &str) -> Self {
        Self::with_gauges(target, group, GAUGES.iter())
    }

    /// Terms and indices of several groups add up to nothing: they are left out.
    pub(super) fn register_others(target: &Target) -> Self {
        Self::with_gauges(target, names::OTHER_GROUPS, GAUGES.iter().filter(|source| source.is_summed))
    }

    fn with_gauges(target: &Target, group: &str, gauges: impl Iterator<Item = &'static GaugeSource>) -> Self {
        let counters = COUNTERS.iter().enumerate().filter_map(|(at, source)| {
            let mut labels = vec![(names::GROUP_LABEL, group)];
            labels.extend(source.outcome.map(|outcome| (names::OUTCOME_LABEL, outcome.label())));
            Some((at, target.counter(source.group?, &labels)))
        });
        let gauge =
            |source: &'static GaugeSource| target.gauge(source.metric, &[(names::GROUP_LABEL, group)]);
        Self { counters: counters.collect(), gauges: gauges.map(|source| (source, gauge(source))).collect() }
    }

    pub(super) fn publish(&self, counters: &Reading, gauge: impl Fn(&GaugeSource) -> u64) {
        for (at, counter) in &self.counters {
            counter.absolute(counters.at(*at));
        }
        for (source, handle) in &self.gauges {
            handle.set(gauge(source) as f64);
        }
    }
}

/// The series of the node.
pub(super) struct NodeSeries {
    /// By position in [`COUNTERS`].
    totals: Vec<(usize, Counter)>,
    states: [Gauge; GroupState::ALL.len()],
    quarantined: [Gauge; QuarantineReason::ALL.len()],
    apply_lag_max: Gauge,
    pending_proposals: Gauge,
    log_bytes: Gauge,
    dropped: Gauge,
    build_info: Gauge,
}

impl NodeSeries {
    pub(super) fn register(target: &Target) -> Self {
        let totals = COUNTERS.iter().enumerate().filter_map(|(at, source)| {
            let outcome = source.outcome.map(|outcome| (names::OUTCOME_LABEL, outcome.label()));
            Some((at, target.counter(source.node?, outcome.as_slice())))
        });
        Self {
            totals: totals.collect(),
            states: GroupState::ALL
                .map(|state| target.gauge(&names::GROUPS, &[(names::STATE_LABEL, state.label())])),
            quarantined: QuarantineReason::ALL.map(|reason| {
                target.gauge(&names::QUARANTINED_GROUPS, &[(names::REASON_LABEL, reason.label())])
            }),
            apply_lag_max: target.gauge(&names::APPLY_LAG_ENTRIES_MAX, &[]),
            pending_proposals: target.gauge(&names::PENDING_PROPOSALS, &[]),
            log_bytes: target.gauge(&names::LOG_BYTES, &[]),
            dropped: target.gauge(&names::GROUP_SERIES_DROPPED, &[]),
            build_info: target
                .gauge(&names::BUILD_INFO, &[(names::VERSION_LABEL, env!("CARGO_PKG_VERSION"))]),
        }
    }

    pub(super) fn publish(&self, totals: &Reading, summary: &Summary) {
        for (at, counter) in &self.totals {
            counter.absolute(totals.at(*at));
        }
        for (gauge, groups) in self.states.iter().zip(summary.states) {
            gauge.set(groups as f64);
        }
        for (gauge, groups) in self.quarantined.iter().zip(summary.quarantined) {
            gauge.set(groups as f64);
        }
        self.apply_lag_max.set(summary.apply_lag_max as f64);
        self.pending_proposals.set(summary.pending_proposals as f64);
        self.log_bytes.set(summary.log_bytes as f64);
        self.dropped.set(summary.dropped as f64);
        self.build_info.set(1.0);
    }
}
