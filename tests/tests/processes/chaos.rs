//! The short form of `chaos`: that it breaks something, and that the cluster is judged and found well.

use std::time::Duration;

use quorate_tests::chaos::{Options, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_under_chaos_is_linearizable_and_becomes_whole() {
    let out = tempfile::tempdir().expect("a directory for the report");
    let options =
        Options { time: Duration::from_secs(8), nodes: 3, groups: 4, seed: 1, out: out.path().to_path_buf() };
    let report = run(&options).await.expect("a verdict");
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    assert_eq!(report.verdict, "linearizable");
    assert!(!report.injected.is_empty() && report.acknowledged > 0, "{report:?}");
    assert!(out.path().join("availability.svg").is_file(), "there is no picture");
}
