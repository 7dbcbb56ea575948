//! Sends every request to the group that owns its key, wherever that group is led.
//!
//! The router follows leader hints, goes on to other replicas, retries what had no effect with jitter inside
//! the caller's deadline, and never sends a write again that may have committed. It remembers newer
//! descriptors that groups tell it until the catalog has caught up. A call is for one group: whoever touches
//! several calls once for each.

mod attempt;
mod changes;
mod leader_table;
mod leaders;
mod retry;
mod told;
mod tour;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use quorate_storage::{GroupDescriptor, GroupId, NodeId};
use quorate_telemetry::{Clock, Rng};
use quorate_transport::Transport;
use tokio::sync::Notify;

pub use changes::{Changes, Signal};
pub use leader_table::{LeaderTable, Leadership};
pub use leaders::LeaderCache;
pub use retry::{Attempt, CallKind, Failed, Others, Retry};

use self::told::{Told, is_newer};
use self::tour::Tour;
use crate::actor::{GroupStatus, Lifecycle};
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::registry::Registry;
use crate::rpc::{Call, Reply};

/// Longest a call may take, whatever its caller says: deadlines must not run over the end of the clocks.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Whom a call is for.
#[derive(Clone, Debug)]
pub enum Target {
    /// Whichever group serves this key.
    Key(Bytes),
    /// Whichever group serves all of these keys (at least one): if no single one does (any more), the call
    /// ends at once as [`Error::StaleRange`], without effect, and the caller groups its keys anew.
    Keys(Arc<[Bytes]>),
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
    /// Who leads which group, as far as this node was told. The router adds what answers prove.
    pub leaders: Arc<LeaderTable>,
    /// The way to other nodes.
    pub transport: Transport,
    /// Deadlines run on this clock.
    pub clock: Arc<dyn Clock>,
    /// Jitter comes from here.
    pub rng: Arc<dyn Rng>,
    /// Told when the catalog turned out to be old.
    pub catalog_stale: Arc<Notify>,
}

/// How long a call may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub timeout: Duration,
    /// Without finding a leader; `None` for no such limit. A call that was handed to a leader goes on.
    pub leaderless_max: Option<Duration>,
}

/// Routes calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Router {
    parts: Arc<RouterParts>,
    /// Whom answers and refusals have named, without a term.
    hints: Arc<LeaderCache>,
    told: Arc<Told>,
}

/// Where a call goes at one moment.
#[derive(Debug)]
enum Route {
    /// To the replicas of this group.
    Group(Arc<GroupDescriptor>),
    /// The keys belong to several groups; this is the first one's descriptor.
    Split(Arc<GroupDescriptor>),
    /// Nobody serves the target, as far as is known.
    Nowhere,
    /// The group was dropped.
    Gone(GroupId),
}

impl Router {
    /// A router over these parts.
    pub fn new(parts: RouterParts) -> Self {
        Self { parts: Arc::new(parts), hints: Arc::default(), told: Arc::default() }
    }

