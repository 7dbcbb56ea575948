//! Rot in the files of a small cluster. `cargo run -p quorate-tests --bin corruption -- run --whole` tries every place.

use quorate_tests::corruption::attempt::{Depth, attempt};
use quorate_tests::corruption::case::Case;
use quorate_tests::corruption::image::images;
use quorate_tests::corruption::run::run;
use quorate_tests::corruption::verdict::Outcome;
use quorate_tests::corruption::{helical, plan};

/// Cases of a run.
const CASES: usize = 2_000;
/// Decides which.
const SEED: u64 = 1;

#[test]
fn without_damage_nothing_is_found_repaired_or_rebuilt() {
    for image in images().unwrap() {
        let control = Case { end: image.end, damages: Vec::new() };
        let tried = attempt(&image, &control, Depth::Repaired, SEED).unwrap();
        assert_eq!(tried.outcome, None, "{:?}", tried.what);
    }
}

#[test]
fn no_damage_of_one_file_gives_a_wrong_value_or_loses_an_acknowledged_one() {
    let images = images().unwrap();
    let cases = plan::sample(&images, CASES, SEED);
    let report = run(&images, &cases, Depth::Repaired, SEED, &mut |_| {});
    println!("{report}");
    assert_eq!((report.cases, report.violation_count()), (CASES as u64, 0), "{:#?}", report.violations);
    // Verification names even what nobody reads.
    assert_eq!(report.count(Outcome::Unused), 0, "{report}");
    for outcome in Outcome::ALL.into_iter().filter(|outcome| *outcome != Outcome::Unused) {
        assert!(report.count(outcome) > 0, "no case came to {outcome:?}: the history has too little in it");
    }
}

#[test]
fn what_one_replica_has_lost_another_gives_back() {
    let images = images().unwrap();
    let cases = helical::cases(&images, SEED);
    let report = run(&images, &cases, Depth::Repaired, SEED, &mut |_| {});
    println!("{report}");
    assert_eq!(report.violation_count(), 0, "{:#?}", report.violations);
    assert!(report.count(Outcome::Repaired) > 0, "no log had to be repaired: {report}");
}
