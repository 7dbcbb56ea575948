//! A real node among hostile clients: its memory stays bounded, each of them is told why or disconnected, and a
//! well-behaved neighbour is served all the while.

use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quorate_tests::process::{ClusterSettings, Node, NodeSpec};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, AsyncConnectionConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// For everything that is waited for. Only a failing test gets here.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the neighbour may wait for any answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Answers the neighbour has to get while a case goes on.
const ANSWERS_MIN: u32 = 100;
/// The neighbour's value, which is large enough to notice when bytes of others get into it.
const NEIGHBOUR_BYTES: usize = 2 * 1024;

/// What the endless line is allowed before the server has to have closed.
const ENDLESS_BYTES_MAX: usize = 64 << 20;
const IDLE: usize = 10_000;
/// Descriptors of this process for everything but the idle connections.
const DESCRIPTORS_KEPT: usize = 500;
const SLOW_WRITERS: usize = 20;
const SLOW_READERS: usize = 8;
/// So large that what one connection may have in flight of them is many times what sockets hold.
const LARGE_VALUE_BYTES: usize = 64 << 10;

/// What the node's memory may grow to in all, above what it has after its start: what the cases may take one after the
/// other is not added up.
const PEAK_GROWTH_MAX_MIB: u64 = 320;
/// What it may keep of that when all hostile clients are gone.
const KEPT_GROWTH_MAX_MIB: u64 = 64;

const SECTIONS: &str = "[memory]\nmemtable = \"1MiB\"\ncache = \"1MiB\"\n[resp]\nrequest_arrival = \"1s\"\nwrite_stall = \"1s\"\nmax_buffered = \"64MiB\"\n";

/// What the neighbour saw since the last case.
#[derive(Clone, Copy, Default)]
struct Seen {
    answers: u64,
    slowest: Duration,
    peak_mib: u64,
}

/// A client that keeps writing and reading, and checks every answer.
struct Neighbour {
    seen: Arc<Mutex<Seen>>,
    answered: Arc<Semaphore>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Neighbour {
    async fn start(node: &Node) -> Self {
        let connection = connect(node.spec().resp).await;
        let (seen, answered) = (Arc::default(), Arc::new(Semaphore::new(0)));
        let stop = CancellationToken::new();
        let served =
            be_served(connection, node.pid(), Arc::clone(&seen), Arc::clone(&answered), stop.clone());
        Self { seen, answered, stop, running: tokio::spawn(served) }
    }

    /// Waits until it has had [`ANSWERS_MIN`] more answers.
    async fn is_served(&self, during: &str) {
        self.answered.forget_permits(usize::MAX);
        let more = tokio::time::timeout(PATIENCE, self.answered.acquire_many(ANSWERS_MIN)).await;
        assert!(more.is_ok() && !self.running.is_finished(), "{during}: the neighbour is not served");
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.expect("no answer was late or wrong");
    }
}

async fn connect(resp: SocketAddr) -> MultiplexedConnection {
    let client = redis::Client::open(format!("redis://{resp}/")).expect("a valid address");
    // Its own is shorter than what may pass here.
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER_MAX));
    client.get_multiplexed_async_connection_with_config(&config).await.expect("a connection")
}

async fn be_served(
    mut connection: MultiplexedConnection,
    pid: u32,
    seen: Arc<Mutex<Seen>>,
    answered: Arc<Semaphore>,
    stop: CancellationToken,
) {
    for round in 0_u64.. {
        if stop.is_cancelled() {
            return;
        }
        let (key, value) =
            (format!("neighbour-{}", round % 16), round.to_string().repeat(NEIGHBOUR_BYTES / 20));
        let begun = Instant::now();
        let written = connection.set::<_, _, String>(&key, &value);
        let written = written.await.expect("a write succeeds");
        assert_eq!(written, "OK");
        let writing = begun.elapsed();
        let read = connection.get::<_, String>(&key);
        let read = read.await.expect("a read succeeds");
        assert!(read == value, "{key} holds what was written last");
        let slowest = writing.max(begun.elapsed().saturating_sub(writing));
        let memory_mib = memory_mib(pid, "VmRSS");
        {
            let mut seen = seen.lock();
            seen.answers += 2;
            seen.slowest = seen.slowest.max(slowest);
            seen.peak_mib = seen.peak_mib.max(memory_mib);
        }
        answered.add_permits(2);
    }
}

/// A line of `/proc/PID/status`.
fn memory_mib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the node runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or_else(|| panic!("{name} of\n{status}")) >> 10
}

/// A node under attack, with a neighbour.
struct Siege {
    node: Node,
    neighbour: Neighbour,
}

impl Siege {
    fn resp(&self) -> SocketAddr {
        self.node.spec().resp
    }

    fn memory_mib(&self) -> u64 {
        memory_mib(self.node.pid(), "VmRSS")
    }

