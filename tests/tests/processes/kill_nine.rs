//! Writes with unique values while the process is killed, ten times over: every acknowledged write is
//! there, no value appears that was never written, every group has a leader again.

use std::time::Duration;

use quorate_tests::process::{Dev, DevSpec};
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;

/// Times the process is killed.
const KILLS: u64 = 10;
/// Times it is killed on the stores that are not the default.
const KILLS_OTHERS: u64 = 3;
/// Concurrent writers; writer `i` writes through node `i mod 3`.
const WRITERS: u64 = 12;
/// Keys of each writer.
const KEYS: usize = 16;
/// Acknowledged writes of all writers together before the kill.
const WRITES_BEFORE_KILL: u64 = 2_000;

/// What one writer knows of one key.
#[derive(Clone, Copy, Default)]
struct KeyState {
    /// Sequence of the last acknowledged write.
    acknowledged: usize,
    /// Sequence of the last write that was sent.
    sent: usize,
}

struct Writer {
    id: u64,
    next: usize,
    keys: Vec<KeyState>,
}

impl Writer {
    fn new(id: u64) -> Self {
        Self { id, next: 0, keys: vec![KeyState::default(); KEYS] }
    }

    fn key(&self, at: usize) -> String {
        format!("writer-{}-key-{at}", self.id)
    }

    /// Writes until the connection breaks.
    async fn write(&mut self, mut connection: MultiplexedConnection, written: &tokio::sync::Semaphore) {
        loop {
            let at = self.next % KEYS;
            self.next += 1;
            self.keys[at].sent = self.next;
            let value = format!("{}:{at}:{}", self.id, self.next);
            match connection.set::<_, _, ()>(self.key(at), value).await {
                Ok(()) => {
                    self.keys[at].acknowledged = self.next;
                    written.add_permits(1);
                }
                Err(_) => return,
            }
        }
    }

    /// What is there must be the last acknowledged write or a later one that was sent.
    async fn verify(&self, connection: &mut MultiplexedConnection) {
        for (at, state) in self.keys.iter().enumerate() {
            let found: Option<String> = connection.get(self.key(at)).await.expect("a read after the restart");
            let sequence = match &found {
                None => 0,
                Some(value) => {
                    let prefix = format!("{}:{at}:", self.id);
                    let sequence = value.strip_prefix(&prefix).and_then(|rest| rest.parse::<usize>().ok());
                    sequence.unwrap_or_else(|| panic!("{} holds {value:?}, never written", self.key(at)))
                }
            };
            assert!(
                (state.acknowledged..=state.sent).contains(&sequence),
                "{} holds write {sequence}; acknowledged {}, sent {}",
                self.key(at),
                state.acknowledged,
                state.sent
            );
        }
    }
}

async fn connect(spec: &DevSpec, node: u64) -> MultiplexedConnection {
    let port = spec.resp_port(u16::try_from(node % u64::from(spec.nodes)).expect("fewer nodes than that"));
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}/")).expect("a valid address");
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .expect("a ready node takes connections")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_ten_kills() {
    acknowledged_writes_survive("lsm", KILLS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kills_on_sled() {
    acknowledged_writes_survive("sled", KILLS_OTHERS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kills_in_memory() {
    acknowledged_writes_survive("memory", KILLS_OTHERS).await;
}

async fn acknowledged_writes_survive(store: &'static str, kills: u64) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let spec = DevSpec { store, ..DevSpec::new(dir.path()) };
    let mut writers: Vec<Writer> = (0..WRITERS).map(Writer::new).collect();
    for kill in 0..kills {
        let dev = Dev::start(&spec);
        assert!(dev.ready_line.starts_with("ready nodes=3 groups=8 in="), "{}", dev.ready_line);
        for writer in &writers {
            writer.verify(&mut connect(&spec, writer.id + kill).await).await;
        }
        let written = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
        let mut running = tokio::task::JoinSet::new();
        for mut writer in writers.drain(..) {
            let connection = connect(&spec, writer.id).await;
            let written = std::sync::Arc::clone(&written);
            running.spawn(async move {
                writer.write(connection, &written).await;
                writer
            });
        }
        let enough = written.acquire_many(u32::try_from(WRITES_BEFORE_KILL).expect("a small number"));
        let in_time = tokio::time::timeout(Duration::from_secs(60), enough).await;
        assert!(in_time.is_ok(), "only {} writes were acknowledged in a minute", written.available_permits());
        dev.kill();
        writers = running.join_all().await;
    }
    let dev = Dev::start(&spec);
    for writer in &writers {
        writer.verify(&mut connect(&spec, writer.id).await).await;
    }
    let acknowledged = writers.iter().flat_map(|writer| &writer.keys).map(|key| key.acknowledged).max();
    assert!(acknowledged > Some(10), "writers made no progress");
    assert!(dev.terminate().success(), "SIGTERM ends with exit code 0");
}
