//! What a run came to.

use std::collections::BTreeMap;

use serde::Serialize;

use super::fault::Kind;

/// One fault, and what became of the cluster after it.
#[derive(Clone, Debug, Serialize)]
pub struct Injected {
    /// Seconds since the load began.
    pub at_s: f64,
    /// When it ended.
    pub end_s: f64,
    /// What it was.
    pub kind: Kind,
    /// To whom.
    pub target: String,
    /// How often it was felt, where that can be counted: packets that were dropped, syncs that failed.
    pub felt: Option<u64>,
    /// From its end until a write of every key was acknowledged; `None` if that took too long.
    pub recovered_s: Option<f64>,
}

/// A run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What it was started with.
    pub seed: u64,
    /// Nodes.
    pub nodes: u16,
    /// Groups beside group 0.
    pub groups: u16,
    /// How long clients worked.
    pub seconds: f64,
    /// Acknowledged operations.
    pub acknowledged: u64,
    /// The same, for each second.
    pub acknowledged_per_second: f64,
    /// Operations that were judged.
    pub judged: usize,
    /// Those of them whose reply was lost.
    pub open_ended: usize,
    /// `linearizable`, or what is wrong.
    pub verdict: String,
    /// All that is wrong; empty is good.
    pub violations: Vec<String>,
    /// Faults by kind; those that were not felt do not count.
    pub faults: BTreeMap<Kind, u64>,
    /// Kinds that this machine does not let happen, and why.
    pub impossible: BTreeMap<Kind, String>,
    /// From the end of a fault until every key was served again: median, 99th percentile, worst, in seconds.
    pub recovery_s: [f64; 3],
    /// Seconds in which nothing was acknowledged.
    pub seconds_without_service: usize,
    /// Replicas that were out of service at the end, with the reason, before they were repaired.
    pub quarantined: Vec<String>,
    /// How often a replica was taken out of service, by node.
    pub quarantines: BTreeMap<u64, u64>,
    /// Files of which a bit was flipped.
    pub flipped: Vec<String>,
    /// Bytes that passed the proxies.
    pub proxied_bytes: u64,
    /// Each fault.
    pub injected: Vec<Injected>,
    /// Acknowledged operations, second by second.
    pub per_second: Vec<u64>,
}

/// Median, 99th percentile and worst of `values`; zeros if there are none.
pub(super) fn quantiles(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let at = |percent: usize| values.get((last * percent).div_ceil(100)).copied().unwrap_or(0.0);
    [at(50), at(99), at(100)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let of = |mut values: Vec<f64>| quantiles(&mut values).map(|value| value.to_string());
        assert_eq!(of((1..=200).rev().map(f64::from).collect()), ["101", "199", "200"]);
        assert_eq!(of(vec![7.0]), ["7", "7", "7"]);
        assert_eq!(of(Vec::new()), ["0", "0", "0"]);
    }
}