    /// One attack. While it goes on the node's memory may grow by `growth_max_mib`, and the neighbour is served.
    async fn case<T>(&self, name: &str, growth_max_mib: u64, attack: impl Future<Output = T>) -> T {
        let before_mib = self.memory_mib();
        *self.neighbour.seen.lock() = Seen::default();
        let outcome = tokio::time::timeout(PATIENCE, attack).await;
        let outcome = outcome.unwrap_or_else(|_| panic!("{name}: neither an error nor a close"));
        self.neighbour.is_served(name).await;
        let Seen { answers, slowest, peak_mib } = *self.neighbour.seen.lock();
        let growth_mib = peak_mib.saturating_sub(before_mib);
        say(&format!(
            "{name}: memory {before_mib} MiB + {growth_mib} (bound {growth_max_mib}); the neighbour had {answers} \
             answers, the slowest after {slowest:.1?}"
        ));
        assert!(growth_mib < growth_max_mib, "{name}: memory grew from {before_mib} by {growth_mib} MiB");
        outcome
    }
}

#[expect(clippy::print_stdout, reason = "the figures are what a reader of this test's output is after")]
fn say(line: &str) {
    println!("{line}");
}

/// Everything the server says until it closes. A reset counts as a close.
async fn rest(mut reader: OwnedReadHalf) -> String {
    let mut said = Vec::new();
    while matches!(reader.read_buf(&mut said).await, Ok(1..)) {}
    said.escape_ascii().to_string()
}

/// Sends `bytes`, so often, for as long as the server takes them; what it said before it closed, and how often it took
/// them.
async fn refusal(resp: SocketAddr, bytes: &[u8], times: usize) -> (String, usize) {
    let (reader, mut writer) = TcpStream::connect(resp).await.expect("a connection").into_split();
    let send = async {
        let mut sent = 0;
        while sent < times && writer.write_all(bytes).await.is_ok() {
            sent += 1;
        }
        sent
    };
    tokio::join!(rest(reader), send)
}

async fn malformed(siege: &Siege) {
    let resp = siege.resp();
    let megabyte = b"*1\r\n".repeat(1 << 18);
    let (said, _) = siege.case("1 MB of *1", 16, refusal(resp, &megabyte, 1)).await;
    assert_eq!(said, r"-ERR Protocol error: expected \'$\', got \'*\'\r\n");
    let (said, _) =
        siege.case("a bulk of 2 GiB", 16, refusal(resp, b"*2\r\n$3\r\nGET\r\n$2147483648\r\n", 1)).await;
    assert_eq!(said, r"-ERR Protocol error: invalid bulk length\r\n");
    let (said, _) = siege.case("2^31 - 1 elements", 16, refusal(resp, b"*2147483647\r\n", 1)).await;
    assert_eq!(said, r"-ERR Protocol error: invalid multibulk length\r\n");
    let chunk = vec![b'x'; 1 << 16];
    let (said, chunks) =
        siege.case("an endless line", 32, refusal(resp, &chunk, ENDLESS_BYTES_MAX / chunk.len())).await;
    assert_eq!(said, r"-ERR Protocol error: too big inline request\r\n");
    assert!(chunks < ENDLESS_BYTES_MAX / chunk.len(), "the server took all of the endless line");
}

