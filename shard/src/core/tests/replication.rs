use quorate_storage::{Index, ReplicaId};

use super::cluster::{Cluster, Outcome};
use crate::core::{CoreConfig, Input};
use crate::error::Error;

#[test]
fn a_proposal_is_applied_on_every_replica() {
    let mut cluster = Cluster::new(3, 1);
    let leader = cluster.elect();
    let ticket = cluster.propose(leader);
    cluster.settle();
    let Outcome::Applied(id) = cluster.outcomes[&ticket] else { panic!("{:?}", cluster.outcomes[&ticket]) };
    cluster.ticks(3);
    for node in cluster.nodes.values() {
        assert_eq!(node.record.applied, id);
    }
}

#[test]
fn proposals_fed_between_two_drains_share_one_record_and_one_message() {
    let mut cluster = Cluster::new(3, 1);
    let leader = cluster.elect();
    let inputs = (0..100).map(|_| cluster.proposal().1).collect();
    cluster.wire.clear();
    cluster.feed(leader, inputs);
    let node = &cluster.nodes[&leader];
    assert_eq!(node.unwritten.len(), 1);
    assert_eq!(node.unwritten[0].batch.entries.len(), 100);
    assert_eq!(cluster.wire.len(), 2, "one append to each follower");
    cluster.settle();
    assert!(cluster.outcomes.values().all(|outcome| matches!(outcome, Outcome::Applied(_))));
    assert_eq!(cluster.outcomes.len(), 100);
}

#[test]
fn a_moved_commit_alone_costs_no_sync() {
    let mut cluster = Cluster::new(3, 1);
    let leader = cluster.elect();
    let before: u64 = cluster.nodes.values().map(|node| node.disk.syncs).sum();
    cluster.propose(leader);
    cluster.settle();
    cluster.ticks(10);
    let after: u64 = cluster.nodes.values().map(|node| node.disk.syncs).sum();
    assert_eq!(after - before, 3, "one for each replica");
    let commit = cluster.history.keys().next_back().copied();
    assert!(cluster.nodes.values().all(|node| Some(node.disk.hard_state.commit) == commit));
}

#[test]
fn a_follower_refuses_proposals_and_reads_with_a_hint() {
    let mut cluster = Cluster::new(3, 1);
    let leader = cluster.elect();
    let follower = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
    for ticket in [cluster.propose(follower), cluster.read(follower)] {
        let Outcome::Failed(Error::NotLeader { hint, .. }) = &cluster.outcomes[&ticket] else { panic!() };
        assert_eq!(hint.unwrap().replica, leader);
    }
}

#[test]
fn a_leader_that_loses_leadership_answers_indeterminate() {
    let mut cluster = Cluster::new(3, 4);
    let leader = cluster.elect();
    cluster.cut = vec![leader];
    let ticket = cluster.propose(leader);
    cluster.ticks(60);
    assert!(matches!(cluster.outcomes[&ticket], Outcome::Failed(Error::Indeterminate { .. })));
    cluster.cut.clear();
    cluster.ticks(30);
    cluster.check_outcomes();
}

#[test]
fn a_proposal_over_the_budget_is_refused_and_the_first_one_is_not() {
    let config = CoreConfig { uncommitted_bytes_max: 20, append_bytes_max: 10, ..CoreConfig::default() };
    let mut cluster = Cluster::with_config(3, 1, config);
    let leader = cluster.elect();
    let (first, one) = cluster.proposal();
    let (second, two) = cluster.proposal();
    let (third, three) = cluster.proposal();
    cluster.feed(leader, vec![one, two, three]);
    cluster.settle();
    assert!(matches!(cluster.outcomes[&first], Outcome::Applied(_)));
    assert!(matches!(cluster.outcomes[&second], Outcome::Applied(_)));
    assert!(matches!(cluster.outcomes[&third], Outcome::Failed(Error::Busy { .. })));
}

#[test]
fn a_single_voter_commits_only_what_its_log_writer_has_reported() {
    let mut cluster = Cluster::new(1, 1);
    let only = ReplicaId(1);
    cluster.feed(only, vec![Input::Campaign]);
    cluster.settle();
    let first = cluster.propose(only);
    let second = cluster.propose(only);
    assert!(!cluster.outcomes.contains_key(&first));
    assert_eq!(cluster.node(1).unwritten.len(), 1, "the second waits until the first is durable");
    assert!(cluster.write_one(only));
    assert_eq!(cluster.node(1).unwritten.len(), 1);
    cluster.apply_one(only);
    assert!(matches!(cluster.outcomes[&first], Outcome::Applied(_)));
    assert!(!cluster.outcomes.contains_key(&second));
    cluster.settle();
    assert!(matches!(cluster.outcomes[&second], Outcome::Applied(_)));
}

