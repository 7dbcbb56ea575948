//! The router over a real transport on a memory network, with nodes that answer by script. Time is virtual.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use parking_lot::Mutex;
use quorate_storage::{
    ClusterId, ConfEpoch, EntryId, GroupUid, Incarnation, Index, KeyRange, RangeEpoch, ReplicaDescriptor,
    ReplicaId, Term,
};
use quorate_telemetry::{SeededRng, SystemClock};
use quorate_transport::{
    Config, Handler, Identity, MemoryNetwork, Net, Parts, PeerTable, RaftMessage, RequestKind, Responder,
};

use super::*;
use crate::actor::ReadLevel;
use crate::catalog::{GroupRecord, NodeRecord};
use crate::error::LeaderHint;
use crate::rpc::{Led, Request};

const GROUP: GroupId = GroupId(1);
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a node does with a request.
#[derive(Clone, Debug)]
enum Act {
    Fail(Error),
    Apply,
    Value,
    /// Keeps the request until the caller has given up.
    Hold,
}

/// A node that does what its script says, the last line again and again, and notes what it was asked.
#[derive(Debug, Default)]
struct Fake {
    script: Mutex<VecDeque<Act>>,
    asked: Mutex<Vec<(RangeEpoch, Call)>>,
    held: Mutex<Vec<Box<dyn Responder>>>,
}

impl Fake {
    fn next(&self) -> Act {
        let mut script = self.script.lock();
        let act = script.front().cloned().unwrap_or_else(|| Act::Fail(not_leader(None)));
        if script.len() > 1 {
            script.pop_front();
        }
        act
    }
}

impl Handler for Fake {
    fn raft(&self, _from: NodeId, _messages: Vec<RaftMessage>) {}

    fn request(&self, _: NodeId, _: RequestKind, body: Bytes, _: Duration, responder: Box<dyn Responder>) {
        let request = Request::decode(&body).unwrap();
        let Request::Group { epoch, call, .. } = request else {
            responder.reply(Reply::Catalog(Vec::new()).encode());
            return;
        };
        self.asked.lock().push((epoch, call));
        match self.next() {
            Act::Fail(error) => responder.reply(Reply::Failed(error).encode()),
            Act::Apply => responder.reply(applied().encode()),
            Act::Value => responder.reply(Reply::Values(vec![None]).encode()),
            Act::Hold => self.held.lock().push(responder),
        }
    }

    fn unreachable(&self, _node: NodeId, _dropped: &[RaftMessage]) {}
}

/// Node 1 routes; nodes 2 to 4 hold replicas.
struct Cluster {
    router: Router,
    nodes: BTreeMap<NodeId, Arc<Fake>>,
    network: MemoryNetwork,
    peers: Arc<PeerTable>,
    _transports: Vec<Transport>,
}

impl Cluster {
    async fn start() -> Self {
        let network = MemoryNetwork::new();
        let peers = Arc::new(PeerTable::default());
        let mut transports = Vec::new();
        let mut nodes = BTreeMap::new();
        for id in 1..=4 {
            let fake = Arc::new(Fake::default());
            let transport = start_node(&network, &peers, id, fake.clone()).await;
            peers.set(NodeId(id), transport.local_addr().unwrap());
            nodes.insert(NodeId(id), fake);
            transports.push(transport);
        }
        let router = Router::new(RouterParts {
            node: NodeId(1),
            catalog: Arc::new(ArcSwap::from_pointee(catalog())),
            registry: Arc::default(),
            leaders: Arc::default(),
            transport: transports[0].clone(),
            clock: Arc::new(SystemClock::new()),
            rng: Arc::new(SeededRng::new(7)),
            catalog_stale: Arc::default(),
        });
        Self { router, nodes, network, peers, _transports: transports }
    }

    fn script(&self, node: u64, acts: impl IntoIterator<Item = Act>) {
        *self.nodes[&NodeId(node)].script.lock() = acts.into_iter().collect();
    }

    fn asked(&self, node: u64) -> usize {
        self.nodes[&NodeId(node)].asked.lock().len()
    }

    fn asked_all(&self) -> usize {
        (2..=4).map(|node| self.asked(node)).sum()
    }

