//! Nodes under test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::{
    ClusterId, Entry, EntryId, EntryKind, GroupId, GroupUid, Incarnation, Index, NodeId, ReplicaId, Term,
};
use quorate_telemetry::Rng;

use crate::config::Config;
use crate::conformance::recorder::Recorder;
use crate::conformance::{Fixture, PATIENCE};
use crate::handshake::Identity;
use crate::message::{RaftMessage, RaftMessageKind};
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
            rng: Arc::new(Dice(AtomicU64::new(number.into()))),
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

/// A message of `kind` in `group` whose `log.index` is `number`.
pub(crate) fn message(kind: RaftMessageKind, group: u64, number: u64) -> RaftMessage {
    RaftMessage {
        group: GroupId(group),
        uid: GroupUid([3; 16]),
        from: ReplicaId(1),
        from_incarnation: Incarnation([1; 16]),
        to: ReplicaId(2),
        to_incarnation: Incarnation([2; 16]),
        kind,
        term: Term(5),
        log: EntryId { term: Term(4), index: Index(number) },
        commit: EntryId::default(),
        entries: Vec::new(),
        snapshot: None,
        request_snapshot: Index(0),
        reject: false,
        reject_hint: Index(0),
        context: Bytes::new(),
        priority: 0,
    }
}

/// An append of one entry of `bytes` bytes.
pub(crate) fn append(number: u64, bytes: usize) -> RaftMessage {
    let entry = Entry {
        term: Term(5),
        index: Index(number + 1),
        kind: EntryKind::Normal,
        payload: Bytes::from(vec![number.to_le_bytes()[0]; bytes]),
    };
    RaftMessage { entries: vec![entry], ..message(RaftMessageKind::Append, 1, number) }
}

/// SplitMix64: jitter for the nodes under test.
#[derive(Debug)]
struct Dice(AtomicU64);

impl Rng for Dice {
    fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn stream(&self, label: u64) -> Arc<dyn Rng> {
        Arc::new(Self(AtomicU64::new(self.0.load(Ordering::Relaxed) ^ label)))
    }
}
