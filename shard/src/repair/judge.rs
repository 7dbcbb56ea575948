//! What the answers of the other replicas come to. Pure: the safety argument of [`super`], line by line.

use quorate_storage::log::UnreadableEntry;
use quorate_storage::planted::{self, Planted};
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
pub struct Verdict {
    /// Copies, ascending.
    pub repaired: Vec<Entry>,
    /// Everything from here on cannot have been committed.
    pub drop_from: Option<Index>,
    /// An entry that is committed here, and another there: one of the two logs is wrong.
    pub diverged: Option<Index>,
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
        let lacking = lacking.count();
        2 * lacking > voters.len() || lacking > 0 && planted::is(Planted::DroppedByOne)
    }
}

/// The entry, if it is the one that is missing.
fn entry_of(missing: &UnreadableEntry, found: &Found) -> Option<Entry> {
    let Found::Entry { kind, payload } = found else { return None };
    let (term, index) = (missing.id.term, missing.id.index);
    let entry = Entry { term, index, kind: *kind, payload: payload.clone() };
    (entry.crc() == missing.crc).then_some(entry)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quorate_storage::{EntryKind, Term};

    use super::*;

    const VOTERS: [ReplicaId; 4] = [ReplicaId(2), ReplicaId(3), ReplicaId(4), ReplicaId(5)];

    fn entry(index: u64) -> Entry {
        let payload = Bytes::from(format!("entry {index}"));
        Entry { term: Term(3), index: Index(index), kind: EntryKind::Normal, payload }
    }

    fn missing(indexes: &[u64]) -> Vec<UnreadableEntry> {
        let one = |&index: &u64| UnreadableEntry {
            id: entry(index).id(),
            crc: entry(index).crc(),
            file: "f".into(),
            offset: 0,
        };
        indexes.iter().map(one).collect()
    }

    fn answer(replica: u64, term: u64, found: &[Found]) -> EntriesAnswer {
        EntriesAnswer { replica: ReplicaId(replica), term: Term(term), found: found.to_vec() }
    }

    fn has(index: u64) -> Found {
        let Entry { kind, payload, .. } = entry(index);
        Found::Entry { kind, payload }
    }

    /// Of a voter in term 4 that knows 10 to be committed.
    fn judge(missing: &[UnreadableEntry], answers: &[EntriesAnswer]) -> Verdict {
        let hard_state = HardState { term: Term(4), vote: None, commit: Index(10) };
        Case { other_voters: Some(&VOTERS), hard_state, missing }.judge(answers)
    }

    #[test]
    fn one_right_copy_is_enough_and_a_wrong_one_counts_for_nothing() {
        let missing = missing(&[9, 12]);
        let forged = Found::Entry { kind: EntryKind::Normal, payload: Bytes::from_static(b"entry 8") };
        let answers = [answer(2, 4, &[forged, has(12)]), answer(9, 1, &[has(9), Found::Omitted])];
        let verdict = judge(&missing, &answers);
        assert_eq!((verdict.repaired, verdict.drop_from), (vec![entry(9), entry(12)], None));
    }

    #[test]
    fn a_majority_of_voters_in_a_later_term_must_lack_it() {
        let missing = missing(&[12]);
        let lacking = |replica, term| answer(replica, term, &[Found::Beyond]);
        let two = [lacking(2, 5), lacking(3, 5)];
        assert_eq!(judge(&missing, &two), Verdict::default(), "two of four are no majority");
        let three = [lacking(2, 5), lacking(3, 5), answer(4, 6, &[Found::Other { is_committed: false }])];
        assert_eq!(judge(&missing, &three).drop_from, Some(Index(12)));
        let same_term = [lacking(2, 5), lacking(3, 5), lacking(4, 4)];
        assert_eq!(judge(&missing, &same_term), Verdict::default(), "its leader may still commit it");
        let stranger = [lacking(2, 5), lacking(3, 5), lacking(9, 5)];
        assert_eq!(judge(&missing, &stranger), Verdict::default(), "no voter");
        let damaged = [lacking(2, 5), lacking(3, 5), answer(4, 5, &[Found::Unreadable])];
        assert_eq!(judge(&missing, &damaged), Verdict::default(), "it may be just that");
        let compacted = [lacking(2, 5), lacking(3, 5), answer(4, 5, &[Found::Compacted])];
        assert_eq!(judge(&missing, &compacted), Verdict::default(), "it may have been just that");
    }

    #[test]
    fn another_committed_entry_there_decides_alone_and_whatever_the_membership() {
        let missing = missing(&[12, 13]);
        let answers = [answer(9, 1, &[Found::Other { is_committed: true }, Found::Beyond])];
        let hard_state = HardState { term: Term(4), vote: None, commit: Index(10) };
        let verdict = Case { other_voters: None, hard_state, missing: &missing }.judge(&answers);
        assert_eq!(verdict.drop_from, Some(Index(12)));
    }

    #[test]
    fn what_is_committed_here_is_never_dropped() {
        let missing = missing(&[10]);
        let lacking: Vec<_> = (2..=5).map(|replica| answer(replica, 9, &[Found::Beyond])).collect();
        assert_eq!(judge(&missing, &lacking), Verdict::default());
        let other = [answer(2, 9, &[Found::Other { is_committed: true }])];
        assert_eq!(judge(&missing, &other).diverged, Some(Index(10)));
    }
}
