//! Log matching.

use std::collections::HashMap;

use quorate_storage::{Entry, GroupId, Index, Term};

use super::{Checked, Law, broken};

/// Every entry that ever stood in a log, and the term of the one before it: by induction, all logs that have one entry in
/// common have everything before it in common.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    seen: HashMap<(GroupId, Index, Term), (Term, u32)>,
}

impl Logs {
    /// `entries`, contiguous, are appended behind an entry of `term_before`.
    pub(crate) fn appended(&mut self, group: GroupId, mut term_before: Term, entries: &[Entry]) -> Checked {
        for entry in entries {
            let found = (term_before, entry.crc());
            let known = *self.seen.entry((group, entry.index, entry.term)).or_insert(found);
            if known != found {
                let id = entry.id();
                let told = format!(
                    "two entries of group {group} at {} in term {}: behind term {} with checksum {:08x}, and behind \
                     term {} with {:08x}",
                    id.index, id.term, known.0, known.1, found.0, found.1
                );
                return broken(Law::LogMatching, told);
            }
            term_before = entry.term;
        }
        Ok(())
    }
}
