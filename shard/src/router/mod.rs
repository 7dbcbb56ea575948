//! Sends every request to the group that owns its key, wherever that group is led.
//!
//! The router follows leader hints, retries what had no effect with full jitter inside the caller's
//! deadline, and never retries what may have committed. Requests that touch several groups fan out in
//! parallel.

mod leaders;
mod retry;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use quorate_storage::{GroupDescriptor, GroupId, NodeId};
use quorate_telemetry::{Clock, Rng};
use quorate_transport::{Lane, RequestError, Transport};
use tokio::sync::Notify;

pub use leaders::LeaderCache;
pub use retry::{Attempt, Retry};

use crate::actor::ReadLevel;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::registry::Registry;
use crate::rpc::{self, Call, Reply, Request};

/// Whom a call is for.
#[derive(Clone, Debug)]
pub enum Target {
    /// Whichever group serves this key.
    Key(Bytes),
    /// This group.
    Group(GroupId),
}

/// What a router works with.
#[derive(Debug)]
pub struct RouterParts {
    /// This node.
    pub node: NodeId,
    /// The newest catalog this node knows.
    pub catalog: Arc<ArcSwap<Catalog>>,
    /// The groups that run here.
    pub registry: Arc<Registry>,
    /// The way to other nodes.
    pub transport: Transport,
    /// Deadlines run on this clock.
    pub clock: Arc<dyn Clock>,
    /// Jitter comes from here.
    pub rng: Arc<dyn Rng>,
    /// Told when the catalog turned out to be old.
    pub catalog_stale: Arc<Notify>,
}

/// Routes calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Router {
    parts: Arc<RouterParts>,
    leaders: Arc<LeaderCache>,
}

/// A call's way to one group at one moment.
struct Route {
    descriptor: Arc<GroupDescriptor>,
}

impl Router {
    /// A router over these parts.
    pub fn new(parts: RouterParts) -> Self {
        Self { parts: Arc::new(parts), leaders: Arc::default() }
    }

