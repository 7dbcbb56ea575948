//! The other side played by hand: bytes below the transport.

use std::net::SocketAddr;

use quorate_storage::NodeId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::conformance::node::{Node, identity};
use crate::conformance::{Fixture, PATIENCE};
use crate::handshake::{Established, Handshake, Identity};
use crate::message::Lane;
use crate::net::{Connection, Listener};
use crate::peers::{PeerTable, Peers};
use crate::wire::{FrameKind, write_frame};

/// A node of which only the address and the handshake are real.
#[derive(Debug)]
pub(crate) struct RawPeer {
    pub(crate) identity: Identity,
    listener: Box<dyn Listener>,
    peers: PeerTable,
}

impl RawPeer {
    /// Listens as node `number`, known to `node` and knowing it.
    pub(crate) async fn start(fixture: &dyn Fixture, number: u8, node: &Node) -> Self {
        let listening = fixture.net(number).listen(fixture.listen_addr(number)).await;
        let listener = listening.expect("the fixture listens");
        let addr = listener.local_addr().expect("a listener has an address");
        node.peers.set(NodeId(number.into()), addr);
        let peers = PeerTable::new([(node.id, node.addr())]);
        Self { identity: identity(number), listener, peers }
    }

    /// Takes the next connection, without a word.
    pub(crate) async fn accept_silently(&mut self) -> Box<dyn Connection> {
        let accepted = timeout(PATIENCE, self.listener.accept()).await;
        accepted.expect("somebody connects").expect("the fixture accepts").0
    }

    /// Takes the next connection and answers its hello.
    pub(crate) async fn accept(&mut self) -> Established {
        let stream = self.accept_silently().await;
        handshake(self.identity, &self.peers).accept(stream).await.expect("the node says hello")
    }
}

/// Connects to `addr` as node `number`, without a word.
pub(crate) async fn connect(fixture: &dyn Fixture, number: u8, addr: SocketAddr) -> Box<dyn Connection> {
    let connecting = timeout(PATIENCE, fixture.net(number).connect(addr)).await;
    connecting.expect("connecting ends").expect("the node listens")
}

/// Connects to `node` as node `number`, on the control lane, and shakes hands.
pub(crate) async fn join(fixture: &dyn Fixture, number: u8, node: &Node) -> Established {
    let stream = connect(fixture, number, node.addr()).await;
    let peers = PeerTable::new([(node.id, node.addr())]);
    node.peers.set(NodeId(number.into()), fixture.listen_addr(number));
    let shake = handshake(identity(number), &peers);
    shake.dial(stream, node.id, Lane::Control).await.expect("the node answers")
}

/// Whether the other side has closed: reads to the end.
pub(crate) async fn until_closed(stream: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut rest = Vec::new();
    // A reset is a way of closing, too.
    let end = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "the other side did not close the connection");
}

/// Writes bytes; the other side may have closed already.
pub(crate) async fn write(stream: &mut (impl tokio::io::AsyncWrite + Unpin), bytes: &[u8]) {
    drop(stream.write_all(bytes).await);
    drop(stream.flush().await);
}

/// A frame with this body.
pub(crate) fn frame(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    let mut buffer = Vec::new();
    write_frame(&mut buffer, kind, |buffer| buffer.extend_from_slice(body));
    buffer
}

fn handshake(identity: Identity, peers: &dyn Peers) -> Handshake<'_> {
    Handshake { identity, peers, deadline: PATIENCE, frame_bytes_max: 16 << 20 }
}
