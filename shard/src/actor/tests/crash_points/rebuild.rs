//! A bloated store that is built anew while writes go on: the next generation is made beside the one in use, what was
//! applied meanwhile is written behind it, it is switched to, and the older one removed.

use std::path::Path;
use std::time::Duration;

use quorate_storage::disk::Disk;
use quorate_storage::kv::MemoryLoss;

use super::super::node::DIR;
use super::scenario::{Scenario, enumerate_scenario};
use super::world::World;
use crate::actor::BloatConfig;

/// Most writes until the rebuild is done.
const WRITES_MAX: usize = 400;

struct Rebuild;

impl Scenario for Rebuild {
    fn name(&self) -> &'static str {
        "rebuild of a bloated store"
    }

    async fn image(&self) -> World {
        let mut world = World::founded(3, 1, MemoryLoss::Tail).await;
        let last = world.write(8).await;
        world.all_apply(last).await;
        // The markers alone make it so.
        let bloat = BloatConfig { interval: Duration::from_millis(100), factor: 1, slack_bytes: 0 };
        world.subject_mut().config.background.bloat = bloat;
        world
    }

    async fn run(&self, world: &mut World) {
        world.start_all(0).await;
        for _ in 0..WRITES_MAX {
            world.write(1).await;
            if world.subject().stats.store.rebuilt.get() > 0 {
                break;
            }
        }
        let last = world.write(3).await;
        world.applies(world.subject, last).await;
        world.settle().await;
        let stats = &world.subject().stats.store;
        assert_eq!((stats.rebuilt.get(), stats.rebuilds_failed.get()), (1, 0));
        let generations = world.subject().disk.fork().list(&Path::new(DIR).join("state")).unwrap();
        let names: Vec<_> = generations.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["2"]);
    }
}

#[test]
fn a_replica_whose_store_is_built_anew_survives_a_power_cut_in_every_call() {
    enumerate_scenario(&Rebuild);
}
