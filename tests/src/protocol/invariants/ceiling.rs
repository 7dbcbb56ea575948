//! Timestamps stay below the ceiling, are never given twice, and those of a later term are larger.

use std::collections::{BTreeMap, HashMap};

use quorate_storage::{GroupId, Timestamp};

use super::{Checked, Law, Who, broken};

/// What was given.
#[derive(Debug, Default)]
pub(crate) struct Ceilings {
    /// The highest ceiling that anyone has applied, which every later leader inherits.
    applied: HashMap<GroupId, Timestamp>,
    /// The last timestamp of each leadership, the highest of each term, and all of them.
    last: HashMap<(Who, u64), Timestamp>,
    highest: HashMap<GroupId, BTreeMap<u64, Timestamp>>,
    given: HashMap<GroupId, std::collections::HashSet<u64>>,
}

impl Ceilings {
    /// A replica's state has this ceiling.
    pub(crate) fn applied(&mut self, group: GroupId, ceiling: Timestamp) {
        let known = self.applied.entry(group).or_insert(ceiling);
        *known = ceiling.max(*known);
    }

    /// `who`, which leads in `term`, gives this timestamp.
    pub(crate) fn given(&mut self, who: Who, term: u64, given: Timestamp) -> Checked {
        let (group, replica) = who;
        let ceiling = self.applied.get(&group).copied().unwrap_or(Timestamp(0));
        if given >= ceiling {
            let told =
                format!("{replica} of group {group} gives {}, the ceiling is {}", given.get(), ceiling.get());
            return broken(Law::CeilingAboveTimestamps, told);
        }
        let last = self.last.insert((who, term), given);
        if last.is_some_and(|last| last >= given) {
            let told = format!("{replica} of group {group} gives {} after {last:?}", given.get());
            return broken(Law::CeilingAboveTimestamps, told);
        }
        let highest = self.highest.entry(group).or_default();
        if let Some((earlier, above)) = highest.range(..term).find(|(_, highest)| **highest >= given) {
            let told = format!(
                "{replica} of group {group} gives {} in term {term}, {} was given in term {earlier}",
                given.get(),
                above.get()
            );
            return broken(Law::CeilingAboveTimestamps, told);
        }
        let of_term = highest.entry(term).or_insert(given);
        *of_term = given.max(*of_term);
        if !self.given.entry(group).or_default().insert(given.get()) {
            let told = format!("{replica} of group {group} gives {} again", given.get());
            return broken(Law::CeilingAboveTimestamps, told);
        }
        Ok(())
    }
}
