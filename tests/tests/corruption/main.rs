//! Rot in the files of a small cluster. `cargo run -p quorate-tests --bin corruption -- run --whole` tries every place,
//! `corruption large` many places of a large one.

use std::num::NonZeroUsize;

use quorate::StoreKind;
use quorate_tests::corruption::attempt::{Depth, attempt};
use quorate_tests::corruption::case::Case;
use quorate_tests::corruption::image::images;
use quorate_tests::corruption::large::{self, Instance, LargeReport, Settings};
use quorate_tests::corruption::run::run;
use quorate_tests::corruption::verdict::Outcome;
use quorate_tests::corruption::{helical, plan};

/// Cases of a run.
const CASES: usize = 2_000;
/// Cases of a run on real files.
const LARGE_CASES: usize = 10;
/// Of one replica there.
const REPLICA_BYTES: u64 = 4 << 20;
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
    // And of the in-memory store we know every byte.
    let is_rare = |outcome| matches!(outcome, Outcome::Unused | Outcome::Unread);
    for outcome in Outcome::ALL.into_iter().filter(|outcome| !is_rare(*outcome)) {
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

/// A few places of a replica on real files; by command it is a thousand of 64 MiB.
fn try_large(store: StoreKind) -> Result<LargeReport, large::Error> {
    const LABS: NonZeroUsize = NonZeroUsize::new(2).expect("not zero");
    let settings = Settings { store, bytes: REPLICA_BYTES, seed: SEED };
    let instance = Instance::prepare(settings, None)?;
    let cases = large::draw_cases(&instance, LARGE_CASES, SEED);
    large::run(&instance, &cases, LABS, &mut |_, _, _| {})
}

fn check_large(report: &LargeReport) {
    let counted = (report.report.cases, report.report.violation_count());
    assert_eq!(counted, (LARGE_CASES as u64, 0), "{:#?}", report.report.violations);
    assert!(report.replica_bytes >= REPLICA_BYTES, "{} bytes", report.replica_bytes);
    assert!(report.report.count(Outcome::Rebuilt) > 0, "no store or snapshot was hit: {report}");
}

#[test]
fn no_damage_of_an_lsm_replica_on_real_files_gives_a_wrong_value() {
    let report = try_large(StoreKind::Lsm).unwrap();
    println!("{report}");
    check_large(&report);
}

#[test]
fn no_damage_of_a_sled_replica_on_real_files_gives_a_wrong_value() {
    let report = try_large(StoreKind::Sled).unwrap();
    println!("{report}");
    check_large(&report);
}
