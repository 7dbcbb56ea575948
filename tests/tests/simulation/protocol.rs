//! The protocol simulator: the same seed is the same run, and seeds hold what must hold.

use quorate_tests::protocol::{
    Fault, Keeps, Plan, Planned, ROWS, Schedule, Summary, attempt, run, run_all, schedule, shrink,
};

/// Seeds of the suite.
const SEEDS: u64 = 300;
/// Simulated seconds under faults of each.
const SECONDS: u64 = 60;
/// Each seed has at least so many faults that fired.
const FAULTS_MIN: u64 = 5;

#[test]
fn a_calm_run_does_everything_and_loses_nothing() {
    let report = run(&Schedule::calm(1, SECONDS));
    assert!(report.broken.is_none(), "{}", report.broken.expect("it is there"));
    let counts = &report.counts;
    assert_eq!(counts.open_ended, 0, "{counts:?}");
    assert_eq!(counts.quarantines + counts.refused_starts + counts.waits, 0, "{counts:?}");
    assert!(counts.snapshots_published > 0 && counts.compactions > 0, "{counts:?}");
    assert!(counts.acknowledged_writes + counts.reads >= 990, "{counts:?}");
}

#[test]
fn two_runs_of_a_seed_leave_the_same_trace() {
    for seed in 0..5 {
        let planned = schedule(seed, SECONDS);
        let (first, second) = (run(&planned), run(&planned));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.counts, second.counts, "seed {seed}");
        let other = run(&schedule(seed + 1_000, SECONDS));
        assert_ne!(first.trace, other.trace, "another seed is another run");
    }
}

#[test]
fn a_schedule_is_data_that_runs_again_as_it_was_written_down() {
    let planned = schedule(3, SECONDS);
    let text = serde_json::to_string(&planned).expect("a schedule is plain data");
    let read: Schedule = serde_json::from_str(&text).expect("what was written reads back");
    assert_eq!(read, planned);
    assert_eq!(run(&read).trace, run(&planned).trace);
}

/// The net is proven: what disks that lie have lost is found out by a power cut of all machines, and the schedule is made
/// as small as that.
#[test]
fn disks_that_lie_are_found_out_and_the_schedule_is_made_smaller() {
    let mut planned = schedule(11, SECONDS);
    let power_cut = Fault::CrashAll { keeps: Keeps::Synced, down_ms: 500 };
    for (at_ms, fault) in [(20_000, Fault::AllDisksLie), (30_000, power_cut)] {
        planned.faults.push(Planned { at_ms, fault });
    }
    planned.faults.sort_by_key(|planned| planned.at_ms);
    let failed = attempt(&planned).expect_err("lost writes went unnoticed");
    let smaller = shrink(&planned).expect("it fails");
    let (before, after) = (planned.faults.len(), smaller.schedule.faults.len());
    assert!(after < before, "{before} faults were made {after}: {} ({})", failed.told, smaller.told);
    assert!(smaller.schedule.faults.iter().any(|planned| planned.fault == Fault::AllDisksLie), "{smaller:?}");
}

#[test]
fn every_seed_holds_what_must_hold() {
    let threads = std::thread::available_parallelism().map_or(2, |threads| threads.get().min(4));
    let plan = Plan { first_seed: 0, seeds: SEEDS, seconds: SECONDS, threads };
    let Summary { counts, failed, passed, simulated, faults_min } = run_all(plan, &|_| {});
    println!("{passed} seeds, {simulated:?} simulated, {counts:#?}");
    for failure in &failed {
        println!("seed {} failed: {}\n{:?}", failure.schedule.seed, failure.told, failure.schedule);
    }
    assert!(failed.is_empty(), "{} of {SEEDS} seeds failed", failed.len());
    for row in ROWS {
        assert!(
            counts.gate.get(row).is_some_and(|taken| *taken > 0),
            "no start took row {row} of the gate's table"
        );
    }
    assert!(counts.repairs > 0, "no log was ever repaired");
    assert!(faults_min.is_some_and(|least| least >= FAULTS_MIN), "a seed had {faults_min:?} faults");
}
