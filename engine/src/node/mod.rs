//! A node: one process's (or one embedder's) part of a cluster.

mod announce;
mod bootstrap;
mod catalog;
mod clock;
mod disk_space;
mod handler;
mod machines;
mod observe;
pub(crate) mod open;
mod outbound;
mod peers;
mod publish;
mod readiness;
mod reconcile;
mod replicas;
mod revive;
mod stop;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_shard::actor::{ConsistencyReport, GroupDeps, GroupHandle, GroupStatus, ReadLevel};
use quorate_shard::catalog::Catalog;
use quorate_shard::disk_space::{DiskSpace, Room};
use quorate_shard::registry::Registry;
use quorate_shard::router::Router;
use quorate_storage::identity::DataDir;
use quorate_storage::kv::{KeyValue, Op, OpResult, StoreShared};
use quorate_storage::{GroupId, KeyRange, NodeId};
use quorate_telemetry::collector::Collector;
use quorate_transport::Transport;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) use self::catalog::{CatalogCopy, CatalogWriter};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::group::Group;
use crate::kv::{Kv, ScanOptions, WriteBatch, Written};
use crate::repair::RepairPlan;
use crate::seams::Seams;
pub use readiness::{GroupReadiness, Readiness, StartProgress};
pub use topology::{Placement, Topology, TopologyGroup, TopologyNode};

/// What a node is made of; shared by its handles and its tasks.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) seams: Seams,
    pub(crate) registry: Arc<Registry>,
    pub(crate) router: Router,
    pub(crate) copy: CatalogCopy,
    pub(crate) catalog: CatalogWriter,
    pub(crate) kv: Kv,
    pub(crate) transport: Transport,
    /// For user groups.
    pub(crate) deps: Arc<GroupDeps>,
    /// For group 0, whose state machine is always the key-value one.
    pub(crate) catalog_deps: Arc<GroupDeps>,
    /// Holds the directory lock until the node is stopped.
    data: Mutex<Option<DataDir>>,
    pub(crate) topology: watch::Sender<Arc<Topology>>,
    pub(crate) collector: Arc<Collector>,
    pub(crate) stores: Arc<StoreShared>,
    /// Replicas whose directory is gone: they must be replaced.
    pub(crate) lost: Mutex<std::collections::BTreeSet<GroupId>>,
    /// Replicas that are being opened at this moment: never two openings of one directory.
    pub(crate) opening: Arc<Mutex<std::collections::BTreeSet<GroupId>>>,
    /// The room on the disk of the data directory.
    pub(crate) space: Arc<DiskSpace>,
    /// The nodes' data directories, as they are remembered on disk.
    pub(crate) remembered: Mutex<std::collections::BTreeMap<NodeId, quorate_storage::Incarnation>>,
    /// Replicas whose logs have been repaired: they are to be started.
    pub(crate) repaired: Arc<Mutex<std::collections::BTreeSet<GroupId>>>,
    pub(crate) changed: Arc<Notify>,
    pub(crate) stopping: CancellationToken,
    pub(crate) tasks: Mutex<JoinSet<()>>,
    /// Runs what is left to do when the last handle goes, wherever that happens.
    pub(crate) runtime: tokio::runtime::Handle,
}

impl Core {
    /// The data directory, until the node is stopped.
    pub(crate) fn data(&self) -> Result<DataDir> {
        self.data.lock().clone().ok_or(Error::Stopped)
    }

    /// Refuses what comes after the node's stop has begun: nobody would answer before the deadline.
    pub(crate) fn check_running(&self) -> Result<()> {
        if self.stopping.is_cancelled() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// The monotonic time `timeout` from now.
    pub(crate) fn deadline(&self, timeout: Duration) -> Duration {
        self.seams.clock.monotonic() + timeout
    }

    /// What is left until `deadline`.
    pub(crate) fn left(&self, deadline: Duration) -> Result<Duration> {
        deadline
            .checked_sub(self.seams.clock.monotonic())
            .filter(|left| !left.is_zero())
            .ok_or(Error::Group(quorate_shard::Error::DeadlineExceeded))
    }
}

/// The room on a node's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskRoom {
    /// What it means for writes.
    pub room: Room,
    /// Bytes that were free.
    pub free_bytes: u64,
    /// Bytes that must be free for [`Room::Ample`].
    pub needed_bytes: u64,
}

/// A running node. Clones are handles to the same node; all operations may be called from any task.
///
/// Keys are routed to the group that serves them, wherever it is led. Operations without a timeout of their
/// own end within [`Config::deadline`].
///
/// Call [`Node::shutdown`] before the last handle goes: dropped without it, the node stops like a killed
/// process, without handing its leaderships over. Its directory can be opened again a moment later, when the
/// disk writes in flight have ended.
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) core: Arc<Core>,
    _open: Arc<Open>,
}

