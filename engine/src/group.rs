//! One group, wherever it is led.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_shard::actor::{ConsistencyReport, GroupStatus, Quarantine, ReadLevel};
use quorate_shard::router::{Limits, Target};
use quorate_shard::rpc::{Call, READ_BYTES_MAX, Reply, Scan};
use quorate_storage::kv::KeysPage;
use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::{EntryId, GroupDescriptor, GroupId, Index, KeyRange, NodeId, ReplicaId, Timestamp};
use quorate_telemetry::stats::GroupReport;

use crate::error::{Error, Result};
use crate::membership;
use crate::node::Core;

/// An applied command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Where it stands in the group's log.
    pub id: EntryId,
    /// What the state machine answered.
    pub output: Bytes,
}

/// A handle to a group. Cheap to clone; needs no replica on this node.
#[derive(Clone, Debug)]
pub struct Group {
    pub(crate) core: Arc<Core>,
    pub(crate) id: GroupId,
}

impl Group {
    /// Its id.
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// What the catalog says of it; `None` if there is no such group.
    pub fn descriptor(&self) -> Option<GroupDescriptor> {
        self.core.copy.load().groups.get(&self.id).map(|record| record.descriptor.clone())
    }

    /// The state of the replica on this node, if there is one.
    pub fn local_status(&self) -> Option<GroupStatus> {
        self.core.registry.get(self.id).map(|handle| handle.status())
    }

    /// Whether this node runs a replica of it.
    pub fn has_replica(&self) -> bool {
        self.core.registry.get(self.id).is_some()
    }

    /// Why the replica on this node is out of service, if it is quarantined.
    pub fn local_quarantine(&self) -> Option<Quarantine> {
        self.core.registry.get(self.id).and_then(|handle| handle.quarantine())
    }

    /// Publishes a snapshot of the replica on this node now. On `Ok` it is durable and recorded in the log; if nothing
    /// was applied since the newest one, that one is the answer. Ends within `timeout`; the publishing goes on all the
    /// same, and a later call is answered by it or by the next.
    ///
    /// # Errors
    /// [`quorate_shard::Error::NoSuchGroup`] without a replica here; [`quorate_shard::Error::DeadlineExceeded`];
    /// [`quorate_shard::Error::Read`] if it could not be written.
    pub async fn publish_snapshot(&self, timeout: Duration) -> Result<SnapshotToken> {
        self.core.check_running()?;
        let missing = quorate_shard::Error::NoSuchGroup { group: self.id };
        let handle = self.core.registry.get(self.id).ok_or(missing)?;
        Ok(handle.publish_snapshot(timeout).await?)
    }

    /// A snapshot of the replica on this node that holds the entry `at_least`: the newest if it does, else one that is
    /// published for it. To be asked for again after a deadline: unlike [`Group::publish_snapshot`] it is then answered by
    /// what was begun before, whatever is written meanwhile.
    ///
    /// # Errors
    /// As [`Group::publish_snapshot`]; [`quorate_shard::Error::Busy`] if the entry is not applied here yet.
    pub async fn snapshot_of(&self, at_least: Index, timeout: Duration) -> Result<SnapshotToken> {
        self.core.check_running()?;
        let missing = quorate_shard::Error::NoSuchGroup { group: self.id };
        let handle = self.core.registry.get(self.id).ok_or(missing)?;
        Ok(handle.snapshot_of(at_least, timeout).await?)
    }

    /// Has the replica on this node scan what it keeps, values and snapshots, without waiting for the interval. Returns at
    /// once; [`GroupStatus::last_scrub`] tells when a scan found the state whole, and [`Group::local_report`] counts scans
    /// (`scrubs_completed`, `scrubs_rotten`, `snapshots_corrupt`). What is found is dealt with as always.
    ///
    /// # Errors
    /// [`quorate_shard::Error::NoSuchGroup`] without a replica here.
    pub fn begin_scrub(&self) -> Result<()> {
        self.core.check_running()?;
        let handle = self.core.registry.get(self.id);
        handle.ok_or(quorate_shard::Error::NoSuchGroup { group: self.id })?.begin_scrub();
        Ok(())
    }

    /// What the replica on this node has counted, if there is one.
    pub fn local_report(&self) -> Option<GroupReport> {
        self.core.collector.report_group(self.id.get())
    }

    /// The node that leads it, as far as this node knows; `None` during an election. Needs no replica here: leaders
    /// announce themselves.
    pub fn leader(&self) -> Option<NodeId> {
        self.core.router.leader_of(self.id)
    }

    /// Replicates `command` in the state machine's own language. When this returns it is durable on a quorum
    /// and applied on the leader. Dropping the future does not take it back.
    ///
    /// # Errors
    /// After [`Error::is_maybe_committed`] it may still be applied.
    pub async fn propose(&self, command: impl Into<Bytes>) -> Result<Applied> {
        match self.call(Call::Propose(command.into())).await? {
            Reply::Applied { id, output } => Ok(Applied { id, output }),
            _ => Err(unexpected()),
        }
    }