/// A byte every 50 ms of a request that will not be whole within the second it has.
async fn drip(resp: SocketAddr) -> String {
    let (reader, mut writer) = TcpStream::connect(resp).await.expect("a connection").into_split();
    let send = async {
        let request = b"*2\r\n$3\r\nGET\r\n$1000\r\n".iter().chain(std::iter::repeat(&b'x'));
        for byte in request {
            if writer.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut said = std::pin::pin!(rest(reader));
    tokio::select! {
        biased;
        said = &mut said => said,
        () = send => said.await,
    }
}

async fn unfinished(siege: &Siege) {
    let resp = siege.resp();
    let attack = async {
        let mut slow = JoinSet::new();
        for _ in 0..SLOW_WRITERS {
            slow.spawn(drip(resp));
            slow.spawn(async move { refusal(resp, b"*1\r\n", 1).await.0 });
        }
        slow.join_all().await
    };
    for said in siege.case("a byte at a time, and none any more", 16, attack).await {
        assert_eq!(said, r"-ERR a request has not arrived as a whole within 1s\r\n");
    }
}

/// Asks for large values for as long as the server listens, and reads nothing. How many bytes it could send.
async fn read_nothing(resp: SocketAddr) -> usize {
    let mut stream = TcpStream::connect(resp).await.expect("a connection");
    let requests = b"GET large\r\n".repeat(1024);
    let mut sent = 0;
    while stream.write_all(&requests).await.is_ok() {
        sent += requests.len();
        if sent == requests.len() {
            // Looked at, but left there: that these are values, and no small errors.
            let mut begin = [0; 8];
            let seen = stream.peek(&mut begin).await.expect("a reply");
            assert!(seen > 0 && b"$65536\r\n".starts_with(&begin[..seen]), "{}", begin.escape_ascii());
        }
    }
    sent
}

async fn slow_readers(siege: &Siege) {
    let mut connection = connect(siege.resp()).await;
    let value = vec![b'v'; LARGE_VALUE_BYTES];
    connection.set::<_, _, ()>("large", &value).await.expect("a large value is taken");
    let attack = async {
        let mut readers = JoinSet::new();
        for _ in 0..SLOW_READERS {
            readers.spawn(read_nothing(siege.resp()));
        }
        readers.join_all().await
    };
    let sent = siege.case("readers that do not read", 128, attack).await;
    // Not read either: what was sent is in the buffers of sockets.
    assert!(sent.iter().all(|&bytes| bytes < ENDLESS_BYTES_MAX), "the server went on reading: {sent:?}");
    let there: Vec<u8> = connection.get("large").await.expect("a client that reads gets it");
    assert!(there == value);
}

/// Raises this process's limit on open files as far as it may; how many connections that is good for.
fn idle_connections() -> (usize, usize) {
    let limit = getrlimit(Resource::Nofile);
    // May be refused, then it stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let files =
        getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| files.try_into().expect("64 bit"));
    (IDLE.min(files.saturating_sub(DESCRIPTORS_KEPT)), files)
}

/// The connections that the server keeps, of so many; the others are told that there is no room.
async fn connect_idle(resp: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        all.push(TcpStream::connect(resp).await.expect("a connection"));
    }
    // Connections are taken in their order: with the last one's answer all of them have been.
    let last = all.last_mut().expect("at least one");
    let _ = last.write_all(b"PING\r\n").await;
    let mut answer = [0; 64];
    let got = last.read(&mut answer).await.expect("an answer");
    let mut kept = Vec::new();
    if answer[..got] == *b"+PONG\r\n" {
        kept.extend(all.pop());
    } else {
        all.pop();
    }
    for stream in all {
        match stream.try_read(&mut answer) {
            Ok(got) => assert_eq!(
                answer[..got].escape_ascii().to_string(),
                r"-ERR max number of clients reached\r\n"
            ),
            Err(_) => kept.push(stream),
        }
    }
    kept
}

async fn idle(siege: &Siege) -> Vec<TcpStream> {
    let (count, files) = idle_connections();
    // The node takes half of its descriptors for connections, and has the same limit.
    let kept_min = count.min(files / 2).saturating_sub(8);
    let attack = async {
        let mut kept = connect_idle(siege.resp(), count).await;
        assert!(kept.len() >= kept_min, "{} of {count} connections were kept", kept.len());
        for stream in kept.iter_mut().step_by(100) {
            stream.write_all(b"PING\r\n").await.expect("an idle connection is open");
            let mut answer = [0; 7];
            stream.read_exact(&mut answer).await.expect("and served");
            assert_eq!(&answer, b"+PONG\r\n");
        }
        kept
    };
    let kept = siege.case(&format!("{count} idle connections"), 192, attack).await;
    say(&format!("idle connections: {IDLE} wanted, {count} made, {} kept", kept.len()));
    kept
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_clients_take_bounded_memory_and_nothing_from_their_neighbours() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let sections = SECTIONS.to_owned();
    let settings =
        ClusterSettings { nodes: 1, groups: 2, replication: 1, sections, ..ClusterSettings::default() };
    let spec = NodeSpec::cluster(dir.path(), &settings).remove(0);
    let node = Node::start(&spec);
    let neighbour = Neighbour::start(&node).await;
    let siege = Siege { node, neighbour };
    siege.case("nobody hostile", 64, std::future::ready(())).await;
    let calm_mib = siege.memory_mib();

    malformed(&siege).await;
    unfinished(&siege).await;
    slow_readers(&siege).await;
    let mut idle = idle(&siege).await;
    idle.truncate(100);

    let peak_mib = memory_mib(siege.node.pid(), "VmHWM");
    let kept = async {
        while siege.memory_mib() > calm_mib + KEPT_GROWTH_MAX_MIB {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        siege.memory_mib()
    };
    let kept_mib = tokio::time::timeout(PATIENCE, kept).await.expect("memory is given back");
    say(&format!("memory: {calm_mib} MiB before, {peak_mib} at its peak, {kept_mib} after all"));
    assert!(peak_mib < calm_mib + PEAK_GROWTH_MAX_MIB, "{calm_mib} MiB before, {peak_mib} MiB at its peak");
    let Siege { node, neighbour } = siege;
    neighbour.end().await;
    let begun = Instant::now();
    assert!(node.terminate().success(), "SIGTERM ends with exit code 0, with idle connections open");
    say(&format!("stopped after {:.1?} with {} idle connections", begun.elapsed(), idle.len()));
}
