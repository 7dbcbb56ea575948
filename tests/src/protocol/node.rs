//! A node: a machine with a disk and a clock, and the replicas on it while its process runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_shard::actor::{Birth, CreateSpec, GroupConfig, GroupDeps, StartError, StartSpec};
use quorate_shard::shell::{RepairSteps, create_replica, open_replica};
use quorate_storage::disk::{CrashMode, Disk, SimDisk};
use quorate_storage::{GroupDescriptor, GroupId, Incarnation, NodeId, ReplicaId};
use quorate_telemetry::{Rng, SeededRng};

use super::clock::NodeClock;
use super::ctx::Ctx;
use super::deps::{Machine, deps};
use super::dice::Dice;
use super::event::{NodeAt, Place};
use super::gate_rows::{row_of, row_of_error};
use super::invariants::{Law, broken};
use super::machines::Ability;
use super::repairing::Repairing;
use super::replica::{Failure, Replica};
use super::schedule::Keeps;
use super::settings::{TICK, dir, groups};

/// What a node has of a group.
#[derive(Debug)]
pub(crate) enum Slot {
    Running(Box<Replica>),
    /// Its log lacks entries, which it asks others for.
    Repairing(Box<Repairing>),
    /// Out of service.
    Quarantined(Trouble),
}

/// What may bring a replica back that is out of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Room on the disk.
    Room,
    /// Another start.
    Start,
    /// Nothing: it has lost what it promised, and has to be replaced.
    Lost,
}

/// Whose a directory on a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) replica: ReplicaId,
    pub(crate) incarnation: Incarnation,
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: NodeAt,
    pub(crate) disk: SimDisk,
    pub(crate) machine: Machine,
    pub(crate) is_up: bool,
    /// Of its process.
    pub(crate) life: u64,
    /// Until then nothing runs on it, though time goes on.
    pub(crate) frozen_until: Duration,
    pub(crate) slots: BTreeMap<GroupId, Slot>,
    /// The replicas that have a directory here.
    pub(crate) owners: BTreeMap<GroupId, Owner>,
    /// Replicas that were damaged so that they may be lost.
    pub(crate) excused: BTreeSet<(GroupId, ReplicaId)>,
    /// The next start of this group's replica is told that its store is rotten.
    pub(crate) rotten_store: Option<GroupId>,
    /// Kinds of single failures that its disk was told of, and that have not struck yet.
    pub(crate) armed: Vec<&'static str>,
    /// Its disk lies.
    pub(crate) is_doubtful: bool,
    /// Of its process.
    pub(crate) ticks: u64,
    /// How much faster its clock ticks than it should, in millionths.
    pub(crate) skew_ppm: i64,
    rng: SeededRng,
    deps: Option<Arc<GroupDeps>>,
}

