//! The listener of the Redis frontend: accepts connections up to the limit and stops gracefully.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use quorate_telemetry::rng::SystemRng;
use secrecy::SecretString;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::clients::Clients;
use super::connection;
use super::descriptors::{self, Descriptor};
use super::limits::Limits;
use super::settings::Settings;
use super::walk::Positions;
use crate::backend::{Backend, Routing};
use crate::listen::{self, ListenError, Protection};

/// Pause after a failed accept: out of file descriptors, it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long connections get to finish what is in flight, once told to stop.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Counters that `INFO` tells.
#[derive(Debug, Default)]
pub(super) struct Stats {
    pub(super) connections: AtomicUsize,
    pub(super) connections_total: AtomicU64,
    pub(super) rejected_total: AtomicU64,
    pub(super) commands_total: AtomicU64,
    /// Replies that were errors, `MOVED` among them.
    pub(super) error_replies_total: AtomicU64,
}

/// What all connections of one listener share.
#[derive(Debug)]
pub(super) struct Frontend {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) limits: Limits,
    pub(super) routing: Routing,
    pub(super) password: Option<SecretString>,
    pub(super) local_addr: SocketAddr,
    pub(super) stats: Stats,
    pub(super) budget: Budget,
    pub(super) clients: Clients,
    pub(super) positions: Positions,
}

/// A bound listener that does not accept yet.
#[derive(Debug)]
pub struct RespServer {
    listener: TcpListener,
    frontend: Arc<Frontend>,
}

impl RespServer {
    /// Binds `address`; port 0 takes any free port. Raises the process's limit on open files as far as it may.
    ///
    /// # Errors
    /// [`ListenError::NotLoopback`] for an address other machines can reach, without a
    /// password and the consent to plaintext. [`ListenError::Bind`] when the system refuses.
    pub async fn bind(
        address: SocketAddr,
        backend: Arc<dyn Backend>,
        settings: Settings,
    ) -> Result<Self, ListenError> {
        descriptors::connections_max();
        let Settings { limits, routing, password, plaintext } = settings;
        let protection = Protection { has_secret: password.is_some(), allows_plaintext: plaintext };
        let (listener, local_addr) = listen::bind("RESP", address, protection).await?;
        let budget = Budget::new(limits.buffered_bytes_max);
        let (clients, positions) = (Clients::new(local_addr), Positions::new(&SystemRng::new()));
        let stats = Stats::default();
        let frontend =
            Frontend { backend, limits, routing, password, local_addr, stats, budget, clients, positions };
        Ok(Self { listener, frontend: Arc::new(frontend) })
    }

    /// Where clients connect.
    pub fn local_addr(&self) -> SocketAddr {
        self.frontend.local_addr
    }

    /// Serves until `stop`. Then accepts nothing more, lets every connection finish the requests it has begun
    /// (5 s at most), and returns when all are closed.
    pub async fn serve(self, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => log_panic(ended),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer, &stop, &mut connections),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        let drain = async {
            while let Some(ended) = connections.join_next().await {
                log_panic(ended);
            }
        };
        if tokio::time::timeout(DRAIN_MAX, drain).await.is_err() {
            tracing::warn!(connections = connections.len(), "closing connections that did not finish");
            connections.shutdown().await;
        }
    }

    fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        stop: &CancellationToken,
        connections: &mut JoinSet<()>,
    ) {
        let stats = &self.frontend.stats;
        let has_room = connections.len() < self.frontend.limits.connections_max;
        let Some(descriptor) = has_room.then(Descriptor::take).flatten() else {
            stats.rejected_total.fetch_add(1, Ordering::Relaxed);
            refuse(stream);
            return;
        };
        stats.connections_total.fetch_add(1, Ordering::Relaxed);
        let open = OpenConnection::new(&self.frontend, descriptor);
        let stop = stop.clone();
        connections.spawn(async move {
            if let Err(error) = connection::serve(stream, peer, &open.frontend, stop).await {
                tracing::debug!(%peer, %error, "connection ended");
            }
        });
    }
}

/// Tells that there are too many connections. It fits into any empty socket buffer, so nothing is waited for: a flood
/// of connections holds nothing here.
fn refuse(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(b"-ERR max number of clients reached\r\n");
    }
}

/// Counts a connection for as long as it lives, however it ends.
struct OpenConnection {
    frontend: Arc<Frontend>,
    _descriptor: Descriptor,
}

impl OpenConnection {
    fn new(frontend: &Arc<Frontend>, descriptor: Descriptor) -> Self {
        frontend.stats.connections.fetch_add(1, Ordering::Relaxed);
        Self { frontend: Arc::clone(frontend), _descriptor: descriptor }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.frontend.stats.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A panic ends its connection only, but somebody has to look at it.
fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}
