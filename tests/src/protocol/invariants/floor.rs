//! A start counts as applied only what is committed.

use quorate_storage::EntryId;

use super::{Checked, Law, Laws, Who, broken};

impl Laws {
    /// `who` starts with this floor: an entry that was seen to be committed, and that very one.
    pub(crate) fn floor(&self, (group, replica): Who, floor: EntryId) -> Checked {
        let is_birth = floor.index.get() <= 1;
        if is_birth || self.states.entry_at(group, floor.index) == Some(floor) {
            return Ok(());
        }
        let told = format!(
            "{replica} of group {group} starts at {} of term {}, which nobody has applied; the last is {}",
            floor.index,
            floor.term,
            self.states.last(group)
        );
        broken(Law::FloorNotAboveCommit, told)
    }
}
