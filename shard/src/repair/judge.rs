//! What the answers of the other replicas come to. Pure: the safety argument of [`super`], line by line.

use quorate_storage::log::UnreadableEntry;
use quorate_storage::{Entry, HardState, Index, ReplicaId};

use super::wire::{EntriesAnswer, Found};

/// What is known here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    /// The other voters; `None` if the membership is not certain.
    pub(super) other_voters: Option<&'a [ReplicaId]>,
    /// Of this replica.
    pub(super) hard_state: HardState,
    /// Ascending.
    pub(super) missing: &'a [UnreadableEntry],
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Copies, ascending.
    pub(super) repaired: Vec<Entry>,
    /// Everything from here on cannot have been committed.
    pub(super) drop_from: Option<Index>,
    /// An entry that is committed here, and another there: one of the two logs is wrong.
    pub(super) diverged: Option<Index>,
}

impl Case<'_> {
    /// `answers`, one of each replica at most, are to what is missing, in its order.
    pub(super) fn judge(&self, answers: &[EntriesAnswer]) -> Verdict {
        let mut verdict = Verdict::default();
        for (at, missing) in self.missing.iter().enumerate() {
            if let Some(entry) = answers.iter().find_map(|answer| entry_of(missing, answer.found.get(at)?)) {
                verdict.repaired.push(entry);
                continue;
            }
            let is_committed_elsewhere = answers
                .iter()
                .any(|answer| matches!(answer.found.get(at), Some(Found::Other { is_committed: true })));
            if missing.id.index <= self.hard_state.commit {
                if is_committed_elsewhere {
                    verdict.diverged = Some(missing.id.index);
                    break;
                }
            } else if is_committed_elsewhere || self.is_lacked_by_majority(at, answers) {
                verdict.drop_from = Some(missing.id.index);
                break;
            }
        }
        verdict
    }

    fn is_lacked_by_majority(&self, at: usize, answers: &[EntriesAnswer]) -> bool {
        let Some(voters) = self.other_voters else { return false };
        let lacking = answers.iter().filter(|answer| {
            let is_lacking = matches!(answer.found.get(at), Some(Found::Other { .. } | Found::Beyond));
            is_lacking && answer.term > self.hard_state.term && voters.contains(&answer.replica)
        });
        2 * lacking.count() > voters.len()
    }
}

/// The entry, if it is the one that is missing.
fn entry_of(missing: &UnreadableEntry, found: &Found) -> Option<Entry> {
    let Found::Entry { kind, payload } = found else { return None };
    let (term, index) = (missing.id.term, missing.id.index);
    let entry = Entry { term, index, kind: *kind, payload: payload.clone() };
    (entry.crc() == missing.crc).then_some(entry)
}
