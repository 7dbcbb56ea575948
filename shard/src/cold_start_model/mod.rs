//! A model of everything that may happen between two starts of a replica, all of it tried: entries are appended, committed
//! and applied, stores are flushed, snapshots published and installed, a replica joins, a lease is granted, and at any
//! step a replica crashes, with or without a fault of its disk.
//!
//! The model only keeps the books. What it does is done by the code that does it in a running node: the gate's decision, the
//! volatile walk and the classification of duplicates, the applier's batches, the label of a snapshot, the orders of
//! publishing and installing, what may be compacted, and the core's own checks of a start. `docs/COLD_START.md` has the
//! bounds and the commands.
//!
//! Not in it: terms and elections, and the bytes of files. Crash points (`actor/tests/crash_points`) have those.

mod machine;
mod properties;
mod rules;
mod seen;
mod start;
mod state;

use std::sync::Arc;
use std::time::Instant;

use quorate_storage::cold_start::Policy;
use stateright::{Checker, Model};

use self::machine::{Ability, Second};
use self::rules::{Bound, ColdStart};
use self::seen::Seen;
use self::start::Manner;

/// Chooses the bound: `small`, `whole`, or the numbers of entries, snapshots, crashes and faults, as in `4,1,1,1`.
const VARIABLE: &str = "QUORATE_MODEL_BOUND";
/// Where the second replica joins; it is the first snapshot that it needs.
const SMALL: Bound = Bound { entries: 4, publishes: 1, crashes: 1, faults: 1 };
/// Where it is a founding member; it needs one only once two have shortened the leader's log.
const SMALL_FOUNDING: Bound = Bound { entries: 3, publishes: 2, crashes: 1, faults: 0 };
const WHOLE: Bound = Bound { entries: state::ENTRIES_MAX, publishes: 2, crashes: 2, faults: 1 };
/// Of the search.
const THREADS: usize = 2;

/// The bound, and its name.
fn chosen(second: Second) -> (String, Bound) {
    let name = std::env::var(VARIABLE).unwrap_or_else(|_| "small".to_owned());
    let bound = match name.as_str() {
        "small" if second == Second::Founds => SMALL_FOUNDING,
        "small" => SMALL,
        "whole" => WHOLE,
        numbers => numbered(numbers).unwrap_or_else(|| panic!("{VARIABLE}={numbers} names no bound")),
    };
    (name, bound)
}

fn numbered(numbers: &str) -> Option<Bound> {
    let numbers: Option<Vec<u8>> = numbers.split(',').map(|number| number.parse().ok()).collect();
    let [entries, publishes, crashes, faults] = numbers?.try_into().ok()?;
    let entries = usize::from(entries).min(state::ENTRIES_MAX);
    Some(Bound { entries, publishes, crashes, faults })
}

/// Exhausts the states of one manner, and tells of them in a line of JSON.
fn exhaust(manner: Manner) {
    let ((name, bound), seen, began) = (chosen(manner.second), Arc::new(Seen::default()), Instant::now());
    let model = ColdStart { bound, manner, seen: Arc::clone(&seen) };
    let checker = model.checker().threads(THREADS);
    // Breadth first finds the shortest way to a mistake; depth first takes a tenth of the memory.
    if name == "small" {
        report(manner, (&name, bound), &seen, began, &checker.spawn_bfs().join());
    } else {
        report(manner, (&name, bound), &seen, began, &checker.spawn_dfs().join());
    }
}

fn report(
    manner: Manner,
    (name, bound): (&str, Bound),
    seen: &Seen,
    began: Instant,
    checker: &impl Checker<ColdStart>,
) {
    let seconds = began.elapsed().as_secs_f64();
    let Manner { ability, policy, second } = manner;
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    let counts: Vec<_> = seen.counts().iter().map(|(name, count)| format!("\"{name}\": {count}")).collect();
    let counts = counts.join(", ");
    println!(
        "{{\"model\": \"cold_start\", \"bound\": \"{name}\", \"ability\": \"{ability:?}\", \"policy\": \"{}\", \"second\": \"{second:?}\", \
         \"states\": {states}, \"depth\": {depth}, \"seconds\": {seconds:.1}, {counts}}}",
        policy.as_str()
    );
    let mut broken: Vec<_> = checker.discoveries().into_iter().collect();
    broken.sort_unstable_by_key(|(property, path)| (path.clone().into_actions().len(), *property));
    if let Some((property, path)) = broken.into_iter().next() {
        let actions = path.into_actions();
        panic!("broken: {property}; in {} steps: {actions:?}", actions.len());
    }
    assert!(checker.is_done(), "the frontier is not exhausted");
    let idle = |name: &&str| seen.counts().contains(&(*name, 0));
    let mut expected = vec!["skipped_ahead", "raised"];
    expected.extend((bound.faults > 0).then_some(["fallback", "lost"]).into_iter().flatten());
    // A founding member needs a snapshot only once the log was shortened.
    expected.extend((bound.publishes > 1 || second == Second::Joins).then_some("installed"));
    expected.extend((ability == Ability::Classifies).then_some("replayed"));
    expected.extend((bound.publishes > 1).then_some("compacted"));
    expected.extend((bound.publishes > 1 && second == Second::Founds).then_some("executed"));
    let missed: Vec<_> = expected.into_iter().filter(idle).collect();
    assert!(missed.is_empty(), "the bound never came to {missed:?}");
}

/// Both ways for a second replica to be there.
fn exhaust_both(ability: Ability, policy: Policy) {
    for second in [Second::Joins, Second::Founds] {
        exhaust(Manner { ability, policy, second });
    }
}

#[test]
fn no_crash_loses_anything_where_the_record_has_the_ceiling() {
    exhaust_both(Ability::Covers, Policy::Snapshot);
}

#[test]
fn no_crash_loses_anything_where_the_ceiling_is_in_memory() {
    exhaust_both(Ability::Classifies, Policy::Snapshot);
}

#[test]
fn no_crash_loses_anything_where_only_a_replayed_tail_is_skipped() {
    exhaust_both(Ability::Covers, Policy::CommittedTail);
}
