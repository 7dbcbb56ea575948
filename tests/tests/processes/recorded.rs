//! Clients of real nodes whose history is recorded, for the checker to judge.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quorate_telemetry::{Rng, SeededRng, SystemClock};
use quorate_tests::checker::{
    Action, Before, ClientId, History, Limits, OpId, Recorder, Reply, Verdict, check,
};
use quorate_tests::process::NodeSpec;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisResult};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Keys they share; more than there are groups.
const KEYS: u64 = 12;
/// Longer than anything here may take a node, so that what has no reply after it is lost.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);
/// What every wait may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clients that write and read a few keys until they are ended, each through one node.
pub(crate) struct Recorded {
    recorder: Recorder,
    /// By node and key: writes that were answered.
    written: Arc<Mutex<BTreeMap<(u64, u64), u64>>>,
    stop: CancellationToken,
    running: JoinSet<()>,
}

struct Client {
    id: ClientId,
    spec: NodeSpec,
    rng: SeededRng,
    recorder: Recorder,
    written: Arc<Mutex<BTreeMap<(u64, u64), u64>>>,
}

impl Recorded {
    /// `clients` for each node of `specs`.
    pub(crate) fn start(specs: &[NodeSpec], clients: u32, seed: u64) -> Self {
        let recorder = Recorder::new(Arc::new(SystemClock::new()));
        let (written, stop) = (Arc::default(), CancellationToken::new());
        let mut running = JoinSet::new();
        for (id, spec) in (0..).zip(specs.iter().flat_map(|spec| (0..clients).map(move |_| spec))) {
            let client = Client {
                id: ClientId(id),
                spec: spec.clone(),
                rng: SeededRng::new(seed + u64::from(id)),
                recorder: recorder.clone(),
                written: Arc::clone(&written),
            };
            let stop = stop.clone();
            running.spawn(async move { client.run(&stop).await });
        }
        Self { recorder, written, stop, running }
    }

    /// Waits until through each of `nodes` each key has been written again.
    pub(crate) async fn go_on(&self, nodes: &[u64], during: &str) {
        let before = self.written.lock().clone();
        let begun = tokio::time::Instant::now();
        let is_written = |node: u64, key: u64| {
            self.written.lock().get(&(node, key)).copied().unwrap_or(0)
                > before.get(&(node, key)).copied().unwrap_or(0)
        };
        for &node in nodes {
            for key in 0..KEYS {
                while !is_written(node, key) {
                    assert!(begun.elapsed() < PATIENCE, "{during}: nobody writes key {key} through {node}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    /// Ends the clients and gives their history.
    pub(crate) async fn end(mut self) -> History {
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.expect("no client panics");
        }
        self.recorder.history()
    }
}

impl Client {
    async fn run(&self, stop: &CancellationToken) {
        let mut connection = None;
        for number in 0_u64.. {
            if stop.is_cancelled() {
                return;
            }
            if connection.is_none() {
                connection = connect(&self.spec).await;
            }
            match connection.as_mut() {
                Some(ready) => {
                    if !self.ask(ready, number).await {
                        connection = None;
                    }
                }
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Whether there was a reply.
    async fn ask(&self, connection: &mut MultiplexedConnection, number: u64) -> bool {
        let at = self.rng.below(KEYS);
        let key = format!("recorded-{at}");
        let value = format!("{}-{number}", self.id.0);
        let set = |value: &str| redis::cmd("SET").arg(&key).arg(value).clone();
        let what = self.rng.below(10);
        let (action, command) = match what {
            0..5 => (Action::Get, redis::cmd("GET").arg(&key).clone()),
            5..7 => (Action::put(value.clone()), set(&value)),
            7 => (Action::put_if_absent(value.clone()), set(&value).arg("NX").clone()),
            8 => (Action::put(value.clone()), set(&value).arg("GET").clone()),
            _ => (Action::delete(), redis::cmd("DEL").arg(&key).clone()),
        };
        let op = self.recorder.invoke(self.id, key.as_str(), action);
        let reply = match what {
            0..5 => told(connection, &command, |was: Option<String>| Reply::Applied(was_text(was))).await,
            5..7 => told(connection, &command, |_: String| Reply::done()).await,
            7 => told(connection, &command, |told: Option<String>| set_or_not(told.as_deref())).await,
            8 => told(connection, &command, |was: Option<String>| Reply::Applied(was_text(was))).await,
            _ => told(connection, &command, |count: u64| Reply::Applied(Before::Existed(count == 1))).await,
        };
        self.note(op, reply, (what >= 5).then_some(at))
    }

    fn note(&self, op: OpId, reply: Option<Reply>, written: Option<u64>) -> bool {
        let Some(reply) = reply else {
            // Whatever the error: it may have taken effect.
            self.recorder.lose(op);
            return false;
        };
        self.recorder.reply(op, reply);
        if let Some(key) = written {
            *self.written.lock().entry((self.spec.id, key)).or_default() += 1;
        }
        true
    }
}

fn was_text(text: Option<String>) -> Before {
    Before::Was(text.map(Into::into))
}

/// Of `SET .. NX`: `OK`, or nothing.
fn set_or_not(told: Option<&str>) -> Reply {
    if told.is_some() { Reply::done() } else { Reply::Refused(Before::Existed(true)) }
}

async fn told<T: redis::FromRedisValue>(
    connection: &mut MultiplexedConnection,
    command: &Cmd,
    reply: impl FnOnce(T) -> Reply,
) -> Option<Reply> {
    let told: RedisResult<T> = command.query_async(connection).await;
    told.ok().map(reply)
}

/// A connection, if the node takes one.
async fn connect(spec: &NodeSpec) -> Option<MultiplexedConnection> {
    let client = redis::Client::open(format!("redis://{}/", spec.resp)).expect("an address of Redis");
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_connection_timeout(Some(RESPONSE_TIMEOUT));
    client.get_multiplexed_async_connection_with_config(&config).await.ok()
}

/// Panics unless one order explains `history`; gives how many operations it has.
#[expect(clippy::print_stdout, reason = "the figures are what a reader of a test's output is after")]
pub(crate) fn assert_linearizable(history: &History) -> usize {
    let report = check(history, &Limits::default()).expect("the recorder makes histories");
    println!("{} operations, {} without a reply", report.operations, report.open_ended);
    match report.verdict {
        Verdict::Linearizable => report.operations,
        Verdict::Violation(violation) => panic!("{violation}"),
        Verdict::Undecided { key, why } => panic!("key {key}: {why}"),
    }
}