    /// The catalog as of now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.parts.catalog.load_full()
    }

    /// The groups that run on this node.
    pub fn registry(&self) -> &Registry {
        &self.parts.registry
    }

    /// The node that leads `group`, as far as this node knows; `None` during an election. No locks but short ones,
    /// no allocation.
    pub fn leader_of(&self, group: GroupId) -> Option<NodeId> {
        if self.leads(group) {
            return Some(self.parts.node);
        }
        match self.parts.leaders.get(group) {
            // A replica here that leads no more may not have told the table yet.
            Some(known) => known.leader.filter(|&leader| leader != self.parts.node),
            // Nothing was ever heard of the group: whoever served it last.
            None => self.hints.get(group),
        }
    }

    /// Whether the replica of `group` on this node leads it.
    pub fn leads(&self, group: GroupId) -> bool {
        self.parts.registry.get(group).is_some_and(|handle| handle.role().is_leader)
    }

    /// What this node was told of leaderships.
    pub fn leaders(&self) -> &Arc<LeaderTable> {
        &self.parts.leaders
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
        self.call_within(target, call, Limits { timeout, leaderless_max: None }).await
    }

    /// Like [`Router::call`], with a limit on the search for a leader.
    ///
    /// # Errors
    /// As [`Router::call`]; after `leaderless_max` without a leader how the last attempt ended, without effect.
    pub async fn call_within(&self, target: Target, call: Call, limits: Limits) -> Result<Reply> {
        let clock = &self.parts.clock;
        let deadline = clock.monotonic().saturating_add(limits.timeout.min(TIMEOUT_MAX));
        let mut retry = Retry::until(deadline).leaderless_at_most(limits.leaderless_max);
        let mut tour = Tour::default();
        let mut because = Error::DeadlineExceeded;
        while retry.left(clock.monotonic()).is_some() {
            let failed = match self.round(&target, &call, &mut tour, deadline).await {
                Ok(reply) => return Ok(reply),
                Err(failed) => failed,
            };
            match retry.after(failed, clock.monotonic(), self.parts.rng.as_ref()) {
                Attempt::GiveUp(error) => return Err(error),
                Attempt::Again { after, because: error } => {
                    because = error;
                    if !after.is_zero() {
                        tokio::time::sleep(after).await;
                    }
                }
            }
        }
        Err(because)
    }

    /// Routes once and asks one replica.
    async fn round(
        &self,
        target: &Target,
        call: &Call,
        tour: &mut Tour,
        deadline: Duration,
    ) -> Result<Reply, Failed> {
        let kind = if call.is_write() { CallKind::Write } else { CallKind::Read };
        let descriptor = match self.route(target) {
            Route::Group(descriptor) => descriptor,
            nowhere => return Err(self.unrouted(nowhere, kind)),
        };
        let order = self.order(&descriptor, call);
        let node = tour.next(&order);
        let outcome = self.attempt(node, &descriptor, call, deadline).await;
        outcome.map_err(|error| {
            self.learn(&descriptor, node, &error, tour);
            let others = match &error {
                // The route is right and the keys are not: only the caller can group them anew.
                Error::StaleRange { newer } if newer.range_epoch == descriptor.range_epoch => Others::Final,
                _ if tour.has_untried(&order) => Others::Untried,
                _ => Others::AllTried,
            };
            Failed { error, kind, others }
        })
    }

    /// Takes what a failure says about who leads, who serves, and whom not to ask again.
    fn learn(&self, descriptor: &GroupDescriptor, node: NodeId, error: &Error, tour: &mut Tour) {
        let group = descriptor.group;
        match error {
            // From a replica that does its work: it is asked again.
            Error::Busy { .. }
            | Error::DiskFull { .. }
            | Error::Transferring { .. }
            | Error::ConfChangePending { .. }
            | Error::Lagging { .. }
            | Error::NoCeiling { .. }
            | Error::CeilingExpired { .. }
            | Error::ClockSkew { .. }
            | Error::TimestampAhead { .. }
            | Error::Invalid(_)
            | Error::ConfEpochMismatch { .. }
            | Error::ConfChangeRefused(_) => return,
            Error::StaleRange { newer } => {
                self.parts.catalog_stale.notify_one();
                if newer.uid == descriptor.uid && is_newer(newer, descriptor) {
                    self.told.learn(newer);
                    return;
                }
            }
            Error::NoSuchGroup { .. } => self.parts.catalog_stale.notify_one(),
            _ => {}
        }
        tour.failed(node);
        self.hints.forget(group, node);
        if let Error::NotLeader { hint: Some(hint), .. } = error
            && hint.node != node
            && self.is_known(descriptor, hint.node)
        {
            self.hints.set(group, hint.node);
            tour.hint(hint.node);
        }
    }

    fn is_known(&self, descriptor: &GroupDescriptor, node: NodeId) -> bool {
        descriptor.replica_on(node).is_some() || self.parts.catalog.load().nodes.contains_key(&node)
    }

    fn unrouted(&self, route: Route, kind: CallKind) -> Failed {
        let (error, others) = match route {
            Route::Split(descriptor) => {
                (Error::StaleRange { newer: Box::new((*descriptor).clone()) }, Others::Final)
            }
            Route::Gone(group) => (Error::NoSuchGroup { group }, Others::Final),
            // Before there is a catalog nothing can be said about what there is not.
            _ if self.parts.catalog.load().version.is_none() => (NO_ROUTE, Others::AllTried),
            _ => (NO_ROUTE, Others::Unrouted),
        };
        self.parts.catalog_stale.notify_one();
        Failed { error, kind, others }
    }

    fn route(&self, target: &Target) -> Route {
        let catalog = self.parts.catalog.load();
        match target {
            Target::Group(group) => match self.newest(&catalog, *group) {
                Some(descriptor) => Route::Group(descriptor),
                None if catalog.groups.contains_key(group) => Route::Gone(*group),
                None => Route::Nowhere,
            },
            Target::Key(key) => self.route_key(&catalog, key).map_or(Route::Nowhere, Route::Group),
            Target::Keys(keys) => match keys.first().and_then(|key| self.route_key(&catalog, key)) {
                Some(one) if keys.iter().all(|key| one.range.contains(key)) => Route::Group(one),
                Some(one) => Route::Split(one),
                None => Route::Nowhere,
            },
        }
    }

    fn route_key(&self, catalog: &Catalog, key: &[u8]) -> Option<Arc<GroupDescriptor>> {
        let published = catalog.route(key).map(|record| record.descriptor.group);
        [published, self.told.serving(key)]
            .into_iter()
            .flatten()
            .filter_map(|group| self.newest(catalog, group))
            .find(|descriptor| descriptor.range.contains(key))
    }

    /// The newest descriptor known of a live group: the catalog's, the local replica's (group 0 is not in its
    /// own catalog before the first version), or one the group has told.
    fn newest(&self, catalog: &Catalog, group: GroupId) -> Option<Arc<GroupDescriptor>> {
        let record = catalog.groups.get(&group);
        if record.is_some_and(|record| record.dropped) {
            self.told.forget(group);
            return None;
        }
        let published = record.map(|record| &record.descriptor);
        let is_news = |descriptor: &Arc<GroupDescriptor>| {
            published.is_none_or(|known| known.uid == descriptor.uid && is_newer(descriptor, known))
        };
        let told = self.told.get(group);
        let told_news = told.clone().filter(is_news);
        if told.is_some() && told_news.is_none() {
            self.told.forget(group);
        }
        let local = self.running(group).map(|status| status.descriptor).filter(is_news);
        let news = match (told_news, local) {
            (Some(told), Some(local)) if is_newer(&told, &local) => Some(told),
            (told, local) => local.or(told),
        };
        news.or_else(|| published.map(|known| Arc::new(known.clone())))
    }

    /// What the local replica of `group` says of itself, if it runs. One that is quarantined says nothing:
    /// what it knows is old.
    fn running(&self, group: GroupId) -> Option<GroupStatus> {
        let status = self.parts.registry.get(group)?.status();
        (status.lifecycle == Lifecycle::Running).then_some(status)
    }

    /// In which order replicas are asked: for a read that any replica may serve this node first; then the
    /// leader if one is known, this node, nodes that are connected, and the others.
    fn order(&self, descriptor: &GroupDescriptor, call: &Call) -> Vec<NodeId> {
        let here = self.parts.node;
        let local = self.running(descriptor.group);
        let mut order = Vec::with_capacity(descriptor.replicas.len() + 2);
        if local.is_some() && call.is_local_read() {
            order.push(here);
        }
        order.extend(local.as_ref().and_then(local_leader));
        order.extend(self.parts.leaders.get(descriptor.group).and_then(|known| known.leader));
        order.extend(self.hints.get(descriptor.group));
        order.extend(local.map(|_| here));
        let mut others: Vec<NodeId> = descriptor.replicas.iter().map(|replica| replica.node).collect();
        // Not every node starts with the same replica.
        if !others.is_empty() {
            let start = usize::try_from(here.get()).unwrap_or(0) % others.len();
            others.rotate_left(start);
        }
        others.sort_by_key(|&node| !self.parts.transport.peer_up(node));
        order.extend(others);
        if order.is_empty() {
            order.push(here);
        }
        order
    }
}

/// Nobody serves the target. The catalog's own group stands for the one that is not known.
const NO_ROUTE: Error = Error::NoSuchGroup { group: GroupId(0) };

fn local_leader(status: &GroupStatus) -> Option<NodeId> {
    status.descriptor.replica(status.role.leader?).map(|replica| replica.node)
}

#[cfg(test)]
mod tests;
