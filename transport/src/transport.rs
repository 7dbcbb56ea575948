//! The handle everything else talks to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use quorate_storage::NodeId;
use quorate_telemetry::{Clock, Rng};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::handler::{Handler, RequestError, Responder};
use crate::handshake::Identity;
use crate::link::{BUSY_RETRY_AFTER, Dialer, Outbox};
use crate::message::{Lane, RaftMessage, RequestKind};
use crate::net::Net;
use crate::peers::Peers;
use crate::server;
use crate::shared::{Alive, Shared};
use crate::stats::Stats;

/// Longer deadlines are cut to this.
const DEADLINE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What a transport is made of, beside its settings.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Who this node is.
    pub identity: Identity,
    /// The network.
    pub net: Arc<dyn Net>,
    /// Who takes what arrives.
    pub handler: Arc<dyn Handler>,
    /// Where the other nodes are.
    pub peers: Arc<dyn Peers>,
    /// Jitter.
    pub rng: Arc<dyn Rng>,
    /// Wall time, compared with the other nodes' by the pings.
    pub clock: Arc<dyn Clock>,
}

/// One node's messages to and from all others. Cheap to clone. Dropping the last handle ends all tasks at
/// once; [`Transport::stop`] does it in an orderly way.
#[derive(Clone, Debug)]
pub struct Transport {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    local_addr: Option<SocketAddr>,
    runtime: runtime::Handle,
    links: RwLock<BTreeMap<NodeId, Link>>,
    /// None once stopped.
    alive: Mutex<Option<(Alive, mpsc::Receiver<()>)>>,
}

/// The two lanes to one node.
#[derive(Clone, Debug)]
struct Link {
    control: Arc<Dialer>,
    bulk: Arc<Dialer>,
}

impl Link {
    fn lane(&self, lane: Lane) -> &Arc<Dialer> {
        match lane {
            Lane::Control => &self.control,
            Lane::Bulk => &self.bulk,
        }
    }
}

impl Transport {
    /// Listens (if the config says where) and is ready to send. Connections are opened when there is
    /// something to send. Must be called within a tokio runtime, which then runs all its tasks.
    ///
    /// # Errors
    /// [`Error::Listen`] if the address cannot be bound.
    ///
    /// # Panics
    /// If a setting is out of its bounds or the node's id is 0.
    pub async fn start(config: Config, parts: Parts) -> Result<Self> {
        config.check();
        assert!(parts.identity.node != NodeId(0), "0 is no node's id");
        let listener = match config.listen {
            None => None,
            Some(addr) => {
                let fail = |source| Error::Listen { addr, source: Arc::new(source) };
                let listener = parts.net.listen(addr).await.map_err(fail)?;
                let local_addr = listener.local_addr().map_err(fail)?;
                Some((listener, local_addr))
            }
        };
        let shared = Arc::new(Shared {
            config,
            identity: parts.identity,
            net: parts.net,
            handler: parts.handler,
            peers: parts.peers,
            rng: parts.rng,
            clock: parts.clock,
            stats: Arc::new(Stats::default()),
            draining: CancellationToken::new(),
            stopped: CancellationToken::new(),
        });
        let (alive, all_gone) = Alive::new();
        let local_addr = listener.as_ref().map(|(_, addr)| *addr);
        if let Some((listener, _)) = listener {
            tokio::spawn(server::serve(listener, shared.clone(), alive.clone()));
        }
        let inner = Inner {
            shared,
            local_addr,
            runtime: runtime::Handle::current(),
            links: RwLock::default(),
            alive: Mutex::new(Some((alive, all_gone))),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where this node listens, with the real port; `None` if it does not.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.inner.local_addr
    }

    /// Its counters.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.inner.shared.stats
    }

    /// Sends a message on its kind's lane. Never blocks. It may be dropped (no room, no connection, over the
    /// frame cap): then [`Handler::unreachable`] hears of it, with the entries taken out, from another task.
    /// Messages of one lane arrive in order while its connection lasts.
    pub fn send(&self, to: NodeId, message: RaftMessage) {
        let shared = &self.inner.shared;
        if to == shared.identity.node {
            shared.handler.raft(to, vec![message]);
            return;
        }
        let lane = message.kind.lane();
        self.with_link(to, |link| link.lane(lane).send(message, shared));
    }

