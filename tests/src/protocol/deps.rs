//! What the real start of a replica takes of its node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_shard::actor::{
    GroupDeps, GroupWorkers, Outbound, ScrubBudget, SnapshotBudget, SnapshotBudgetConfig,
};
use quorate_shard::disk_space::DiskSpace;
use quorate_shard::hlc::ClockWatch;
use quorate_storage::disk::{Disk, SimDisk};
use quorate_storage::payload::InClear;
use quorate_storage::{GroupId, NodeId};
use quorate_telemetry::{Clock, Job, Rng, Stopped, Workers};
use quorate_transport::net::BoxFuture;
use quorate_transport::{RaftMessage, RequestError, RequestKind};

use super::clock::NodeClock;
use super::machines::{Ability, Boots, Machines};

/// Runs everything at once: the simulation decides when a job's turn has come.
#[derive(Debug)]
struct AtOnce;

impl Workers for AtOnce {
    fn submit(&self, _key: u64, job: Job) -> Result<(), Stopped> {
        job();
        Ok(())
    }
}

/// Leads nowhere: what a replica sends passes the simulation's network.
#[derive(Debug)]
struct Nowhere;

impl Outbound for Nowhere {
    fn send(&self, _node: NodeId, _message: RaftMessage) {}

    fn request(
        &self,
        _node: NodeId,
        _kind: RequestKind,
        _body: Bytes,
        _deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, RequestError>> {
        Box::pin(std::future::pending())
    }
}

/// What differs from node to node, and outlives its process.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) node: NodeId,
    pub(crate) clock: NodeClock,
    pub(crate) abilities: BTreeMap<GroupId, Ability>,
    pub(crate) boots: Boots,
}

/// For one start of a node's process, on a live handle of its disk.
pub(crate) fn deps(machine: &Machine, disk: &SimDisk, rng: &Arc<dyn Rng>) -> Arc<GroupDeps> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let clock: Arc<dyn Clock> = Arc::new(machine.clock.clone());
    let machines = Machines {
        disk: Arc::clone(&disk),
        rng: rng.stream(0x0f),
        clock: machine.clock.clone(),
        abilities: machine.abilities.clone(),
        boots: Arc::clone(&machine.boots),
    };
    let pool = || -> Arc<dyn Workers> { Arc::new(AtOnce) };
    let workers = GroupWorkers {
        log: pool(),
        apply: pool(),
        read: pool(),
        background: pool(),
        open: pool(),
        restore: pool(),
    };
    Arc::new(GroupDeps {
        node: machine.node,
        clock: Arc::clone(&clock),
        rng: Arc::clone(rng),
        disk,
        workers,
        outbound: Arc::new(Nowhere),
        machines: Arc::new(machines),
        space: Arc::new(DiskSpace::new()),
        snapshots: SnapshotBudget::new(SnapshotBudgetConfig::default(), Arc::clone(&clock)),
        clock_watch: Arc::new(ClockWatch::new(Arc::clone(&clock))),
        unsealer: Arc::new(InClear),
        scrub: ScrubBudget::new(1 << 30, clock),
        stats: Arc::default(),
    })
}
