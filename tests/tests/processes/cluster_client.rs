//! `quorate node` processes under an unmodified Redis Cluster client that keeps writing while nodes are killed:
//! every acknowledged write is there in the end.

use std::sync::Arc;
use std::time::Duration;

use quorate_tests::process::{ClusterSettings, Node, NodeSpec};
use redis::AsyncCommands as _;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Concurrent writers, each with keys of its own.
const WRITERS: u64 = 8;
/// Keys of each writer.
const KEYS: usize = 32;
/// Acknowledged writes of all writers together between two events.
const WRITES_BETWEEN: u32 = 500;
/// For those writes, elections included.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than the servers hold a request: what the client gave up for lost must not be carried out later.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

/// What a writer knows of one key.
#[derive(Clone, Copy, Default)]
struct KeyState {
    acknowledged: usize,
    sent: usize,
}

struct Writer {
    id: u64,
    next: usize,
    keys: Vec<KeyState>,
    failed: usize,
}

impl Writer {
    fn new(id: u64) -> Self {
        Self { id, next: 0, keys: vec![KeyState::default(); KEYS], failed: 0 }
    }

    fn key(&self, at: usize) -> String {
        format!("writer-{}-key-{at}", self.id)
    }

    /// Writes until told to stop. A failed write is one with an unknown outcome; the next one goes on.
    async fn write(&mut self, mut cluster: ClusterConnection, written: &Semaphore, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let at = self.next % KEYS;
            self.next += 1;
            self.keys[at].sent = self.next;
            let value = format!("{}:{at}:{}", self.id, self.next);
            let write = cluster.set::<_, _, ()>(self.key(at), value);
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                outcome = write => outcome,
            };
            if outcome.is_ok() {
                self.keys[at].acknowledged = self.next;
                written.add_permits(1);
            } else {
                self.failed += 1;
                // No busy loop against a cluster that is down.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// What is there must be the last acknowledged write or a later one that was sent.
    async fn verify(&self, cluster: &mut ClusterConnection) {
        for (at, state) in self.keys.iter().enumerate() {
            let found: Option<String> = cluster.get(self.key(at)).await.expect("a read after the restart");
            let prefix = format!("{}:{at}:", self.id);
            let sequence = found.as_ref().map_or(0, |value| {
                let sequence = value.strip_prefix(&prefix).and_then(|rest| rest.parse::<usize>().ok());
                sequence.unwrap_or_else(|| panic!("{} holds {value:?}, never written", self.key(at)))
            });
            let KeyState { acknowledged, sent } = *state;
            assert!(
                (acknowledged..=sent).contains(&sequence),
                "{} holds write {sequence}; acknowledged {acknowledged}, sent {sent}",
                self.key(at),
            );
        }
    }
}

async fn connect(specs: &[NodeSpec]) -> ClusterConnection {
    let urls = specs.iter().map(|spec| format!("redis://{}/", spec.resp));
    let builder = ClusterClientBuilder::new(urls).response_timeout(RESPONSE_TIMEOUT);
    let client = builder.connection_timeout(Duration::from_secs(5)).build().expect("valid addresses");
    client.get_async_connection().await.expect("a ready cluster takes connections")
}

/// Writers that are under way.
struct Load {
    written: Arc<Semaphore>,
    stop: CancellationToken,
    running: JoinSet<Writer>,
}

impl Load {
    async fn start(specs: &[NodeSpec]) -> Self {
        let mut load = Self {
            written: Arc::new(Semaphore::new(0)),
            stop: CancellationToken::new(),
            running: JoinSet::new(),
        };
        for id in 0..WRITERS {
            let cluster = connect(specs).await;
            let (written, stop) = (Arc::clone(&load.written), load.stop.clone());
            load.running.spawn(async move {
                let mut writer = Writer::new(id);
                writer.write(cluster, &written, &stop).await;
                writer
            });
        }
        load
    }

    /// Waits until [`WRITES_BETWEEN`] more writes have been acknowledged.
    async fn go_on(&self, during: &str) {
        let more = tokio::time::timeout(PATIENCE, self.written.acquire_many(WRITES_BETWEEN)).await;
        let Ok(permits) = more else {
            panic!("{during}: only {} more writes in a minute", self.written.available_permits())
        };
        permits.expect("never closed").forget();
    }

    async fn end(self) -> Vec<Writer> {
        self.stop.cancel();
        self.running.join_all().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kills_of_one_and_of_all_three_nodes() {
    acknowledged_writes_survive(3).await;
}

/// Here no node has a replica of every group, and each must know where the others are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kills_among_five_nodes() {
    acknowledged_writes_survive(5).await;
}

async fn acknowledged_writes_survive(nodes: u16) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let specs = NodeSpec::cluster(dir.path(), &ClusterSettings { nodes, ..ClusterSettings::default() });
    let mut running = Node::start_all(&specs);
    let load = Load::start(&specs).await;
    load.go_on("all nodes run").await;
    running.remove(1).kill();
    load.go_on("one node is killed").await;
    running.push(Node::start(&specs[1]));
    load.go_on("it is back").await;
    running.into_iter().for_each(Node::kill);
    let writers = load.end().await;

    let running = Node::start_all(&specs);
    let mut cluster = connect(&specs).await;
    for writer in &writers {
        writer.verify(&mut cluster).await;
    }
    let sent: usize = writers.iter().map(|writer| writer.next).sum();
    let failed: usize = writers.iter().map(|writer| writer.failed).sum();
    assert!(
        failed < sent / 2,
        "{failed} of {sent} writes failed: clients see more of a killed node than a pause"
    );
    for node in running {
        assert!(node.terminate().success(), "SIGTERM ends with exit code 0");
    }
}