    /// Asks `to` and waits for the reply. A request to this node itself goes straight to the handler.
    /// Dropping the future forgets the request; it may still be carried out. A deadline above a day is a day.
    ///
    /// # Errors
    /// [`RequestError::Unreachable`]: it never left (no connection could be made, also within the deadline).
    /// [`RequestError::NoReply`]: it left, and the connection broke or the deadline passed.
    /// [`RequestError::Busy`]: no room here or there; nothing happened. [`RequestError::TooLarge`]: over the
    /// frame cap.
    #[expect(clippy::too_many_arguments, reason = "five plain values, named at every call")]
    pub async fn request(
        &self,
        to: NodeId,
        kind: RequestKind,
        body: Bytes,
        lane: Lane,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        let shared = &self.inner.shared;
        if to == shared.identity.node {
            return self.request_locally(kind, body, deadline).await;
        }
        let dialer = self.with_link(to, |link| link.lane(lane).clone());
        let until = Instant::now() + deadline.min(DEADLINE_MAX);
        let pending = dialer.outbox.push_request(kind, body, until)?;
        let mut waiting = Waiting { outbox: &dialer.outbox, id: Some(pending.id) };
        match timeout_at(until, pending.end).await {
            Ok(end) => {
                waiting.id = None;
                end.unwrap_or(Err(RequestError::NoReply(to)))
            }
            Err(_) => Err(match waiting.forget() {
                Some(false) => RequestError::Unreachable(to),
                _ => RequestError::NoReply(to),
            }),
        }
    }

    /// Whether the control lane to `node` stands and was heard of lately. False before anything was sent
    /// there; always true for this node itself.
    pub fn peer_up(&self, node: NodeId) -> bool {
        node == self.inner.shared.identity.node
            || self.inner.links.read().get(&node).is_some_and(|link| link.control.is_up())
    }

    /// How far `node`'s wall clock is ahead of this node's now, in milliseconds, give or take half a round trip of the last
    /// pong; a jump of this node's own clock since then counts at once. `None` before the first pong, or while the control
    /// lane is down.
    pub fn clock_offset_ms(&self, node: NodeId) -> Option<i64> {
        self.inner.links.read().get(&node)?.control.clock_offset_ms(&*self.inner.shared.clock)
    }

    /// Stops: listens no more, writes what is queued, waits for it up to the config's `stop_timeout`, then
    /// closes everything. What is sent afterwards is dropped, requests end as unreachable.
    pub async fn stop(&self) {
        let shared = &self.inner.shared;
        shared.draining.cancel();
        let Some((alive, mut all_gone)) = self.inner.alive.lock().take() else { return };
        drop(alive);
        if timeout(shared.config.stop_timeout, all_gone.recv()).await.is_err() {
            shared.stopped.cancel();
            all_gone.recv().await;
        }
        shared.stopped.cancel();
    }

    async fn request_locally(
        &self,
        kind: RequestKind,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, RequestError> {
        let shared = &self.inner.shared;
        let node = shared.identity.node;
        let (sender, end) = oneshot::channel();
        let responder = Box::new(ReplyHere { end: Some(sender), node });
        shared.handler.request(node, kind, body, deadline, responder);
        match timeout(deadline.min(DEADLINE_MAX), end).await {
            Ok(end) => end.unwrap_or(Err(RequestError::NoReply(node))),
            Err(_) => Err(RequestError::NoReply(node)),
        }
    }

    fn with_link<T>(&self, node: NodeId, work: impl FnOnce(&Link) -> T) -> T {
        let links = self.inner.links.read();
        if let Some(link) = links.get(&node) {
            return work(link);
        }
        drop(links);
        work(&self.open_link(node))
    }

    fn open_link(&self, node: NodeId) -> Link {
        let inner = &self.inner;
        let mut links = inner.links.write();
        if let Some(link) = links.get(&node) {
            return link.clone();
        }
        let dialer = |lane| Arc::new(Dialer::new(node, lane, &inner.shared.config));
        let link = Link { control: dialer(Lane::Control), bulk: dialer(Lane::Bulk) };
        if let Some((alive, _)) = &*inner.alive.lock() {
            for (dialer, other) in [(&link.control, &link.bulk), (&link.bulk, &link.control)] {
                let task = dialer.clone().run(other.clone(), inner.shared.clone());
                let alive = alive.clone();
                inner.runtime.spawn(async move {
                    task.await;
                    drop(alive);
                });
            }
        } else {
            link.control.outbox.close();
            link.bulk.outbox.close();
        }
        links.insert(node, link.clone());
        link
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.draining.cancel();
        self.shared.stopped.cancel();
    }
}

/// A caller that waits for its reply; dropped, its request is forgotten.
#[derive(Debug)]
struct Waiting<'a> {
    outbox: &'a Outbox,
    id: Option<u64>,
}

impl Waiting<'_> {
    fn forget(&mut self) -> Option<bool> {
        self.outbox.forget(self.id.take()?)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Answers a request of this node to itself.
#[derive(Debug)]
struct ReplyHere {
    end: Option<oneshot::Sender<Result<Bytes, RequestError>>>,
    node: NodeId,
}

impl Responder for ReplyHere {
    fn reply(mut self: Box<Self>, body: Bytes) {
        if let Some(end) = self.end.take() {
            // A caller that has gone needs no answer.
            drop(end.send(Ok(body)));
        }
    }
}

impl Drop for ReplyHere {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            drop(end.send(Err(RequestError::Busy { node: self.node, retry_after: BUSY_RETRY_AFTER })));
        }
    }
}
