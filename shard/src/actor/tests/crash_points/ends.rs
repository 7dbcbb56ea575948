//! The directory of a founding replica is made, and that of a replica whose group is dropped is buried.

use std::path::{Path, PathBuf};

use quorate_storage::identity::{DataDir, ReplicaIdentity};
use quorate_storage::kv::MemoryLoss;
use quorate_storage::state::StateDigest;
use quorate_storage::{ClusterId, ConfState, NodeId, ReplicaId};
use quorate_telemetry::SeededRng;

use super::super::network::Network;
use super::super::node::{DIR, GROUP, Pools, TestNode};
use super::on_disk::{Crashed, Found};
use super::scenario::{Scenario, check_agreement, enumerate_scenario};
use super::world::{World, small};
use crate::actor::{Birth, StartError, StopMode};

/// Members of the new group.
const MEMBERS: u64 = 3;

/// Machines with data directories and no replicas.
fn unborn(subject: usize) -> World {
    let network = Network::default();
    let made = |id| TestNode::unborn(id, &small(), &network, Pools::Simulated);
    let nodes: Vec<TestNode> = (1..=MEMBERS).map(made).collect();
    for node in &nodes {
        drop(data_dir(node).unwrap());
    }
    let mut world = World::of((network, nodes), subject, MemoryLoss::Tail);
    world.is_announced = false;
    world
}

fn data_dir(node: &TestNode) -> quorate_storage::Result<DataDir> {
    let rng = SeededRng::new(node.id);
    DataDir::open_or_create(node.seam(), Path::new("/data"), ClusterId([7; 16]), NodeId(node.id), &rng)
}

async fn create(world: &mut World, at: usize) -> Result<(), StartError> {
    let voters = ConfState::of_voters((1..=MEMBERS).map(ReplicaId).collect());
    world.nodes[at].create(MEMBERS, Birth::Founding(voters)).await
}

struct Birthplace;

impl Scenario for Birthplace {
    fn name(&self) -> &'static str {
        "creation of a founding replica"
    }

    async fn image(&self) -> World {
        let mut world = unborn(1);
        for at in [0, 2] {
            create(&mut world, at).await.unwrap();
        }
        world
    }

    async fn run(&self, world: &mut World) {
        world.start(2).await;
        world.start_leader(0).await;
        let created = create(world, world.subject).await;
        world.powered(world.subject, created).await;
        world.is_announced = true;
        world.start(world.subject).await;
        let last = world.write(3).await;
        world.applies(world.subject, last).await;
        world.settle().await;
    }

    /// Until making the directory has returned, anything may be there, and it is made again under the same name.
    fn check_crashed(&self, found: Option<&Found>, crashed: &Crashed<'_>) {
        match found {
            Some(found) => found.check(crashed),
            None => assert!(!crashed.is_announced, "the directory was made, and is gone"),
        }
    }

    async fn recover(&self, world: &mut World) {
        if !world.is_announced {
            create(world, world.subject).await.unwrap();
        }
        world.start(world.subject).await;
    }
}

struct Burial;

impl Burial {
    fn tombstone(world: &World) -> Option<ReplicaIdentity> {
        let path = Path::new(DIR).join("replica");
        let found = ReplicaIdentity::read(&world.subject().disk.fork(), &path).unwrap();
        found.filter(|found| found.tombstone)
    }
}

impl Scenario for Burial {
    fn name(&self) -> &'static str {
        "burial of a dropped replica"
    }

    async fn image(&self) -> World {
        let mut world = unborn(1);
        for at in 0..3 {
            create(&mut world, at).await.unwrap();
        }
        world.is_announced = true;
        world.start_all(0).await;
        world.write(3).await;
        world.publish(world.subject).await;
        let last = world.write(1).await;
        world.all_apply(last).await;
        world
    }

    async fn run(&self, world: &mut World) {
        let opened = data_dir(world.subject());
        let data = world.powered(world.subject, opened).await;
        world.start_all(0).await;
        let last = world.write(1).await;
        world.applies(world.subject, last).await;
        world.subject().handle.stop(StopMode::Now).await;
        let buried = data.bury(GROUP);
        world.powered(world.subject, buried).await;
    }

    /// The whole replica is there, or its tombstone, which nothing brings back.
    fn check_crashed(&self, found: Option<&Found>, crashed: &Crashed<'_>) {
        if let Some(found) = found {
            found.check(crashed);
        }
    }

    /// The catalog still says that the group is dropped.
    async fn recover(&self, world: &mut World) {
        let was_buried = Self::tombstone(world).is_some();
        let data = data_dir(world.subject()).unwrap();
        if !was_buried {
            world.start(world.subject).await;
            world.kill(world.subject).await;
        }
        data.bury(GROUP).unwrap();
    }

    async fn finish(&self, world: &mut World) -> StateDigest {
        world.kill(world.subject).await;
        world.write(3).await;
        let refused = world.try_start(world.subject).await.unwrap_err();
        assert!(matches!(refused, StartError::Refused { reason: "removed", .. }), "{refused}");
        assert!(Self::tombstone(world).is_some());
        let files = world.subject().disk.files().into_iter().map(|(path, _)| path);
        let files: Vec<PathBuf> = files.filter(|path| path.starts_with(DIR)).collect();
        assert_eq!(files, [Path::new(DIR).join("replica")]);
        check_agreement(world).await
    }
}

#[test]
fn a_founding_replica_survives_a_power_cut_in_every_call_that_makes_it() {
    enumerate_scenario(&Birthplace);
}

#[test]
fn a_dropped_replica_is_gone_for_ever_wherever_the_power_goes() {
    enumerate_scenario(&Burial);
}
