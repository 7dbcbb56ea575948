//! A proxy in front of one node's listener for other nodes. It holds bytes back, late or for good, and resets connections.
//!
//! Bytes that are held are kept, as TCP would keep and send them again: what a cut loses is time. What connections lose is
//! lost by a reset.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// Read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// What the proxy does to bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mode {
    /// Nothing goes to the node.
    pub(super) holds_in: bool,
    /// Nothing comes from it.
    pub(super) holds_out: bool,
    /// Each piece waits so long.
    pub(super) delay: Duration,
    /// Connections of older rounds are reset.
    pub(super) round: u64,
}

/// A proxy that runs.
#[derive(Debug)]
pub(super) struct Proxy {
    mode: watch::Sender<Mode>,
    passed: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens at `front` for what is meant for `node`.
    pub(super) async fn start(front: SocketAddr, node: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(front).await?;
        let (mode, seen) = watch::channel(Mode::default());
        let passed = Arc::new(AtomicU64::new(0));
        let counting = Arc::clone(&passed);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, node, seen.clone(), Arc::clone(&counting)));
            }
        });
        Ok(Self { mode, passed })
    }

    /// Does this from now on.
    pub(super) fn set(&self, change: impl FnOnce(&mut Mode)) {
        self.mode.send_modify(change);
    }

    /// Bytes that have passed.
    pub(super) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

async fn serve(front: TcpStream, node: SocketAddr, mode: watch::Receiver<Mode>, passed: Arc<AtomicU64>) {
    let Ok(back) = TcpStream::connect(node).await else { return };
    let _ = (front.set_nodelay(true), back.set_nodelay(true));
    let round = mode.borrow().round;
    let mut resets = mode.clone();
    let (front_read, front_write) = split(front);
    let (back_read, back_write) = split(back);
    tokio::select! {
        () = pump(front_read, back_write, mode.clone(), |mode| mode.holds_in, &passed) => {}
        () = pump(back_read, front_write, mode, |mode| mode.holds_out, &passed) => {}
        _ = resets.wait_for(|mode| mode.round > round) => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut mode: watch::Receiver<Mode>,
    holds: impl Fn(&Mode) -> bool,
    passed: &AtomicU64,
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let delay = match mode.wait_for(|mode| !holds(mode)).await {
            Ok(mode) => mode.delay,
            Err(_) => return,
        };
        if !delay.is_zero() {
            sleep(delay).await;
        }
        if to.write_all(&chunk[..count]).await.is_err() {
            return;
        }
        passed.fetch_add(count as u64, Ordering::Relaxed);
    }
}
