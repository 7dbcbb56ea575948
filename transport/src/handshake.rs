//! Who is on the other side: a hello by the side that connects, an answer by the side that accepts.
//!
//! The answer is needed although the transport below may have its own handshake: with TLS 1.3 a client's
//! connect succeeds before its certificate is looked at.

use std::time::Duration;

use quorate_storage::{ClusterId, Incarnation, NodeId};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::time::timeout;

use crate::error::{Error, Refusal, Result};
use crate::message::Lane;
use crate::net::Connection;
use crate::peers::Peers;
use crate::wire::{FrameKind, FrameReader, FrameWriter, Hello, HelloAck, PROTOCOL_VERSIONS, RefusalCode};

/// Most bytes of a hello: until a node is known, nobody can make us hold more.
const HELLO_BYTES_MAX: usize = 1 << 10;

/// Who this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id; never 0.
    pub node: NodeId,
    /// Its data directory.
    pub incarnation: Incarnation,
}

/// A connection whose other side is known.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) node: NodeId,
    pub(crate) lane: Lane,
    pub(crate) reader: FrameReader<ReadHalf<Box<dyn Connection>>>,
    pub(crate) writer: FrameWriter<WriteHalf<Box<dyn Connection>>>,
}

/// Runs handshakes for one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handshake<'a> {
    pub(crate) identity: Identity,
    pub(crate) peers: &'a dyn Peers,
    pub(crate) deadline: Duration,
    /// Cap of the frames that follow.
    pub(crate) frame_bytes_max: usize,
}

impl Handshake<'_> {
    /// The side that connects: says hello to `to` and waits for its answer.
    pub(crate) async fn dial(
        &self,
        stream: Box<dyn Connection>,
        to: NodeId,
        lane: Lane,
    ) -> Result<Established> {
        self.within_deadline(self.say_hello(stream, to, lane)).await
    }

    /// The side that accepts: waits for a hello and answers it.
    pub(crate) async fn accept(&self, stream: Box<dyn Connection>) -> Result<Established> {
        self.within_deadline(self.answer_hello(stream)).await
    }

    async fn within_deadline<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        timeout(self.deadline, work).await.unwrap_or(Err(Error::Deadline { what: "handshake" }))
    }

    pub(crate) async fn say_hello(
        &self,
        stream: Box<dyn Connection>,
        to: NodeId,
        lane: Lane,
    ) -> Result<Established> {
        let (reader, writer) = tokio::io::split(stream);
        let mut reader = FrameReader::new(reader, HELLO_BYTES_MAX);
        let mut writer = FrameWriter::new(writer);
        let Identity { cluster, node, incarnation } = self.identity;
        let hello = Hello { versions: PROTOCOL_VERSIONS, lane, cluster, node, incarnation, to };
        writer.push(FrameKind::Hello, |body| hello.encode(body));
        writer.write().await?;
        let frame = reader.next().await?;
        if frame.kind != FrameKind::HelloAck {
            return Err(frame.kind.unexpected().into());
        }
        self.judge_answer(&HelloAck::decode(&frame.body)?, to).map_err(Error::Refused)?;
        reader.set_body_bytes_max(self.frame_bytes_max);
        Ok(Established { node: to, lane, reader, writer })
    }

    pub(crate) async fn answer_hello(&self, stream: Box<dyn Connection>) -> Result<Established> {
        let (reader, writer) = tokio::io::split(stream);
        let mut reader = FrameReader::new(reader, HELLO_BYTES_MAX);
        let mut writer = FrameWriter::new(writer);
        let frame = reader.next().await?;
        if frame.kind != FrameKind::Hello {
            return Err(frame.kind.unexpected().into());
        }
        let hello = Hello::decode(&frame.body)?;
        let verdict = self.judge_hello(&hello);
        let ack = HelloAck {
            versions: PROTOCOL_VERSIONS,
            version: verdict.unwrap_or(0),
            refusal: verdict.err().map(refusal_code),
            cluster: self.identity.cluster,
            node: self.identity.node,
            incarnation: self.identity.incarnation,
        };
        writer.push(FrameKind::HelloAck, |body| ack.encode(body));
        writer.write().await?;
        if let Err(refusal) = verdict {
            // Closing is best effort; the refusal stands either way.
            drop(writer.close().await);
            return Err(Error::Refused(refusal));
        }
        reader.set_body_bytes_max(self.frame_bytes_max);
        Ok(Established { node: hello.node, lane: hello.lane, reader, writer })
    }

    /// The version to speak, or why not.
    fn judge_hello(&self, hello: &Hello) -> Result<u16, Refusal> {
        self.judge(hello.cluster, hello.node, hello.incarnation)?;
        if hello.to != self.identity.node {
            return Err(Refusal::UnexpectedNode);
        }
        PROTOCOL_VERSIONS.agree(hello.versions).ok_or(Refusal::OtherVersion)
    }

    fn judge_answer(&self, ack: &HelloAck, to: NodeId) -> Result<u16, Refusal> {
        if let Some(code) = ack.refusal {
            return Err(refusal_of(code));
        }
        self.judge(ack.cluster, ack.node, ack.incarnation)?;
        if ack.node != to {
            return Err(Refusal::UnexpectedNode);
        }
        let agreed = PROTOCOL_VERSIONS.agree(ack.versions);
        agreed.filter(|&version| version == ack.version).ok_or(Refusal::OtherVersion)
    }

    fn judge(&self, cluster: ClusterId, node: NodeId, incarnation: Incarnation) -> Result<(), Refusal> {
        if cluster != self.identity.cluster {
            return Err(Refusal::OtherCluster);
        }
        if node == self.identity.node || node == NodeId(0) {
            return Err(Refusal::OwnNode);
        }
        if self.peers.accepts(node, incarnation) { Ok(()) } else { Err(Refusal::PeerRefused) }
    }
}

fn refusal_code(refusal: Refusal) -> RefusalCode {
    match refusal {
        Refusal::OtherCluster => RefusalCode::OtherCluster,
        Refusal::OtherVersion => RefusalCode::OtherVersion,
        Refusal::UnexpectedNode => RefusalCode::UnexpectedNode,
        Refusal::OwnNode => RefusalCode::OwnNode,
        Refusal::PeerRefused => RefusalCode::PeerRefused,
        Refusal::Unknown => RefusalCode::Unknown,
    }
}

fn refusal_of(code: RefusalCode) -> Refusal {
    match code {
        RefusalCode::OtherCluster => Refusal::OtherCluster,
        RefusalCode::OtherVersion => Refusal::OtherVersion,
        RefusalCode::UnexpectedNode => Refusal::UnexpectedNode,
        RefusalCode::OwnNode => Refusal::OwnNode,
        RefusalCode::PeerRefused => Refusal::PeerRefused,
        RefusalCode::Unknown => Refusal::Unknown,
    }
}
