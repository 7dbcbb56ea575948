//! What well-behaved nodes can count on.

use std::time::Duration;

use bytes::Bytes;
use quorate_storage::{NodeId, ReplicaId};
use tokio::time::timeout;

use crate::conformance::node::{Node, config, identity};
use crate::conformance::raw::RawPeer;
use crate::conformance::recorder::{DROP, ECHO, HOLD};
use crate::conformance::samples::{append, full_message, message};
use crate::conformance::{Fixture, PATIENCE};
use crate::handler::RequestError;
use crate::message::{Lane, RaftMessageKind};
use crate::wire::{CallReply, CallRequest, FrameKind, ReplyStatus};

/// A deadline that is meant to pass.
const SHORT: Duration = Duration::from_millis(50);

/// Messages arrive in the order they were sent, on both lanes.
pub async fn messages_of_a_lane_arrive_in_order(fixture: &dyn Fixture) {
    const COUNT: u64 = 2_000;
    let (a, b) = Node::pair(fixture).await;
    a.reaches(b.id).await;
    for number in 0..COUNT {
        a.transport.send(b.id, message(RaftMessageKind::Heartbeat, number % 7, number));
        a.transport.send(b.id, append(number, 100));
    }
    b.seen.until("all arrive", |seen| seen.messages.len() as u64 == 2 * COUNT).await;
    for kind in [RaftMessageKind::Heartbeat, RaftMessageKind::Append] {
        let numbers: Vec<u64> = b.seen.look(|seen| {
            let of_kind = seen.messages.iter().filter(|(_, message)| message.kind == kind);
            of_kind.map(|(_, message)| message.log.index.get()).collect()
        });
        assert!(numbers.iter().copied().eq(0..COUNT), "{kind:?} out of order");
    }
    assert!(b.seen.look(|seen| seen.messages.iter().all(|(from, _)| *from == a.id)));
}

/// What is sent in one go to one node travels in few frames, whatever groups it belongs to.
pub async fn messages_of_many_groups_share_frames(fixture: &dyn Fixture) {
    const GROUPS: u64 = 1_000;
    let (a, b) = Node::pair(fixture).await;
    a.reaches(b.id).await;
    for group in 0..GROUPS {
        a.transport.send(b.id, message(RaftMessageKind::Heartbeat, group, 0));
    }
    b.seen.until("all arrive", |seen| seen.messages.len() as u64 == GROUPS).await;
    a.until_counts("all are counted", |counts| counts.messages_sent == GROUPS).await;
    let batches = a.counts().batches_sent;
    assert!(batches <= GROUPS / 10, "{GROUPS} heartbeats took {batches} frames");
}

/// Every field survives the way, of a message that has them all.
pub async fn every_field_of_a_message_arrives(fixture: &dyn Fixture) {
    let (a, b) = Node::pair(fixture).await;
    a.reaches(b.id).await;
    let full = full_message();
    a.transport.send(b.id, full.clone());
    b.seen.until("it arrives", |seen| !seen.messages.is_empty()).await;
    b.seen.look(|seen| assert_eq!(seen.messages, [(a.id, full)]));
}

/// A request is answered, on either lane.
pub async fn a_request_ends_with_its_reply(fixture: &dyn Fixture) {
    let (a, b) = Node::pair(fixture).await;
    a.reaches(b.id).await;
    for (lane, bytes) in [(Lane::Control, 0), (Lane::Control, 10), (Lane::Bulk, 1 << 20)] {
        let body = Bytes::from(vec![9; bytes]);
        let reply = a.transport.request(b.id, ECHO, body.clone(), lane, PATIENCE).await;
        assert_eq!(reply, Ok(body));
    }
    assert!(a.transport.peer_up(b.id));
    assert!(a.transport.peer_up(a.id));
    assert!(!a.transport.peer_up(NodeId(9)));
}

