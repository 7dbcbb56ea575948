//! Thousands of small histories of a simulated register, most of them with a lie put in, judged three ways.

use quorate_telemetry::{Rng, SeededRng};

use super::judges::{by_every_permutation, by_plain_search};
use crate::checker::generate::{Shape, draw, linearizable};
use crate::checker::operations::{Operation, by_key};
use crate::checker::problem::Problem;
use crate::checker::search::{Ending, search};
use crate::checker::shrink::explain;
use crate::checker::{Action, Before, Guard, Key, Limits, Reply, Value};

/// Histories of each kind; a long run sets the variable `QUORATE_CHECKER_HISTORIES`.
const HISTORIES: u64 = 4_000;
/// Most operations of a history for which every permutation is tried.
const PERMUTED_MAX: usize = 6;

fn histories() -> u64 {
    std::env::var("QUORATE_CHECKER_HISTORIES").map_or(HISTORIES, |text| text.parse().expect("a number"))
}

/// How many histories were explained, and how many were not.
#[derive(Debug, Default)]
struct Counts {
    explained: u64,
    violated: u64,
}

/// Judges histories of `shape`, with seeds from `first`, by the checker and by `judge`.
fn compare(shape: Shape, first: u64, judge: impl Fn(&[Operation]) -> bool) -> Counts {
    let mut counts = Counts::default();
    for seed in first..first + histories() {
        let rng = SeededRng::new(seed);
        let history = linearizable(&Shape { seed, ..shape });
        for operations in by_key(&history).unwrap().values_mut() {
            for _ in 0..rng.below(4) {
                lie(operations, &rng);
            }
            let is_explained = judge(operations);
            let ending = search(&Problem::new(operations), &Limits::default()).ending;
            let is_same = match ending {
                Ending::Explained => is_explained,
                Ending::Refused { .. } => !is_explained,
                Ending::GaveUp(_) => false,
            };
            assert!(is_same, "seed {seed}: the checker says {ending:?} of\n{}", text(operations));
            *(if is_explained { &mut counts.explained } else { &mut counts.violated }) += 1;
        }
    }
    counts
}

/// Changes what somebody was told, or forgets it.
fn lie(operations: &mut [Operation], rng: &SeededRng) {
    let written: Vec<Value> = operations.iter().filter_map(|one| one.action.written().cloned()).collect();
    // The one behind the last is none.
    let value = written.get(draw(rng, written.len() + 1)).cloned();
    let at = draw(rng, operations.len());
    let Operation { action, end, .. } = &mut operations[at];
    let is_free = matches!(action, Action::Get | Action::Change { only_if: Guard::Always, .. });
    if rng.below(6) == 0 {
        *end = None;
        return;
    }
    let Some((_, reply)) = end else { return };
    let before = match (&*action, rng.below(3)) {
        (Action::Get, _) | (_, 0) => Before::Was(value),
        (_, 1) => Before::Existed(rng.below(2) == 0),
        _ => Before::Untold,
    };
    *reply = if is_free || rng.below(2) == 0 { Reply::Applied(before) } else { Reply::Refused(before) };
}

fn text(operations: &[Operation]) -> String {
    operations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_checker_agrees_with_every_permutation() {
    let shape = Shape { operations: 6, keys: 1, clients: 3, open_percent: 30, seed: 0 };
    assert!(shape.operations as usize <= PERMUTED_MAX);
    let counts = compare(shape, 0, |operations| {
        let is_explained = by_every_permutation(operations);
        assert_eq!(is_explained, by_plain_search(operations), "{}", text(operations));
        is_explained
    });
    assert!(counts.explained > histories() / 10 && counts.violated > histories() / 10, "{counts:?}");
}

#[test]
fn the_checker_agrees_with_the_plain_search() {
    for (at, (operations, clients, open_percent)) in
        [(12, 4, 10), (14, 5, 40), (10, 6, 70), (20, 3, 0)].into_iter().enumerate()
    {
        let shape = Shape { operations, keys: 1, clients, open_percent, seed: 0 };
        let counts = compare(shape, (at as u64 + 1) << 32, by_plain_search);
        assert!(counts.explained > histories() / 20 && counts.violated > histories() / 20, "{counts:?}");
    }
}

/// Of a register with puts and gets only, most of them under way together: what rule 5 of the search is about.
#[test]
fn the_checker_agrees_with_the_plain_search_on_plain_keys() {
    let shape = Shape { operations: 14, keys: 1, clients: 6, open_percent: 25, seed: 0 };
    let judge = |operations: &[Operation]| by_plain_search(operations);
    let mut plain = 0;
    for seed in 0..histories() {
        let rng = SeededRng::new(seed);
        let history = linearizable(&Shape { seed, ..shape });
        for operations in by_key(&history).unwrap().values_mut() {
            operations.retain(|one| !matches!(one.end, Some((_, Reply::Refused(_)))));
            for one in operations.iter_mut() {
                make_plain(one, &rng);
            }
            for _ in 0..rng.below(3) {
                lie(operations, &rng);
            }
            for one in operations.iter_mut() {
                make_plain(one, &rng);
            }
            let problem = Problem::new(operations);
            plain += u64::from(problem.is_plain);
            let is_explained = search(&problem, &Limits::default()).ending == Ending::Explained;
            assert_eq!(is_explained, judge(operations), "seed {seed}:\n{}", text(operations));
        }
    }
    assert!(plain > histories() / 2, "only {plain} plain histories");
}

/// Takes away conditions and what changes tell, of most.
fn make_plain(operation: &mut Operation, rng: &SeededRng) {
    let Operation { action, end, .. } = operation;
    let Action::Change { only_if, .. } = action else { return };
    if !matches!(only_if, Guard::Is(_)) || rng.below(4) > 0 {
        *only_if = Guard::Always;
    }
    if let Some((_, reply)) = end {
        *reply = Reply::done();
    }
}

#[test]
fn what_is_shrunk_is_still_a_violation_for_the_plain_search() {
    let shape = Shape { operations: 16, keys: 1, clients: 4, open_percent: 20, seed: 0 };
    let (mut before, mut after) = (0, 0);
    for seed in 0..histories() / 10 {
        let rng = SeededRng::new(seed);
        let history = linearizable(&Shape { seed, ..shape });
        for operations in by_key(&history).unwrap().values_mut() {
            lie(operations, &rng);
            if by_plain_search(operations) {
                continue;
            }
            let violation = explain(Key::from("k"), operations, &Limits::default());
            assert!(!by_plain_search(&violation.operations), "seed {seed}:\n{violation}");
            before += operations.len();
            after += violation.operations.len();
        }
    }
    assert!(after * 2 < before, "{before} operations became {after}");
}