#[test]
fn a_restarted_replica_replays_from_its_floor_and_catches_up() {
    let config = CoreConfig { tail_bytes_max: 200, committed_bytes_max: 200, ..CoreConfig::default() };
    let mut cluster = Cluster::with_config(3, 6, config);
    let leader = cluster.elect();
    for _ in 0..30 {
        cluster.propose(leader);
        cluster.settle();
    }
    cluster.ticks(3);
    let follower = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
    cluster.crash(follower);
    for _ in 0..30 {
        cluster.propose(leader);
        cluster.settle();
    }
    // Its store had not flushed since the beginning.
    let node = cluster.nodes.get_mut(&follower).unwrap();
    node.record = super::cluster::born(3);
    node.applied.clear();
    cluster.open(follower);
    cluster.ticks(60);
    let last = cluster.history.keys().next_back().copied().unwrap();
    assert_eq!(cluster.nodes[&follower].record.applied.index, last);
    assert_eq!(cluster.nodes[&follower].applied.len() as u64, last.get() - 1);
}

#[test]
fn a_whole_group_restarted_from_its_floors_loses_nothing() {
    let mut cluster = Cluster::new(3, 7);
    let leader = cluster.elect();
    let tickets: Vec<_> = (0..20).map(|_| cluster.propose(leader)).collect();
    cluster.settle();
    for id in cluster.ids() {
        cluster.crash(id);
        cluster.nodes.get_mut(&id).unwrap().record = super::cluster::born(3);
        cluster.open(id);
    }
    cluster.elect();
    cluster.ticks(5);
    for ticket in tickets {
        let Outcome::Applied(id) = cluster.outcomes[&ticket] else { panic!() };
        assert!(cluster.nodes.values().all(|node| node.record.applied >= id));
    }
}

#[test]
fn a_follower_behind_the_log_is_seeded_by_a_snapshot() {
    let mut cluster = Cluster::new(3, 8);
    let leader = cluster.elect();
    let follower = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
    cluster.cut = vec![follower];
    for _ in 0..20 {
        cluster.propose(leader);
        cluster.settle();
    }
    cluster.publish(leader);
    cluster.compact(leader);
    cluster.cut.clear();
    cluster.ticks(60);
    let leader = cluster.elect();
    let node = &cluster.nodes[&follower];
    assert_eq!(node.record.applied, cluster.nodes[&leader].record.applied);
    assert!(node.disk.base.index > Index(1), "it was seeded");
}

#[test]
fn a_read_is_confirmed_by_a_quorum_and_shared_by_its_callers() {
    let mut cluster = Cluster::new(3, 9);
    let leader = cluster.elect();
    cluster.propose(leader);
    cluster.settle();
    let tickets: Vec<_> = (0..10).map(|_| cluster.ticket()).collect();
    let group = cluster.nodes.get_mut(&leader).unwrap().group.as_mut().unwrap();
    for ticket in &tickets {
        group.feed(Input::Read { ticket: *ticket });
    }
    let out = group.drain();
    assert!(out.reads.is_empty());
    assert_eq!(out.messages.len(), 2, "one round");
}

#[test]
fn a_read_of_a_leader_that_was_deposed_is_answered_and_never_served() {
    let mut cluster = Cluster::new(3, 10);
    let old = cluster.elect();
    cluster.cut = vec![old];
    let new = cluster.elect();
    cluster.propose(new);
    cluster.settle();
    let ticket = cluster.read(old);
    cluster.ticks(60);
    assert!(matches!(cluster.outcomes[&ticket], Outcome::Failed(_)), "{:?}", cluster.outcomes[&ticket]);
}

#[test]
fn an_idle_group_keeps_no_entries_in_memory_and_still_serves_a_follower_that_lags() {
    let mut cluster = Cluster::new(3, 11);
    let leader = cluster.elect();
    let follower = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
    cluster.cut = vec![follower];
    for _ in 0..20 {
        cluster.propose(leader);
        cluster.settle();
    }
    assert!(cluster.core(leader.get()).status().tail_bytes > 0);
    cluster.ticks(60);
    assert_eq!(cluster.core(leader.get()).status().tail_bytes, 0);
    cluster.cut.clear();
    cluster.ticks(20);
    let node = &cluster.nodes[&follower];
    assert_eq!(node.record.applied, cluster.nodes[&leader].record.applied);
    assert_eq!(node.disk.base.index, Index(1), "from the log, not from a snapshot");
}

#[test]
fn a_restore_is_handed_over_only_when_its_log_record_is_durable() {
    let mut cluster = Cluster::new(3, 12);
    let leader = cluster.elect();
    let follower = cluster.ids().into_iter().find(|id| *id != leader).unwrap();
    cluster.cut = vec![follower];
    for _ in 0..5 {
        cluster.propose(leader);
        cluster.settle();
    }
    cluster.publish(leader);
    cluster.compact(leader);
    cluster.cut.clear();
    let before = cluster.nodes[&follower].record.applied;
    for _ in 0..200 {
        cluster.feed(leader, vec![Input::Tick]);
        while cluster.deliver_one() {}
        cluster.write_one(leader);
        cluster.apply_one(follower);
        if cluster.nodes[&follower].unwritten.iter().any(|record| record.batch.install.is_some()) {
            break;
        }
    }
    cluster.apply_one(follower);
    assert_eq!(cluster.nodes[&follower].record.applied, before, "state ahead of the log looks like lost log");
    cluster.settle();
    assert!(cluster.nodes[&follower].record.applied > before);
}