/// Dropped with the last handle of a node.
#[derive(Debug)]
struct Open(Arc<Core>);

impl Drop for Open {
    fn drop(&mut self) {
        if !self.0.stopping.is_cancelled() {
            tracing::warn!(node = self.0.config.node.get(), "dropped without a shutdown");
            self.0.stopping.cancel();
            let core = Arc::clone(&self.0);
            self.0.runtime.spawn(stop::abandon(core));
        }
    }
}

impl Node {
    fn new(core: Arc<Core>) -> Self {
        Self { _open: Arc::new(Open(Arc::clone(&core))), core }
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.core.config.node
    }

    /// How long an operation without a timeout of its own may take: [`Config::deadline`].
    pub fn deadline(&self) -> Duration {
        self.core.config.deadline
    }

    /// A group, for what goes by group instead of by key. It need not have a replica here.
    pub fn group(&self, id: GroupId) -> Group {
        Group { core: Arc::clone(&self.core), id }
    }

    /// The state of every replica on this node, by group.
    pub fn local_groups(&self) -> Vec<GroupStatus> {
        self.core.registry.all().values().map(GroupHandle::status).collect()
    }

    /// How far this node's wall clock is ahead of the median of the nodes' (behind: negative), in milliseconds; 0 while
    /// fewer than three are heard of. A node that is off by more than half a second campaigns for no group and leases no
    /// time.
    pub fn clock_offset_ms(&self) -> i64 {
        self.core.deps.clock_watch.offset_ms()
    }

    /// The groups the catalog knows, group 0 included, dropped ones not.
    pub fn groups(&self) -> Vec<Group> {
        let catalog = self.core.copy.load();
        let live = catalog.groups.values().filter(|record| !record.dropped);
        live.map(|record| self.group(record.descriptor.group)).collect()
    }

