mod exposition;

use std::num::NonZeroUsize;

use self::exposition::Exposition;
use super::*;
use crate::clock::{BootId, SimClock};
use crate::exporter::Exporter;
use crate::names::Kind;
use crate::rng::SeededRng;
use crate::stats::{ColdStart, ColdStartOutcome, GroupState, Outcome};
use crate::workers::{SimWorkers, SimWorkersConfig};

/// Long enough that nothing is idle in a test.
const NEVER: Duration = Duration::from_secs(3_600);
/// Short enough that a test can wait for it.
const SOON: Duration = Duration::from_millis(1);

fn clock() -> Arc<SimClock> {
    Arc::new(SimClock::new(Duration::ZERO, BootId([0; 16])))
}

fn collector(exporter: &Exporter, node: &str, group_series_max: usize) -> Collector {
    let config = CollectorConfig { group_series_max, ..CollectorConfig::new(node) };
    Collector::new(exporter.recorder(), clock(), config)
}

fn published(collector: &Collector, exporter: &Exporter) -> Exposition {
    collector.publish();
    Exposition::parse(&exporter.render())
}

fn apply(stats: &GroupStats, entries: u64) {
    stats.apply.entries.add(entries);
    stats.requests.proposals.of(Outcome::Applied).add(entries);
}

/// Renders, with nothing published, until `series` has passed its idle timeout.
fn wait_until_idle(exporter: &Exporter, series: &str) {
    while Exposition::parse(&exporter.render()).value(series).is_some() {
        std::thread::yield_now();
    }
}

fn touch_everything(collector: &Collector) {
    let stats = collector.register(1);
    stats.set_state(GroupState::Leader);
    apply(&stats, 3);
    stats.apply.hlc_ceiling.set((1_700_000_000_999 << 16) | 7);
    let start = ColdStart {
        outcome: ColdStartOutcome::Fallback,
        reason: "missing_meta",
        gap_entries: None,
        read_bytes: 4_096,
        took: Duration::from_millis(30),
    };
    stats.cold_starts.record(start);
    let (outcome, gap_entries) = (ColdStartOutcome::Skipped, Some(7));
    stats.cold_starts.record(ColdStart { outcome, reason: "none", gap_entries, read_bytes: 0, ..start });
    let node = collector.node_stats();
    for seconds in [0.0004, 0.003, 30.0] {
        node.log_append_seconds.record(seconds);
        node.apply_seconds.record(seconds);
        node.propose_to_apply_seconds.record(seconds);
    }
    node.log_batch_bytes.record(5_000.0);
    node.apply_batch_entries.record(3.0);
    let others = ["quorate_clock_", "quorate_disk_", "quorate_transport_", "quorate_resp_"];
    for metric in
        names::ALL.iter().filter(|metric| others.iter().any(|prefix| metric.name.starts_with(prefix)))
    {
        match metric.kind {
            Kind::Counter => collector.watch_counter(metric, &[(names::REASON_LABEL, "planted")], || 100),
            _ => collector.watch_gauge(metric, &[], || 100),
        }
    }
    let config = SimWorkersConfig { threads: NonZeroUsize::MIN, job_time_max: Duration::ZERO };
    let workers = SimWorkers::new(Arc::new(SeededRng::new(1)), config);
    collector.watch_workers("apply", Arc::new(workers));
}

