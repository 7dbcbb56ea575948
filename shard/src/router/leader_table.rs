//! Who leads which group, by term. A hint: it says where to begin, never what is true. Groups without a replica
//! here have an entry as well.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use quorate_storage::{GroupId, GroupUid, NodeId, Term};

use super::changes::{Changes, Signal};
use crate::rpc::{Announcement, Led};

/// What is known of one group's leadership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leadership {
    /// The group's identity.
    pub uid: GroupUid,
    /// The newest term anything was heard of.
    pub term: Term,
    /// Who leads in that term; `None` while that is not known, or doubtful.
    pub leader: Option<NodeId>,
}

/// Leaderships by group, told by local replicas, by other nodes and by answers to requests. The higher term wins;
/// what is older never overwrites what is newer.
///
/// The caller bounds it: only groups of its catalog may be told, and [`LeaderTable::retain`] drops the rest.
#[derive(Debug, Default)]
pub struct LeaderTable {
    groups: RwLock<BTreeMap<GroupId, Leadership>>,
    changes: Arc<Signal>,
}

impl LeaderTable {
    /// What is known of `group`; `None` if nothing ever was.
    pub fn get(&self, group: GroupId) -> Option<Leadership> {
        self.groups.read().get(&group).copied()
    }

    /// The groups that `node` leads, by id.
    pub fn led_by(&self, node: NodeId) -> Vec<Led> {
        let groups = self.groups.read();
        let led = groups.iter().filter(|(_, known)| known.leader == Some(node));
        led.map(|(&group, known)| Led { group, uid: known.uid, term: known.term }).collect()
    }

    /// Told of every change.
    pub fn changes(&self) -> Changes {
        self.changes.follow()
    }

    /// What a replica of this node sees: its term, and the leader, if it knows one. It is believed against an
    /// announcement of the same term.
    pub fn observe(&self, group: GroupId, seen: Leadership) {
        self.change(group, |known| {
            let is_older = known.is_some_and(|known| known.uid == seen.uid && known.term > seen.term);
            (!is_older).then_some(seen)
        });
    }

    /// `node` says that it leads, or has just acted as a leader does.
    pub fn claim(&self, node: NodeId, led: Led) {
        let claimed = Leadership { uid: led.uid, term: led.term, leader: Some(node) };
        self.change(led.group, |known| match known {
            Some(known) if known.uid == led.uid => {
                let is_news = led.term > known.term || led.term == known.term && known.leader.is_none();
                is_news.then_some(claimed)
            }
            _ => Some(claimed),
        });
    }

    /// Takes an announcement of `node`: its claims, and, from a complete one, that it leads nothing else. A claim
    /// that `is_known` denies is passed over. Returns the first such group.
    pub fn hear(
        &self,
        node: NodeId,
        announcement: &Announcement,
        is_known: impl Fn(&Led) -> bool,
    ) -> Option<GroupId> {
        let mut unknown = None;
        for &led in &announcement.led {
            if is_known(&led) {
                self.claim(node, led);
            } else {
                unknown = unknown.or(Some(led.group));
            }
        }
        if announcement.is_complete {
            let mut still: Vec<(GroupId, GroupUid)> =
                announcement.led.iter().map(|led| (led.group, led.uid)).collect();
            still.sort_unstable();
            self.doubt_where(|group, known| {
                known.leader == Some(node) && still.binary_search(&(group, known.uid)).is_err()
            });
        }
        unknown
    }

    /// `node` cannot be reached: who leads the groups it led is not known any more.
    pub fn doubt(&self, node: NodeId) {
        self.doubt_where(|_, known| known.leader == Some(node));
    }

    /// Forgets groups that `is_live` denies: dropped ones, and those that have another identity now.
    pub fn retain(&self, is_live: impl Fn(GroupId, GroupUid) -> bool) {
        let is_stale = |(&group, known): (&GroupId, &Leadership)| !is_live(group, known.uid);
        if self.groups.read().iter().any(is_stale) {
            self.groups.write().retain(|&group, known| is_live(group, known.uid));
            self.changes.notify();
        }
    }

    /// Writes what `decide` makes of what is known. Takes the write lock only for news.
    fn change(&self, group: GroupId, decide: impl Fn(Option<&Leadership>) -> Option<Leadership>) {
        let is_news = |known: Option<&Leadership>| decide(known).filter(|next| known != Some(next));
        if is_news(self.groups.read().get(&group)).is_none() {
            return;
        }
        let mut groups = self.groups.write();
        // Decided again under the write lock: something newer may have come meanwhile.
        let Some(next) = is_news(groups.get(&group)) else { return };
        groups.insert(group, next);
        drop(groups);
        self.changes.notify();
    }

