use std::collections::BTreeSet;
use std::fs;

use quorate_storage::planted::Planted;

use super::{Caught, Table, chosen_by};
use crate::faults::source_root;
use crate::protocol::invariants::TABLE;

/// Mistakes that there must be at least.
const MISTAKES_MIN: usize = 20;
/// How many a commit chooses.
const CHOSEN: usize = 3;

fn table() -> Table {
    let text = fs::read_to_string(source_root().join("tests/planted.toml")).unwrap();
    Table::from_toml(&text).unwrap_or_else(|error| panic!("tests/planted.toml: {error}"))
}

#[test]
fn the_table_has_every_mistake_once() {
    let table = table();
    let named: BTreeSet<&str> = table.mistakes.iter().map(|mistake| mistake.name.as_str()).collect();
    assert_eq!(named.len(), table.mistakes.len(), "one stands there twice");
    let planted: BTreeSet<&str> = Planted::ALL.iter().map(|planted| planted.name()).collect();
    assert_eq!(named, planted);
    assert!(planted.len() >= MISTAKES_MIN);
}

#[test]
fn every_law_of_the_protocol_simulator_says_no_to_a_mistake() {
    let table = table();
    let laws: BTreeSet<String> = TABLE.iter().map(|(law, _)| format!("{law:?}")).collect();
    let named = table.mistakes.iter().filter_map(|mistake| match &mistake.caught {
        Caught::Protocol { law, .. } if law != "panic" => Some(law.clone()),
        _ => None,
    });
    assert_eq!(named.collect::<BTreeSet<_>>(), laws);
}

#[test]
fn commits_choose_three_different_mistakes_and_all_that_are_simulated_have_their_turn() {
    let table = table();
    let mut had = BTreeSet::new();
    for number in 0..500_u64 {
        let commit = format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let chosen = chosen_by(&table, &commit, CHOSEN).unwrap();
        let chosen: BTreeSet<&str> = chosen.iter().map(|mistake| mistake.name.as_str()).collect();
        assert_eq!(chosen.len(), CHOSEN, "{commit}");
        had.extend(chosen.into_iter().map(str::to_owned));
    }
    let simulated = table.mistakes.iter().filter(|mistake| mistake.caught.simulation().is_some());
    assert_eq!(had.len(), simulated.count());
    assert_eq!(chosen_by(&table, "a commit", CHOSEN), None);
}