#[test]
fn the_exposition_is_valid_and_holds_every_metric_under_its_own_name() {
    let exporter = Exporter::new(NEVER);
    let collector = collector(&exporter, "n1", 10);
    touch_everything(&collector);
    let shown = published(&collector, &exporter);
    exporter.run_upkeep();
    for metric in names::ALL {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        assert_eq!(shown.kind(metric.name), Some(kind), "{}", metric.name);
        assert!(shown.is_described(metric.name), "{}", metric.name);
    }
    assert_eq!(shown.families(), names::ALL.len(), "nothing is exported that has no entry in the table");
    let is = |series: &str, value: f64| assert_eq!(shown.value(series), Some(value), "{series}");
    is(r#"quorate_group_applied_entries_total{group="1",node="n1"}"#, 3.0);
    is(r#"quorate_group_hlc_ceiling_timestamp_seconds{group="1",node="n1"}"#, 1_700_000_000.0);
    is(r#"quorate_proposals_total{node="n1",outcome="applied"}"#, 3.0);
    is(r#"quorate_proposals_total{node="n1",outcome="busy"}"#, 0.0);
    is(r#"quorate_groups{node="n1",state="leader"}"#, 1.0);
    is(r#"quorate_log_append_seconds_bucket{le="0.0005",node="n1"}"#, 1.0);
    is(r#"quorate_log_append_seconds_bucket{le="+Inf",node="n1"}"#, 3.0);
    is(r#"quorate_log_batch_bytes_bucket{le="8192",node="n1"}"#, 1.0);
    is(r#"quorate_apply_batch_entries_bucket{le="2",node="n1"}"#, 0.0);
    is(r#"quorate_transport_sent_bytes_total{node="n1",reason="planted"}"#, 100.0);
    is(
        r#"quorate_cold_start_restore_total{fallback_reason="missing_meta",group="1",node="n1",outcome="fallback"}"#,
        1.0,
    );
    is(r#"quorate_cold_start_applied_index_gap{group="1",node="n1",outcome="skipped"}"#, 7.0);
    is(r#"quorate_cold_start_read_bytes_total{node="n1"}"#, 4_096.0);
    is(r#"quorate_cold_start_seconds_count{node="n1",outcome="skipped"}"#, 1.0);
    is(r#"quorate_cold_start_seconds_count{node="n1",outcome="fallback"}"#, 1.0);
}

#[test]
fn nodes_that_share_a_recorder_keep_their_series_apart() {
    let exporter = Exporter::new(NEVER);
    let (one, two) = (collector(&exporter, "n1", 10), collector(&exporter, "n2", 10));
    apply(&one.register(1), 3);
    apply(&two.register(1), 5);
    one.publish();
    let shown = published(&two, &exporter);
    assert_eq!(shown.value(r#"quorate_group_applied_entries_total{group="1",node="n1"}"#), Some(3.0));
    assert_eq!(shown.value(r#"quorate_group_applied_entries_total{group="1",node="n2"}"#), Some(5.0));
}

#[test]
fn a_destroyed_group_disappears_and_a_returning_one_goes_on() {
    let exporter = Exporter::new(SOON);
    let collector = collector(&exporter, "n1", 10);
    let series = r#"quorate_group_applied_entries_total{group="1",node="n1"}"#;
    let stats = collector.register(1);
    stats.requests.pending_proposals.set(4);
    apply(&stats, 3);
    assert_eq!(published(&collector, &exporter).value(series), Some(3.0));
    apply(&stats, 2);
    collector.forget(1);
    let without = loop {
        let shown = published(&collector, &exporter);
        // Each of its series has a timer of its own.
        if shown.series_of("quorate_group_").next().is_none() {
            break shown;
        }
    };
    assert_eq!(
        without.value(r#"quorate_applied_entries_total{node="n1"}"#),
        Some(5.0),
        "what it did remains in the total"
    );

    let again = collector.register(1);
    assert_eq!((again.state(), again.requests.pending_proposals.get()), (GroupState::Opening, 0));
    apply(&again, 1);
    let back = published(&collector, &exporter);
    assert_eq!(back.value(series), Some(6.0));
    assert_eq!(back.value(r#"quorate_applied_entries_total{node="n1"}"#), Some(6.0));
}

#[tokio::test(start_paused = true)]
async fn series_return_with_the_first_publication_after_a_pause() {
    let exporter = Exporter::new(SOON);
    let collector = collector(&exporter, "n1", 10);
    apply(&collector.register(1), 3);
    let group = r#"quorate_group_applied_entries_total{group="1",node="n1"}"#;
    let node = r#"quorate_applied_entries_total{node="n1"}"#;
    assert_eq!(published(&collector, &exporter).value(group), Some(3.0));
    // A stopped process that goes on: the recorder is asked before the collector has come to publish.
    wait_until_idle(&exporter, group);
    wait_until_idle(&exporter, node);
    tokio::time::advance(RENEW_AFTER * 2).await;
    let shown = published(&collector, &exporter);
    assert_eq!((shown.value(group), shown.value(node)), (Some(3.0), Some(3.0)));
}

#[test]
fn a_histogram_stays_however_long_nobody_records() {
    let exporter = Exporter::new(SOON);
    let collector = collector(&exporter, "n1", 10);
    collector.node_stats().log_append_seconds.record(0.001);
    let count = r#"quorate_log_append_seconds_count{node="n1"}"#;
    assert_eq!(published(&collector, &exporter).value(count), Some(1.0));
    wait_until_idle(&exporter, r#"quorate_log_bytes{node="n1"}"#);
    assert_eq!(Exposition::parse(&exporter.render()).value(count), Some(1.0));
    collector.node_stats().log_append_seconds.record(0.001);
    assert_eq!(Exposition::parse(&exporter.render()).value(count), Some(2.0));
}

#[test]
fn a_series_that_was_lost_unnoticed_returns_within_a_few_publications() {
    let exporter = Exporter::new(SOON);
    let collector = collector(&exporter, "n1", 10);
    apply(&collector.register(1), 3);
    let group = r#"quorate_group_applied_entries_total{group="1",node="n1"}"#;
    collector.publish();
    wait_until_idle(&exporter, group);
    let back = (0..RENEW_PUBLICATIONS).any(|_| published(&collector, &exporter).value(group) == Some(3.0));
    assert!(back);
}

#[test]
fn over_the_budget_unhealthy_groups_come_first_and_the_rest_is_summed() {
    let exporter = Exporter::new(NEVER);
    let collector = collector(&exporter, "n1", 2);
    for group in 1..=4 {
        let stats = collector.register(group);
        stats.set_state(GroupState::Follower);
        stats.raft.term.set(9);
        stats.log.bytes.set(100);
        apply(&stats, group * 10);
    }
    collector.register(1).set_state(GroupState::Quarantined);
    let shown = published(&collector, &exporter);
    let entries = |group: &str| {
        shown.value(&format!(r#"quorate_group_applied_entries_total{{group="{group}",node="n1"}}"#))
    };
    let all = ["1", "2", "3", "4", "other"].map(entries);
    assert_eq!(all, [Some(10.0), None, None, Some(40.0), Some(50.0)], "the ill one, the busiest, the others");
    assert_eq!(shown.value(r#"quorate_group_series_dropped{node="n1"}"#), Some(2.0));
    assert_eq!(shown.value(r#"quorate_group_log_bytes{group="other",node="n1"}"#), Some(200.0));
    assert_eq!(shown.value(r#"quorate_group_term{group="other",node="n1"}"#), None, "terms do not add up");
    assert_eq!(shown.value(r#"quorate_applied_entries_total{node="n1"}"#), Some(100.0));
}

#[test]
fn the_sum_of_the_others_never_goes_back_when_groups_change_places() {
    let exporter = Exporter::new(NEVER);
    let collector = collector(&exporter, "n1", 1);
    let stats = [1, 2, 3].map(|group| collector.register(group));
    let series = r#"quorate_group_applied_entries_total{group="other",node="n1"}"#;
    let rng = SeededRng::new(11);
    let (mut last, mut all) = (0.0, 0.0);
    for _ in 0..200 {
        for stats in &stats {
            let entries = crate::rng::Rng::below(&rng, 1_000);
            apply(stats, entries);
            all += entries as f64;
        }
        let shown = published(&collector, &exporter);
        let others = shown.value(series).unwrap();
        assert!(others >= last && others <= all);
        last = others;
        assert_eq!(shown.value(r#"quorate_applied_entries_total{node="n1"}"#), Some(all));
    }
}

#[test]
fn a_registered_group_is_reported_and_a_forgotten_one_is_not() {
    let exporter = Exporter::new(NEVER);
    let collector = collector(&exporter, "n1", 0);
    let stats = collector.register(5);
    assert!(Arc::ptr_eq(&stats, &collector.register(5)));
    stats.set_state(GroupState::Learner);
    stats.raft.commit.set(12);
    let report = collector.report_group(5).unwrap();
    assert_eq!((report.group, report.commit, report.state), (5, 12, GroupState::Learner));
    assert_eq!(serde_json::to_value(&report).unwrap()["state"], "learner");
    collector.forget(5);
    assert!(collector.report().is_empty() && collector.report_group(5).is_none());
}