    /// The catalog as this node knows it now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.core.copy.load()
    }

    /// The group that serves `key`.
    pub fn group_of(&self, key: &[u8]) -> Option<Group> {
        self.core.router.group_of(key).map(|id| self.group(id))
    }

    /// The value of `key`. One round to a quorum for [`ReadLevel::Linearizable`], shared with concurrent
    /// readers of the group.
    ///
    /// # Errors
    /// [`Error::is_retryable`] tells whether to try again.
    pub async fn get(&self, key: impl Into<Bytes>, level: ReadLevel) -> Result<Option<Bytes>> {
        self.core.check_running()?;
        self.core.kv.get(key.into(), level, self.core.config.deadline).await
    }

    /// The values of `keys`, in their order; each group's part is consistent in itself, groups are asked in
    /// parallel.
    pub async fn get_many(&self, keys: &[Bytes], level: ReadLevel) -> Result<Vec<Option<Bytes>>> {
        self.get_each(keys, level).await.into_iter().collect()
    }

    /// Like [`Node::get_many`], with a result for each key: one group's failure is that of its own keys only.
    ///
    /// Values of one group together have at most 12 MiB, a single one may be longer; more are refused as too large,
    /// so that no call holds more than that for a group. Ask for fewer keys then.
    pub async fn get_each(&self, keys: &[Bytes], level: ReadLevel) -> Vec<Result<Option<Bytes>>> {
        if let Err(stopped) = self.core.check_running() {
            return keys.iter().map(|_| Err(stopped.clone())).collect();
        }
        self.core.kv.get_each(keys, level, self.core.config.deadline).await
    }

    /// Sets `key`. When this returns, the write is durable on a quorum and applied on the leader.
    ///
    /// # Errors
    /// After [`Error::is_maybe_committed`] the write may still take effect.
    pub async fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<Written> {
        self.write(WriteBatch::new().put(key, value)).await
    }

    /// Removes `key`; durable like [`Node::put`].
    pub async fn delete(&self, key: impl Into<Bytes>) -> Result<Written> {
        self.write(WriteBatch::new().delete(key)).await
    }

    /// Sets `key` to `new` (`None`: removes it) if it has the value `expected` (`None`: is absent). Decided
    /// at apply, in log order. [`Written::is_applied`] tells whether it took effect.
    pub async fn compare_and_set(
        &self,
        key: impl Into<Bytes>,
        expected: Option<Bytes>,
        new: Option<Bytes>,
    ) -> Result<Written> {
        let key = key.into();
        let batch = WriteBatch::new().only_if(key.clone(), expected);
        self.write(match new {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        })
        .await
    }

    /// Writes a batch: one log entry. [`Written::results`] has what each operation did.
    ///
    /// # Errors
    /// [`Error::CrossesGroups`] if its keys belong to different groups. After [`Error::is_maybe_committed`] it may
    /// still take effect.
    pub async fn write(&self, batch: WriteBatch) -> Result<Written> {
        self.core.check_running()?;
        self.core.kv.write(batch, self.core.config.deadline).await
    }

    /// Operations on any keys, in parallel over groups, with a result for each: one group's failure is that of
    /// its own keys only.
    ///
    /// Operations on one key take effect in the order given. Those for one group are one entry as far as they
    /// fit: up to 1 MiB, 4,096 operations and one that gives a value back; there is no order between keys that
    /// do not fit into one. What would follow a failed entry of its group is not tried, and ends with the same
    /// error.
    pub async fn write_each(&self, ops: &[Op]) -> Vec<Result<OpResult>> {
        if let Err(stopped) = self.core.check_running() {
            return ops.iter().map(|_| Err(stopped.clone())).collect();
        }
        self.core.kv.write_each(ops, self.core.config.deadline).await
    }

    /// Up to `limit` pairs in key order (or against it). Each group's part is read in pages that are each
    /// consistent in themselves, and ends with the last pair that was there after its first page: what is written
    /// behind that meanwhile is left out.
    pub async fn scan(&self, options: &ScanOptions, limit: usize, level: ReadLevel) -> Result<Vec<KeyValue>> {
        self.core.check_running()?;
        self.core.kv.scan(options, limit, level, self.core.config.deadline).await
    }

    /// Creates a group for `range` on up to `replication` nodes and waits until it serves.
    ///
    /// # Errors
    /// [`Error::RangeTaken`] if a live group serves part of the range.
    pub async fn create_group(&self, range: KeyRange, replication: usize) -> Result<Group> {
        let timeout = self.core.config.deadline;
        let id = replicas::create_group(&self.core, &range, replication, timeout).await?;
        Ok(self.group(id))
    }

    /// Drops a group and its data for ever. Returns when the catalog says so and the replica on this node,
    /// if any, is gone; other nodes follow.
    pub async fn drop_group(&self, id: GroupId) -> Result<()> {
        replicas::drop_group(&self.core, id, self.core.config.deadline).await
    }

    /// Puts a new replica of `group` in the place of this node's own, which is out of service: lost, or quarantined.
    /// Returns its id when it has caught up and votes. The old one's files, if there are any, are kept as
    /// `groups/<group>.quarantined-<incarnation>` in the data directory, until somebody removes them. Ends within
    /// `timeout`; whenever it is interrupted, call it again.
    ///
    /// # Errors
    /// [`Error::NotRepairable`] if the replica here is in service, if there is none, or if it is its group's only one;
    /// those of [`Group::replace_replica`].
    pub async fn repair(&self, group: GroupId, timeout: Duration) -> Result<quorate_storage::ReplicaId> {
        self.core.check_running()?;
        crate::repair::repair(&self.core, group, timeout).await
    }

    /// What [`Node::repair`] would do now. Changes nothing.
    ///
    /// # Errors
    /// [`Error::NotRepairable`]; [`quorate_shard::Error::NoSuchGroup`].
    pub fn repair_plan(&self, group: GroupId) -> Result<RepairPlan> {
        crate::repair::plan(&self.core, group)
    }

    /// The room on the disk of the data directory, as it was last measured.
    pub fn disk_room(&self) -> DiskRoom {
        let space = &self.core.space;
        DiskRoom { room: space.room(), free_bytes: space.free_bytes(), needed_bytes: space.needed_bytes() }
    }

    /// Compares the states of a group's replicas: [`Group::check_consistency`].
    ///
    /// # Errors
    /// [`Error::is_retryable`] tells whether to try again.
    pub async fn check_consistency(&self, group: GroupId) -> Result<ConsistencyReport> {
        self.group(group).check_consistency().await
    }

    /// Waits until every group with a replica here runs and knows its leader.
    ///
    /// # Errors
    /// [`quorate_shard::Error::DeadlineExceeded`] after `timeout`.
    pub async fn ready(&self, timeout: Duration) -> Result<()> {
        let wait = async {
            while !self.readiness().is_ready() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(timeout, wait)
            .await
            .map_err(|_| Error::Group(quorate_shard::Error::DeadlineExceeded))
    }

    /// Stops: hands leaderships over, finishes what was accepted, checkpoints, marks a clean stop. No handle
    /// of the node works afterwards. Takes up to 10 s. A second call returns at once.
    pub async fn shutdown(&self) -> Result<()> {
        stop::shutdown(&self.core).await
    }

    /// Stops like [`Node::shutdown`], but keeps its leaderships: for when every node of the cluster is stopped
    /// at the same time, and nobody is left to take them.
    pub async fn shutdown_together(&self) -> Result<()> {
        stop::shutdown_together(&self.core).await
    }
}

#[cfg(test)]
mod tests;
