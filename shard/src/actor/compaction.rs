//! How much of the log stays behind the newest snapshot, so that who lags a little needs no snapshot.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_storage::{Index, ReplicaId};

use crate::core::{PeerMode, PeerStatus, Status};

/// What is kept behind the newest snapshot: at least `entries`, and everything from `hold` on, but no more than
/// `bytes`.
#[derive(Clone, Copy, Debug)]
pub struct Trailing {
    /// Entries.
    pub entries: u64,
    /// Bytes of log files.
    pub bytes: u64,
    /// What the slowest live follower has.
    pub hold: Option<Index>,
}

impl Trailing {
    /// The last index that may go. `bytes_above` never grows with its index.
    pub(crate) fn compact_through(&self, newest: Index, bytes_above: &dyn Fn(Index) -> u64) -> Index {
        let wanted = Index(newest.get().saturating_sub(self.entries));
        let wanted = self.hold.map_or(wanted, |hold| hold.min(wanted));
        let behind = bytes_above(newest);
        let is_affordable = |index| bytes_above(index).saturating_sub(behind) <= self.bytes;
        if is_affordable(wanted) {
            return wanted;
        }
        // Invariant: `low` is too far back, `high` is not.
        let (mut low, mut high) = (wanted.get(), newest.get());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if is_affordable(Index(middle)) { high = middle } else { low = middle }
        }
        Index(high)
    }
}

/// When a leader last heard of its followers.
#[derive(Debug, Default)]
pub(crate) struct Followers {
    heard: BTreeMap<ReplicaId, Duration>,
}

impl Followers {
    /// What the slowest follower has that was heard of within `grace` and can still be served from the log. None on
    /// whoever does not lead: it knows nothing of the others.
    pub(crate) fn slowest(
        &mut self,
        own: ReplicaId,
        core: &Status,
        now: Duration,
        grace: Duration,
    ) -> Option<Index> {
        self.heard.retain(|replica, _| core.peers.iter().any(|peer| peer.replica == *replica));
        let base = core.first.prev();
        let followers = core.peers.iter().filter(|peer| peer.replica != own);
        let heard = &mut self.heard;
        followers
            .filter(|peer| {
                // One that was never heard of gets its grace, too: it may be on its way.
                let at = heard.entry(peer.replica).or_insert(now);
                if peer.is_recently_active {
                    *at = now;
                }
                now.saturating_sub(*at) <= grace
            })
            .map(position)
            .filter(|position| *position >= base)
            .min()
    }
}

/// From here on a follower needs the log.
fn position(peer: &PeerStatus) -> Index {
    match peer.mode {
        PeerMode::Snapshot => peer.matched.max(peer.pending_snapshot),
        PeerMode::Probe | PeerMode::Replicate => peer.matched,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use quorate_storage::Term;

    use crate::core::Role;

    const GRACE: Duration = Duration::from_secs(60);

    /// Entries of 10 bytes up to 1,100, the newest snapshot at 1,000.
    fn through(entries: u64, bytes: u64, hold: Option<u64>) -> u64 {
        let bytes_above = |index: Index| 1_100_u64.saturating_sub(index.get()) * 10;
        Trailing { entries, bytes, hold: hold.map(Index) }.compact_through(Index(1_000), &bytes_above).get()
    }

    #[test]
    fn entries_and_the_slowest_follower_hold_the_log_as_far_as_bytes_reach() {
        assert_eq!(through(100, 1_000_000, None), 900);
        assert_eq!(through(5_000, 1_000_000, None), 0);
        assert_eq!(through(100, 1_000_000, Some(700)), 700);
        assert_eq!(
            through(100, 1_000_000, Some(950)),
            900,
            "a fast follower does not cost the trailing entries"
        );
        assert_eq!(through(100, 500, Some(700)), 950, "50 entries of 10 bytes are all there may be");
        assert_eq!(through(100, 0, None), 1_000);
        assert_eq!(through(0, 0, None), 1_000);
    }

    fn status(peers: Vec<PeerStatus>) -> Status {
        Status {
            role: Role { is_leader: true, is_serving: true, leader: Some(ReplicaId(1)), term: Term(1) },
            first: Index(101),
            last: Index(200),
            persisted: Index(200),
            commit: Index(200),
            handed: Index(200),
            applied: Index(200),
            is_waiting: false,
            applying_bytes: 0,
            tail_bytes: 0,
            peers,
        }
    }

    fn peer(replica: u64, matched: u64, is_recently_active: bool) -> PeerStatus {
        PeerStatus {
            replica: ReplicaId(replica),
            is_voter: true,
            is_recently_active,
            matched: Index(matched),
            next: Index(matched + 1),
            mode: PeerMode::Replicate,
            pending_snapshot: Index(0),
        }
    }

    #[test]
    fn a_follower_that_is_away_holds_the_log_for_its_grace_only() {
        let mut followers = Followers::default();
        let mut slowest = |seconds, is_active| {
            let core = status(vec![peer(1, 200, true), peer(2, 190, true), peer(3, 120, is_active)]);
            followers.slowest(ReplicaId(1), &core, Duration::from_secs(seconds), GRACE).map(Index::get)
        };
        assert_eq!(slowest(0, true), Some(120));
        assert_eq!(slowest(10, false), Some(120));
        assert_eq!(slowest(60, false), Some(120));
        assert_eq!(slowest(61, false), Some(190));
        assert_eq!(slowest(62, true), Some(120));
    }

    #[test]
    fn who_needs_a_snapshot_anyway_holds_nothing_until_one_is_on_its_way() {
        let mut followers = Followers::default();
        let new = peer(2, 0, true);
        let seeded = PeerStatus { mode: PeerMode::Snapshot, pending_snapshot: Index(150), ..new };
        let mut slowest = |peer| {
            followers.slowest(ReplicaId(1), &status(vec![peer]), Duration::ZERO, GRACE).map(Index::get)
        };
        assert_eq!(slowest(new), None);
        assert_eq!(slowest(seeded), Some(150));
    }
}
