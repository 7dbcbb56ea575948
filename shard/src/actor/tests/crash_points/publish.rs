//! Publishing on a leader and on a follower while writes go on: the log is compacted, rolled over and freed behind the
//! snapshots, of which the oldest go.

use quorate_storage::kv::MemoryLoss;

use super::scenario::{Scenario, enumerate_scenario};
use super::world::World;

/// Snapshots of a run: with the one of its birth more than are kept.
const ROUNDS: usize = 3;

/// The subject leads, or it does not.
struct Publish {
    leads: bool,
}

impl Scenario for Publish {
    fn name(&self) -> &'static str {
        if self.leads { "publish on the leader" } else { "publish on a follower" }
    }

    async fn image(&self) -> World {
        let loss = if self.leads { MemoryLoss::Tail } else { MemoryLoss::All };
        World::founded(3, usize::from(!self.leads), loss).await
    }

    async fn run(&self, world: &mut World) {
        let subject = world.subject;
        world.start_all(0).await;
        for _ in 0..ROUNDS {
            world.write(3).await;
            let world = &*world;
            tokio::join!(world.publish(subject), world.write(4));
        }
        assert_eq!(world.leader() == Some(subject), self.leads);
        assert_eq!(world.subject().stats.snapshots.published.get(), ROUNDS as u64);
        let status = world.subject().handle.status();
        assert!(status.first.get() > 10, "the log was not compacted: {status:?}");
        let files = world.subject().disk.files();
        let is_segment = |path: &std::path::Path| path.extension().is_some_and(|end| end == "wal");
        let segments: Vec<_> = files.iter().filter(|(path, _)| is_segment(path)).collect();
        assert!(!segments[0].0.ends_with("00000000000000000002-0000000001.wal"), "{segments:?}");
    }
}

#[test]
fn a_leader_that_publishes_survives_a_power_cut_in_every_call() {
    enumerate_scenario(&Publish { leads: true });
}

#[test]
fn a_follower_that_publishes_survives_a_power_cut_in_every_call() {
    enumerate_scenario(&Publish { leads: false });
}
