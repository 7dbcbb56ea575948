//! In which order one request asks the replicas of a group. Pure.

use quorate_storage::NodeId;

/// Hints followed in one round: replicas that send a request round in circles are bounded by it.
const HINTS_MAX: u32 = 3;

/// One request's way past a group's replicas. In a round each node is asked once; after a round it begins
/// anew.
#[derive(Debug, Default)]
pub(super) struct Tour {
    tried: Vec<NodeId>,
    hint: Option<NodeId>,
    hints: u32,
}

impl Tour {
    /// Whom to ask next: a fresh hint, else the first of `order` that was not asked in this round, else the
    /// first one, in a new round. `order` is not empty.
    pub(super) fn next(&mut self, order: &[NodeId]) -> NodeId {
        if let Some(hint) = self.hint.take() {
            return hint;
        }
        if let Some(untried) = order.iter().find(|node| !self.tried.contains(node)) {
            return *untried;
        }
        self.begin_round();
        order[0]
    }

    /// `node` cannot answer: the others first.
    pub(super) fn failed(&mut self, node: NodeId) {
        if !self.tried.contains(&node) {
            self.tried.push(node);
        }
    }

    /// Somebody says that `node` leads. Ignored if it was asked already in this round.
    pub(super) fn hint(&mut self, node: NodeId) {
        if self.hints < HINTS_MAX && !self.tried.contains(&node) {
            self.hints += 1;
            self.hint = Some(node);
        }
    }

    /// Whether somebody is left to ask in this round.
    pub(super) fn has_untried(&self, order: &[NodeId]) -> bool {
        self.hint.is_some() || order.iter().any(|node| !self.tried.contains(node))
    }

    fn begin_round(&mut self) {
        self.tried.clear();
        self.hints = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    #[test]
    fn every_replica_is_asked_once_in_a_round() {
        let mut tour = Tour::default();
        let order = [A, B, C];
        let mut asked = Vec::new();
        for _ in 0..6 {
            let node = tour.next(&order);
            tour.failed(node);
            asked.push(node);
        }
        assert_eq!(asked, [A, B, C, A, B, C]);
    }

    #[test]
    fn replicas_that_name_each_other_do_not_hide_the_third() {
        let mut tour = Tour::default();
        let order = [A, B, C];
        assert_eq!(tour.next(&order), A);
        tour.failed(A);
        tour.hint(B);
        assert_eq!(tour.next(&order), B);
        tour.failed(B);
        tour.hint(A);
        assert_eq!(tour.next(&order), C);
        assert!(tour.has_untried(&order));
        tour.failed(C);
        assert!(!tour.has_untried(&order));
    }

    #[test]
    fn hints_in_one_round_are_bounded() {
        let mut tour = Tour::default();
        for node in 10..20 {
            tour.hint(NodeId(node));
            let next = tour.next(&[A]);
            assert_eq!(next == A, node >= 10 + u64::from(HINTS_MAX), "hint {node}");
            if next == A {
                break;
            }
            tour.failed(next);
        }
    }

    #[test]
    fn a_replica_that_did_not_fail_is_asked_again() {
        let mut tour = Tour::default();
        assert_eq!(tour.next(&[A, B]), A);
        assert_eq!(tour.next(&[A, B]), A);
    }
}
