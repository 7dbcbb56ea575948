//! What answers mean. Pure.

use quorate_storage::state::StateDigest;
use quorate_storage::{Index, ReplicaId};

use super::{ReplicaAnswer, ReplicaReport, Verdict};

/// Digests from which on a majority is believed.
const MAJORITY_OF_MIN: usize = 3;

/// Entries that are added to what a replica was beyond the index: the next request takes time, too.
const MARGIN_MIN: u64 = 16;

/// What follows from `replicas`.
pub(super) fn judge(replicas: &[ReplicaReport]) -> Verdict {
    let digests = digests(replicas.iter());
    let [first, rest @ ..] = digests.as_slice() else { return Verdict::Unverified };
    if rest.is_empty() {
        return Verdict::Unverified;
    }
    if rest.iter().all(|digest| digest == first) {
        return Verdict::Consistent;
    }
    let of_voters = self::digests(replicas.iter().filter(|replica| replica.is_voter));
    let winner = digests
        .iter()
        .copied()
        .find(|digest| is_majority(*digest, &digests) && is_majority(*digest, &of_voters))
        .filter(|_| digests.len() >= MAJORITY_OF_MIN);
    let Some(majority) = winner else { return Verdict::Divided };
    let differs = |replica: &&ReplicaReport| matches!(replica.answer, ReplicaAnswer::Digest(digest) if digest != majority);
    let divergent = replicas.iter().filter(differs).map(|replica| replica.replica).collect();
    Verdict::Diverged { majority, divergent }
}

/// How far beyond the end of the log the next attempt has to aim, if there is to be one. `own` is the leader's replica.
pub(super) fn next_margin(
    replicas: &[ReplicaReport],
    own: ReplicaId,
    (index, margin): (Index, u64),
) -> Option<u64> {
    let passed = replicas.iter().filter_map(|replica| match replica.answer {
        ReplicaAnswer::Passed { applied } => Some(applied.get().saturating_sub(index.get())),
        _ => None,
    });
    if let Some(furthest) = passed.max() {
        return Some(margin.saturating_add(furthest.saturating_mul(2)).saturating_add(MARGIN_MIN));
    }
    // Nobody writes any more: what everyone has applied will do.
    let is_own = |replica: &&ReplicaReport| replica.replica == own;
    let own = replicas.iter().find(is_own).map(|replica| replica.answer);
    matches!(own, Some(ReplicaAnswer::Behind { .. })).then_some(0)
}

fn digests<'a>(replicas: impl Iterator<Item = &'a ReplicaReport>) -> Vec<StateDigest> {
    replicas
        .filter_map(|replica| match replica.answer {
            ReplicaAnswer::Digest(digest) => Some(digest),
            _ => None,
        })
        .collect()
}

fn is_majority(digest: StateDigest, among: &[StateDigest]) -> bool {
    2 * among.iter().filter(|found| **found == digest).count() > among.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    use quorate_storage::NodeId;

    fn voters(answers: &[ReplicaAnswer]) -> Vec<ReplicaReport> {
        let report = |(id, answer): (u64, &ReplicaAnswer)| ReplicaReport {
            replica: ReplicaId(id),
            node: NodeId(id),
            is_voter: true,
            answer: *answer,
        };
        (1..).zip(answers).map(report).collect()
    }

    fn said(digest: u128) -> ReplicaAnswer {
        ReplicaAnswer::Digest(StateDigest(digest))
    }

    fn learner(id: u64, digest: u128) -> ReplicaReport {
        ReplicaReport { replica: ReplicaId(id), node: NodeId(id), is_voter: false, answer: said(digest) }
    }

    fn diverged(majority: u128, divergent: &[u64]) -> Verdict {
        let divergent = divergent.iter().copied().map(ReplicaId).collect();
        Verdict::Diverged { majority: StateDigest(majority), divergent }
    }

    #[test]
    fn the_majority_of_three_or_more_is_right() {
        let cases: &[(&[u128], Verdict)] = &[
            (&[7, 7, 7], Verdict::Consistent),
            (&[7, 7], Verdict::Consistent),
            (&[7, 7, 8], diverged(7, &[3])),
            (&[8, 7, 7], diverged(7, &[1])),
            (&[7, 7, 7, 8, 9], diverged(7, &[4, 5])),
            (&[7, 7, 8, 9], Verdict::Divided),
            (&[7, 7, 8, 8], Verdict::Divided),
            (&[7, 7, 8, 8, 9], Verdict::Divided),
            (&[7, 8], Verdict::Divided),
            (&[7, 8, 9], Verdict::Divided),
        ];
        for (digests, verdict) in cases {
            let answers: Vec<_> = digests.iter().copied().map(said).collect();
            assert_eq!(judge(&voters(&answers)), *verdict, "{digests:?}");
        }
    }

    #[test]
    fn who_says_no_digest_counts_neither_way() {
        let away = ReplicaAnswer::Away;
        assert_eq!(judge(&voters(&[said(7), said(8), away])), Verdict::Divided);
        assert_eq!(judge(&voters(&[said(7), away, said(7)])), Verdict::Consistent);
        assert_eq!(judge(&voters(&[said(7), away, ReplicaAnswer::NoDigest])), Verdict::Unverified);
        assert_eq!(judge(&voters(&[said(7), said(7), away, said(8), away])), diverged(7, &[4]));
        assert_eq!(judge(&[]), Verdict::Unverified);
    }

    #[test]
    fn learners_are_judged_and_do_not_outvote_voters() {
        let mut replicas = voters(&[said(7), said(7)]);
        replicas.push(learner(3, 8));
        assert_eq!(judge(&replicas), diverged(7, &[3]));
        let mut replicas = voters(&[said(7)]);
        replicas.extend([learner(2, 8), learner(3, 8)]);
        assert_eq!(judge(&replicas), Verdict::Divided);
    }

    #[test]
    fn the_next_attempt_aims_beyond_who_had_passed_and_at_the_end_once_nobody_writes() {
        let at = |answers: &[ReplicaAnswer], margin| {
            next_margin(&voters(answers), ReplicaId(1), (Index(100), margin))
        };
        let behind = ReplicaAnswer::Behind { applied: Index(90) };
        let passed = |applied| ReplicaAnswer::Passed { applied: Index(applied) };
        assert_eq!(at(&[said(1), said(1), said(1)], 50), None);
        assert_eq!(at(&[said(1), passed(130), passed(110)], 4), Some(4 + 60 + MARGIN_MIN));
        assert_eq!(at(&[behind, behind, said(1)], 200), Some(0));
        assert_eq!(at(&[said(1), behind, ReplicaAnswer::Away], 0), None, "one that lags is not waited for");
    }
}
