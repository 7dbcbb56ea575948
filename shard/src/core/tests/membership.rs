use quorate_storage::{ConfChange, ConfChangeOp, ConfEpoch, ReplicaId};

use super::cluster::{Cluster, Outcome, replica};
use crate::core::{Input, Ticket};
use crate::error::Error;

fn change(cluster: &mut Cluster, leader: ReplicaId, ops: Vec<ConfChangeOp>) -> Ticket {
    let ticket = cluster.ticket();
    let expected_epoch = cluster.core(leader.get()).descriptor().conf_epoch;
    let change = ConfChange { expected_epoch, ops };
    cluster.feed(leader, vec![Input::ProposeConfChange { ticket, change }]);
    cluster.settle();
    ticket
}

fn is_applied(cluster: &Cluster, ticket: Ticket) -> bool {
    matches!(cluster.outcomes[&ticket], Outcome::Applied(_))
}

fn refusal(cluster: &Cluster, ticket: Ticket) -> &Error {
    match &cluster.outcomes[&ticket] {
        Outcome::Failed(error) | Outcome::Refused(error) => error,
        other => panic!("{other:?}"),
    }
}

fn voters(cluster: &Cluster, id: u64) -> Vec<u64> {
    cluster.core(id).conf_state().voters.iter().map(|id| id.get()).collect()
}

/// Adds replica 4 as a learner that has caught up.
fn add_fourth(cluster: &mut Cluster, leader: ReplicaId) {
    let ticket = change(cluster, leader, vec![ConfChangeOp::AddLearner(replica(4))]);
    assert!(is_applied(cluster, ticket));
    cluster.join(ReplicaId(4));
    cluster.ticks(20);
    assert_eq!(cluster.node(4).record.applied, cluster.nodes[&leader].record.applied);
}

#[test]
fn a_learner_is_seeded_by_a_snapshot_that_knows_it_and_then_promoted() {
    let mut cluster = Cluster::new(3, 1);
    let leader = cluster.elect();
    add_fourth(&mut cluster, leader);
    assert_eq!(voters(&cluster, 4), [1, 2, 3]);
    let ticket = change(&mut cluster, leader, vec![ConfChangeOp::Promote(ReplicaId(4))]);
    assert!(is_applied(&cluster, ticket));
    cluster.ticks(5);
    for id in 1..=4 {
        assert_eq!(voters(&cluster, id), [1, 2, 3, 4]);
        assert_eq!(cluster.core(id).descriptor().conf_epoch, ConfEpoch(3));
    }
}

#[test]
fn a_learner_that_lags_is_not_promoted() {
    let mut cluster = Cluster::new(3, 2);
    let leader = cluster.elect();
    let ticket = change(&mut cluster, leader, vec![ConfChangeOp::AddLearner(replica(4))]);
    assert!(is_applied(&cluster, ticket));
    let ticket = change(&mut cluster, leader, vec![ConfChangeOp::Promote(ReplicaId(4))]);
    assert!(matches!(refusal(&cluster, ticket), Error::Lagging { .. }));
}

#[test]
fn a_replica_is_replaced_in_one_step_through_joint_consensus_that_is_left() {
    let mut cluster = Cluster::new(3, 3);
    let leader = cluster.elect();
    add_fourth(&mut cluster, leader);
    let gone = cluster.ids().into_iter().find(|id| *id != leader && id.get() != 4).unwrap();
    let ops = vec![ConfChangeOp::Promote(ReplicaId(4)), ConfChangeOp::Remove(gone)];
    let ticket = change(&mut cluster, leader, ops);
    assert!(is_applied(&cluster, ticket));
    cluster.ticks(5);
    let group = cluster.core(leader.get());
    assert!(!group.conf_state().is_joint(), "joint consensus is left by itself");
    assert_eq!(group.conf_state().voters.len(), 3);
    assert!(group.descriptor().replica(gone).is_none());
    assert_eq!(voters(&cluster, 4), voters(&cluster, leader.get()));
}

#[test]
fn joint_consensus_is_left_by_the_next_leader_if_the_first_one_fails() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(3, seed);
        let leader = cluster.elect();
        add_fourth(&mut cluster, leader);
        let gone = cluster.ids().into_iter().find(|id| *id != leader && id.get() != 4).unwrap();
        let expected_epoch = cluster.core(leader.get()).descriptor().conf_epoch;
        let ops = vec![ConfChangeOp::Promote(ReplicaId(4)), ConfChangeOp::Remove(gone)];
        let ticket = cluster.ticket();
        let change = ConfChange { expected_epoch, ops };
        cluster.feed(leader, vec![Input::ProposeConfChange { ticket, change }]);
        for _ in 0..seed * 2 {
            cluster.deliver_one();
            for id in cluster.ids() {
                cluster.write_one(id);
                cluster.apply_one(id);
            }
        }
        cluster.cut = vec![leader];
        cluster.elect();
        cluster.ticks(80);
        cluster.cut.clear();
        cluster.ticks(80);
        let leader = cluster.elect();
        assert!(!cluster.core(leader.get()).conf_state().is_joint(), "seed {seed}");
    }
}

