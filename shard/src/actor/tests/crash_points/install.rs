//! A snapshot that is received: by a follower that was away past the compacted log, and by a new replica. Writes go on
//! meanwhile.

use std::time::Duration;

use quorate_storage::kv::MemoryLoss;
use quorate_storage::{ConfChange, ConfChangeOp, NodeId, ReplicaDescriptor, ReplicaId};

use super::super::node::{DEADLINE, Pools, TestNode, incarnation};
use super::on_disk::{Crashed, Found};
use super::scenario::{Scenario, enumerate_scenario};
use super::world::{World, small};
use crate::actor::{Birth, StartError};

/// Enough for a snapshot of several pieces.
const WRITES: usize = 24;
/// Writes while a snapshot is on its way, at most.
const MEANWHILE_MAX: usize = 2_000;
/// Attempts of changing the membership, with pauses between them.
const ATTEMPTS_MAX: usize = 2_000;
const PAUSE: Duration = Duration::from_millis(10);
/// Founding members of the group that a new replica joins.
const FOUNDERS: u64 = 2;

/// Writes until the subject has installed a snapshot.
async fn write_until_installed(world: &World) {
    for _ in 0..MEANWHILE_MAX {
        if world.subject().stats.snapshots.installed.get() > 0 {
            return;
        }
        world.write(1).await;
    }
    panic!("no snapshot arrived");
}

async fn catch_up(world: &World) {
    write_until_installed(world).await;
    let last = world.write(2).await;
    world.applies(world.subject, last).await;
    world.settle().await;
    assert_eq!(world.subject().stats.snapshots.installed.get(), 1);
    let received = world.subject().stats.snapshots.received_bytes.get();
    assert!(
        received > 2 * u64::from(small().snapshots.chunk_bytes),
        "one piece is no stream: {received} bytes"
    );
}

struct Away;

impl Scenario for Away {
    fn name(&self) -> &'static str {
        "install on a follower that was away"
    }

    async fn image(&self) -> World {
        let mut world = World::founded(3, 1, MemoryLoss::Tail).await;
        let last = world.write(2).await;
        world.all_apply(last).await;
        world.kill(world.subject).await;
        world.write(WRITES / 2).await;
        world.publish(0).await;
        world.write(WRITES / 2).await;
        // Nobody waits for it any more.
        tokio::time::sleep(2 * small().snapshots.follower_grace).await;
        world.publish(0).await;
        world.publish(2).await;
        let first = world.nodes[0].handle.status().first;
        assert!(first > last.next(), "the log still reaches it: {first}");
        world
    }

    async fn run(&self, world: &mut World) {
        world.start(2).await;
        world.start_leader(0).await;
        world.start(world.subject).await;
        catch_up(world).await;
    }
}

struct Join;

impl Join {
    /// Makes the directory, unless that is known to be done.
    async fn create(&self, world: &mut World) -> Result<(), StartError> {
        if !world.is_announced {
            world.subject_mut().create(FOUNDERS, Birth::Joining).await?;
            world.is_announced = true;
        }
        Ok(())
    }

    /// Adds the replica and lets it vote, as far as that is not done.
    async fn take_in(&self, world: &World) {
        let replica = ReplicaId(world.subject().id);
        let change = |op, expected_epoch| ConfChange { expected_epoch, ops: vec![op] };
        for _ in 0..ATTEMPTS_MAX {
            tokio::time::sleep(PAUSE).await;
            let Some(leader) = world.leader() else { continue };
            let status = world.nodes[leader].handle.status();
            let descriptor = &status.descriptor;
            let op = if descriptor.replica(replica).is_none() {
                let node = NodeId(replica.get());
                let incarnation = incarnation(replica.get());
                ConfChangeOp::AddLearner(ReplicaDescriptor { replica, node, incarnation })
            } else if status.peers.iter().any(|peer| peer.replica == replica && peer.is_voter) {
                return;
            } else {
                let last = world.write(1).await;
                world.applies(world.subject, last).await;
                ConfChangeOp::Promote(replica)
            };
            // One that was refused is looked at again.
            let _ = world.nodes[leader].handle.change_conf(change(op, descriptor.conf_epoch), DEADLINE).await;
        }
        panic!("it is not taken in");
    }
}

impl Scenario for Join {
    fn name(&self) -> &'static str {
        "creation and first snapshot of a new replica"
    }

    async fn image(&self) -> World {
        let mut world = World::founded(FOUNDERS, 2, MemoryLoss::Tail).await;
        for at in [0, 0, 1] {
            world.write(WRITES / 2).await;
            world.publish(at).await;
        }
        let joining = TestNode::unborn(FOUNDERS + 1, &small(), &world.network, Pools::Simulated);
        world.nodes.push(joining);
        world.is_announced = false;
        world
    }

    async fn run(&self, world: &mut World) {
        world.start(1).await;
        world.start_leader(0).await;
        let created = self.create(world).await;
        world.powered(world.subject, created).await;
        world.start(world.subject).await;
        self.take_in(world).await;
        catch_up(world).await;
    }

    /// Until making the directory has returned, anything may be there, and it is made again under the same name. From
    /// then on the group may count on it.
    fn check_crashed(&self, found: Option<&Found>, crashed: &Crashed<'_>) {
        match found {
            Some(found) => found.check(crashed),
            None => assert!(!crashed.is_announced, "the directory was made, and is gone"),
        }
    }

    async fn recover(&self, world: &mut World) {
        self.create(world).await.unwrap();
        world.start(world.subject).await;
        self.take_in(world).await;
    }
}

#[test]
fn a_follower_that_installs_a_snapshot_survives_a_power_cut_in_every_call() {
    enumerate_scenario(&Away);
}

#[test]
fn a_replica_that_joins_survives_a_power_cut_in_every_call() {
    enumerate_scenario(&Join);
}