    fn doubt_where(&self, is_doubtful: impl Fn(GroupId, &Leadership) -> bool) {
        if !self.groups.read().iter().any(|(&group, known)| is_doubtful(group, known)) {
            return;
        }
        for (&group, known) in self.groups.write().iter_mut() {
            if is_doubtful(group, known) {
                known.leader = None;
            }
        }
        self.changes.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId(1);
    const UID: GroupUid = GroupUid([1; 16]);
    const OTHER_UID: GroupUid = GroupUid([2; 16]);
    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn led(group: GroupId, term: u64) -> Led {
        Led { group, uid: UID, term: Term(term) }
    }

    fn seen(term: u64, leader: Option<NodeId>) -> Leadership {
        Leadership { uid: UID, term: Term(term), leader }
    }

    fn leader(table: &LeaderTable) -> Option<NodeId> {
        table.get(GROUP).and_then(|known| known.leader)
    }

    fn complete(led: Vec<Led>) -> Announcement {
        Announcement { is_complete: true, led }
    }

    #[test]
    fn the_higher_term_wins_and_a_stale_claim_changes_nothing() {
        let table = LeaderTable::default();
        table.claim(A, led(GROUP, 3));
        table.claim(B, led(GROUP, 2));
        assert_eq!(table.get(GROUP), Some(seen(3, Some(A))));
        table.claim(B, led(GROUP, 3));
        assert_eq!(leader(&table), Some(A), "a term has one leader");
        table.claim(B, led(GROUP, 4));
        assert_eq!(table.get(GROUP), Some(seen(4, Some(B))));
    }

    #[test]
    fn a_leader_that_a_local_replica_has_lost_is_none_until_a_new_claim() {
        let table = LeaderTable::default();
        table.observe(GROUP, seen(3, Some(A)));
        table.observe(GROUP, seen(3, None));
        assert_eq!(leader(&table), None);
        table.observe(GROUP, seen(2, Some(B)));
        assert_eq!(leader(&table), None, "what an older term had is no news");
        table.claim(A, led(GROUP, 3));
        assert_eq!(leader(&table), Some(A), "it still leads, it says");
        table.observe(GROUP, seen(5, None));
        table.claim(A, led(GROUP, 4));
        assert_eq!(table.get(GROUP), Some(seen(5, None)));
        table.claim(B, led(GROUP, 5));
        assert_eq!(leader(&table), Some(B));
    }

    #[test]
    fn another_uid_is_another_group() {
        let table = LeaderTable::default();
        table.claim(A, led(GROUP, 9));
        table.claim(B, Led { uid: OTHER_UID, ..led(GROUP, 1) });
        assert_eq!(leader(&table), Some(B), "its terms count from the beginning");
        table.retain(|_, uid| uid == UID);
        assert_eq!(table.get(GROUP), None);
    }

    #[test]
    fn a_claim_for_a_group_that_is_not_known_is_passed_over() {
        let table = LeaderTable::default();
        let announcement = complete(vec![led(GROUP, 1), led(GroupId(2), 1)]);
        assert_eq!(table.hear(A, &announcement, |led| led.group == GROUP), Some(GroupId(2)));
        assert_eq!(leader(&table), Some(A));
        assert_eq!(table.get(GroupId(2)), None);
        assert_eq!(table.hear(A, &announcement, |_| true), None);
        assert_eq!(table.led_by(A), announcement.led);
        assert_eq!(table.led_by(B), []);
    }

    #[test]
    fn what_a_complete_announcement_leaves_out_is_led_no_more() {
        let table = LeaderTable::default();
        table.claim(A, led(GROUP, 1));
        table.claim(A, led(GroupId(2), 1));
        table.claim(B, led(GroupId(3), 1));
        table.hear(A, &Announcement { is_complete: false, led: Vec::new() }, |_| true);
        assert_eq!(leader(&table), Some(A));
        table.hear(A, &complete(vec![led(GroupId(2), 1)]), |_| true);
        assert_eq!(table.get(GROUP), Some(seen(1, None)), "the term stays");
        assert_eq!(table.get(GroupId(2)), Some(seen(1, Some(A))));
        assert_eq!(table.get(GroupId(3)), Some(seen(1, Some(B))), "of another node's groups it says nothing");
    }

    #[test]
    fn a_node_that_cannot_be_reached_leads_nothing_until_it_speaks_again() {
        let table = LeaderTable::default();
        table.claim(A, led(GROUP, 4));
        let changes = table.changes();
        table.doubt(B);
        assert!(!changes.is_changed());
        table.doubt(A);
        assert!(changes.is_changed());
        assert_eq!(table.get(GROUP), Some(seen(4, None)));
        table.claim(A, led(GROUP, 4));
        assert_eq!(leader(&table), Some(A));
    }

    #[test]
    fn nobody_is_told_of_what_is_no_news() {
        let table = LeaderTable::default();
        table.claim(A, led(GROUP, 4));
        let changes = table.changes();
        table.claim(A, led(GROUP, 4));
        table.observe(GROUP, seen(4, Some(A)));
        table.hear(A, &complete(vec![led(GROUP, 4)]), |_| true);
        table.retain(|_, _| true);
        assert!(!changes.is_changed());
    }
}
