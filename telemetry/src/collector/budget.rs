//! Which groups have series of their own. Pure.

use std::cmp::Ordering;
use std::collections::BTreeSet;

/// A group without series must be this much busier than one that has them to take its place: without it, panels
/// would flicker between groups of equal load.
const HYSTERESIS: f64 = 1.5;

pub(super) struct Candidate {
    pub(super) group: u64,
    pub(super) is_unhealthy: bool,
    pub(super) is_shown: bool,
    pub(super) load: f64,
}

/// The groups to show: all if `budget` suffices, else the unhealthy first and then the busiest.
pub(super) fn choose(mut candidates: Vec<Candidate>, budget: usize) -> BTreeSet<u64> {
    if candidates.len() > budget {
        candidates.sort_by(by_precedence);
        candidates.truncate(budget);
    }
    candidates.into_iter().map(|candidate| candidate.group).collect()
}

fn by_precedence(left: &Candidate, right: &Candidate) -> Ordering {
    let unhealthy_first = right.is_unhealthy.cmp(&left.is_unhealthy);
    let busier_first = right.weight().total_cmp(&left.weight());
    let shown_first = right.is_shown.cmp(&left.is_shown);
    unhealthy_first.then(busier_first).then(shown_first).then(left.group.cmp(&right.group))
}

impl Candidate {
    fn weight(&self) -> f64 {
        if self.is_shown { self.load * HYSTERESIS } else { self.load }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(group: u64, load: f64) -> Candidate {
        Candidate { group, is_unhealthy: false, is_shown: false, load }
    }

    fn chosen(candidates: Vec<Candidate>, budget: usize) -> Vec<u64> {
        choose(candidates, budget).into_iter().collect()
    }

    #[test]
    fn everyone_is_shown_within_the_budget() {
        assert_eq!(chosen(vec![candidate(1, 0.0), candidate(2, 0.0)], 2), [1, 2]);
        assert!(chosen(vec![candidate(1, 0.0)], 0).is_empty());
    }

    #[test]
    fn unhealthy_groups_come_before_busy_ones() {
        let idle_and_ill = Candidate { is_unhealthy: true, ..candidate(9, 0.0) };
        assert_eq!(chosen(vec![candidate(1, 50.0), candidate(2, 60.0), idle_and_ill], 2), [2, 9]);
    }

    #[test]
    fn a_shown_group_gives_way_only_to_a_much_busier_one() {
        let shown = || Candidate { is_shown: true, ..candidate(7, 10.0) };
        assert_eq!(chosen(vec![shown(), candidate(1, 14.0)], 1), [7]);
        assert_eq!(chosen(vec![shown(), candidate(1, 16.0)], 1), [1]);
    }

    #[test]
    fn idle_groups_keep_their_places() {
        let shown = Candidate { is_shown: true, ..candidate(7, 0.0) };
        assert_eq!(chosen(vec![candidate(1, 0.0), shown], 1), [7]);
    }
}
