//! A Prometheus recorder for a node that brings none of its own.
//!
//! No listener is here: whoever serves the admin pages serves [`Exporter::render`].

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;

use crate::SharedRecorder;
use crate::collector::PUBLISH_INTERVAL;

/// How often [`Exporter::run_upkeep`] has to be called: until then every recorded sample is kept in memory.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// A series that nobody has published for this long disappears from the output.
pub const IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(15);

// A live series is published many times before it could pass for idle.
const _: () = assert!(IDLE_TIMEOUT_DEFAULT.as_secs() >= 10 * PUBLISH_INTERVAL.as_secs());

/// From a quarter of a millisecond, below any sync, to the seconds of a stalled disk or a long start.
const SECONDS_BUCKETS: [f64; 16] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 5.0,
    20.0,
];

/// From a small batch to the frame cap of 16 MiB. Batches begin on boundaries of 4 KiB.
const BYTES_BUCKETS: [f64; 13] = [
    4_096.0,
    8_192.0,
    16_384.0,
    32_768.0,
    65_536.0,
    131_072.0,
    262_144.0,
    524_288.0,
    1_048_576.0,
    2_097_152.0,
    4_194_304.0,
    8_388_608.0,
    16_777_216.0,
];

/// Powers of two, up to a full mailbox and beyond.
const ENTRIES_BUCKETS: [f64; 13] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0, 4_096.0];

/// A recorder in memory, and its rendering. One per node, or one for several that differ in their `node` label.
#[derive(Clone)]
pub struct Exporter {
    recorder: SharedRecorder,
    handle: PrometheusHandle,
}

impl Exporter {
    /// A recorder whose counters and gauges disappear `idle_timeout` after they were last published; it should be many
    /// times [`PUBLISH_INTERVAL`]. Histograms stay: they are few, and their handles are held where they are recorded.
    pub fn new(idle_timeout: Duration) -> Self {
        let mask = MetricKindMask::COUNTER | MetricKindMask::GAUGE;
        // The suffix of the name as it is registered decides: names carry their unit, so nothing is added to them.
        // `with_recommended_naming` stays on as a net for names that come from elsewhere.
        let recorder = with_buckets(PrometheusBuilder::new())
            .idle_timeout(mask, Some(idle_timeout))
            .with_recommended_naming(true)
            .build_recorder();
        let handle = recorder.handle();
        Self { recorder: Arc::new(recorder), handle }
    }

    /// The recorder, to be given to a [`Collector`](crate::collector::Collector).
    pub fn recorder(&self) -> SharedRecorder {
        Arc::clone(&self.recorder)
    }

    /// Everything in the Prometheus text format, version 0.0.4. It takes some 20 to 60 ms for a thousand groups: not
    /// for a thread that others wait on.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds recorded samples into their buckets. To be called every [`UPKEEP_INTERVAL`].
    pub fn run_upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl Default for Exporter {
    fn default() -> Self {
        Self::new(IDLE_TIMEOUT_DEFAULT)
    }
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

fn with_buckets(builder: PrometheusBuilder) -> PrometheusBuilder {
    let sets: [(&str, &[f64]); 3] =
        [("_seconds", &SECONDS_BUCKETS), ("_bytes", &BYTES_BUCKETS), ("_entries", &ENTRIES_BUCKETS)];
    sets.into_iter().fold(builder, |builder, (suffix, buckets)| {
        builder
            .set_buckets_for_metric(Matcher::Suffix(suffix.to_owned()), buckets)
            .expect("only an empty set of buckets is refused")
    })
}
