//! Messages that are lost, late, out of order or there twice: what that costs, and what it must not.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use quorate_storage::NodeId;
use quorate_telemetry::{Rng, SeededRng};
use quorate_transport::RaftMessage;
use tokio::time::Instant;

use super::node::{TestNode, cluster, config, leader, put_anyhow};
use crate::actor::{Lifecycle, ReadLevel};

/// What a network does to messages; everything is drawn from a seed.
#[derive(Debug)]
pub(super) struct Weather {
    rng: SeededRng,
    /// Of a hundred messages, so many are lost.
    pub(super) lost_percent: u64,
    /// Of a hundred messages, so many arrive a second time, after a while.
    pub(super) twice_percent: u64,
    /// How many milliseconds a message takes.
    pub(super) delay_ms: Range<u64>,
    /// When the last message of a way arrives.
    due: BTreeMap<(NodeId, NodeId), Instant>,
    pub(super) seen: Seen,
}

/// What it has done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) messages: u64,
    pub(super) lost: u64,
    pub(super) late: u64,
    /// They arrive before one that was sent earlier on the same way.
    pub(super) overtaking: u64,
    pub(super) twice: u64,
}

/// When the second copy of a message arrives, in milliseconds after the first: also in later terms.
const AGAIN_MS: Range<u64> = 1..5_000;

impl Weather {
    pub(super) fn calm(seed: u64) -> Self {
        Self {
            rng: SeededRng::new(seed),
            lost_percent: 0,
            twice_percent: 0,
            delay_ms: 0..1,
            due: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    /// After which times a message arrives; not at all, once, or twice.
    pub(super) fn arrivals(&mut self, from: NodeId, message: &RaftMessage) -> Vec<Duration> {
        self.seen.messages += 1;
        if self.happens(self.lost_percent) {
            self.seen.lost += 1;
            return Vec::new();
        }
        let delay = self.millis(&self.delay_ms.clone());
        self.seen.late += u64::from(!delay.is_zero());
        let arrives = Instant::now() + delay;
        let due = self.due.entry((from, NodeId(message.to.get()))).or_insert(arrives);
        self.seen.overtaking += u64::from(arrives < *due);
        *due = arrives.max(*due);
        let mut arrivals = vec![delay];
        if self.happens(self.twice_percent) {
            self.seen.twice += 1;
            arrivals.push(delay + self.millis(&AGAIN_MS));
        }
        arrivals
    }

    fn happens(&self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    fn millis(&self, range: &Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.rng.below(range.end - range.start))
    }
}

/// Writes, and checks that all of it is on every replica in the end. What happened on the way, and by how much the term
/// rose.
async fn write_through(weather: Weather, writes: u64) -> (Vec<TestNode>, Seen, u64) {
    let (network, nodes) = cluster(3, &config()).await;
    let first = put_anyhow(&nodes, "before=1").await;
    network.set_weather(Some(weather));
    for at in 0..writes {
        put_anyhow(&nodes, &format!("key-{at}=value-{at}")).await;
    }
    let seen = network.set_weather(None).expect("it was set").seen;
    println!("{seen:?}");
    let last = put_anyhow(&nodes, "after=1").await;
    for node in &nodes {
        node.applies(last.id.index).await;
        assert!(matches!(node.handle.status().lifecycle, Lifecycle::Running));
        for at in 0..writes {
            assert_eq!(
                node.get(&format!("key-{at}"), ReadLevel::Local).await.unwrap(),
                format!("value-{at}")
            );
        }
    }
    let elections = last.id.term.get() - first.id.term.get();
    (nodes, seen, elections)
}

#[tokio::test(start_paused = true)]
async fn writes_go_on_through_a_loss_of_up_to_30_percent() {
    for (seed, lost_percent) in [(1, 1), (2, 10), (3, 30)] {
        println!("seed {seed}, {lost_percent} % lost");
        let (_nodes, seen, _) = write_through(Weather { lost_percent, ..Weather::calm(seed) }, 300).await;
        assert!(seen.lost > 0 && seen.lost * 100 > seen.messages * lost_percent / 2, "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_of_75_milliseconds_give_or_take_50_elects_nobody() {
    let (_nodes, seen, elections) =
        write_through(Weather { delay_ms: 25..125, ..Weather::calm(4) }, 200).await;
    assert!(seen.late > 1_000, "{seen:?}");
    assert_eq!(elections, 0, "somebody campaigned");
}

#[tokio::test(start_paused = true)]
async fn messages_that_overtake_each_other_make_the_same_log() {
    let (nodes, seen, _) = write_through(Weather { delay_ms: 0..40, ..Weather::calm(5) }, 300).await;
    assert!(seen.overtaking > 100, "{seen:?}");
    check_same_log(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn old_messages_that_arrive_again_are_harmless_also_in_later_terms() {
    let (network, nodes) = cluster(3, &config()).await;
    let first = put_anyhow(&nodes, "before=1").await;
    network.set_weather(Some(Weather { twice_percent: 50, delay_ms: 1..10, ..Weather::calm(6) }));
    for at in 0..300 {
        put_anyhow(&nodes, &format!("key-{at}=value-{at}")).await;
        if at % 50 == 25 {
            // What was said in its term is still on the way when another one leads.
            let old = leader(&nodes).await.id;
            network.cut(old);
            let mut role = nodes.iter().find(|node| node.id != old).unwrap().handle.watch_role();
            let term = role.borrow().term;
            role.wait_for(|role| role.term > term).await.unwrap();
            network.heal(old);
        }
    }
    let last = put_anyhow(&nodes, "after=1").await;
    let seen = network.set_weather(None).unwrap().seen;
    println!("{seen:?}");
    assert!(seen.twice > 300, "{seen:?}");
    assert!(last.id.term > first.id.term);
    for node in &nodes {
        node.applies(last.id.index).await;
        assert!(matches!(node.handle.status().lifecycle, Lifecycle::Running));
    }
    check_same_log(&nodes).await;
}

/// All replicas have the same entries, as far as all have them.
async fn check_same_log(nodes: &[TestNode]) {
    let last = put_anyhow(nodes, "end=1").await;
    for node in nodes {
        node.applies(last.id.index).await;
        node.kill().await;
    }
    let terms = |node: &TestNode| {
        let skeleton = node.log().skeleton;
        (2..=last.id.index.get()).map(|at| skeleton.term(quorate_storage::Index(at))).collect::<Vec<_>>()
    };
    for node in &nodes[1..] {
        assert_eq!(terms(node), terms(&nodes[0]), "the logs of {} and {}", node.id, nodes[0].id);
    }
}
