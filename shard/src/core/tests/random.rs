//! Lossy networks, slow disks, crashes: many seeds, one history.

use quorate_storage::{ConfChange, ConfChangeOp, ReplicaId};
use quorate_transport::RaftMessageKind;

use super::cluster::{Cluster, Dice, Outcome, replica};
use crate::core::{CoreConfig, Input};

fn config() -> CoreConfig {
    CoreConfig {
        tail_bytes_max: 1_500,
        committed_bytes_max: 900,
        applying_bytes_max: 1_800,
        append_bytes_max: 200,
        append_inflight_max: 4,
        ..CoreConfig::default()
    }
}

fn step(cluster: &mut Cluster, dice: &mut Dice) {
    let ids = cluster.ids();
    let id = ids[dice.below(ids.len())];
    match dice.below(100) {
        0..40 => (0..3).for_each(|_| deliver_any(cluster, dice)),
        40..60 => {
            (0..2).for_each(|_| _ = cluster.write_one(id));
        }
        60..75 => {
            (0..2).for_each(|_| _ = cluster.apply_one(id));
        }
        75..80 => {
            cluster.read_one(id);
        }
        80..84 => cluster.feed(id, vec![Input::Tick]),
        84..90 => {
            let id = cluster.leader().filter(|_| !dice.one_in(4)).unwrap_or(id);
            propose_some(cluster, dice, id);
        }
        90..94 => {
            let id = cluster.leader().filter(|_| !dice.one_in(4)).unwrap_or(id);
            cluster.read(id);
        }
        94..95 if dice.one_in(3) => {
            let ticket = cluster.ticket();
            let to = ids[dice.below(ids.len())];
            cluster.feed(id, vec![Input::Transfer { ticket, to }]);
        }
        95..96 => {
            cluster.snapshot_one(id);
        }
        96..97 if cluster.is_up(id) => {
            cluster.publish(id);
            cluster.compact(id);
        }
        97..98 => crash_or_start(cluster, dice, id),
        98..99 if dice.one_in(2) => cluster.cut = if dice.one_in(2) { vec![id] } else { Vec::new() },
        _ => {}
    }
}

/// Any message, in any order; one in ten is lost, one in twenty arrives twice.
fn deliver_any(cluster: &mut Cluster, dice: &mut Dice) {
    if cluster.wire.is_empty() {
        return;
    }
    let reach = cluster.wire.len().min(8);
    let Some(message) = cluster.wire.remove(dice.below(reach)) else { return };
    if dice.one_in(20) {
        cluster.wire.push_back(message.clone());
    }
    if !dice.one_in(10) {
        cluster.deliver(message);
    } else if message.kind == RaftMessageKind::Snapshot {
        // The end of a snapshot transfer is always reported.
        cluster.feed(message.from, vec![Input::SnapshotSent { to: message.to, delivered: false }]);
    }
}

fn propose_some(cluster: &mut Cluster, dice: &mut Dice, id: ReplicaId) {
    if cluster.is_up(id) {
        let inputs = (0..=dice.below(4)).map(|_| cluster.proposal().1).collect();
        cluster.feed(id, inputs);
    }
}

fn crash_or_start(cluster: &mut Cluster, dice: &mut Dice, id: ReplicaId) {
    if cluster.is_up(id) {
        if dice.one_in(6) {
            cluster.crash(id);
        }
    } else {
        cluster.open(id);
    }
}

fn heal(cluster: &mut Cluster) {
    cluster.cut.clear();
    for id in cluster.ids() {
        if !cluster.is_up(id) {
            cluster.open(id);
        }
    }
    cluster.settle();
    cluster.ticks(150);
}

fn run(voters: u64, seed: u64, steps: usize) -> Cluster {
    let mut cluster = Cluster::with_config(voters, seed, config());
    let mut dice = Dice(seed);
    cluster.elect();
    for _ in 0..steps {
        step(&mut cluster, &mut dice);
    }
    heal(&mut cluster);
    cluster
}

#[test]
fn replicas_agree_on_one_history_whatever_the_network_and_the_disks_do() {
    let mut applied = 0;
    for seed in 0..60 {
        let cluster = run(3 + 2 * (seed % 2), seed, 12_000);
        println!("seed {seed}: {} entries", cluster.history.len());
        cluster.check_outcomes();
        let last = cluster.nodes.values().map(|node| node.record.applied).max();
        for node in cluster.nodes.values() {
            assert_eq!(Some(node.record.applied), last, "seed {seed}: replica {} is behind", node.id);
            assert_eq!(node.evidence, None, "seed {seed}");
        }
        applied += cluster.outcomes.values().filter(|end| matches!(end, Outcome::Applied(_))).count();
    }
    assert!(applied > 3_000, "only {applied} proposals were applied");
}

#[test]
fn reads_are_served_at_or_above_everything_acknowledged_before_them() {
    let mut served = 0;
    for seed in 100..130 {
        // The check itself is in the cluster: it holds for every read of every run.
        let cluster = run(3, seed, 8_000);
        served += cluster.outcomes.values().filter(|end| matches!(end, Outcome::Read)).count();
    }
    assert!(served > 300, "only {served} reads were served");
}

