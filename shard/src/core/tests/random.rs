//! Lossy networks, slow disks, crashes: many seeds, one history.

use quorate_storage::ReplicaId;
use quorate_transport::RaftMessageKind;

use super::cluster::{Cluster, Dice, Outcome};
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
