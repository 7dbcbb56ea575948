//! Snapshots that are found corrupt, when one is needed and when a new one is read back: put aside, and another one is
//! published.

use quorate_storage::kv::MemoryLoss;
use quorate_storage::snapshot::SnapshotToken;

use super::super::node::{DEADLINE, snapshot_path};
use super::restore::lose_state;
use super::scenario::{Scenario, enumerate_scenario};
use super::world::World;

struct Rot;

/// Changes a byte of it on the subject's disk.
fn rot(world: &mut World, token: SnapshotToken) {
    world.subject().disk.flip(&snapshot_path(token.id), token.bytes / 2, 0xff).unwrap();
    world.rotten.insert(token.id);
}

impl Scenario for Rot {
    fn name(&self) -> &'static str {
        "corrupt snapshots put aside"
    }

    async fn image(&self) -> World {
        let mut world = World::founded(3, 1, MemoryLoss::Tail).await;
        let mut newest = SnapshotToken::default();
        for _ in 0..2 {
            world.write(3).await;
            newest = world.publish(world.subject).await;
        }
        let last = world.write(2).await;
        world.all_apply(last).await;
        world.kill_all().await;
        lose_state(&world.subject().disk);
        rot(&mut world, newest);
        world
    }

    async fn run(&self, world: &mut World) {
        world.start_all(0).await;
        world.write(2).await;
        world.publish(world.subject).await;
        world.write(2).await;
        // It stands, and is not read back yet.
        let published = world.subject().handle.publish_snapshot(DEADLINE).await;
        let token = world.powered(world.subject, published).await;
        rot(world, token);
        world.write(1).await;
        let stats = &world.subject().stats.snapshots;
        tokio::time::timeout(DEADLINE, async {
            while stats.published.get() < 3 {
                world.settle().await;
            }
        })
        .await
        .unwrap();
        world.settle().await;
        assert_eq!(stats.corrupt.get(), 2, "one that was needed, one that was read back");
        assert_eq!(stats.published.get(), 3, "and once more");
        let files = world.subject().disk.files();
        let aside = files.iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "bad"));
        assert_eq!(aside.count(), 2, "{files:?}");
    }
}

#[test]
fn a_replica_that_puts_corrupt_snapshots_aside_survives_a_power_cut_in_every_call() {
    enumerate_scenario(&Rot);
}
