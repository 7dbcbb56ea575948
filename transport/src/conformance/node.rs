//! Nodes under test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::{ClusterId, Incarnation, NodeId};
use quorate_telemetry::{SeededRng, SystemClock};

use crate::config::Config;
use crate::conformance::recorder::Recorder;
use crate::conformance::{Fixture, PATIENCE};
use crate::handshake::Identity;
use crate::peers::PeerTable;
use crate::stats::Counts;
use crate::transport::{Parts, Transport};

/// The cluster of all nodes under test.
pub(crate) const CLUSTER: ClusterId = ClusterId([7; 16]);

/// A running node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) transport: Transport,
    pub(crate) seen: Arc<Recorder>,
    pub(crate) peers: Arc<PeerTable>,
}

impl Node {
    /// Starts node `number` with short deadlines.
    pub(crate) async fn start(fixture: &dyn Fixture, number: u8) -> Self {
        Self::start_as(fixture, identity(number), config(fixture, number)).await
    }

    /// Starts a node; its number is its id.
    pub(crate) async fn start_as(fixture: &dyn Fixture, identity: Identity, config: Config) -> Self {
        let number = u8::try_from(identity.node.get()).unwrap_or(u8::MAX);
        let seen = Arc::new(Recorder::default());
        let peers = Arc::new(PeerTable::default());
        let parts = Parts {
            identity,
            net: fixture.net(number),
            handler: seen.clone(),
            peers: peers.clone(),
            clock: Arc::new(SystemClock::new()),
            rng: Arc::new(SeededRng::new(number.into())),
        };
        let started = Transport::start(config, parts).await;
        let transport = started.expect("a node under test starts");
        Self { id: identity.node, transport, seen, peers }
    }

    /// Two nodes that know each other.
    pub(crate) async fn pair(fixture: &dyn Fixture) -> (Self, Self) {
        let (a, b) = (Self::start(fixture, 1).await, Self::start(fixture, 2).await);
        a.knows(&b);
        b.knows(&a);
        (a, b)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.transport.local_addr().expect("a node under test listens")
    }

    pub(crate) fn knows(&self, other: &Self) {
        self.peers.set(other.id, other.addr());
    }

    pub(crate) fn counts(&self) -> Counts {
        self.transport.stats().counts()
    }

    /// Waits until a counter says so. Counters have no bell: this looks again at each turn of the runtime.
    pub(crate) async fn until_counts(&self, claim: &str, condition: impl Fn(&Counts) -> bool) {
        let wait = async {
            while !condition(&self.counts()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let end = tokio::time::timeout(PATIENCE, wait).await;
        assert!(end.is_ok(), "not within {PATIENCE:?}: {claim}; {:?}", self.counts());
    }

    /// Asks `to` for an echo until it answers, as any caller would.
    pub(crate) async fn reaches(&self, to: NodeId) {
        let wait = async {
            while self.echo(to).await.is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let end = tokio::time::timeout(PATIENCE, wait).await;
        assert!(end.is_ok(), "{} does not reach {to}: {:?}", self.id, self.counts());
    }

    pub(crate) async fn echo(&self, to: NodeId) -> Result<Bytes, crate::RequestError> {
        let body = Bytes::from_static(b"echo");
        let lane = crate::Lane::Control;
        self.transport.request(to, super::recorder::ECHO, body, lane, PATIENCE).await
    }
}

/// Who node `number` is.
pub(crate) fn identity(number: u8) -> Identity {
    Identity { cluster: CLUSTER, node: NodeId(number.into()), incarnation: Incarnation([number; 16]) }
}

/// Settings with short deadlines.
pub(crate) fn config(fixture: &dyn Fixture, number: u8) -> Config {
    Config {
        listen: Some(fixture.listen_addr(number)),
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(20),
        ..Config::default()
    }
}