    /// The catalog as of now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.parts.catalog.load_full()
    }

    /// The groups that run on this node.
    pub fn registry(&self) -> &Registry {
        &self.parts.registry
    }

    /// The node that was last seen leading `group`.
    pub fn leader_of(&self, group: GroupId) -> Option<NodeId> {
        let local = self.parts.registry.get(group).and_then(|handle| {
            let leader = handle.role().leader?;
            handle.descriptor().replica(leader).map(|replica| replica.node)
        });
        local.or_else(|| self.leaders.get(group))
    }

    /// The group that serves `key`, if one does.
    pub fn group_of(&self, key: &[u8]) -> Option<GroupId> {
        self.parts.catalog.load().route(key).map(|record| record.descriptor.group)
    }

    /// Carries out `call`, wherever that must be, until `timeout` has passed.
    ///
    /// # Errors
    /// [`Error::NoSuchGroup`] if nobody serves the target; else how the last attempt ended. A write whose
    /// outcome is not known ends as [`Error::Indeterminate`] and is not sent again.
    pub async fn call(&self, target: Target, call: Call, timeout: Duration) -> Result<Reply> {
        let clock = &self.parts.clock;
        let mut retry = Retry::until(clock.monotonic() + timeout);
        let mut next = None;
        let mut tried = 0;
        loop {
            let Some(left) = retry.left(clock.monotonic()) else { return Err(Error::DeadlineExceeded) };
            let (group, outcome) = match self.route(&target) {
                Some(route) => {
                    let node = next.take().unwrap_or_else(|| self.choose(&route.descriptor, &call, tried));
                    tried += 1;
                    let group = route.descriptor.group;
                    (group, self.attempt(node, &route, call.clone(), left).await)
                }
                None => (GroupId(0), Err(no_route(&target))),
            };
            let error = match outcome {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            if matches!(error, Error::StaleRange { .. } | Error::NoSuchGroup { .. }) {
                self.parts.catalog_stale.notify_one();
            }
            match retry.after(error, clock.monotonic(), self.parts.rng.as_ref()) {
                Attempt::GiveUp(error) => return Err(error),
                Attempt::Again { after, leader } => {
                    if let Some(node) = leader {
                        self.leaders.set(group, node);
                        next = Some(node);
                    }
                    if !after.is_zero() {
                        tokio::time::sleep(after).await;
                    }
                }
            }
        }
    }

    fn route(&self, target: &Target) -> Option<Route> {
        let catalog = self.parts.catalog.load();
        let group = match target {
            Target::Key(key) => catalog.route(key)?.descriptor.group,
            Target::Group(group) => *group,
        };
        // A replica that runs here knows its own descriptor best, and group 0 is not in its own catalog
        // before the first version.
        if let Some(handle) = self.parts.registry.get(group) {
            let descriptor = handle.descriptor();
            let serves = match target {
                Target::Key(key) => descriptor.range.contains(key),
                Target::Group(_) => true,
            };
            if serves {
                return Some(Route { descriptor });
            }
        }
        let record = catalog.groups.get(&group).filter(|record| !record.dropped)?;
        Some(Route { descriptor: Arc::new(record.descriptor.clone()) })
    }

    /// The replica most likely to answer: the leader if one is known, else this node, else each in turn.
    fn choose(&self, descriptor: &GroupDescriptor, call: &Call, tried: usize) -> NodeId {
        let here = self.parts.node;
        let local = self.parts.registry.get(descriptor.group);
        if local.is_some() && is_local_read(call) {
            return here;
        }
        if tried < 2 {
            if let Some(handle) = &local
                && let Some(leader) = handle.role().leader
                && let Some(replica) = descriptor.replica(leader)
            {
                return replica.node;
            }
            if let Some(node) = self.leaders.get(descriptor.group) {
                return node;
            }
        }
        let replicas = &descriptor.replicas;
        if replicas.is_empty() {
            return here;
        }
        replicas[(here.get() as usize + tried) % replicas.len()].node
    }

    async fn attempt(&self, node: NodeId, route: &Route, call: Call, left: Duration) -> Result<Reply> {
        let group = route.descriptor.group;
        let outcome = if node == self.parts.node {
            match self.parts.registry.get(group) {
                Some(handle) => rpc::serve(&handle, route.descriptor.range_epoch, call, left).await,
                None => Err(Error::NoSuchGroup { group }),
            }
        } else {
            self.ask(node, route, call, left).await
        };
        match &outcome {
            Ok(_) => self.leaders.set(group, node),
            Err(_) => self.leaders.forget(group, node),
        }
        outcome
    }

    async fn ask(&self, node: NodeId, route: &Route, call: Call, left: Duration) -> Result<Reply> {
        let group = route.descriptor.group;
        let is_write = call.is_write();
        let request = Request::Group { group, epoch: route.descriptor.range_epoch, call }.encode();
        match self.parts.transport.request(node, rpc::KIND, request, Lane::Control, left).await {
            Ok(body) => match Reply::decode(&body) {
                Ok(Reply::Failed(error)) => Err(error),
                Ok(reply) => Ok(reply),
                Err(_) if is_write => Err(Error::Indeterminate { group }),
                Err(malformed) => Err(Error::Read(malformed)),
            },
            Err(error) => Err(refused(error, group, is_write)),
        }
    }
}

fn is_local_read(call: &Call) -> bool {
    let (Call::Get { level, .. } | Call::Scan { level, .. } | Call::Query { level, .. }) = call else {
        return false;
    };
    *level != ReadLevel::Linearizable
}

fn no_route(target: &Target) -> Error {
    match target {
        Target::Key(_) => Error::NoSuchGroup { group: GroupId(0) },
        Target::Group(group) => Error::NoSuchGroup { group: *group },
    }
}

/// What a failed request means for the call: a write that may have arrived is never called a failure.
fn refused(error: RequestError, group: GroupId, is_write: bool) -> Error {
    match error {
        RequestError::NoReply(_) if is_write => Error::Indeterminate { group },
        RequestError::Busy { retry_after, .. } => Error::Busy { group, retry_after },
        RequestError::TooLarge { bytes, bytes_max } => {
            Error::Invalid(quorate_storage::Error::TooLarge { what: "request", bytes, bytes_max })
        }
        _ => Error::NotLeader { group, hint: None },
    }
}
