//! Entries of 64 operations, and the power that goes in every call of the disk while they are written, published
//! and rolled over.
//!
//! The log, the snapshots and the in-memory store are all on the simulated disk, so every one of their calls is a
//! point. The files of lsm-tree and sled do not pass the `Disk` seam and cannot be cut so: what a power cut does to
//! them is shown on a real kernel by `tests/power_cut.sh`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quorate_storage::disk::SimDisk;
use quorate_storage::kv::{MemoryLoss, ScanRange};
use quorate_storage::log::LogConfig;
use quorate_storage::state::StateDigest;
use quorate_storage::{Index, RangeEpoch};
use tokio::task::JoinSet;

use super::super::network::Network;
use super::super::node::{DEADLINE, DIR, TestNode, cluster, config};
use super::super::store::{Machines, Records, found_in_store};
use super::super::trace::Trace;
use super::model::Model;
use super::points::{Point, enumerate, simulate};
use crate::actor::{GroupConfig, ReadLevel, StopMode};

/// Entries of a run.
const ENTRIES: usize = 24;
/// Entries that are proposed together: an apply call has several.
const WAVE: usize = 3;
/// A snapshot is published while the wave that begins with such an entry is written.
const PUBLISHES_AT: [usize; 3] = [6, 12, 18];
/// Time for what goes on behind the last answer: read-back, compaction, the proof of the tail. Simulated.
const SETTLES: Duration = Duration::from_secs(3);

/// What a run that nothing disturbs does.
struct Reference {
    model: Model,
    /// Of each entry.
    indexes: Vec<Index>,
    calls: u64,
    trace: Trace,
    digest: StateDigest,
}

/// How far a run came.
#[derive(Debug, Default)]
struct Progress {
    /// Of the entries that were acknowledged, in order.
    indexes: Vec<Index>,
    proposed: usize,
    published: usize,
    /// Files that the log was ever seen to have.
    segments: BTreeSet<PathBuf>,
}

impl Progress {
    fn acknowledged(&self) -> usize {
        self.indexes.len()
    }
}

/// Small files: a run goes through several.
fn small_logs() -> GroupConfig {
    let mut config = config();
    config.log = LogConfig { segment_bytes: 32 << 10, first_segment_bytes: 16 << 10, zero_ahead_bytes: 0 };
    config.snapshots.trailing_entries = 2;
    config.snapshots.trailing_bytes = 16 << 10;
    config.snapshots.kept = 2;
    config
}

/// A group of one voter, stopped, whose state is empty. Every run begins with a copy.
async fn newborn(loss: MemoryLoss) -> TestNode {
    let (_network, mut nodes) = cluster(1, &small_logs()).await;
    let mut node = nodes.remove(0);
    node.serves().await;
    node.kill().await;
    let disk = node.disk.reopen();
    assert!(start(&mut node, disk, loss).await);
    node.kill().await;
    node
}

/// A copy of `newborn` on a disk of its own, and what it wrote. With a `point` the power goes in that call.
async fn run(
    newborn: &TestNode,
    model: &Model,
    loss: MemoryLoss,
    point: Option<u64>,
) -> (TestNode, Progress) {
    let mut node = newborn.copied(&Network::default());
    let disk = node.disk.clone();
    if let Some(point) = point {
        disk.cut_power_at_call(point);
    }
    let serves = start(&mut node, disk, loss).await;
    assert!(serves || !node.disk.is_powered(), "it does not start");
    let progress = if serves { write(&node, model, 0).await } else { Progress::default() };
    (node, progress)
}

/// Starts `node` on `disk`; whether it came to serve.
async fn start(node: &mut TestNode, disk: SimDisk, loss: MemoryLoss) -> bool {
    node.disk = disk;
    node.machines = Arc::new(Machines { disk: node.seam(), loss });
    let Ok(handle) = node.try_restart().await else { return false };
    node.handle = handle;
    tokio::time::timeout(DEADLINE, node.serves()).await.is_ok()
}

