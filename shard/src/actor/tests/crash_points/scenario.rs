//! What is common to everything that is enumerated with three replicas: a recorded run that nothing disturbs, the same
//! run with a crash in one call, and what must hold on the disk then, and in the group once the power is back.

use std::time::Duration;

use quorate_storage::disk::CrashMode;
use quorate_storage::state::StateDigest;

use super::super::node::TestNode;
use super::super::store::{digest_of, found_in_store};
use super::super::trace::Trace;
use super::on_disk::{Crashed, Found, check_files};
use super::points::{Point, enumerate, simulate};
use super::world::{History, World};
use crate::actor::Lifecycle;

/// Writes after the power is back, so that a log that was cut short would show.
const AFTERWARDS: usize = 3;
/// How often it is looked whether the power is there. Simulated.
const LOOKS: Duration = Duration::from_millis(1);

/// What is done while every call of the subject's disk is counted.
pub(super) trait Scenario {
    fn name(&self) -> &'static str;

    /// Replicas as they are before. Every run begins with a copy.
    async fn image(&self) -> World;

    /// All that is enumerated. Nothing of it goes on when the subject's power goes.
    async fn run(&self, world: &mut World);

    /// What must hold on the disk after a crash. `found` is `None` if nobody has completed the replica's directory.
    fn check_crashed(&self, found: Option<&Found>, crashed: &Crashed<'_>) {
        found.expect("the directory was there before").check(crashed);
    }

    /// The power is back: brings the subject into the group again. A start must end.
    async fn recover(&self, world: &mut World) {
        world.start(world.subject).await;
    }

    /// How every run ends; gives the digest of the state.
    async fn finish(&self, world: &mut World) -> StateDigest {
        let subject = world.subject;
        let last = world.write(AFTERWARDS).await;
        world.applies(subject, last).await;
        world.publish(subject).await;
        let last = world.write(1).await;
        world.all_apply(last).await;
        let digest = check_agreement(world).await;
        check_files(world.subject(), &world.rotten);
        digest
    }
}

/// A run that nothing disturbed.
struct Reference {
    calls: u64,
    trace: Trace,
    /// With what was written to see how it ended.
    history: History,
    digest: StateDigest,
}

/// Tries the points of `scenario`.
pub(super) fn enumerate_scenario(scenario: &impl Scenario) {
    let image = simulate(async {
        let mut image = scenario.image().await;
        image.kill_all().await;
        image
    });
    // What was not synced before the run is not there after every crash.
    let mut durable = image.subject().clone();
    durable.disk = durable.disk.fork().crash(CrashMode::LoseUnsynced);
    let before = Found::look(&durable, image.loss);
    let (reference, again) = (simulate(record(scenario, &image)), simulate(record(scenario, &image)));
    assert_eq!(reference.calls, again.calls, "one run, two numbers of calls");
    assert_eq!(reference.history.acknowledged(), again.history.acknowledged());
    assert_eq!(reference.digest, again.digest);
    enumerate(scenario.name(), (reference.calls, &reference.trace), |point| {
        simulate(crash(scenario, (&image, before.as_ref()), &reference, point));
    });
}

async fn record(scenario: &impl Scenario, image: &World) -> Reference {
    let mut world = image.copied();
    let trace = Trace::default();
    world.subject_mut().trace = Some(trace.clone());
    play(scenario, &mut world).await;
    let calls = world.subject().disk.calls();
    assert!(world.history.has_all(), "a write failed although nothing disturbed it");
    let digest = scenario.finish(&mut world).await;
    Reference { calls, trace, history: world.history, digest }
}

/// Runs until the end, or until the subject's power is gone.
async fn play(scenario: &impl Scenario, world: &mut World) {
    let disk = world.subject().disk.clone();
    let gone = async move {
        while disk.is_powered() {
            tokio::time::sleep(LOOKS).await;
        }
    };
    tokio::select! {
        biased;
        () = gone => {}
        () = scenario.run(world) => {}
    }
}

async fn crash(
    scenario: &impl Scenario,
    (image, before): (&World, Option<&Found>),
    reference: &Reference,
    point: Point,
) {
    let mut world = image.copied();
    world.subject().disk.cut_power_at_call(point.call);
    play(scenario, &mut world).await;
    assert!(!world.subject().disk.is_powered(), "a run has its calls in another order");
    let acknowledged = world.history.acknowledged();
    let expected = reference.history.acknowledged();
    assert_eq!(acknowledged, expected[..acknowledged.len()], "a run has its entries elsewhere");

    // What is left of the old process ends without power: nothing it does reaches anybody.
    world.kill(world.subject).await;
    let subject = world.subject_mut();
    subject.disk = subject.disk.crash(point.mode);
    let found = Found::look(world.subject(), world.loss);
    let crashed = Crashed {
        before,
        history: &reference.history,
        trace: &reference.trace,
        call: point.call,
        promises: world.network.promises(world.subject().id),
        rotten: &world.rotten,
        is_announced: world.is_announced,
    };
    scenario.check_crashed(found.as_ref(), &crashed);

    world.start_others().await;
    scenario.recover(&mut world).await;
    scenario.finish(&mut world).await;
}

/// Stops all replicas that run. Each is well, and holds everything that was acknowledged, and all hold the same: its
/// digest.
pub(super) async fn check_agreement(world: &mut World) -> StateDigest {
    let nodes: Vec<TestNode> = world.running().map(|at| world.nodes[at].clone()).collect();
    for node in &nodes {
        assert_eq!(node.handle.status().lifecycle, Lifecycle::Running, "{}", node.id);
        assert_eq!(node.stats.quarantine_reason(), None, "{}", node.id);
    }
    world.stop_all().await;
    let states = nodes.iter().map(|node| found_in_store(&node.disk, world.loss));
    let mut states: Vec<_> = states.map(|state| (state.records, state.digest)).collect();
    let (records, digest) = states.pop().unwrap();
    world.history.check(&records);
    assert_eq!(digest, digest_of(&records));
    for (other, digest_there) in states {
        assert!(other == records, "replicas differ");
        assert_eq!(digest_there, digest);
    }
    digest
}
