//! What is printed.

use serde::Serialize;

use super::load::Part;

#[derive(Serialize)]
pub(super) struct Report {
    pub(super) mib: u64,
    pub(super) groups: u16,
    pub(super) store: String,
    pub(super) rate: u32,
    pub(super) clients: u32,
    pub(super) fill_seconds: f64,
    pub(super) median: Summary,
    pub(super) rounds: Vec<Round>,
    pub(super) peak_rss_mib: f64,
    pub(super) fdatasync_per_s: f64,
    pub(super) filesystem: String,
}

/// Latencies are those of the other groups' writes; bytes those of the snapshot file.
#[derive(Clone, Serialize)]
pub(super) struct Phase {
    name: &'static str,
    seconds: f64,
    bytes: u64,
    writes: u64,
    errors: u64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
    /// The longest of each second.
    worst_us: Vec<u64>,
}

/// One round. Ratios are those of 99th percentiles to the mean of the two quiet phases'.
#[derive(Serialize)]
pub(super) struct Round {
    phases: [Phase; 6],
    publish_p99_ratio: f64,
    install_p99_ratio: f64,
    publish_and_install_seconds: f64,
}

/// Median, least and most of the rounds.
#[derive(Serialize)]
pub(super) struct Summary {
    quiet_p99_us: [f64; 3],
    publish_p99_us: [f64; 3],
    install_p99_us: [f64; 3],
    publish_p99_ratio: [f64; 3],
    install_p99_ratio: [f64; 3],
    publish_seconds: [f64; 3],
    install_seconds: [f64; 3],
}

impl Phase {
    pub(super) fn of(name: &'static str, part: &Part, bytes: u64) -> Self {
        let quantile = |quantile| part.latency.value_at_quantile(quantile);
        Self {
            name,
            seconds: part.elapsed.as_secs_f64(),
            bytes,
            writes: part.latency.len(),
            errors: part.errors,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            worst_us: part.worst_us.clone(),
        }
    }
}

impl Round {
    pub(super) fn of(phases: [Phase; 6]) -> Self {
        let [quiet, publish, _, _, install, quiet_again] = &phases;
        let quiet_us = f64::midpoint(quiet.p99_us as f64, quiet_again.p99_us as f64).max(1.0);
        Self {
            publish_p99_ratio: publish.p99_us as f64 / quiet_us,
            install_p99_ratio: install.p99_us as f64 / quiet_us,
            publish_and_install_seconds: publish.seconds + install.seconds,
            phases,
        }
    }

    fn p99_us(&self, phase: usize) -> f64 {
        self.phases[phase].p99_us as f64
    }
}

/// What most rounds are like, and how far they differ.
pub(super) fn median_round(rounds: &[Round]) -> Summary {
    let spread = |of: &dyn Fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        [at(values.len() / 2), at(0), at(values.len().saturating_sub(1))]
    };
    Summary {
        quiet_p99_us: spread(&|round| f64::midpoint(round.p99_us(0), round.p99_us(5))),
        publish_p99_us: spread(&|round| round.p99_us(1)),
        install_p99_us: spread(&|round| round.p99_us(4)),
        publish_p99_ratio: spread(&|round| round.publish_p99_ratio),
        install_p99_ratio: spread(&|round| round.install_p99_ratio),
        publish_seconds: spread(&|round| round.phases[1].seconds),
        install_seconds: spread(&|round| round.phases[4].seconds),
    }
}