    /// Asks the state machine in its own language.
    pub async fn query(&self, query: impl Into<Bytes>, level: ReadLevel) -> Result<Bytes> {
        match self.call(Call::Query { level, body: query.into() }).await? {
            Reply::Answer(answer) => Ok(answer),
            _ => Err(unexpected()),
        }
    }

    /// How many keys it holds. Does not read them.
    ///
    /// # Errors
    /// [`Error::is_retryable`] tells whether to try again.
    pub async fn count(&self, level: ReadLevel) -> Result<u64> {
        match self.call(Call::Count { level }).await? {
            Reply::Count(count) => Ok(count),
            _ => Err(unexpected()),
        }
    }

    /// Up to `limit` of its keys from `range.start` on, in order and without their values. A page also ends after
    /// 12 MiB of keys; its `next` says where to go on.
    ///
    /// # Errors
    /// As [`Group::count`]; [`quorate_shard::Error::StaleRange`] if the group does not serve all of `range`.
    pub async fn keys(&self, range: KeyRange, limit: usize, level: ReadLevel) -> Result<KeysPage> {
        let scan =
            Scan { start: range.start, end: range.end, reverse: false, limit, bytes_max: READ_BYTES_MAX };
        match self.call(Call::Keys { level, scan }).await? {
            Reply::Keys(page) => Ok(page),
            _ => Err(unexpected()),
        }
    }

    /// A timestamp of the group's hybrid logical clock: unique in the group, larger than all that its leader or an earlier
    /// one has given or merged, and close to real time. Does not read or write the state; the first one after an idle time
    /// waits for a lease to be replicated.
    ///
    /// Two callers may meet two leaders while leadership moves, and a leader that was deposed and has not heard of it gives
    /// smaller ones than its successor. A caller that has seen a larger one passes it to [`Group::observe`] first.
    ///
    /// # Errors
    /// [`quorate_shard::Error::ClockSkew`], [`quorate_shard::Error::NoCeiling`] and
    /// [`quorate_shard::Error::CeilingExpired`], when the deadline has passed. It never has an effect.
    pub async fn timestamp(&self) -> Result<Timestamp> {
        match self.call(Call::Timestamp).await? {
            Reply::Timestamp(timestamp) => Ok(timestamp),
            _ => Err(unexpected()),
        }
    }

    /// Merges a timestamp of another clock (another group's, a client's): every timestamp that this group's leader and its
    /// successors give from now on is larger than `remote`.
    ///
    /// # Errors
    /// [`quorate_shard::Error::TimestampAhead`] if it is more than half a second ahead of the leader's clock; those of
    /// [`Group::timestamp`].
    pub async fn observe(&self, remote: Timestamp) -> Result<()> {
        match self.call(Call::Observe(remote)).await? {
            Reply::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }

    /// Adds a replica on `node` that follows without a vote; it is seeded by a snapshot. Returns its id when
    /// the group and the catalog know it.
    pub async fn add_learner(&self, node: NodeId) -> Result<ReplicaId> {
        membership::add_learner(&self.core, self.id, node, self.timeout()).await
    }

    /// Gives a learner a vote as soon as it has caught up.
    pub async fn promote(&self, replica: ReplicaId) -> Result<()> {
        membership::promote(&self.core, self.id, replica, self.timeout()).await
    }

    /// Takes a replica out of the group; its node deletes its data. A leader hands over first.
    pub async fn remove(&self, replica: ReplicaId) -> Result<()> {
        membership::remove(&self.core, self.id, replica, self.timeout()).await
    }

    /// Puts a new replica on `node` in the place of `old`. `old` keeps its vote until the new one has caught
    /// up, unless `node` is where it lives: then it goes first, because a node holds one replica of a group at
    /// most. That is how a replica that lost its directory comes back. Returns the new replica's id.
    pub async fn replace_replica(&self, old: ReplicaId, node: NodeId) -> Result<ReplicaId> {
        membership::replace_replica(&self.core, self.id, old, node, self.timeout()).await
    }

    /// Hands leadership to the voter `to`.
    pub async fn transfer_leader(&self, to: ReplicaId) -> Result<()> {
        membership::transfer(&self.core, self.id, to, self.timeout()).await
    }

    /// Compares its replicas' states, at one index: who said what, and what follows. A replica that a majority proves
    /// wrong is quarantined, and has to be replaced ([`crate::Node::repair`]). Replicas that are away are reported, and
    /// fail nothing.
    ///
    /// # Errors
    /// As [`Group::count`].
    pub async fn check_consistency(&self) -> Result<ConsistencyReport> {
        match self.call(Call::CheckConsistency).await? {
            Reply::Consistency(report) => Ok(report),
            _ => Err(unexpected()),
        }
    }

    async fn call(&self, call: Call) -> Result<Reply> {
        self.core.check_running()?;
        let limits = Limits { timeout: self.timeout(), leaderless_max: self.core.config.leader_wait };
        Ok(self.core.router.call_within(Target::Group(self.id), call, limits).await?)
    }

    fn timeout(&self) -> Duration {
        self.core.config.deadline
    }
}

fn unexpected() -> Error {
    Error::Storage(quorate_storage::Error::Malformed { what: "reply: another kind than was asked for" })
}
