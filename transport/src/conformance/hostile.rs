//! What a node does with bytes and nodes that mean it no good.

use std::time::Duration;

use quorate_storage::{ClusterId, Incarnation, NodeId};

use crate::conformance::Fixture;
use crate::conformance::node::{Node, config, identity};
use crate::conformance::raw::{connect, frame, join, until_closed, write};
use crate::conformance::samples::append;
use crate::handshake::Identity;
use crate::wire::{FrameKind, encode_batch, write_frame};

/// Bytes that are no frame close their connection; other nodes go on.
pub async fn garbage_closes_the_connection_and_no_more(fixture: &dyn Fixture) {
    let (a, b) = Node::pair(fixture).await;
    for garbage in [&b"GET / HTTP/1.1\r\nHost: quorate\r\n\r\n"[..], &[0; 4096], &[0xff; 4096]] {
        let mut stream = connect(fixture, 3, b.addr()).await;
        write(&mut stream, garbage).await;
        until_closed(&mut stream).await;
    }
    b.until_counts("all three are counted", |counts| counts.malformed_closed == 3).await;
    a.reaches(b.id).await;
}

/// A frame whose body was changed on the way is not looked into.
pub async fn a_wrong_checksum_closes_the_connection(fixture: &dyn Fixture) {
    after_handshake(fixture, |bytes| bytes[crate::wire::HEADER_BYTES] ^= 1).await;
}

/// A stream that ends inside a frame is over.
pub async fn a_cut_frame_closes_the_connection(fixture: &dyn Fixture) {
    after_handshake(fixture, |bytes| bytes.truncate(bytes.len() - 1)).await;
}

/// Right checksums around a wrong structure do not help.
pub async fn a_malformed_body_closes_the_connection(fixture: &dyn Fixture) {
    after_handshake(fixture, |bytes| *bytes = frame(FrameKind::RaftBatch, &[0xab; 333])).await;
    after_handshake(fixture, |bytes| *bytes = frame(FrameKind::Reply, &[])).await;
}

/// A length over the cap is refused as soon as the header is there: no byte of the body has to come.
pub async fn a_length_over_the_cap_is_refused_by_its_header(fixture: &dyn Fixture) {
    let mut settings = config(fixture, 2);
    settings.frame_bytes_max = 64 << 10;
    let b = Node::start_as(fixture, identity(2), settings).await;
    let mut stream = join(fixture, 3, &b).await.writer.into_stream();
    let bytes = frame(FrameKind::RaftBatch, &vec![0; (64 << 10) + 1]);
    write(&mut stream, &bytes[..crate::wire::HEADER_BYTES]).await;
    b.until_counts("it is counted", |counts| counts.oversized_closed == 1).await;
    // Before the handshake the cap is that of a hello.
    let mut stream = connect(fixture, 3, b.addr()).await;
    let bytes = frame(FrameKind::Hello, &vec![0; 32 << 10]);
    write(&mut stream, &bytes[..crate::wire::HEADER_BYTES]).await;
    until_closed(&mut stream).await;
    b.until_counts("it is counted", |counts| counts.oversized_closed == 2).await;
}

/// A node of another cluster gets no further than its hello.
pub async fn a_node_of_another_cluster_is_refused(fixture: &dyn Fixture) {
    let stranger = Identity { cluster: ClusterId([8; 16]), ..identity(1) };
    let (a, b) = refused(fixture, stranger).await;
    b.until_counts("it is counted there", |counts| counts.refused_other_cluster == 1).await;
    assert_eq!(a.counts().refused_other_cluster, 1);
}

/// A node the other does not know is refused.
pub async fn a_node_that_is_not_accepted_is_refused(fixture: &dyn Fixture) {
    let a = Node::start(fixture, 1).await;
    let b = Node::start(fixture, 2).await;
    a.knows(&b);
    assert!(a.echo(b.id).await.is_err());
    b.until_counts("it is counted there", |counts| counts.refused_peer == 1).await;
    assert_eq!((a.counts().refused_peer, a.counts().connects), (1, 0));
}