impl Node {
    /// A machine with an empty disk.
    pub(crate) fn new(at: NodeAt, seed: u64) -> Self {
        Self {
            at,
            disk: empty_disk(),
            machine: Machine {
                node: NodeId(at as u64 + 1),
                clock: NodeClock::new(),
                abilities: abilities(at, seed),
                boots: Arc::default(),
            },
            is_up: false,
            life: 0,
            frozen_until: Duration::ZERO,
            slots: BTreeMap::new(),
            owners: BTreeMap::new(),
            excused: BTreeSet::new(),
            rotten_store: None,
            armed: Vec::new(),
            is_doubtful: false,
            ticks: 0,
            skew_ppm: 0,
            rng: SeededRng::new(seed.wrapping_mul(31).wrapping_add(at as u64 + 1)),
            deps: None,
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.machine.node
    }

    /// What one tick of its clock takes.
    pub(crate) fn tick(&self) -> Duration {
        let tick_us = i64::try_from(TICK.as_micros()).unwrap_or(i64::MAX);
        let us = tick_us - tick_us * self.skew_ppm / 1_000_000;
        Duration::from_micros(u64::try_from(us).unwrap_or(1).max(1))
    }

    /// What its process was started with, while it is up.
    pub(crate) fn deps(&self) -> Option<&Arc<GroupDeps>> {
        self.deps.as_ref()
    }

    /// Its process dies: what was not synced survives as `keeps` says.
    pub(crate) fn crash(&mut self, keeps: Keeps) {
        // A disk that lies loses more than a group may lose: see the fault.
        let keeps = if self.is_doubtful { Keeps::All } else { keeps };
        let mode = match keeps {
            Keeps::All => CrashMode::KeepAll,
            Keeps::Synced => CrashMode::LoseUnsynced,
            Keeps::Sectors => CrashMode::KeepPieces { seed: self.rng.next_u64(), piece_bytes: 512 },
            Keeps::Pages => CrashMode::KeepPieces { seed: self.rng.next_u64(), piece_bytes: 4_096 },
        };
        // First the disk: a process that dies tidies nothing up.
        self.disk = self.disk.crash(mode);
        self.armed.clear();
        self.slots.clear();
        self.deps = None;
        self.is_up = false;
        self.life += 1;
        self.frozen_until = Duration::ZERO;
        if keeps != Keeps::All {
            self.machine.clock.boots();
        }
    }

    /// It gets a new disk.
    pub(crate) fn wipe(&mut self) {
        self.disk = empty_disk();
        self.owners.clear();
        self.machine.boots.lock().clear();
    }

    /// Its process starts.
    pub(crate) fn boot(&mut self) {
        self.is_up = true;
        let rng = self.rng.stream(self.rng.next_u64());
        self.deps = Some(deps(&self.machine, &self.disk, &rng));
    }

    /// Makes a replica's directory.
    pub(crate) fn create(
        &mut self,
        descriptor: GroupDescriptor,
        owner: Owner,
        birth: Birth,
        config: &GroupConfig,
    ) -> quorate_storage::Result<()> {
        let Some(deps) = &self.deps else { return Ok(()) };
        let group = descriptor.group;
        let Owner { replica, incarnation } = owner;
        let spec = CreateSpec { descriptor, replica, incarnation, dir: dir(group), birth, log: config.log };
        create_replica(deps, spec)?;
        self.owners.insert(group, owner);
        Ok(())
    }

    /// Removes a replica's directory, and the replica.
    pub(crate) fn remove(&mut self, group: GroupId) {
        self.slots.remove(&group);
        self.owners.remove(&group);
        let dir = dir(group);
        // What is left of it is in the way of nobody: a new replica's directory is made from nothing.
        let _ = self.disk.remove_dir_all(&dir);
        let _ = dir.parent().map(|parent| self.disk.sync_dir(parent));
    }

    /// Starts the replica of `group`, if there is a directory for it.
    pub(crate) fn start(&mut self, ctx: &mut Ctx, group: GroupId, config: &Arc<GroupConfig>, life: u64) {
        let Some(deps) = &self.deps else { return };
        let Some(owner) = self.owners.get(&group).copied() else { return };
        let rotten = std::mem::take(&mut self.rotten_store) == Some(group);
        // The replica of before must be gone: two of one directory would write one log.
        self.slots.remove(&group);
        let spec = StartSpec {
            group,
            dir: dir(group),
            config: GroupConfig::clone(config),
            campaigns_at_once: false,
            stats: Arc::default(),
            listener: None,
            is_alone: false,
            store_is_rotten: rotten,
        };
        let place = Place { node: self.at, group, life };
        let slot = match open_replica(deps, &spec) {
            Ok(opened) => {
                let floor = opened.record.applied;
                let row = row_of(&opened);
                *ctx.counts.gate.entry(row.unwrap_or("other")).or_default() += 1;
                ctx.counts.torn_batches += opened.log.recovered().torn_batches;
                let is_waiting = opened.waits.is_some();
                ctx.counts.waits += u64::from(is_waiting);
                let who = (group, owner.replica);
                if is_waiting {
                    ctx.laws.applied.waits(who);
                } else {
                    let checked = ctx.laws.floor(who, floor);
                    ctx.uphold(checked);
                    let checked = ctx.laws.applied.started(who, floor.index, row == Some("11 skipped"));
                    ctx.uphold(checked);
                }
                let rng = self.rng.stream(life);
                match Replica::launch(ctx, (place, Arc::clone(config), rng), opened) {
                    Ok(replica) => Slot::Running(Box::new(replica)),
                    Err(failure) => Slot::Quarantined(trouble_of(&failure)),
                }
            }
            Err(StartError::Unreadable { damage, .. }) => {
                ctx.laws.applied.left_at((group, owner.replica), damage.floor());
                match RepairSteps::open(deps, &spec, *damage) {
                    Ok(steps) => Slot::Repairing(Box::new(Repairing::new(steps))),
                    Err(cause) if cause.is_disk_full() => Slot::Quarantined(Trouble::Room),
                    Err(_) => Slot::Quarantined(Trouble::Start),
                }
            }
            Err(error) => {
                if let Some(row) = row_of_error(&error) {
                    *ctx.counts.gate.entry(row).or_default() += 1;
                }
                ctx.counts.refused_starts += 1;
                let trouble = trouble_of_start(&error);
                if trouble == Trouble::Lost {
                    self.excuse(ctx, group, &error);
                }
                Slot::Quarantined(trouble)
            }
        };
        self.slots.insert(group, slot);
    }

    /// A replica that was not damaged on purpose must not be lost.
    pub(crate) fn excuse(&self, ctx: &mut Ctx, group: GroupId, error: &dyn std::fmt::Display) {
        let Some(owner) = self.owners.get(&group) else { return };
        if self.excused.contains(&(group, owner.replica)) {
            return;
        }
        let told =
            format!("node {} cannot go on with group {group}, and nothing was damaged: {error}", self.id());
        ctx.uphold(broken(Law::NoAcknowledgedWriteLost, told));
    }

    /// The replica of `group`, if it runs.
    pub(crate) fn replica(&self, group: GroupId) -> Option<&Replica> {
        match self.slots.get(&group) {
            Some(Slot::Running(replica)) => Some(replica),
            _ => None,
        }
    }

    pub(crate) fn replica_mut(&mut self, group: GroupId) -> Option<&mut Replica> {
        match self.slots.get_mut(&group) {
            Some(Slot::Running(replica)) => Some(replica),
            _ => None,
        }
    }
}

/// What a failure of a running replica leaves.
pub(crate) fn trouble_of(failure: &Failure) -> Trouble {
    match failure {
        Failure::Start(_) | Failure::Evidence(_) => Trouble::Lost,
        failure if failure.is_disk_full() => Trouble::Room,
        _ => Trouble::Start,
    }
}

fn trouble_of_start(error: &StartError) -> Trouble {
    match error {
        StartError::Open { cause, .. } if cause.is_disk_full() => Trouble::Room,
        StartError::Open { cause, .. } if !cause.is_corruption() => Trouble::Start,
        _ => Trouble::Lost,
    }
}

/// Most state machines can do everything; one replica in a few cannot.
fn abilities(at: NodeAt, seed: u64) -> BTreeMap<GroupId, Ability> {
    let mut dice = Dice::new(seed, 0xab + at as u64);
    let draw = |group| match dice.below(20) {
        0 => (group, Ability::Silent),
        1 | 2 => (group, Ability::Distrusted),
        _ => (group, Ability::Full),
    };
    groups().map(draw).collect()
}

fn empty_disk() -> SimDisk {
    let disk = SimDisk::new();
    let made = disk.create_dir_all(Path::new("/data/groups"));
    let synced = ["/", "/data"].iter().try_for_each(|dir| disk.sync_dir(Path::new(dir)));
    assert!(made.is_ok() && synced.is_ok(), "a new disk works");
    disk
}