/// Requests do not wait for each other, and each gets its own reply.
pub async fn many_requests_share_a_connection(fixture: &dyn Fixture) {
    let (a, b) = Node::pair(fixture).await;
    a.reaches(b.id).await;
    let held = {
        let (transport, to) = (a.transport.clone(), b.id);
        tokio::spawn(async move { transport.request(to, HOLD, Bytes::new(), Lane::Control, PATIENCE).await })
    };
    b.seen.until("the first is held", |seen| seen.requests == 2).await;
    let calls = (0..100_u8).map(|number| {
        let (transport, to) = (a.transport.clone(), b.id);
        tokio::spawn(async move {
            let body = Bytes::from(vec![number]);
            let reply = transport.request(to, ECHO, body.clone(), Lane::Control, PATIENCE).await;
            assert_eq!(reply, Ok(body));
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.expect("the caller got its own reply");
    }
    b.seen.answer_held(&Bytes::from_static(b"late"));
    assert_eq!(held.await.expect("the first caller ends"), Ok(Bytes::from_static(b"late")));
    assert_eq!(a.counts().connects, 1);
}

/// A handler that drops its responder has told the caller to come again.
pub async fn a_dropped_responder_answers_busy(fixture: &dyn Fixture) {
    let (a, b) = Node::pair(fixture).await;
    a.reaches(b.id).await;
    for to in [b.id, a.id] {
        let reply = a.transport.request(to, DROP, Bytes::new(), Lane::Control, PATIENCE).await;
        assert!(matches!(reply, Err(RequestError::Busy { node, .. }) if node == to));
    }
}

/// No answer: the deadline ends the request, as one that may have been carried out.
pub async fn a_request_without_reply_ends_at_its_deadline(fixture: &dyn Fixture) {
    let (a, b) = Node::pair(fixture).await;
    a.reaches(b.id).await;
    for to in [b.id, a.id] {
        let reply = a.transport.request(to, HOLD, Bytes::new(), Lane::Control, SHORT).await;
        assert_eq!(reply, Err(RequestError::NoReply(to)));
    }
}

/// Nobody there: the request ends before its deadline, as one that never left.
pub async fn a_request_to_nobody_ends_unreachable(fixture: &dyn Fixture) {
    let a = Node::start(fixture, 1).await;
    let nobody = NodeId(2);
    let ask = || a.transport.request(nobody, ECHO, Bytes::new(), Lane::Control, PATIENCE * 2);
    let reply = timeout(PATIENCE, ask()).await.expect("it ends");
    assert_eq!(reply, Err(RequestError::Unreachable(nobody)));
    // An address nobody listens at.
    let b = Node::start(fixture, 2).await;
    a.knows(&b);
    b.transport.stop().await;
    let reply = timeout(PATIENCE, ask()).await.expect("it ends");
    assert_eq!(reply, Err(RequestError::Unreachable(nobody)));
    assert!(!a.transport.peer_up(nobody));
}

/// A node asks itself without a connection.
pub async fn a_request_to_oneself_goes_to_the_handler(fixture: &dyn Fixture) {
    let a = Node::start(fixture, 1).await;
    assert_eq!(a.echo(a.id).await, Ok(Bytes::from_static(b"echo")));
    assert_eq!(a.counts().connects, 0);
}

/// A reply that comes after the deadline reaches nobody and harms nobody.
pub async fn a_late_reply_is_dropped(fixture: &dyn Fixture) {
    let (a, b) = Node::pair(fixture).await;
    a.reaches(b.id).await;
    let reply = a.transport.request(b.id, HOLD, Bytes::new(), Lane::Control, SHORT).await;
    assert_eq!(reply, Err(RequestError::NoReply(b.id)));
    b.seen.until("it was taken", |seen| seen.requests == 2).await;
    b.seen.answer_held(&Bytes::from_static(b"late"));
    a.until_counts("it is counted", |counts| counts.replies_late == 1).await;
    a.reaches(b.id).await;
}

/// Dropping the future gives its place up: another request may take it.
pub async fn a_cancelled_request_leaves_nothing_behind(fixture: &dyn Fixture) {
    let b = Node::start(fixture, 2).await;
    let a = start_with(fixture, |config| config.requests_in_flight_max = 1).await;
    a.knows(&b);
    b.knows(&a);
    a.reaches(b.id).await;
    for _ in 0..3 {
        let ask = a.transport.request(b.id, HOLD, Bytes::new(), Lane::Control, PATIENCE);
        assert!(timeout(SHORT, ask).await.is_err(), "it is held");
    }
    a.reaches(b.id).await;
}

/// More requests than the bound are refused here, at once.
pub async fn requests_in_flight_are_bounded(fixture: &dyn Fixture) {
    let b = Node::start(fixture, 2).await;
    let a = start_with(fixture, |config| config.requests_in_flight_max = 2).await;
    a.knows(&b);
    b.knows(&a);
    a.reaches(b.id).await;
    let ask = || a.transport.request(b.id, HOLD, Bytes::new(), Lane::Control, PATIENCE);
    let third = async {
        b.seen.until("two are held", |seen| seen.requests == 3).await;
        let refused = ask().await;
        b.seen.answer_held(&Bytes::new());
        refused
    };
    let (first, second, third) = tokio::join!(ask(), ask(), third);
    assert_eq!((first, second), (Ok(Bytes::new()), Ok(Bytes::new())));
    assert!(matches!(third, Err(RequestError::Busy { .. })));
}

/// More requests than the other node serves are answered busy there.
pub async fn requests_served_are_bounded(fixture: &dyn Fixture) {
    let mut settings = config(fixture, 2);
    settings.requests_served_max = 2;
    let b = Node::start_as(fixture, identity(2), settings).await;
    let a = Node::start(fixture, 1).await;
    a.knows(&b);
    b.knows(&a);
    a.reaches(b.id).await;
    let ask = || a.transport.request(b.id, HOLD, Bytes::new(), Lane::Control, PATIENCE);
    let third = async {
        b.seen.until("two are held", |seen| seen.requests == 3).await;
        let refused = ask().await;
        b.seen.answer_held(&Bytes::new());
        refused
    };
    let (first, second, third) = tokio::join!(ask(), ask(), third);
    assert_eq!((first, second), (Ok(Bytes::new()), Ok(Bytes::new())));
    assert!(matches!(third, Err(RequestError::Busy { .. })));
    assert_eq!(b.counts().requests_refused_busy, 1);
}

/// 64 MiB wait on a bulk lane nobody reads; a request on the control lane is answered all the same.
pub async fn control_does_not_wait_behind_a_bulk_backlog(fixture: &dyn Fixture) {
    const MESSAGE_BYTES: usize = 1 << 20;
    let a = start_with(fixture, |config| config.queue_bytes_max = 72 << 20).await;
    let mut peer = RawPeer::start(fixture, 2, &a).await;
    for number in 0..64 {
        a.transport.send(NodeId(2), append(number, MESSAGE_BYTES));
    }
    let ask = a.echo(NodeId(2));
    let serve = async {
        let mut stuck = Vec::new();
        loop {
            let connection = peer.accept().await;
            if connection.lane == Lane::Control {
                return (serve_one_echo(connection).await, stuck);
            }
            stuck.push(connection);
        }
    };
    let (reply, (_control, _bulk)) = tokio::join!(ask, serve);
    assert_eq!(reply, Ok(Bytes::from_static(b"echo")));
    let sent = a.counts().messages_sent;
    assert!(sent < 64, "{sent} of 64 bulk messages left although nobody reads them");
}

/// Messages that cannot be delivered are dropped and reported with their addressee.
pub async fn messages_to_nobody_are_reported(fixture: &dyn Fixture) {
    let a = Node::start(fixture, 1).await;
    a.transport.send(NodeId(2), append(1, 10));
    a.transport.send(NodeId(2), message(RaftMessageKind::Heartbeat, 5, 2));
    a.seen.until("both are reported", |seen| seen.unreachable.len() == 2).await;
    a.seen.look(|seen| {
        for (node, message) in &seen.unreachable {
            assert_eq!((*node, message.to), (NodeId(2), ReplicaId(2)));
        }
    });
    assert_eq!(a.counts().messages_dropped, 2);
}

/// When a connection breaks in the middle of a write, what was in that write is reported, too.
pub async fn messages_of_a_broken_write_are_reported(fixture: &dyn Fixture) {
    const COUNT: u64 = 32;
    let a = Node::start(fixture, 1).await;
    let mut peer = RawPeer::start(fixture, 2, &a).await;
    for number in 0..COUNT {
        a.transport.send(NodeId(2), append(number, 1 << 20));
    }
    let mut connection = peer.accept().await;
    while connection.lane != Lane::Bulk {
        connection = peer.accept().await;
    }
    a.until_counts("something is written", |counts| counts.batches_sent > 0).await;
    a.peers.remove(NodeId(2));
    drop((connection, peer));
    a.until_counts("all are accounted for", |counts| counts.messages_sent + counts.messages_dropped == COUNT)
        .await;
    let dropped = a.counts().messages_dropped;
    assert!(dropped > 0);
    a.seen.until("all are reported", |seen| seen.unreachable.len() as u64 == dropped).await;
}

/// A message over the frame cap never leaves; others do.
pub async fn an_oversized_message_is_dropped_and_reported(fixture: &dyn Fixture) {
    let b = Node::start(fixture, 2).await;
    let a = start_with(fixture, |config| config.frame_bytes_max = 64 << 10).await;
    a.knows(&b);
    b.knows(&a);
    a.reaches(b.id).await;
    a.transport.send(b.id, append(1, 64 << 10));
    a.transport.send(b.id, append(2, 60 << 10));
    a.seen.until("it is reported", |seen| seen.unreachable.len() == 1).await;
    b.seen.until("the other arrives", |seen| seen.messages.len() == 1).await;
    assert_eq!(a.counts().messages_oversized, 1);
    let body = Bytes::from(vec![0; 64 << 10]);
    let reply = a.transport.request(b.id, ECHO, body, Lane::Bulk, PATIENCE).await;
    assert!(matches!(reply, Err(RequestError::TooLarge { .. })));
}

/// A queue that is full drops what comes next and says so; memory stays bounded.
pub async fn a_full_queue_drops_and_reports(fixture: &dyn Fixture) {
    let a = start_with(fixture, |config| {
        config.queue_messages_max = 10;
        config.queue_bytes_max = 1 << 20;
    })
    .await;
    let mut peer = RawPeer::start(fixture, 2, &a).await;
    a.transport.send(NodeId(2), append(0, 10));
    let _connection = peer.accept().await;
    // Nobody reads. With this much sent, the connection's buffers and the queue are full.
    let mut number = 1;
    let fill = async {
        while a.counts().messages_dropped < 5 {
            a.transport.send(NodeId(2), append(number, 400 << 10));
            number += 1;
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, fill).await.expect("the queue fills up");
    a.seen.until("drops are reported", |seen| seen.unreachable.len() >= 5).await;
}

/// After its connection was broken, a node is reached again without anyone's help.
pub async fn a_broken_connection_is_made_anew(fixture: &dyn Fixture) {
    let a = Node::start(fixture, 1).await;
    let mut peer = RawPeer::start(fixture, 2, &a).await;
    let ask = || a.echo(NodeId(2));
    let break_it = async {
        let connection = peer.accept().await;
        // Waits for the request, so that it is known to have been sent.
        let mut reader = connection.reader;
        while reader.next().await.expect("a frame").kind != FrameKind::Request {}
    };
    let (reply, ()) = tokio::join!(ask(), break_it);
    assert_eq!(reply, Err(RequestError::NoReply(NodeId(2))));
    let ask_again = async {
        while ask().await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let serve = async { serve_one_echo(peer.accept().await).await };
    tokio::join!(ask_again, serve);
    assert_eq!(a.counts().connects, 2);
}

/// A node that keeps its connections open and says nothing is found dead, on both lanes.
pub async fn a_silent_node_is_found_dead(fixture: &dyn Fixture) {
    let a = start_with(fixture, |config| config.ping_interval = Duration::from_millis(20)).await;
    let mut peer = RawPeer::start(fixture, 2, &a).await;
    a.transport.send(NodeId(2), append(1, 10));
    let _lanes = (peer.accept().await, peer.accept().await);
    a.until_counts("it is found dead", |counts| counts.silent_closed >= 1).await;
    assert!(!a.transport.peer_up(NodeId(2)));
}

/// Pings compare the nodes' clocks; here both nodes read the same one.
pub async fn pings_compare_the_clocks(fixture: &dyn Fixture) {
    let (a, b) = Node::pair(fixture).await;
    a.reaches(b.id).await;
    a.until_counts("a pong arrives", |_| a.transport.clock_offset_ms(b.id).is_some()).await;
    let offset_ms = a.transport.clock_offset_ms(b.id).map_or(u64::MAX, i64::unsigned_abs);
    assert!(u128::from(offset_ms) < PATIENCE.as_millis(), "{offset_ms} ms apart");
    assert_eq!(a.transport.clock_offset_ms(NodeId(9)), None);
}

/// A graceful stop loses nothing that was queued on a lane that stands.
pub async fn a_stop_writes_what_is_queued(fixture: &dyn Fixture) {
    const COUNT: usize = 500;
    let (a, b) = Node::pair(fixture).await;
    a.reaches(b.id).await;
    for number in 0..COUNT as u64 {
        a.transport.send(b.id, message(RaftMessageKind::TimeoutNow, 1, number));
    }
    a.transport.stop().await;
    b.seen.until("all arrive", |seen| seen.messages.len() == COUNT).await;
    let reply = a.echo(b.id).await;
    assert_eq!(reply, Err(RequestError::Unreachable(b.id)));
}

/// Answers pings and one echo by hand; gives the connection back so that it stays open.
async fn serve_one_echo(mut connection: crate::handshake::Established) -> crate::handshake::Established {
    loop {
        let frame = connection.reader.next().await.expect("a frame");
        if frame.kind != FrameKind::Request {
            continue;
        }
        let request = CallRequest::decode(&frame.body).expect("a request");
        let reply = CallReply {
            id: request.id,
            status: ReplyStatus::Done,
            retry_after: Duration::ZERO,
            body: request.body,
        };
        connection.writer.push(FrameKind::Reply, |body| reply.encode(body));
        connection.writer.write().await.expect("the node reads replies");
        return connection;
    }
}

async fn start_with(fixture: &dyn Fixture, change: impl FnOnce(&mut crate::Config)) -> Node {
    let mut settings = config(fixture, 1);
    change(&mut settings);
    Node::start_as(fixture, identity(1), settings).await
}
