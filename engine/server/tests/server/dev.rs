//! The `dev` command in this process: its output, its order of stopping, its errors.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use quorate_server::cluster::{Cluster, ClusterNode, RunningCluster, Started};
use quorate_server::config::NodeSettings;
use quorate_server::dev;
use quorate_server::memory::MemoryCluster;
use quorate_server::signals::Signals;
use quorate_server::{BoxFuture, DevOptions, RoutingMode, StartError, Store};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::admin::page;
use crate::client::{Client, PATIENCE};

fn options() -> DevOptions {
    DevOptions {
        nodes: 2,
        groups: 4,
        data: PathBuf::from("/data/dev"),
        resp_port: 0,
        admin_port: 0,
        peer_port: 0,
        store: Store::Memory,
        routing: RoutingMode::Proxy,
        snapshot_entries: None,
    }
}

/// Hands printed lines to the test.
struct Lines(mpsc::UnboundedSender<String>, String);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.push_str(std::str::from_utf8(bytes).unwrap());
        while let Some((line, rest)) = self.1.clone().split_once('\n') {
            let _ = self.0.send(line.to_owned());
            rest.clone_into(&mut self.1);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn field<'a>(line: &'a str, name: &str) -> &'a str {
    line.split(' ').find_map(|word| word.strip_prefix(name)).unwrap()
}

#[tokio::test]
async fn dev_prints_addresses_then_ready_serves_and_stops_on_a_signal() {
    let (sender, mut lines) = mpsc::unbounded_channel();
    let signals = Signals::default();
    let stop = signals.stop.clone();
    let command = tokio::spawn(async move {
        dev::run(options(), &MemoryCluster, signals, &mut Lines(sender, String::new())).await
    });
    let mut line = async || tokio::time::timeout(PATIENCE, lines.recv()).await.unwrap().unwrap();
    assert_eq!(line().await, "data /data/dev");
    let (first, second) = (line().await, line().await);
    assert!(first.starts_with("node 0 resp=127.0.0.1:") && second.starts_with("node 1 resp="), "{first}");
    let ready = line().await;
    assert!(ready.starts_with("ready nodes=2 groups=4 in=") && ready.ends_with("ms"), "{ready}");

    let mut writer = connect(field(&first, "resp=")).await;
    writer.check(&["SET", "a", "1"], "+OK\r\n").await;
    let mut reader = connect(field(&second, "resp=")).await;
    reader.check(&["GET", "a"], "$1\r\n1\r\n").await;
    let admin = field(&second, "admin=http://").parse().unwrap();
    assert_eq!(page(admin, "/readyz").await.0, 200);

    stop.cancel();
    assert_eq!(writer.rest().await, "");
    tokio::time::timeout(PATIENCE, command).await.unwrap().unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(admin).await.is_err());
}

async fn connect(address: &str) -> Client {
    Client { stream: tokio::net::TcpStream::connect(address).await.unwrap() }
}

/// A cluster that never gets a leader, and stops only if it may.
#[derive(Clone, Debug)]
struct StuckCluster {
    stops: bool,
    calls: Arc<Mutex<Vec<&'static str>>>,
}

impl StuckCluster {
    fn new(stops: bool) -> Self {
        Self { stops, calls: Arc::default() }
    }
}

impl Cluster for StuckCluster {
    fn start_node<'a>(&'a self, _settings: &'a NodeSettings) -> BoxFuture<'a, Started> {
        Box::pin(std::future::ready(Ok(Box::new(self.clone()) as Box<dyn RunningCluster>)))
    }

    fn start<'a>(&'a self, options: &'a DevOptions) -> BoxFuture<'a, Started> {
        if options.groups == 1 {
            let path = options.data.clone();
            return Box::pin(async move { Err(StartError::Locked { path }) });
        }
        let running = self.clone();
        Box::pin(async move { Ok(Box::new(running) as Box<dyn RunningCluster>) })
    }
}

impl RunningCluster for StuckCluster {
    fn nodes(&self) -> Vec<ClusterNode> {
        Vec::new()
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), StartError>> {
        self.calls.lock().push("ready");
        Box::pin(std::future::pending())
    }

    fn progress(&self) -> quorate::StartProgress {
        quorate::StartProgress::default()
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, Result<(), StartError>> {
        self.calls.lock().push("stop");
        Box::pin(async move { if self.stops { Ok(()) } else { std::future::pending().await } })
    }
}

#[tokio::test]
async fn a_signal_before_ready_stops_the_cluster_too() {
    let cluster = StuckCluster::new(true);
    let signals = Signals::default();
    signals.stop.cancel();
    dev::run(options(), &cluster, signals, &mut io::sink()).await.unwrap();
    assert_eq!(cluster.calls.lock().last(), Some(&"stop"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_hangs_is_given_up_after_ten_seconds() {
    let cluster = StuckCluster::new(false);
    let signals = Signals::default();
    signals.stop.cancel();
    let error = dev::run(options(), &cluster, signals, &mut io::sink()).await.unwrap_err();
    assert!(matches!(error, StartError::StopTimeout { seconds: 10 }), "{error}");
    assert_eq!(error.exit_code(), 1);
}

#[tokio::test]
async fn a_second_signal_ends_a_stop_at_once() {
    let cluster = StuckCluster::new(false);
    let signals = Signals::default();
    signals.stop.cancel();
    signals.abort.cancel();
    let error = dev::run(options(), &cluster, signals, &mut io::sink()).await.unwrap_err();
    assert!(matches!(error, StartError::Interrupted), "{error}");
}

#[tokio::test]
async fn each_failed_start_has_its_exit_code() {
    let run = async |options: DevOptions| {
        let cluster = StuckCluster::new(true);
        dev::run(options, &cluster, Signals::default(), &mut io::sink()).await.unwrap_err().exit_code()
    };
    assert_eq!(run(DevOptions { groups: 1, ..options() }).await, 4);
    assert_eq!(run(DevOptions { nodes: 0, ..options() }).await, 3);
    let corrupt = StartError::Corrupt { source: Arc::new(io::Error::other("bad checksum")) };
    assert_eq!(corrupt.exit_code(), 5);
}

#[tokio::test]
async fn a_port_in_use_stops_what_was_started() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let resp_port = taken.local_addr().unwrap().port();
    let options = DevOptions { nodes: 1, resp_port, ..options() };
    let error = dev::run(options, &MemoryCluster, Signals::default(), &mut io::sink()).await.unwrap_err();
    assert!(matches!(error, StartError::Listen(_)) && error.exit_code() == 3, "{error}");
}
