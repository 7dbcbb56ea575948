//! A log with unreadable entries above the state, proven ones: they are fetched from the other replicas and written as
//! copies before the replica takes part.

use quorate_storage::kv::MemoryLoss;

use super::super::repair::rot;
use super::scenario::{Scenario, enumerate_scenario};
use super::world::{World, text_of};

struct Repair;

impl Scenario for Repair {
    fn name(&self) -> &'static str {
        "repair of log entries"
    }

    async fn image(&self) -> World {
        // In memory: what is above the last snapshot has to come from the log.
        let mut world = World::founded(3, 1, MemoryLoss::All).await;
        world.write(2).await;
        for at in 0..3 {
            world.publish(at).await;
        }
        let last = world.write(8).await;
        world.all_apply(last).await;
        // Every batch is proven.
        world.settle().await;
        world.kill_all().await;
        for number in [5, 6, 9] {
            rot(world.subject(), &text_of(number));
        }
        world
    }

    async fn run(&self, world: &mut World) {
        world.start(2).await;
        world.start_leader(0).await;
        world.write(1).await;
        world.start(world.subject).await;
        let last = world.write(2).await;
        world.applies(world.subject, last).await;
        world.settle().await;
        assert_eq!(world.subject().stats.log.repaired_entries.get(), 3);
        assert_eq!(world.subject().stats.log.dropped_entries.get(), 0);
    }
}

#[test]
fn a_replica_that_repairs_its_log_survives_a_power_cut_in_every_call() {
    enumerate_scenario(&Repair);
}
