//! The network of the groups of one process: what is cut off or without power neither sends nor hears anything.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_storage::disk::SimDisk;
use quorate_storage::{Index, NodeId, ReplicaId, Term};
use quorate_transport::net::BoxFuture;
use quorate_transport::{RaftMessage, RaftMessageKind, RequestError, RequestKind};

use super::node::GROUP;
use super::weather::Weather;
use crate::actor::{GroupHandle, Outbound, group_of_request};

/// Carries messages between the groups of one process.
#[derive(Clone, Debug, Default)]
pub(super) struct Network(Arc<Mutex<Links>>);

#[derive(Debug, Default)]
struct Links {
    handles: BTreeMap<NodeId, GroupHandle>,
    /// Machines whose power goes with their disk's.
    disks: BTreeMap<NodeId, SimDisk>,
    promises: BTreeMap<NodeId, Promises>,
    cut: BTreeSet<NodeId>,
    /// From one node to another nothing passes; the other way it does.
    cut_ways: BTreeSet<(NodeId, NodeId)>,
    /// Messages that were sent into a cut.
    held_back: u64,
    weather: Option<Weather>,
    requests: u64,
    /// Requests that fail, by their number: the even ones before they arrive, the odd ones after.
    broken: Range<u64>,
    refuses_requests: bool,
}

/// What a replica told others that it holds durably.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Promises {
    /// The newest term it spoke in as one that votes or acknowledges.
    pub(super) term: Term,
    /// Whom it voted for last, and in which term.
    pub(super) vote: Option<(Term, ReplicaId)>,
    /// The last index that it acknowledged.
    pub(super) acknowledged: Index,
}

#[derive(Debug)]
struct Port {
    node: NodeId,
    network: Network,
}

impl Network {
    /// From now on `node` is reached by `handle`, while its disk has power.
    pub(super) fn connect(&self, node: u64, handle: &GroupHandle, disk: &SimDisk) {
        let mut links = self.0.lock();
        links.handles.insert(NodeId(node), handle.clone());
        links.disks.insert(NodeId(node), disk.clone());
    }

    pub(super) fn disconnect(&self, node: u64) {
        self.0.lock().handles.remove(&NodeId(node));
    }

    /// Nothing passes to or from `node`.
    pub(super) fn cut(&self, node: u64) {
        self.0.lock().cut.insert(NodeId(node));
    }

    pub(super) fn heal(&self, node: u64) {
        self.0.lock().cut.remove(&NodeId(node));
    }

    /// Nothing passes from `from` to `to`.
    pub(super) fn cut_way(&self, from: u64, to: u64) {
        self.0.lock().cut_ways.insert((NodeId(from), NodeId(to)));
    }

    /// Ends a [`Network::cut_way`].
    pub(super) fn heal_way(&self, from: u64, to: u64) {
        self.0.lock().cut_ways.remove(&(NodeId(from), NodeId(to)));
    }

    /// How many messages were sent into a cut of one way.
    pub(super) fn held_back(&self) -> u64 {
        self.0.lock().held_back
    }

    /// From now on messages travel through `weather`; `None` ends it. Gives back the one before, with what it did.
    pub(super) fn set_weather(&self, weather: Option<Weather>) -> Option<Weather> {
        std::mem::replace(&mut self.0.lock().weather, weather)
    }

    /// Messages pass, requests do not.
    pub(super) fn refuse_requests(&self) {
        self.0.lock().refuses_requests = true;
    }

    /// Of the requests from now on, those with these numbers fail.
    pub(super) fn break_requests(&self, numbers: Range<u64>) {
        let mut links = self.0.lock();
        links.requests = 0;
        links.broken = numbers;
    }

    /// What `node` has promised so far.
    pub(super) fn promises(&self, node: u64) -> Promises {
        self.0.lock().promises.get(&NodeId(node)).copied().unwrap_or_default()
    }

    /// Whether the next request fails, and if so, whether it arrives.
    fn fate(&self) -> Option<bool> {
        let mut links = self.0.lock();
        let number = links.requests;
        links.requests += 1;
        links.broken.contains(&number).then_some(number % 2 == 1)
    }

    /// The way out of `node`.
    pub(super) fn port(&self, node: u64) -> Arc<dyn Outbound> {
        Arc::new(Port { node: NodeId(node), network: self.clone() })
    }

    fn handle(&self, from: NodeId, to: NodeId) -> Option<GroupHandle> {
        let mut links = self.0.lock();
        if links.cut_ways.contains(&(from, to)) {
            links.held_back += 1;
            return None;
        }
        links.handles.get(&to).filter(|_| links.is_open(from) && links.is_open(to)).cloned()
    }

    /// After which times a message arrives: once at once, unless there is weather.
    fn arrivals(&self, from: NodeId, message: &RaftMessage) -> Vec<Duration> {
        let mut links = self.0.lock();
        links.weather.as_mut().map_or_else(|| vec![Duration::ZERO], |weather| weather.arrivals(from, message))
    }

    fn deliver(&self, from: NodeId, to: NodeId, message: RaftMessage) {
        if let Some(handle) = self.handle(from, to) {
            handle.step(from, vec![message]);
        }
    }

    fn note(&self, from: NodeId, message: &RaftMessage) {
        let mut links = self.0.lock();
        if links.is_powered(from) {
            links.promises.entry(from).or_default().note(message);
        }
    }
}

impl Links {
    fn is_open(&self, node: NodeId) -> bool {
        !self.cut.contains(&node) && self.is_powered(node)
    }

    fn is_powered(&self, node: NodeId) -> bool {
        self.disks.get(&node).is_none_or(SimDisk::is_powered)
    }
}

impl Promises {
    fn note(&mut self, message: &RaftMessage) {
        match message.kind {
            RaftMessageKind::AppendResponse if !message.reject => self.acknowledged = message.log.index,
            RaftMessageKind::RequestVoteResponse if !message.reject => {
                self.vote = Some((message.term, message.to));
            }
            RaftMessageKind::RequestVote => self.vote = Some((message.term, message.from)),
            _ => return,
        }
        self.term = self.term.max(message.term);
    }
}

impl Outbound for Port {
    fn send(&self, node: NodeId, message: RaftMessage) {
        self.network.note(self.node, &message);
        for delay in self.network.arrivals(self.node, &message) {
            let (network, from, message) = (self.network.clone(), self.node, message.clone());
            if delay.is_zero() {
                network.deliver(from, node, message);
            } else {
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    network.deliver(from, node, message);
                });
            }
        }
    }

    fn request(
        &self,
        node: NodeId,
        kind: RequestKind,
        body: Bytes,
        _deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, RequestError>> {
        assert_eq!(group_of_request(kind, &body), Some(GROUP));
        let (from, network) = (self.node, self.network.clone());
        let is_refused = network.0.lock().refuses_requests;
        let handle = network.handle(from, node).filter(|_| !is_refused);
        let fate = network.fate();
        Box::pin(async move {
            let handle = handle.ok_or(RequestError::Unreachable(node))?;
            if fate == Some(false) {
                return Err(RequestError::Unreachable(node));
            }
            let reply = handle.serve_group(from, kind, body).await;
            let is_lost = fate.is_some() || !network.0.lock().is_powered(node);
            if is_lost { Err(RequestError::NoReply(node)) } else { Ok(reply) }
        })
    }
}
