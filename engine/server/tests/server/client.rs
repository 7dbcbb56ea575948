//! A server of one test, and a client that sends bytes and expects bytes.

use std::sync::Arc;
use std::time::Duration;

use quorate_server::{Backend, Limits, MemoryBackend, RespServer, Routing, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// No test waits longer for what it expects. Only a failing test gets here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct TestServer {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

impl TestServer {
    pub(crate) async fn start(backend: Arc<dyn Backend>, limits: Limits) -> Self {
        Self::start_with(backend, Settings { limits, ..Settings::new(Routing::Proxy) }).await
    }

    pub(crate) async fn start_with(backend: Arc<dyn Backend>, settings: Settings) -> Self {
        let server = RespServer::bind("127.0.0.1:0".parse().unwrap(), backend, settings).await.unwrap();
        let address = server.local_addr();
        let stop = CancellationToken::new();
        let task = tokio::spawn(server.serve(stop.clone()));
        Self { address, stop, task }
    }

    pub(crate) async fn in_memory() -> Self {
        Self::start(Arc::new(MemoryBackend::new()), Limits::default()).await
    }

    /// A node of a cluster of which `backend` tells.
    pub(crate) async fn in_cluster(backend: impl Backend) -> Self {
        Self::start_with(Arc::new(backend), Settings::new(Routing::Cluster)).await
    }

    pub(crate) async fn client(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap() }
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a request as an array and expects exactly this reply.
    pub(crate) async fn check(&mut self, args: &[&str], reply: &str) {
        self.send(request(args)).await;
        self.expect(reply).await;
    }

    pub(crate) async fn expect(&mut self, reply: impl AsRef<[u8]>) {
        let reply = reply.as_ref();
        let mut received = vec![0; reply.len()];
        let read = self.stream.read_exact(&mut received);
        tokio::time::timeout(PATIENCE, read).await.expect("a reply").expect("an open connection");
        assert_eq!(received.escape_ascii().to_string(), reply.escape_ascii().to_string());
    }

    /// Changes to RESP3 and passes over the greeting.
    pub(crate) async fn hello3(&mut self) {
        self.send(request(&["HELLO", "3"])).await;
        let greeting = self.until("modules\r\n*0\r\n").await;
        assert!(greeting.starts_with("%7\r\n"), "{greeting}");
    }

    /// Everything up to and with `end`.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut received = Vec::new();
        while !received.ends_with(end.as_bytes()) {
            let read = self.stream.read_u8();
            received.push(tokio::time::timeout(PATIENCE, read).await.expect("a reply").expect("more"));
        }
        String::from_utf8(received).unwrap()
    }

    /// A bulk or verbatim string.
    pub(crate) async fn text(&mut self) -> String {
        let header = self.until("\r\n").await;
        let bytes: usize = header[1..].trim_end().parse().expect("a length");
        let mut text = vec![0; bytes + 2];
        let read = self.stream.read_exact(&mut text);
        tokio::time::timeout(PATIENCE, read).await.expect("a reply").expect("an open connection");
        text.truncate(bytes);
        String::from_utf8(text).unwrap()
    }

    /// Everything until the server closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut received = Vec::new();
        let read = self.stream.read_to_end(&mut received);
        tokio::time::timeout(PATIENCE, read).await.expect("a close").expect("a clean close");
        String::from_utf8(received).unwrap()
    }
}

pub(crate) fn request(args: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n{arg}\r\n", arg.len()).as_bytes());
    }
    bytes
}