    async fn write(&self) -> Result<Reply> {
        self.router.call(Target::Key("k".into()), Call::Propose("x".into()), TIMEOUT).await
    }

    async fn read(&self, level: ReadLevel) -> Result<Reply> {
        let call = Call::Get { level, keys: vec!["k".into()] };
        self.router.call(Target::Key("k".into()), call, TIMEOUT).await
    }
}

async fn start_node(network: &MemoryNetwork, peers: &Arc<PeerTable>, id: u64, fake: Arc<Fake>) -> Transport {
    let net = network.numbered(u8::try_from(id).unwrap());
    let listen = Some(SocketAddr::new(net.ip(), 7000));
    let identity =
        Identity { cluster: ClusterId([1; 16]), node: NodeId(id), incarnation: Incarnation([1; 16]) };
    let parts = Parts {
        identity,
        net: Arc::new(net) as Arc<dyn Net>,
        handler: fake,
        peers: peers.clone(),
        rng: Arc::new(SeededRng::new(id)),
        clock: Arc::new(SystemClock::new()),
    };
    Transport::start(Config { listen, ..Config::default() }, parts).await.unwrap()
}

fn descriptor(group: GroupId, range: KeyRange, epoch: u64) -> GroupDescriptor {
    GroupDescriptor {
        group,
        uid: GroupUid([5; 16]),
        range,
        range_epoch: RangeEpoch(epoch),
        conf_epoch: ConfEpoch(1),
        replicas: (2..=4)
            .map(|node| ReplicaDescriptor {
                replica: ReplicaId(node),
                node: NodeId(node),
                incarnation: Incarnation([1; 16]),
            })
            .collect(),
    }
}

fn range(start: &'static str, end: Option<&'static str>) -> KeyRange {
    KeyRange { start: start.into(), end: end.map(Into::into) }
}

fn catalog() -> Catalog {
    let mut edit = Catalog::default().edit();
    for id in 1..=4 {
        edit.put_node(&NodeRecord {
            node: NodeId(id),
            incarnation: Incarnation::ZERO,
            peer: ([127, 0, 0, 1], 1).into(),
            resp: None,
            admin: None,
        });
    }
    edit.put_group(&GroupRecord::new(descriptor(GROUP, range("a", Some("n")), 1)));
    let puts = edit.into_command().ops.into_iter().filter_map(|op| match op {
        quorate_storage::kv::Op::Put(key, value) => Some((key, value)),
        _ => None,
    });
    Catalog::decode(&puts.collect::<Vec<_>>()).unwrap()
}

fn applied() -> Reply {
    Reply::Applied { id: EntryId { term: Term(1), index: Index(1) }, output: Bytes::new() }
}

fn not_leader(hint: Option<u64>) -> Error {
    let hint = hint.map(|node| LeaderHint { replica: ReplicaId(node), node: NodeId(node) });
    Error::NotLeader { group: GROUP, hint }
}

#[tokio::test(start_paused = true)]
async fn a_hint_is_followed_and_remembered() {
    let cluster = Cluster::start().await;
    for node in [2, 3] {
        cluster.script(node, [Act::Fail(not_leader(Some(4)))]);
    }
    cluster.script(4, [Act::Apply]);
    assert!(matches!(cluster.write().await, Ok(Reply::Applied { .. })));
    assert_eq!(cluster.asked_all(), 2, "one wrong, then the leader");
    assert_eq!(cluster.router.leader_of(GROUP), Some(NodeId(4)));
    cluster.write().await.unwrap();
    assert_eq!(cluster.asked_all(), 3, "the second write goes straight to the leader");
}

#[tokio::test(start_paused = true)]
async fn a_write_waits_for_an_election() {
    let cluster = Cluster::start().await;
    for node in [2, 4] {
        cluster.script(node, [Act::Fail(not_leader(None))]);
    }
    cluster.script(3, (0..5).map(|_| Act::Fail(not_leader(None))).chain([Act::Apply]));
    assert!(matches!(cluster.write().await, Ok(Reply::Applied { .. })));
    assert_eq!(cluster.asked(3), 6);
}

