//! Three whole nodes under faults: safe at every moment, live afterwards, and the same again from the same seed.

use std::num::NonZeroUsize;
use std::time::Duration;

use quorate_tests::full_stack::{Crash, Fault, Options, Schedule, Scheduled, run, run_seeds};

/// Their faults were to be seen by these seeds when the suite was made: a bulk lane that stayed dead among them.
const SEEDS: std::ops::Range<u64> = 11..31;

#[test]
fn seeds_under_faults_are_safe_and_become_whole_again() {
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let summary = run_seeds(SEEDS, &Options::default(), threads, &|_, outcome| match outcome {
        Ok(report) => {
            let fired: u64 = report.fired.values().sum();
            assert!(fired >= 5, "a run with {fired} faults: {report:?}");
            assert!(report.acknowledged >= 500, "a run in which hardly anything was done: {report:?}");
        }
        Err(failure) => panic!("{failure}"),
    });
    assert_eq!(summary.passed, SEEDS.end - SEEDS.start);
    assert!(summary.installed > 0, "no snapshot was ever installed");
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    let options = Options { faults_for: Duration::from_secs(20), operations: 300, ..Options::default() };
    let first = run(5, &options).unwrap_or_else(|failure| panic!("{failure}"));
    let second = run(5, &options).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(first, second);
    let other = run(6, &options).unwrap_or_else(|failure| panic!("{failure}"));
    assert_ne!(first.trace, other.trace, "another seed is another run");
}

/// The net is proven: where syncs are not carried out, a power cut of all machines loses acknowledged writes.
#[test]
fn disks_that_lie_are_found_out() {
    let crash = Fault::Crash { nodes: vec![0, 1, 2], how: Crash::PowerCut, down_ms: 500, is_slow: false };
    let crash = Scheduled { at_ms: 15_000, fault: crash };
    let lies = (0..3).map(|node| Scheduled { at_ms: 5_000, fault: Fault::Lie { node } });
    let options = |faults| Options {
        faults_for: Duration::from_secs(20),
        operations: 300,
        schedule: Some(Schedule { faults }),
        ..Options::default()
    };
    let honest = run(7, &options(vec![crash.clone()]));
    honest.unwrap_or_else(|failure| panic!("with disks that do not: {failure}"));
    let lying = run(7, &options(lies.chain([crash]).collect()));
    let failure = lying.expect_err("nothing was noticed");
    assert!(failure.what.iter().any(|what| what.starts_with("linearizability")), "{failure}");
}