/// Writes the entries from `from` on until one fails.
async fn write(node: &TestNode, model: &Model, from: usize) -> Progress {
    let mut progress = Progress { proposed: from, ..Progress::default() };
    while progress.proposed < ENTRIES {
        let first = progress.proposed;
        let wave = first..(first / WAVE * WAVE + WAVE).min(ENTRIES);
        progress.proposed = wave.end;
        let publish = PUBLISHES_AT.contains(&first).then(|| {
            let handle = node.handle.clone();
            tokio::spawn(async move { handle.publish_snapshot(DEADLINE).await })
        });
        let mut proposals = JoinSet::new();
        for entry in wave.clone() {
            let (handle, command) = (node.handle.clone(), model.commands[entry].clone());
            proposals
                .spawn(async move { (entry, handle.propose(command, RangeEpoch(1), DEADLINE).await.ok()) });
        }
        let mut answers = proposals.join_all().await;
        answers.sort_by_key(|(entry, _)| *entry);
        if let Some(publish) = publish {
            progress.published += usize::from(publish.await.unwrap().is_ok());
        }
        let taken = answers.iter().take_while(|(_, applied)| applied.is_some()).count();
        let answered = answers.iter().filter_map(|(_, applied)| applied.as_ref());
        progress.indexes.extend(answered.map(|applied| applied.id.index));
        assert_eq!(
            progress.acknowledged() + from,
            first + taken,
            "an entry was acknowledged before its elders"
        );
        let files = node.disk.files().into_iter().map(|(path, _)| path);
        progress.segments.extend(files.filter(|path| path.starts_with(Path::new(DIR).join("wal"))));
        if taken < wave.len() {
            break;
        }
    }
    tokio::time::sleep(SETTLES).await;
    progress
}

/// What the group answers with.
async fn read_all(node: &TestNode) -> Records {
    let all = ScanRange { start: b"", end: None, reverse: false };
    let read = node.handle.read_with(ReadLevel::Linearizable, DEADLINE, move |state| {
        state.as_kv().unwrap().scan(all, usize::MAX, usize::MAX).unwrap()
    });
    read.await.unwrap().into_iter().collect()
}

/// Stops `node` cleanly; the digest that it leaves, which is that of every entry.
async fn finish(node: &TestNode, model: &Model, loss: MemoryLoss) -> StateDigest {
    node.handle.stop(StopMode::Graceful { deadline: DEADLINE }).await;
    let found = found_in_store(&node.disk, loss);
    assert!((&found.records, found.digest) == (&model.after(ENTRIES).0, model.after(ENTRIES).1), "the end");
    found.digest
}

async fn record(newborn: &TestNode, loss: MemoryLoss) -> Reference {
    let (model, trace) = (Model::new(ENTRIES), Trace::default());
    let mut traced = newborn.clone();
    traced.trace = Some(trace.clone());
    let (node, progress) = run(&traced, &model, loss, None).await;
    let calls = node.disk.calls();
    assert_eq!(progress.acknowledged(), ENTRIES);
    assert!(progress.indexes.is_sorted(), "{:?}", progress.indexes);
    assert_eq!(progress.published, PUBLISHES_AT.len());
    assert!(progress.segments.len() >= 3, "the log was rolled over: {:?}", progress.segments);
    assert!(node.handle.status().first > progress.indexes[0], "the log was compacted");
    assert!(node.handle.stats().apply.batches.get() < ENTRIES as u64, "no apply call had several entries");
    let digest = finish(&node, &model, loss).await;
    Reference { model, indexes: progress.indexes, calls, trace, digest }
}

/// Cuts the power in call `point` of a run, its start included, starts again and writes the rest.
async fn crash(newborn: &TestNode, reference: &Reference, loss: MemoryLoss, point: Point) {
    let (mut node, progress) = run(newborn, &reference.model, loss, Some(point.call)).await;
    assert!(!node.disk.is_powered(), "a run has its calls in another order");
    assert_eq!(
        progress.indexes,
        reference.indexes[..progress.acknowledged()],
        "a run has its entries elsewhere"
    );
    let disk = node.disk.crash(point.mode);
    node.kill().await;

    let found = found_in_store(&disk, loss);
    let entries = reference.indexes.iter().filter(|entry| **entry <= found.marker).count();
    let wanted = reference.model.after(entries);
    assert!(found.records == wanted.0, "the first {entries} entries, as the marker {} says", found.marker);
    assert_eq!(found.digest, wanted.1, "the digest of the first {entries} entries");

    assert!(start(&mut node, disk, loss).await, "it starts again");
    let recovered = reference.model.entries_of(&read_all(&node).await);
    let recovered = recovered.expect("every entry is there wholly or not at all");
    let possible = progress.acknowledged().max(entries)..=progress.proposed;
    assert!(possible.contains(&recovered), "{recovered} entries are there, possible are {possible:?}");

    let rest = write(&node, &reference.model, recovered).await;
    assert_eq!(rest.acknowledged(), ENTRIES - recovered);
    assert_eq!(finish(&node, &reference.model, loss).await, reference.digest);
}

#[test]
fn entries_of_64_operations_are_whole_or_absent_wherever_the_power_goes() {
    for (loss, name) in
        [(MemoryLoss::Tail, "one voter"), (MemoryLoss::All, "one voter, state kept in memory")]
    {
        let newborn = simulate(newborn(loss));
        let reference = simulate(record(&newborn, loss));
        enumerate(name, (reference.calls, &reference.trace), |point| {
            simulate(crash(&newborn, &reference, loss, point));
        });
    }
}
