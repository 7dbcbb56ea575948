//! Networks of which some ways are cut: deaf and mute replicas, halves with a bridge, links that go one by one.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_telemetry::{Rng, SeededRng};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::network::Network;
use super::node::{TestNode, cluster, config, leader, put_anyhow};
use crate::actor::ReadLevel;

/// Two of the longest election timeouts: 20 ticks of 50 ms each.
const TWO_ELECTIONS: Duration = Duration::from_secs(2);
/// How soon a group serves again once its network is whole.
const RECOVERY_MAX: Duration = Duration::from_secs(3);

fn deafen(network: &Network, nodes: &[TestNode], deaf: u64) {
    nodes.iter().filter(|node| node.id != deaf).for_each(|node| network.cut_way(node.id, deaf));
}

/// Notes who leads in which term, and panics if two do.
fn watch_leaders(nodes: &[TestNode]) -> JoinHandle<()> {
    let mut roles: Vec<_> = nodes.iter().map(|node| (node.id, node.handle.watch_role())).collect();
    tokio::spawn(async move {
        let mut leaders = BTreeMap::new();
        loop {
            for (id, role) in &mut roles {
                let role = *role.borrow_and_update();
                if role.is_leader {
                    let leader = *leaders.entry(role.term).or_insert(*id);
                    assert_eq!(leader, *id, "two leaders in term {}", role.term);
                }
            }
            sleep(Duration::from_millis(1)).await;
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_hears_nobody_steps_down_and_another_one_leads() {
    let (network, nodes) = cluster(3, &config()).await;
    put_anyhow(&nodes, "a=1").await;
    let old = leader(&nodes).await;
    deafen(&network, &nodes, old.id);
    let mut role = old.handle.watch_role();
    let stepped_down = timeout(TWO_ELECTIONS, role.wait_for(|role| !role.is_leader)).await;
    assert!(stepped_down.is_ok(), "it still leads, and its heartbeats keep the others from electing anybody");
    let last = put_anyhow(&nodes, "a=2").await;
    // It still talks: it asks for votes again and again, and nobody's term rises for it.
    sleep(Duration::from_secs(60)).await;
    let serving = leader(&nodes).await;
    assert_ne!(serving.id, old.id);
    assert_eq!(serving.handle.status().role.term, last.id.term, "it has disturbed the others");
    assert!(network.held_back() > 0, "nothing was sent into the cut");
    assert!(old.handle.read(ReadLevel::Linearizable, TWO_ELECTIONS).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_hears_nobody_disturbs_nobody() {
    let (network, nodes) = cluster(3, &config()).await;
    let first = put_anyhow(&nodes, "a=1").await;
    let leads = leader(&nodes).await.id;
    let deaf = nodes.iter().find(|node| node.id != leads).unwrap();
    deafen(&network, &nodes, deaf.id);
    sleep(Duration::from_secs(60)).await;
    let last = put_anyhow(&nodes, "a=2").await;
    assert_eq!(last.id.term, first.id.term, "its campaigns raised the term");
    assert!(network.held_back() > 0, "nothing was sent into the cut");
    for node in &nodes {
        network.heal_way(node.id, deaf.id);
    }
    deaf.applies(last.id.index).await;
    assert_eq!(put_anyhow(&nodes, "a=3").await.id.term, first.id.term, "its return raised the term");
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_nobody_hears_disturbs_nobody() {
    let (network, nodes) = cluster(3, &config()).await;
    let first = put_anyhow(&nodes, "a=1").await;
    let leads = leader(&nodes).await.id;
    let mute = nodes.iter().find(|node| node.id != leads).unwrap();
    nodes.iter().filter(|node| node.id != mute.id).for_each(|node| network.cut_way(mute.id, node.id));
    for at in 0..100 {
        put_anyhow(&nodes, &format!("k{at}=1")).await;
        sleep(Duration::from_millis(600)).await;
    }
    assert!(network.held_back() > 0, "it said nothing");
    for node in &nodes {
        network.heal_way(mute.id, node.id);
    }
    let last = put_anyhow(&nodes, "a=2").await;
    mute.applies(last.id.index).await;
    assert_eq!(last.id.term, first.id.term, "somebody campaigned");
}

#[tokio::test(start_paused = true)]
async fn two_halves_with_a_bridge_have_one_leader_a_term_and_go_on() {
    let (network, nodes) = cluster(5, &config()).await;
    put_anyhow(&nodes, "a=0").await;
    let watched = watch_leaders(&nodes);
    // 3 sees all, 1 and 2 see each other, 4 and 5 do.
    for (one, other) in [(1, 4), (1, 5), (2, 4), (2, 5)] {
        network.cut_way(one, other);
        network.cut_way(other, one);
    }
    let mut last = put_anyhow(&nodes, "a=1").await;
    for at in 0..100 {
        last = put_anyhow(&nodes, &format!("k{at}=1")).await;
        sleep(Duration::from_millis(300)).await;
    }
    assert!(network.held_back() > 0, "nothing was sent into the cut");
    for (one, other) in [(1, 4), (1, 5), (2, 4), (2, 5)] {
        network.heal_way(one, other);
        network.heal_way(other, one);
    }
    for node in &nodes {
        node.applies(last.id.index).await;
        assert_eq!(node.get("k99", ReadLevel::Local).await.unwrap(), "1");
    }
    assert!(!watched.is_finished(), "two led in one term");
    watched.abort();
}

#[tokio::test(start_paused = true)]
async fn a_ring_in_which_each_sees_its_neighbours_has_one_leader_a_term_and_goes_on() {
    let (network, nodes) = cluster(5, &config()).await;
    put_anyhow(&nodes, "a=0").await;
    let watched = watch_leaders(&nodes);
    for one in 1..=5_u64 {
        for far in [one % 5 + 2, one % 5 + 3].map(|id| (id - 1) % 5 + 1) {
            network.cut_way(one, far);
        }
    }
    for at in 0..100 {
        put_anyhow(&nodes, &format!("k{at}=1")).await;
        sleep(Duration::from_millis(300)).await;
    }
    assert!(network.held_back() > 0, "nothing was sent into the cut");
    assert!(!watched.is_finished(), "two led in one term");
    watched.abort();
}

#[tokio::test(start_paused = true)]
async fn links_that_are_cut_one_by_one_and_healed_in_another_order_are_survived() {
    for seed in 0..20 {
        println!("seed {seed}");
        let rng = SeededRng::new(seed);
        let (network, nodes) = cluster(3, &config()).await;
        put_anyhow(&nodes, "a=1").await;
        let watched = watch_leaders(&nodes);
        let mut ways: Vec<(u64, u64)> =
            (1..=3).flat_map(|one| (1..=3).map(move |other| (one, other))).filter(|(a, b)| a != b).collect();
        shuffle(&mut ways, &rng);
        for &(one, other) in &ways {
            network.cut_way(one, other);
            sleep(Duration::from_millis(rng.below(1_500))).await;
        }
        shuffle(&mut ways, &rng);
        for &(one, other) in &ways {
            sleep(Duration::from_millis(rng.below(1_500))).await;
            network.heal_way(one, other);
        }
        let healed = Instant::now();
        put_anyhow(&nodes, "a=2").await;
        assert!(healed.elapsed() <= RECOVERY_MAX, "seed {seed}: served after {:?}", healed.elapsed());
        assert!(network.held_back() > 0, "nothing was sent into the cuts");
        assert!(!watched.is_finished(), "two led in one term");
        watched.abort();
    }
}

fn shuffle<T>(items: &mut [T], rng: &SeededRng) {
    for last in (1..items.len()).rev() {
        let at = usize::try_from(rng.below(last as u64 + 1)).unwrap();
        items.swap(last, at);
    }
}
