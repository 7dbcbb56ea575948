//! Transports over the network in memory, while it fails.

use std::sync::Arc;
use std::time::Duration;

use crate::Lane;
use crate::conformance::node::{Node, config, identity};
use crate::conformance::samples::{append, message};
use crate::conformance::{Fixture, PATIENCE};
use crate::message::RaftMessageKind;
use crate::net::{MemoryNetwork, Net};

#[derive(Debug, Default)]
struct Memory(MemoryNetwork);

impl Fixture for Memory {
    fn net(&self, number: u8) -> Arc<dyn Net> {
        Arc::new(self.0.numbered(number))
    }

    fn listen_addr(&self, number: u8) -> std::net::SocketAddr {
        std::net::SocketAddr::from(([10, 0, 0, number], 7380))
    }
}

/// Two nodes that find each other dead quickly.
async fn pair(fixture: &Memory) -> (Node, Node) {
    let patience = config(fixture, 1).silent_intervals_max;
    pair_of(fixture, [patience, patience]).await
}

/// Two nodes that find each other dead after so many silent intervals.
async fn pair_of(fixture: &Memory, silent_intervals_max: [u32; 2]) -> (Node, Node) {
    let start = async |number: u8| {
        let mut settings = config(fixture, number);
        settings.silent_intervals_max = silent_intervals_max[usize::from(number) - 1];
        settings.ping_interval = Duration::from_millis(20);
        settings.connect_timeout = Duration::from_millis(50);
        settings.handshake_timeout = Duration::from_millis(50);
        Node::start_as(fixture, identity(number), settings).await
    };
    let (a, b) = (start(1).await, start(2).await);
    a.knows(&b);
    b.knows(&a);
    a.reaches(b.id).await;
    b.reaches(a.id).await;
    (a, b)
}

#[tokio::test]
async fn a_partition_is_noticed_on_both_sides_and_ends_when_it_heals() {
    let fixture = Memory::default();
    let (a, b) = pair(&fixture).await;
    let (near, far) = (fixture.0.numbered(1).ip(), fixture.0.numbered(2).ip());
    fixture.0.partition(near, far);
    a.until_counts("a notices", |_| !a.transport.peer_up(b.id)).await;
    b.until_counts("b notices", |_| !b.transport.peer_up(a.id)).await;
    a.transport.send(b.id, append(1, 10));
    a.seen.until("what cannot be delivered is reported", |seen| !seen.unreachable.is_empty()).await;
    fixture.0.heal(near, far);
    a.reaches(b.id).await;
    b.reaches(a.id).await;
}

#[tokio::test]
async fn a_cut_of_one_direction_is_noticed() {
    let fixture = Memory::default();
    let (a, b) = pair(&fixture).await;
    let (near, far) = (fixture.0.numbered(1).ip(), fixture.0.numbered(2).ip());
    // b hears nothing from a: neither a's pings nor a's pongs.
    fixture.0.cut(near, far);
    a.until_counts("a gets no pong", |_| !a.transport.peer_up(b.id)).await;
    b.until_counts("b gets no pong", |_| !b.transport.peer_up(a.id)).await;
    fixture.0.heal(near, far);
    a.reaches(b.id).await;
}

#[tokio::test]
async fn a_partition_ends_the_bulk_lane_with_the_control_lane() {
    let fixture = Memory::default();
    let (a, b) = pair(&fixture).await;
    a.transport.send(b.id, append(1, 10));
    b.seen.until("the bulk lane stands", |seen| seen.messages.len() == 1).await;
    fixture.0.partition(fixture.0.numbered(1).ip(), fixture.0.numbered(2).ip());
    let ask = a.transport.request(b.id, super::recorder::HOLD, bytes::Bytes::new(), Lane::Bulk, PATIENCE);
    let reply = ask.await;
    assert!(reply.is_err());
    a.until_counts("both lanes ended", |counts| counts.silent_closed >= 2).await;
}

/// What it sent there may be lost, and nobody would ever answer it.
#[tokio::test]
async fn a_bulk_lane_ends_when_the_other_side_has_given_up_the_control_lane() {
    const NEVER: u32 = 1_000_000;
    let fixture = Memory::default();
    let (a, b) = pair_of(&fixture, [NEVER, 3]).await;
    a.transport.send(b.id, append(1, 10));
    b.seen.until("the bulk lane stands", |seen| seen.messages.len() == 1).await;
    let (near, far) = (fixture.0.numbered(1).ip(), fixture.0.numbered(2).ip());
    fixture.0.cut(near, far);
    a.until_counts("a gives up its bulk lane", |counts| counts.silent_closed >= 1).await;
    fixture.0.heal(near, far);
    a.transport.send(b.id, append(1, 10));
    b.seen.until("it stands again", |seen| seen.messages.len() >= 2).await;
}

/// The end of the old control lane says nothing of the new bulk lane.
#[tokio::test]
async fn lanes_that_break_together_come_back_at_the_first_attempt() {
    let fixture = Memory::default();
    let (a, b) = pair(&fixture).await;
    let (near, far) = (fixture.0.numbered(1).ip(), fixture.0.numbered(2).ip());
    for round in 1..=20 {
        while b.seen.look(|seen| seen.messages.len()) < round {
            a.transport.send(b.id, append(1, 10));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        fixture.0.reset(near, far);
        a.reaches(b.id).await;
    }
    assert_eq!(a.counts().silent_closed, 0, "a new lane was taken for dead: {:?}", a.counts());
}

#[tokio::test]
async fn resets_under_load_lose_messages_but_never_their_order() {
    const COUNT: u64 = 3_000;
    let fixture = Memory::default();
    let (a, b) = pair(&fixture).await;
    let (near, far) = (fixture.0.numbered(1).ip(), fixture.0.numbered(2).ip());
    for number in 0..COUNT {
        a.transport.send(b.id, message(RaftMessageKind::Heartbeat, 1, number));
        if number % 500 == 250 {
            tokio::task::yield_now().await;
            fixture.0.reset(near, far);
        }
    }
    a.reaches(b.id).await;
    let numbers = b
        .seen
        .look(|seen| seen.messages.iter().map(|(_, message)| message.log.index.get()).collect::<Vec<_>>());
    assert!(numbers.is_sorted(), "out of order: {numbers:?}");
    let counts = a.counts();
    assert_eq!(counts.messages_sent + counts.messages_dropped, COUNT, "{counts:?}");
    assert!(counts.messages_sent >= numbers.len() as u64);
}
