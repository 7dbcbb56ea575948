//! A start that finds no state, or one that is behind the newest snapshot: the next generation is built of it, switched
//! to, and the older one removed.

use std::path::Path;

use quorate_storage::disk::{Disk, OpenMode, SimDisk};
use quorate_storage::kv::MemoryLoss;

use super::super::node::DIR;
use super::scenario::{Scenario, enumerate_scenario};
use super::world::World;

/// What a start finds of the state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    All,
    /// What came after an earlier time.
    Recent,
}

struct Restore {
    lost: Lost,
}

/// Removes the state on `disk`, and puts that of `older` there.
fn set_back(disk: &SimDisk, older: Option<&SimDisk>) {
    let state = Path::new(DIR).join("state");
    disk.remove_dir_all(&state).unwrap();
    if let Some(older) = older {
        let dir = state.join("1");
        disk.create_dir_all(&dir).unwrap();
        let path = dir.join("batches");
        let bytes = older.size(&path).unwrap().unwrap();
        let mut content = vec![0; usize::try_from(bytes).unwrap()];
        older.open(&path, OpenMode::Read).unwrap().read_exact_at(&mut content, 0).unwrap();
        let file = disk.open(&path, OpenMode::Create).unwrap();
        file.write_all_at(&content, 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(&dir).unwrap();
        disk.sync_dir(&state).unwrap();
    }
    disk.sync_dir(Path::new(DIR)).unwrap();
}

/// Of a replica that was stopped, without its state.
pub(super) fn lose_state(disk: &SimDisk) {
    set_back(disk, None);
}

impl Scenario for Restore {
    fn name(&self) -> &'static str {
        match self.lost {
            Lost::All => "restore of a missing state",
            Lost::Recent => "restore of a state that is behind",
        }
    }

    async fn image(&self) -> World {
        let mut world = World::founded(3, 1, MemoryLoss::Tail).await;
        let last = world.write(3).await;
        world.all_apply(last).await;
        let older = world.subject().disk.fork();
        world.write(3).await;
        world.publish(world.subject).await;
        let last = world.write(2).await;
        world.all_apply(last).await;
        world.kill_all().await;
        set_back(&world.subject().disk, (self.lost == Lost::Recent).then_some(&older));
        world
    }

    async fn run(&self, world: &mut World) {
        world.start_all(0).await;
        let last = world.write(2).await;
        world.applies(world.subject, last).await;
        world.settle().await;
        let generations = world.subject().disk.fork().list(&Path::new(DIR).join("state")).unwrap();
        let names: Vec<_> = generations.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, [if self.lost == Lost::All { "1" } else { "2" }], "it was not restored");
    }
}

#[test]
fn a_replica_without_its_state_survives_a_power_cut_in_every_call() {
    enumerate_scenario(&Restore { lost: Lost::All });
}

#[test]
fn a_replica_with_an_old_state_survives_a_power_cut_in_every_call() {
    enumerate_scenario(&Restore { lost: Lost::Recent });
}
