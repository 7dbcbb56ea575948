//! Entries at or below what is applied, should raft ever deliver one: data is dropped, what acts on memory only is done
//! again.

use quorate_storage::cold_start::{Duplicate, Opening};
use quorate_storage::state::StateMachine;
use quorate_storage::{Entry, Index};

/// What became of duplicates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Duplicates {
    pub(crate) replayed: u64,
    pub(crate) dropped: u64,
}

/// Takes duplicates, in order. Neither the applied record moves nor is anyone answered.
///
/// # Errors
/// The entry that cannot be understood or done again, and why: the group halts.
pub(crate) fn take_duplicates(
    machine: &mut dyn StateMachine,
    entries: &[Entry],
    opening: &Opening<'_>,
) -> Result<Duplicates, (Index, quorate_storage::Error)> {
    let mut taken = Duplicates::default();
    for entry in entries {
        let halted = |cause| (entry.index, cause);
        let Some(classifier) = machine.as_volatile_entry_classifier() else {
            taken.dropped += 1;
            continue;
        };
        match opening.classify(entry, classifier).map_err(halted)? {
            Duplicate::Dropped => taken.dropped += 1,
            Duplicate::Volatile(payload) => {
                classifier.apply_volatile(&payload).map_err(halted)?;
                taken.replayed += 1;
            }
        }
    }
    Ok(taken)
}