#[tokio::test(start_paused = true)]
async fn a_write_without_a_reply_is_indeterminate_and_not_sent_again() {
    let cluster = Cluster::start().await;
    for node in 2..=4 {
        cluster.script(node, [Act::Hold]);
    }
    let outcome = cluster.write().await;
    assert!(matches!(outcome, Err(Error::Indeterminate { group: GROUP })), "{outcome:?}");
    assert_eq!(cluster.asked_all(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_kind_leaves_a_write_uncertain_and_a_read_unharmed() {
    let cluster = Cluster::start().await;
    for node in 2..=4 {
        cluster.script(node, [Act::Value]);
    }
    assert!(matches!(cluster.write().await, Err(Error::Indeterminate { .. })));
    assert_eq!(cluster.asked_all(), 1);
    for node in 2..=4 {
        cluster.script(node, [Act::Value]);
    }
    cluster.script(3, [Act::Apply]);
    cluster.router.hints.set(GROUP, NodeId(3));
    assert!(matches!(cluster.read(ReadLevel::Linearizable).await, Ok(Reply::Values(_))));
}

#[tokio::test(start_paused = true)]
async fn a_read_whose_connection_breaks_is_asked_again() {
    let cluster = Cluster::start().await;
    cluster.script(2, [Act::Value]);
    cluster.script(3, [Act::Hold]);
    cluster.script(4, [Act::Value]);
    cluster.router.hints.set(GROUP, NodeId(3));
    let node = |number| cluster.network.numbered(number).ip();
    let broken = async {
        while cluster.asked(3) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cluster.network.reset(node(1), node(3));
    };
    let (outcome, ()) = tokio::join!(cluster.read(ReadLevel::Linearizable), broken);
    assert!(matches!(outcome, Ok(Reply::Values(_))), "{outcome:?}");
    assert_eq!((cluster.asked(3), cluster.asked_all()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_bounded_stale_read_leaves_time_for_another_replica() {
    let cluster = Cluster::start().await;
    for node in 2..=4 {
        cluster.script(node, [Act::Value]);
    }
    cluster.script(3, [Act::Hold]);
    cluster.router.hints.set(GROUP, NodeId(3));
    let level = ReadLevel::BoundedStale { lag_max: Duration::from_secs(1) };
    assert!(matches!(cluster.read(level).await, Ok(Reply::Values(_))));
    assert_eq!((cluster.asked(3), cluster.asked_all()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline_without_spinning() {
    let cluster = Cluster::start().await;
    let clock = SystemClock::new();
    let before = clock.monotonic();
    for node in 2..=4 {
        cluster.script(node, [Act::Fail(not_leader(Some(2 + (node - 1) % 3)))]);
    }
    let outcome = cluster.write().await;
    assert!(matches!(outcome, Err(Error::NotLeader { .. })), "known to have had no effect: {outcome:?}");
    assert!(clock.monotonic() <= before + TIMEOUT);
    assert!(cluster.asked_all() < 500, "{} requests", cluster.asked_all());
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_replica_is_passed_over() {
    let cluster = Cluster::start().await;
    let reason: Arc<str> = Arc::from("told to");
    let quarantined = Error::Quarantined { group: GROUP, reason, maybe_committed: false };
    for node in 2..=4 {
        cluster.script(node, [Act::Apply]);
    }
    cluster.script(3, [Act::Fail(quarantined)]);
    cluster.router.hints.set(GROUP, NodeId(3));
    assert!(matches!(cluster.write().await, Ok(Reply::Applied { .. })));
    assert_eq!((cluster.asked(3), cluster.asked_all()), (1, 2));
    assert_ne!(cluster.router.leader_of(GROUP), Some(NodeId(3)));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_does_not_take_the_whole_deadline() {
    let cluster = Cluster::start().await;
    let node = |number| cluster.network.numbered(number).ip();
    cluster.network.partition(node(1), node(3));
    cluster.router.hints.set(GROUP, NodeId(3));
    cluster.script(4, [Act::Apply]);
    assert!(matches!(cluster.write().await, Ok(Reply::Applied { .. })));
    assert_eq!(cluster.asked(3), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_reachable_replica_a_write_had_no_effect() {
    let cluster = Cluster::start().await;
    for node in 2..=4 {
        cluster.peers.remove(NodeId(node));
    }
    let error = cluster.write().await.unwrap_err();
    assert!(error.is_retryable() && !error.is_maybe_committed(), "{error}");
    assert_eq!(cluster.asked_all(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_newer_descriptor_is_used_before_the_catalog_has_it() {
    let cluster = Cluster::start().await;
    let newer = descriptor(GROUP, range("a", Some("z")), 5);
    for node in 2..=4 {
        cluster.script(node, [Act::Fail(Error::StaleRange { newer: Box::new(newer.clone()) }), Act::Apply]);
    }
    cluster.router.hints.set(GROUP, NodeId(2));
    cluster.write().await.unwrap();
    let epochs: Vec<u64> =
        cluster.nodes[&NodeId(2)].asked.lock().iter().map(|(epoch, _)| epoch.get()).collect();
    assert_eq!(epochs, [1, 5]);
    // A key that only the newer descriptor serves is routed too.
    let put = Call::Propose("x".into());
    cluster.router.call(Target::Key("q".into()), put, TIMEOUT).await.unwrap();
    assert_eq!(cluster.asked(2), 3);
}

#[tokio::test(start_paused = true)]
async fn keys_of_several_groups_are_given_back_to_the_caller() {
    let cluster = Cluster::start().await;
    let keys: Arc<[Bytes]> = [Bytes::from("b"), Bytes::from("q")].into();
    let outcome = cluster.router.call(Target::Keys(keys), Call::Propose("x".into()), TIMEOUT).await;
    assert!(matches!(outcome, Err(Error::StaleRange { .. })), "{outcome:?}");
    assert_eq!(cluster.asked_all(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_nobody_serves_ends_as_no_such_group() {
    let cluster = Cluster::start().await;
    let put = Call::Propose("x".into());
    let outcome = cluster.router.call(Target::Key("zz".into()), put, TIMEOUT).await;
    assert!(matches!(outcome, Err(Error::NoSuchGroup { .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_before_there_is_a_catalog_waits_for_it() {
    let cluster = Cluster::start().await;
    cluster.router.parts.catalog.store(Arc::new(Catalog::default()));
    for node in 2..=4 {
        cluster.script(node, [Act::Apply]);
    }
    let arrives = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        cluster.router.parts.catalog.store(Arc::new(catalog()));
    };
    let (outcome, ()) = tokio::join!(cluster.write(), arrives);
    assert!(matches!(outcome, Ok(Reply::Applied { .. })), "{outcome:?}");
    assert_eq!(cluster.asked_all(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_announced_leader_is_asked_first() {
    let cluster = Cluster::start().await;
    cluster.router.hints.set(GROUP, NodeId(3));
    let led = Led { group: GROUP, uid: GroupUid([5; 16]), term: Term(7) };
    cluster.router.leaders().claim(NodeId(4), led);
    cluster.script(4, [Act::Apply]);
    cluster.write().await.unwrap();
    assert_eq!((cluster.asked(4), cluster.asked_all()), (1, 1));
    assert_eq!(cluster.router.leader_of(GROUP), Some(NodeId(4)));
    let known = cluster.router.leaders().get(GROUP).unwrap();
    assert_eq!(known.term, Term(7), "an answer of an older term is no news");
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_leader_ends_at_its_own_limit_and_one_that_a_leader_holds_does_not() {
    let limits = Limits { timeout: TIMEOUT, leaderless_max: Some(Duration::from_secs(2)) };
    let call = |cluster: &Cluster| {
        let router = cluster.router.clone();
        let begun = tokio::time::Instant::now();
        let put = Call::Propose("x".into());
        async move { (router.call_within(Target::Key("k".into()), put, limits).await, begun.elapsed()) }
    };
    let cluster = Cluster::start().await;
    let (outcome, took) = call(&cluster).await;
    assert!(matches!(outcome, Err(Error::NotLeader { .. })), "{outcome:?}");
    assert!(took >= Duration::from_secs(1) && took <= Duration::from_millis(2_500), "{took:?}");
    for node in 2..=4 {
        cluster.script(node, [Act::Hold]);
    }
    let (outcome, took) = call(&cluster).await;
    assert!(matches!(outcome, Err(Error::Indeterminate { .. })), "{outcome:?}");
    assert!(took >= TIMEOUT, "{took:?}");
}
