//! Clients that speak the Redis protocol, and note what they ask and are told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quorate_telemetry::{Rng, SeededRng};
use redis::aio::MultiplexedConnection;
use tokio::time::sleep;

use crate::checker::{Action, ClientId, Key, Recorder, Reply, Value};

/// How long a client waits for a reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(3);
/// Before the next attempt at a connection.
const RECONNECT: Duration = Duration::from_millis(50);
/// Keys at a time: clients meet, and every group is among them.
pub(super) const KEYS: u64 = 64;
/// After so long they go on to other keys: the history of one stays short.
const EPOCH: Duration = Duration::from_secs(4);

/// What clients share with whoever watches.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) recorder: Recorder,
    pub(super) began: Instant,
    stops: AtomicBool,
    /// Acknowledged operations.
    pub(super) acknowledged: AtomicU64,
    /// When a write of each of the keys was last acknowledged, in milliseconds since the beginning.
    last_ms: Vec<AtomicU64>,
    next_value: AtomicU64,
    per_second: Mutex<Vec<u64>>,
}

impl Load {
    pub(super) fn new(recorder: Recorder) -> Arc<Self> {
        Arc::new(Self {
            recorder,
            began: Instant::now(),
            stops: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            last_ms: (0..KEYS).map(|_| AtomicU64::new(0)).collect(),
            next_value: AtomicU64::new(0),
            per_second: Mutex::default(),
        })
    }

    pub(super) fn stop(&self) {
        self.stops.store(true, Ordering::Relaxed);
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether a write of every key was acknowledged since then.
    pub(super) fn is_served_since(&self, ms: u64) -> bool {
        self.last_ms.iter().all(|last| last.load(Ordering::Relaxed) > ms)
    }

    /// Another second has passed.
    pub(super) fn note_second(&self, acknowledged: u64) {
        self.per_second.lock().push(acknowledged);
    }

    /// Acknowledged operations, second by second.
    pub(super) fn per_second(&self) -> Vec<u64> {
        self.per_second.lock().clone()
    }

    fn value(&self) -> Value {
        Value::from(format!("v{}", self.next_value.fetch_add(1, Ordering::Relaxed)))
    }

    fn key(&self, number: u64) -> String {
        format!("{number}-{}", self.began.elapsed().as_secs() / EPOCH.as_secs())
    }
}

/// One client, until it is told to stop. It tries one node after the other.
pub(super) async fn work(load: Arc<Load>, id: u32, nodes: Vec<SocketAddr>, seed: u64) {
    let rng = SeededRng::new(seed.wrapping_mul(1_000_003) ^ u64::from(id));
    let mut at = id as usize % nodes.len();
    while !load.stops.load(Ordering::Relaxed) {
        match connect(nodes[at]).await {
            Some(connection) => serve(&load, ClientId(id), connection, &rng).await,
            None => sleep(RECONNECT).await,
        }
        at = (at + 1) % nodes.len();
    }
}

/// A connection to a node's Redis listener.
pub(super) async fn connect(node: SocketAddr) -> Option<MultiplexedConnection> {
    let client = redis::Client::open(format!("redis://{node}/")).ok()?;
    let config = redis::AsyncConnectionConfig::new()
        .set_response_timeout(Some(REPLY_TIMEOUT))
        .set_connection_timeout(Some(REPLY_TIMEOUT));
    client.get_multiplexed_async_connection_with_config(&config).await.ok()
}

/// Works through one connection until it breaks.
async fn serve(load: &Load, client: ClientId, mut connection: MultiplexedConnection, rng: &SeededRng) {
    while !load.stops.load(Ordering::Relaxed) {
        let number = rng.below(KEYS);
        let action = match rng.below(10) {
            0..3 => Action::Get,
            3 => Action::delete(),
            4 => Action::put_if_absent(load.value()),
            _ => Action::put(load.value()),
        };
        let asked = ask(load, client, &load.key(number), &action, &mut connection).await;
        if asked == Asked::Answered && action != Action::Get {
            load.last_ms[usize::try_from(number).expect("a few keys")]
                .store(load.elapsed_ms(), Ordering::Relaxed);
        }
        match asked {
            Asked::Answered => {}
            Asked::Refused => sleep(RECONNECT).await,
            Asked::Broken => return,
        }
    }
}

/// How an operation ended, for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Answered,
    Refused,
    Broken,
}

/// One operation, noted.
pub(super) async fn ask(
    load: &Load,
    client: ClientId,
    key: &str,
    action: &Action,
    connection: &mut MultiplexedConnection,
) -> Asked {
    let op = load.recorder.invoke(client, Key::from(key), action.clone());
    match call(key, action, connection).await {
        Ok(reply) => {
            load.recorder.reply(op, reply);
            load.acknowledged.fetch_add(1, Ordering::Relaxed);
            Asked::Answered
        }
        Err(error) => {
            // What the server says is definite, except where it says that it is not.
            let is_answer = error.code().is_some() && !error.is_io_error() && !error.is_timeout();
            if *action == Action::Get || (is_answer && error.code() != Some("INDETERMINATE")) {
                load.recorder.fail(op);
            } else {
                load.recorder.lose(op);
            }
            if is_answer { Asked::Refused } else { Asked::Broken }
        }
    }
}

async fn call(
    key: &str,
    action: &Action,
    connection: &mut MultiplexedConnection,
) -> redis::RedisResult<Reply> {
    let Action::Change { to, .. } = action else {
        let found: Option<String> = redis::cmd("GET").arg(key).query_async(connection).await?;
        return Ok(Reply::found(found.map(Value::from)));
    };
    let Some(value) = to else {
        let removed: u64 = redis::cmd("DEL").arg(key).query_async(connection).await?;
        return Ok(Reply::Applied(crate::checker::Before::Existed(removed > 0)));
    };
    let mut command = redis::cmd("SET");
    command.arg(key).arg(value.as_str());
    if *action != Action::put(value.clone()) {
        command.arg("NX");
    }
    let said: Option<String> = command.query_async(connection).await?;
    Ok(if said.is_some() { Reply::done() } else { Reply::refused() })
}

/// Reads every key that was ever used.
pub(super) async fn read_all(load: &Load, id: u32, node: SocketAddr) -> bool {
    let epochs = load.began.elapsed().as_secs() / EPOCH.as_secs();
    let Some(mut connection) = connect(node).await else { return false };
    for epoch in 0..=epochs {
        for number in 0..KEYS {
            let key = format!("{number}-{epoch}");
            let mut asked = Asked::Refused;
            for _ in 0..100 {
                asked = ask(load, ClientId(id), &key, &Action::Get, &mut connection).await;
                match asked {
                    Asked::Answered => break,
                    Asked::Refused => sleep(RECONNECT).await,
                    Asked::Broken => match connect(node).await {
                        Some(again) => connection = again,
                        None => sleep(RECONNECT).await,
                    },
                }
            }
            if asked != Asked::Answered {
                return false;
            }
        }
    }
    true
}