/// Whoever answers at an address must be the node that was dialled.
pub async fn another_node_than_the_one_dialled_is_refused(fixture: &dyn Fixture) {
    let (a, b) = Node::pair(fixture).await;
    a.peers.set(NodeId(9), b.addr());
    assert!(a.echo(NodeId(9)).await.is_err());
    b.until_counts("it is counted there", |counts| counts.refused_unexpected_node == 1).await;
    assert_eq!((a.counts().refused_unexpected_node, a.counts().connects), (1, 0));
}

/// Two nodes with one id do not talk.
pub async fn a_node_with_our_own_id_is_refused(fixture: &dyn Fixture) {
    let (a, b) = refused(fixture, Identity { incarnation: Incarnation([9; 16]), ..identity(2) }).await;
    b.until_counts("it is counted there", |counts| counts.refused_own_node == 1).await;
    assert_eq!(a.counts().refused_own_node, 1);
}

/// Who connects and says nothing is closed after the handshake's deadline.
pub async fn a_slow_handshake_is_cut_off(fixture: &dyn Fixture) {
    let mut settings = config(fixture, 2);
    settings.handshake_timeout = Duration::from_millis(50);
    let b = Node::start_as(fixture, identity(2), settings).await;
    let mut stream = connect(fixture, 3, b.addr()).await;
    until_closed(&mut stream).await;
    assert_eq!(b.counts().handshake_timeouts, 1);
}

/// Half-open connections are bounded; one more is closed at once, and places are given back.
pub async fn half_open_connections_are_bounded(fixture: &dyn Fixture) {
    const MAX: usize = 4;
    let mut settings = config(fixture, 2);
    settings.handshakes_max = MAX;
    settings.handshake_timeout = Duration::from_millis(500);
    let b = Node::start_as(fixture, identity(2), settings).await;
    let mut half_open = Vec::new();
    for _ in 0..MAX {
        half_open.push(connect(fixture, 3, b.addr()).await);
    }
    let mut one_more = connect(fixture, 3, b.addr()).await;
    until_closed(&mut one_more).await;
    b.until_counts("it is counted", |counts| counts.half_open_refused == 1).await;
    for stream in &mut half_open {
        until_closed(stream).await;
    }
    let a = Node::start(fixture, 1).await;
    a.knows(&b);
    b.knows(&a);
    a.reaches(b.id).await;
}

/// Shakes hands, then sends an honest batch spoiled by `spoil`; expects to be closed, counted, and the
/// node to go on.
async fn after_handshake(fixture: &dyn Fixture, spoil: impl FnOnce(&mut Vec<u8>)) {
    let (a, b) = Node::pair(fixture).await;
    let crate::handshake::Established { reader: _reader, writer, .. } = join(fixture, 3, &b).await;
    let mut stream = writer.into_stream();
    // Left as it is, it would be delivered.
    let mut bytes = Vec::new();
    write_frame(&mut bytes, FrameKind::RaftBatch, |body| encode_batch(&[append(1, 100)], body));
    spoil(&mut bytes);
    write(&mut stream, &bytes).await;
    drop(tokio::io::AsyncWriteExt::shutdown(&mut stream).await);
    b.until_counts("it is counted", |counts| counts.malformed_closed == 1).await;
    assert!(b.seen.look(|seen| seen.messages.is_empty()), "nothing of it was delivered");
    a.reaches(b.id).await;
    a.transport.stop().await;
    b.transport.stop().await;
}

/// `stranger` dials node 2 as if it were node 3, and is refused.
async fn refused(fixture: &dyn Fixture, stranger: Identity) -> (Node, Node) {
    let b = Node::start(fixture, 2).await;
    let a = Node::start_as(fixture, stranger, config(fixture, 1)).await;
    let to = NodeId(if a.id == b.id { 3 } else { 2 });
    a.peers.set(to, b.addr());
    b.peers.set(a.id, a.addr());
    assert!(a.echo(to).await.is_err());
    assert_eq!((a.counts().connects, b.counts().accepts), (0, 0));
    (a, b)
}
