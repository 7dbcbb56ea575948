//! Leader completeness.

use std::collections::{BTreeMap, HashMap};

use quorate_storage::log::LogSkeleton;
use quorate_storage::{EntryId, GroupId, Term};

use super::{Checked, Law, Who, broken};

/// What was seen to be committed, by the term of who saw it. Whoever counted the acknowledgements led in that term or an
/// earlier one.
#[derive(Debug, Default)]
pub(crate) struct Completeness {
    committed: HashMap<GroupId, BTreeMap<Term, EntryId>>,
}

impl Completeness {
    /// A replica in `term` knows `last` to be committed.
    pub(crate) fn committed(&mut self, group: GroupId, term: Term, last: EntryId) {
        let known = self.committed.entry(group).or_default().entry(term).or_default();
        if last.index > known.index {
            *known = last;
        }
    }

    /// `who` comes to lead in `term`, with this log.
    pub(crate) fn leads(&self, (group, replica): Who, term: Term, log: &LogSkeleton) -> Checked {
        let Some(committed) = self.committed.get(&group) else { return Ok(()) };
        for (seen_in, last) in committed.range(..term) {
            // What is compacted was applied, and that was judged when it was.
            let is_there = last.index < log.base.index || log.term(last.index) == Some(last.term);
            if !is_there {
                let told = format!(
                    "{replica} leads group {group} in term {term} without the entry {} of term {}, committed in term \
                     {seen_in}; its log ends at {}",
                    last.index, last.term, log.last
                );
                return broken(Law::LeaderCompleteness, told);
            }
        }
        Ok(())
    }
}