#[test]
fn a_run_of_the_same_seed_repeats_message_for_message() {
    for seed in 200..203 {
        let (one, two) = (run(3, seed, 8_000), run(3, seed, 8_000));
        assert!(one.trace.len() > 1_000);
        assert_eq!(one.trace, two.trace, "seed {seed}");
    }
}

#[test]
fn every_call_is_answered_once_the_group_is_healthy_unless_its_replica_crashed() {
    for seed in 300..310 {
        let mut cluster = Cluster::with_config(3, seed, config());
        let mut dice = Dice(seed);
        let mut calls = Vec::new();
        for _ in 0..2_000 {
            let ids = cluster.ids();
            let id = ids[dice.below(3)];
            match dice.below(10) {
                0..4 => deliver_any(&mut cluster, &mut dice),
                4 => {
                    cluster.write_one(id);
                }
                5 => {
                    cluster.apply_one(id);
                }
                6 => {
                    cluster.read_one(id);
                }
                7 => cluster.feed(id, vec![Input::Tick]),
                8 => calls.push(cluster.propose(id)),
                _ => calls.push(cluster.read(id)),
            }
        }
        heal(&mut cluster);
        let open = calls.iter().filter(|ticket| !cluster.outcomes.contains_key(ticket)).count();
        assert_eq!(open, 0, "seed {seed}: {open} of {} calls wait for ever", calls.len());
    }
}

/// Some membership change, sensible or not, proposed to whoever leads.
fn change_members(cluster: &mut Cluster, dice: &mut Dice) {
    let Some(leader) = cluster.leader() else { return };
    let some = |dice: &mut Dice| ReplicaId(1 + dice.below(6) as u64);
    let mut ops = vec![match dice.below(3) {
        0 => ConfChangeOp::AddLearner(replica(some(dice).get())),
        1 => ConfChangeOp::Promote(some(dice)),
        _ => ConfChangeOp::Remove(some(dice)),
    }];
    if dice.one_in(3) {
        ops.push(ConfChangeOp::Remove(some(dice)));
    }
    let group = cluster.core(leader.get());
    let learners = group.conf_state().learners.clone();
    if let (Some(learner), true) = (learners.first(), dice.one_in(2)) {
        let spare = group.conf_state().voters.iter().find(|voter| **voter != leader).copied();
        ops = vec![ConfChangeOp::Promote(*learner)];
        ops.extend(spare.filter(|_| dice.one_in(2)).map(ConfChangeOp::Remove));
    }
    let expected_epoch = group.descriptor().conf_epoch;
    let ticket = cluster.ticket();
    let change = ConfChange { expected_epoch, ops };
    cluster.feed(leader, vec![Input::ProposeConfChange { ticket, change }]);
}

/// Replica ids are never used again: one that was removed stays away.
fn join_new_members(cluster: &mut Cluster) {
    let Some(leader) = cluster.leader() else { return };
    let members = cluster.core(leader.get()).descriptor().replicas.clone();
    for member in members {
        if !cluster.nodes.contains_key(&member.replica) {
            cluster.join(member.replica);
        }
    }
}

#[test]
fn a_group_whose_members_change_under_faults_agrees_and_leaves_joint_consensus() {
    let (mut joint, mut changed) = (0, 0);
    for seed in 400..440 {
        println!("seed {seed}");
        let mut cluster = Cluster::with_config(3, seed, config());
        let mut dice = Dice(seed);
        cluster.elect();
        for _ in 0..12_000 {
            step(&mut cluster, &mut dice);
            if dice.one_in(60) {
                change_members(&mut cluster, &mut dice);
            }
            join_new_members(&mut cluster);
            joint += usize::from(
                cluster.leader().is_some_and(|id| cluster.core(id.get()).conf_state().is_joint()),
            );
        }
        heal(&mut cluster);
        cluster.check_outcomes();
        let leader = cluster.elect();
        join_new_members(&mut cluster);
        cluster.ticks(100);
        let group = cluster.core(leader.get());
        assert!(!group.conf_state().is_joint(), "seed {seed}: stuck in joint consensus");
        changed += group.descriptor().conf_epoch.get() - 1;
        for member in &group.descriptor().replicas {
            let node = &cluster.nodes[&member.replica];
            assert_eq!(
                node.record.applied, cluster.nodes[&leader].record.applied,
                "seed {seed}: {}",
                node.id
            );
            assert_eq!(node.record.conf_state, *group.conf_state(), "seed {seed}");
            assert_eq!(node.record.descriptor, *group.descriptor(), "seed {seed}");
            assert_eq!(node.evidence, None, "seed {seed}");
        }
    }
    assert!(changed > 100 && joint > 100, "{changed} changes, {joint} steps in joint consensus");
}

#[test]
fn a_single_voter_that_crashes_at_any_point_keeps_everything_acknowledged() {
    let mut applied = 0;
    for seed in 500..530 {
        let mut cluster = Cluster::with_config(1, seed, config());
        let mut dice = Dice(seed);
        for _ in 0..3_000 {
            step(&mut cluster, &mut dice);
        }
        heal(&mut cluster);
        cluster.check_outcomes();
        applied += cluster.outcomes.values().filter(|end| matches!(end, Outcome::Applied(_))).count();
    }
    assert!(applied > 1_000, "only {applied} proposals were applied");
}