#[test]
fn a_change_is_fenced_by_the_conf_epoch() {
    let mut cluster = Cluster::new(3, 4);
    let leader = cluster.elect();
    let ticket = cluster.ticket();
    let change = ConfChange { expected_epoch: ConfEpoch(9), ops: vec![ConfChangeOp::AddLearner(replica(4))] };
    cluster.feed(leader, vec![Input::ProposeConfChange { ticket, change }]);
    assert!(matches!(refusal(&cluster, ticket), Error::ConfEpochMismatch { .. }));
}

#[test]
fn one_change_at_a_time() {
    let mut cluster = Cluster::new(3, 5);
    let leader = cluster.elect();
    let tickets: Vec<_> = [4, 5].map(|id| (cluster.ticket(), replica(id))).into();
    let inputs = tickets.iter().map(|(ticket, added)| Input::ProposeConfChange {
        ticket: *ticket,
        change: ConfChange { expected_epoch: ConfEpoch(1), ops: vec![ConfChangeOp::AddLearner(*added)] },
    });
    cluster.feed(leader, inputs.collect());
    cluster.settle();
    assert!(is_applied(&cluster, tickets[0].0));
    assert!(matches!(refusal(&cluster, tickets[1].0), Error::ConfChangePending { .. }));
}

#[test]
fn changes_that_make_no_sense_are_refused_before_they_are_appended() {
    let mut cluster = Cluster::new(3, 6);
    let leader = cluster.elect();
    let last = cluster.core(leader.get()).status().last;
    let senseless = [
        vec![],
        vec![ConfChangeOp::AddLearner(replica(1))],
        vec![ConfChangeOp::Promote(ReplicaId(1))],
        vec![ConfChangeOp::Remove(ReplicaId(9))],
        vec![ConfChangeOp::Remove(leader)],
        vec![ConfChangeOp::Remove(ReplicaId(1)), ConfChangeOp::Remove(ReplicaId(1))],
        (1..=3).map(|id| ConfChangeOp::Remove(ReplicaId(id))).collect(),
    ];
    for ops in senseless {
        let ticket = change(&mut cluster, leader, ops.clone());
        assert!(matches!(refusal(&cluster, ticket), Error::ConfChangeRefused(_)), "{ops:?}");
    }
    assert_eq!(cluster.core(leader.get()).status().last, last);
}

#[test]
fn the_last_voter_cannot_be_removed() {
    let mut cluster = Cluster::new(1, 7);
    let only = ReplicaId(1);
    cluster.feed(only, vec![Input::Campaign]);
    cluster.settle();
    let ticket = change(&mut cluster, only, vec![ConfChangeOp::Remove(only)]);
    assert!(matches!(refusal(&cluster, ticket), Error::ConfChangeRefused(_)));
}

#[test]
fn a_group_grows_from_one_voter_to_three_and_shrinks_again() {
    let mut cluster = Cluster::new(1, 8);
    let only = ReplicaId(1);
    cluster.feed(only, vec![Input::Campaign]);
    cluster.settle();
    for id in [2, 3] {
        let ticket = change(&mut cluster, only, vec![ConfChangeOp::AddLearner(replica(id))]);
        assert!(is_applied(&cluster, ticket));
        cluster.join(ReplicaId(id));
        cluster.ticks(20);
        let ticket = change(&mut cluster, only, vec![ConfChangeOp::Promote(ReplicaId(id))]);
        assert!(is_applied(&cluster, ticket), "{:?}", cluster.outcomes[&ticket]);
        cluster.ticks(5);
    }
    assert_eq!(voters(&cluster, 3), [1, 2, 3]);
    for id in [2, 3] {
        let ticket = change(&mut cluster, only, vec![ConfChangeOp::Remove(ReplicaId(id))]);
        assert!(is_applied(&cluster, ticket));
        cluster.crash(ReplicaId(id));
        cluster.ticks(5);
    }
    let ticket = cluster.propose(only);
    cluster.settle();
    assert!(is_applied(&cluster, ticket));
}

#[test]
fn a_removed_leader_steps_down_when_a_change_of_its_predecessor_removes_it() {
    let mut cluster = Cluster::new(3, 9);
    let old = cluster.elect();
    let next = cluster.ids().into_iter().find(|id| *id != old).unwrap();
    let other = cluster.ids().into_iter().find(|id| *id != old && *id != next).unwrap();
    // The removal reaches `next` only, and is not committed when `next` takes over.
    let ticket = cluster.ticket();
    let expected_epoch = cluster.core(old.get()).descriptor().conf_epoch;
    let change = ConfChange { expected_epoch, ops: vec![ConfChangeOp::Remove(next)] };
    cluster.feed(old, vec![Input::ProposeConfChange { ticket, change }]);
    let append = cluster.wire.iter().find(|message| message.to == next).cloned().unwrap();
    cluster.wire.clear();
    cluster.deliver(append);
    cluster.write_one(next);
    cluster.wire.clear();
    cluster.cut = vec![old];
    cluster.crash(old);
    for _ in 0..200 {
        cluster.tick();
    }
    assert!(!cluster.core(next.get()).role().is_leader);
    let descriptor = cluster.core(other.get()).descriptor().clone();
    assert!(descriptor.replica(next).is_none(), "the change was carried on: {descriptor:?}");
}
