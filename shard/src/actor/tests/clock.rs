//! The clock of a group, while leaders, clocks and files come and go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quorate_storage::kv::{KvCommand, MemoryLoss, Op};
use quorate_storage::{
    ConfChange, ConfChangeOp, NodeId, RangeEpoch, ReplicaDescriptor, ReplicaId, Timestamp,
};
use quorate_telemetry::stats::ColdStartOutcome;
use quorate_telemetry::{Clock, Rng, SeededRng};
use tokio::time::{Instant, sleep};

use super::network::Network;
use super::node::{DEADLINE, TestNode, WALL, cluster, config, incarnation, leader};
use super::store::Machines;
use crate::actor::mailbox::Event;
use crate::actor::{GroupConfig, StopMode};
use crate::error::{Error, Result};
use crate::hlc::Renew;

const WINDOW: Duration = Duration::from_secs(3);
const HOUR: Duration = Duration::from_secs(3_600);
const HOUR_MS: i64 = 3_600_000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A timestamp of whoever leads, however often that changes meanwhile.
async fn timestamp(nodes: &[TestNode]) -> Timestamp {
    loop {
        match leader(nodes).await.handle.timestamp(DEADLINE).await {
            Ok(timestamp) => return timestamp,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
        sleep(ms(20)).await;
    }
}

/// What pings tell the nodes of each other's clocks.
fn compare_clocks(nodes: &[TestNode]) {
    let millis = |node: &TestNode| i64::try_from(node.clock.wall().as_millis()).unwrap();
    for node in nodes {
        let others = nodes.iter().filter(|other| other.id != node.id);
        node.clock_watch.measure(&others.map(|other| millis(other) - millis(node)).collect::<Vec<_>>());
    }
}

/// A state that survives restarts: the key-value machine on the in-memory store.
fn lasting(node: &mut TestNode) {
    node.machines = Arc::new(Machines { disk: node.seam(), loss: MemoryLoss::Tail });
}

async fn put(node: &TestNode, key: &str) -> Result<crate::actor::Applied> {
    let ops = vec![Op::Put(key.to_owned().into(), "v".into())];
    let command = KvCommand { conditions: vec![], ops }.encode().unwrap();
    node.handle.propose(command, RangeEpoch(1), DEADLINE).await
}

async fn single(config: &GroupConfig) -> (Network, TestNode) {
    let (network, mut nodes) = cluster(1, config).await;
    let node = nodes.remove(0);
    node.serves().await;
    (network, node)
}

fn leases(node: &TestNode) -> u64 {
    node.handle.stats().raft.leases.get()
}

#[tokio::test(start_paused = true)]
async fn one_lease_serves_all_who_wait_and_the_ceiling_is_above_what_was_given() {
    let (_network, node) = single(&config()).await;
    assert_eq!(node.handle.status().hlc_ceiling, Timestamp(0));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let handle = node.handle.clone();
        calls.spawn(async move { handle.timestamp(DEADLINE).await.unwrap() });
    }
    let given: BTreeSet<_> = calls.join_all().await.into_iter().collect();
    assert_eq!(given.len(), 1_000);
    assert_eq!(leases(&node), 1);
    let (first, last) = (*given.first().unwrap(), *given.last().unwrap());
    assert!(first >= Timestamp::of_wall(WALL) && last < node.handle.status().hlc_ceiling);
    assert_eq!(node.handle.stats().requests.timestamps.get(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_while_timestamps_are_asked_for() {
    let (_network, node) = single(&config()).await;
    let mut last = node.handle.timestamp(DEADLINE).await.unwrap();
    for _ in 0..300 {
        sleep(ms(100)).await;
        let before = Instant::now();
        let next = node.handle.timestamp(DEADLINE).await.unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO, "it was renewed in time");
        assert!(next > last);
        last = next;
    }
    let leases = leases(&node);
    assert!((15..=25).contains(&leases), "{leases} leases in 30 s: about one for each half window");
}

#[tokio::test(start_paused = true)]
async fn an_unused_lease_lapses_and_the_next_request_renews_it() {
    let (_network, node) = single(&config()).await;
    node.handle.timestamp(DEADLINE).await.unwrap();
    sleep(WINDOW * 2).await;
    let (leases_before, ceiling) = (leases(&node), node.handle.status().hlc_ceiling);
    assert!(leases_before <= 3);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((leases(&node), node.handle.status().hlc_ceiling), (leases_before, ceiling), "nobody asked");
    assert!(node.handle.timestamp(DEADLINE).await.unwrap() > ceiling);
    assert_eq!(leases(&node), leases_before + 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_group_leases_only_if_it_is_told_to() {
    let (_network, idle) = single(&config()).await;
    let mut config = config();
    config.hlc.renew = Renew::Always;
    let (_network, always) = single(&config).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(leases(&idle), 0);
    assert!((15..=25).contains(&leases(&always)), "{}", leases(&always));
}

#[tokio::test(start_paused = true)]
async fn a_follower_names_the_leader() {
    let (_network, nodes) = cluster(3, &config()).await;
    let lead = leader(&nodes).await.id;
    let follower = nodes.iter().find(|node| node.id != lead).unwrap();
    for error in [
        follower.handle.timestamp(DEADLINE).await.unwrap_err(),
        follower.handle.observe(Timestamp::of_wall(WALL), DEADLINE).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotLeader { hint: Some(hint), .. } if hint.node == NodeId(lead)));
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_the_missing_lease_is_named() {
    let (network, nodes) = cluster(3, &config()).await;
    let lead = leader(&nodes).await;
    network.cut(lead.id);
    let error = lead.handle.timestamp(ms(200)).await.unwrap_err();
    assert!(matches!(error, Error::NoCeiling { .. }) && error.is_retryable(), "{error}");
    network.heal(lead.id);
    let given = timestamp(&nodes).await;

    let lead = leader(&nodes).await;
    lead.handle.timestamp(DEADLINE).await.unwrap();
    let ceiling = lead.handle.status().hlc_ceiling;
    network.cut(lead.id);
    lead.clock.jump_forward(Duration::from_secs(10));
    let error = lead.handle.timestamp(ms(200)).await.unwrap_err();
    assert!(matches!(error, Error::CeilingExpired { ceiling: there, .. } if there == ceiling), "{error}");
    assert!(!error.is_maybe_committed() && given < ceiling);
}

#[tokio::test(start_paused = true)]
async fn two_leaders_at_once_never_give_the_same_and_the_later_one_gives_larger_ones() {
    let (network, nodes) = cluster(3, &config()).await;
    let old = leader(&nodes).await;
    let mut by_old = vec![old.handle.timestamp(DEADLINE).await.unwrap()];
    let term = old.handle.status().role.term;
    network.cut(old.id);
    let rest: Vec<_> = nodes.iter().filter(|node| node.id != old.id).cloned().collect();
    for node in &rest {
        // As if they had lost it before it notices: they elect another one long before it steps down.
        let replica = ReplicaId(old.id);
        node.handle.inner().events.send(Event::LeaderQuarantined { replica, term }).unwrap();
    }
    let new = leader(&rest).await;
    let mut by_new = Vec::new();
    let mut overlapping = 0;
    for _ in 0..100 {
        by_new.extend(new.handle.timestamp(ms(50)).await);
        if let Ok(given) = old.handle.timestamp(ms(1)).await {
            overlapping += usize::from(!by_new.is_empty());
            by_old.push(given);
        }
        if let (true, Some(seen)) = (overlapping == 1, by_new.last()) {
            // Who has seen the successor's brings it along: the deposed one cannot go above.
            old.handle.observe(*seen, ms(1)).await.unwrap_err();
        }
        sleep(ms(5)).await;
    }
    assert!(overlapping > 5, "{overlapping} timestamps of a deposed leader are no test");
    assert!(by_new.len() > 50);
    assert!(by_old.is_sorted_by(|a, b| a < b) && by_new.is_sorted_by(|a, b| a < b));
    assert!(by_old.last() < by_new.first(), "{:?} {:?}", by_old.last(), by_new.first());
}

#[tokio::test(start_paused = true)]
async fn a_successor_with_a_late_clock_goes_on_above_without_a_stall() {
    let (_network, nodes) = cluster(3, &config()).await;
    let given = timestamp(&nodes).await;
    let (killed, rest): (Vec<_>, Vec<_>) = {
        let lead = leader(&nodes).await.id;
        nodes.into_iter().partition(|node| node.id == lead)
    };
    let ceiling = killed[0].handle.status().hlc_ceiling;
    killed[0].kill().await;
    for node in &rest {
        node.clock.jump_back(HOUR);
    }
    let new = leader(&rest).await;
    let before = Instant::now();
    let next = new.handle.timestamp(DEADLINE).await.unwrap();
    assert!(before.elapsed() < ms(100), "one lease, not the rest of the old one: {:?}", before.elapsed());
    assert!(next > ceiling && ceiling > given);
    assert_eq!(next.millis(), ceiling.millis(), "right above");
}

#[tokio::test(start_paused = true)]
async fn what_was_merged_holds_for_the_next_leader() {
    let (_network, mut nodes) = cluster(3, &config()).await;
    let lead = leader(&nodes).await;
    let remote = Timestamp::of_wall(lead.clock.wall() + ms(400));
    lead.handle.observe(remote, DEADLINE).await.unwrap();
    assert!(lead.handle.timestamp(DEADLINE).await.unwrap() > remote);
    let far = Timestamp::of_wall(lead.clock.wall() + ms(600));
    let error = lead.handle.observe(far, DEADLINE).await.unwrap_err();
    assert!(matches!(error, Error::TimestampAhead { ahead_ms: 600, .. }) && !error.is_retryable(), "{error}");
    let id = lead.id;
    lead.kill().await;
    nodes.retain(|node| node.id != id);
    assert!(timestamp(&nodes).await > remote);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_clock_is_wrong_leases_nothing_and_gives_its_office_away() {
    for jump in [HOUR, ms(600)] {
        let (_network, nodes) = cluster(3, &config()).await;
        compare_clocks(&nodes);
        let lead = leader(&nodes).await;
        lead.clock.jump_forward(jump);
        let error = lead.handle.timestamp(DEADLINE).await.unwrap_err();
        let Error::ClockSkew { offset_ms, .. } = error else { panic!("{error}") };
        // The nodes were not made in the same millisecond.
        assert!(i64::try_from(jump.as_millis()).unwrap().abs_diff(offset_ms) < 50, "{offset_ms} ms");
        let mut role = lead.handle.watch_role();
        role.wait_for(|role| !role.is_leader).await.unwrap();
        let given = timestamp(&nodes).await;
        assert!(given < Timestamp::of_wall(WALL + jump), "no lease was taken by the wrong clock");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_clock_is_wrong_does_not_campaign_until_it_is_right() {
    let (_network, nodes) = cluster(3, &config()).await;
    let first = leader(&nodes).await.id;
    let (lead, rest): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| node.id == first);
    let [wrong, right] = &rest[..] else { panic!() };
    wrong.clock_watch.measure(&[-HOUR_MS; 2]);
    sleep(ms(100)).await;
    let refused = lead[0].handle.transfer_leader(ReplicaId(wrong.id), DEADLINE).await;
    assert!(refused.is_err(), "it does not take the leadership it is offered");
    lead[0].kill().await;
    right.kill().await;
    sleep(Duration::from_secs(30)).await;
    let term = wrong.handle.status().role.term;
    let mut right = right.clone();
    right.restart().await;
    right.serves().await;
    // The other way round: it may vote, and now it may lead.
    wrong.clock_watch.measure(&[0, 0]);
    right.clock_watch.measure(&[HOUR_MS; 2]);
    sleep(ms(100)).await;
    right.handle.transfer_leader(ReplicaId(wrong.id), DEADLINE).await.unwrap();
    assert!(wrong.handle.status().role.term > term);
}

#[tokio::test(start_paused = true)]
async fn the_only_voter_leads_whatever_its_clock_shows_but_leases_nothing() {
    let (_network, mut node) = single(&config()).await;
    node.kill().await;
    node.restart().await;
    node.clock_watch.measure(&[5_000, 5_000]);
    node.serves().await;
    node.put("a=1").await.unwrap();
    let error = node.handle.timestamp(DEADLINE).await.unwrap_err();
    assert!(matches!(error, Error::ClockSkew { offset_ms: -5_000, .. }), "{error}");
    node.clock_watch.measure(&[0, 0]);
    node.handle.timestamp(DEADLINE).await.unwrap();
}

/// Leases and data behind a snapshot; then a restart that finds the store whole or rotten.
async fn ceiling_after(store_is_rotten: bool) -> (Timestamp, Timestamp, ColdStartOutcome) {
    let (_network, mut node) = single(&config()).await;
    node.kill().await;
    lasting(&mut node);
    node.restart().await;
    node.serves().await;
    put(&node, "a").await.unwrap();
    node.handle.timestamp(DEADLINE).await.unwrap();
    node.handle.publish_snapshot(DEADLINE).await.unwrap();
    let in_snapshot = node.handle.status().hlc_ceiling;
    sleep(WINDOW).await;
    node.handle.timestamp(DEADLINE).await.unwrap();
    let last = put(&node, "b").await.unwrap();
    let before = node.handle.status().hlc_ceiling;
    assert!(before > in_snapshot, "a lease behind the snapshot");
    node.handle.stop(StopMode::Graceful { deadline: DEADLINE }).await;
    node.store_is_rotten = store_is_rotten;
    node.stats = Arc::default();
    node.restart().await;
    node.applies(last.id.index).await;
    let outcome = node.handle.stats().cold_starts.counts()[0].0;
    (before, node.handle.status().hlc_ceiling, outcome)
}

#[tokio::test(start_paused = true)]
async fn the_ceiling_after_a_skip_is_that_after_a_restore_and_replay() {
    let (before, skipped, outcome) = ceiling_after(false).await;
    assert_eq!((skipped, outcome), (before, ColdStartOutcome::Skipped));
    let (before, restored, outcome) = ceiling_after(true).await;
    assert_eq!((restored, outcome), (before, ColdStartOutcome::Fallback));
    assert_eq!(skipped, restored, "one seed, one history");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_brings_the_ceiling_to_a_new_replica() {
    let mut config = config();
    config.snapshots.trailing_entries = 1;
    let (network, node) = single(&config).await;
    node.handle.timestamp(DEADLINE).await.unwrap();
    for i in 0..20 {
        node.put(&format!("k{i}=v")).await.unwrap();
    }
    node.handle.publish_snapshot(DEADLINE).await.unwrap();
    let joining = TestNode::joining(4, 1, &config, &network).await;
    let learner = ReplicaDescriptor { replica: ReplicaId(4), node: NodeId(4), incarnation: incarnation(4) };
    let expected_epoch = node.handle.status().descriptor.conf_epoch;
    let change = ConfChange { expected_epoch, ops: vec![ConfChangeOp::AddLearner(learner)] };
    node.handle.change_conf(change, DEADLINE).await.unwrap();
    let last = node.put("last=v").await.unwrap();
    joining.applies(last.id.index).await;
    assert!(joining.handle.stats().snapshots.installed.get() > 0);
    assert_eq!(joining.handle.status().hlc_ceiling, node.handle.status().hlc_ceiling);
    assert!(node.handle.status().hlc_ceiling > Timestamp(0));
}

/// Everything that was given, and of what is certain by whom: (term, timestamp) in the order of the answers.
#[derive(Default)]
struct Given {
    all: Vec<Timestamp>,
    by_term: Vec<(u64, Timestamp)>,
}

impl Given {
    async fn ask(&mut self, node: &TestNode) {
        let before = node.handle.status().role;
        let Ok(timestamp) = node.handle.timestamp(ms(30)).await else { return };
        self.all.push(timestamp);
        let role = *node.handle.watch_role().borrow();
        if before == role && role.is_serving {
            self.by_term.push((role.term.get(), timestamp));
        }
    }

    /// How many there are, and of how many leaderships.
    fn check(mut self) -> (usize, usize) {
        let count = self.all.len();
        assert_eq!(self.all.iter().collect::<BTreeSet<_>>().len(), count, "none twice");
        self.by_term.sort_by_key(|(term, _)| *term); // Stable: within a term in the order of the answers.
        assert!(self.by_term.is_sorted_by(|a, b| a.1 < b.1), "by term, then by time");
        let terms: BTreeSet<_> = self.by_term.iter().map(|(term, _)| term).collect();
        (count, terms.len())
    }
}

/// One thing that goes wrong with one node, or right again.
async fn disturb(rng: &SeededRng, network: &Network, node: &mut TestNode) {
    let span = ms(rng.below(20_000));
    match rng.below(12) {
        0 | 1 => node.clock.jump_forward(span),
        2 | 3 => node.clock.jump_back(span),
        4 => node.clock.set_rate_ppm(0),
        5 | 6 => node.clock.set_rate_ppm(1_000_000),
        7 => network.cut(node.id),
        8 | 9 => network.heal(node.id),
        10 => drop(node.handle.publish_snapshot(ms(500)).await),
        _ => {
            if rng.below(2) == 0 {
                node.kill().await;
            } else {
                node.handle.stop(StopMode::Graceful { deadline: ms(300) }).await;
            }
            node.store_is_rotten = rng.below(2) == 0;
            node.restart().await;
        }
    }
}

/// With `compares` the nodes know of each other's clocks; without, nobody is kept from leading.
async fn walk(seed: u64, compares: bool) -> (usize, usize) {
    println!("seed {seed}, compares {compares}");
    let rng = SeededRng::new(seed);
    let mut config = config();
    config.snapshots.trailing_entries = 4;
    let (network, mut nodes) = cluster(3, &config).await;
    for node in &mut nodes {
        node.kill().await;
        lasting(node);
        node.restart().await;
    }
    let mut given = Given::default();
    for _ in 0..150 {
        let at = usize::try_from(rng.below(3)).unwrap();
        disturb(&rng, &network, &mut nodes[at]).await;
        for _ in 0..4 {
            if compares {
                compare_clocks(&nodes);
            }
            for node in &nodes {
                given.ask(node).await;
            }
            sleep(ms(rng.below(300))).await;
        }
    }
    given.check()
}

#[tokio::test(start_paused = true)]
async fn jumping_and_frozen_clocks_restarts_and_partitions_never_break_the_order() {
    let (mut timestamps, mut leaderships) = (0, 0);
    for seed in 0..8 {
        let (given, led) = walk(seed, seed % 2 == 0).await;
        timestamps += given;
        leaderships += led;
    }
    println!("{timestamps} timestamps of {leaderships} leaderships");
    assert!(timestamps > 800, "{timestamps} timestamps are no test");
    assert!(leaderships > 24, "{leaderships} leaderships are no test");
}
