//! A group of one voter whose start is refused, repaired while nobody runs it: every key is there afterwards, also when
//! the power goes in any call of the disk on the way.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::disk::{CrashMode, Disk, SimDisk};
use quorate_storage::identity::{DataDir, Divergence, FileOwner, ReplicaIdentity};
use quorate_storage::kv::{KvCommand, KvStateMachine, MemoryEngine, Op};
use quorate_storage::log::{LogBatch, LogConfig, LogPlace, LogStore, SegmentedLog};
use quorate_storage::offline::repair::{AdoptionPlan, Consent, EPOCHS_SKIPPED, RepairPlan, RepairRefusal};
use quorate_storage::offline::{LookOptions, StoppedDir, plan_repair, repair};
use quorate_storage::snapshot::SnapshotToken;
use quorate_storage::state::{StateDigest, StateMachine};
use quorate_storage::{
    ClusterId, Entry, EntryId, EntryKind, HardState, Index, NodeId, RangeEpoch, ReplicaId, Result, Term,
};
use quorate_telemetry::{BootId, Rng, SeededRng, SimClock};

use super::node::{DEADLINE, DIR, GROUP, TestNode, UID, cluster, config, incarnation};
use crate::actor::{ReadLevel, StartError, StateContext, StateMachineFactory, StopMode};

/// Keys that are written; a snapshot is published after half of them.
const KEYS: u64 = 12;
/// How far behind the state's last entry a log is put where it should not be.
const SHIFT: u64 = 3;
const CLEANLY: StopMode = StopMode::Drain { deadline: DEADLINE };

/// Makes the key-value machine on the in-memory store.
#[derive(Debug)]
struct Machines(SimDisk);

impl StateMachineFactory for Machines {
    fn open(&self, context: &StateContext) -> Result<Box<dyn StateMachine>> {
        let disk: Arc<dyn Disk> = Arc::new(self.0.clone());
        let engine = MemoryEngine::new(disk.clone(), Arc::new(SeededRng::new(1)), None);
        Ok(Box::new(KvStateMachine::open(Arc::new(engine), disk, &context.dir, context.uid)))
    }

    fn check(&self, body: &Bytes) -> Result<()> {
        KvCommand::decode(body).map(drop)
    }
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("key {number}"))
}

async fn put(node: &TestNode, number: u64) {
    let ops = vec![Op::Put(key(number), Bytes::from(format!("value {number}")))];
    let body = KvCommand { conditions: Vec::new(), ops }.encode().unwrap();
    node.handle.propose(body, RangeEpoch(1), DEADLINE).await.unwrap();
}

/// A group of one voter, stopped cleanly: its state holds all of its log.
async fn stopped() -> TestNode {
    let (_network, mut nodes) = cluster(1, &config()).await;
    let mut node = nodes.remove(0);
    node.serves().await;
    node.kill().await;
    let disk = node.disk.reopen();
    assert!(start(&mut node, disk).await.is_ok());
    for number in 0..KEYS {
        put(&node, number).await;
        if number == KEYS / 2 {
            node.handle.publish_snapshot(DEADLINE).await.unwrap();
        }
    }
    node.handle.stop(CLEANLY).await;
    node
}

/// Starts it on `disk` and waits until it serves.
async fn start(node: &mut TestNode, disk: SimDisk) -> std::result::Result<(), StartError> {
    node.machines = Arc::new(Machines(disk.clone()));
    node.disk = disk;
    node.handle = node.try_restart().await?;
    node.serves().await;
    Ok(())
}

async fn has_every_key(node: &TestNode) {
    let read = node.handle.read_with(ReadLevel::Linearizable, DEADLINE, |state| {
        let kv = state.as_kv().unwrap();
        (0..KEYS).map(|number| kv.get(&key(number)).unwrap()).collect::<Vec<_>>()
    });
    let expected: Vec<_> = (0..KEYS).map(|number| Some(Bytes::from(format!("value {number}")))).collect();
    assert_eq!(read.await.unwrap(), expected);
}

fn place(disk: &SimDisk) -> LogPlace {
    let owner = FileOwner { group: UID, replica: ReplicaId(1), incarnation: incarnation(1) };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    LogPlace { disk, dir: PathBuf::from(DIR).join("wal"), owner, rng: Arc::new(SeededRng::new(41)) }
}

/// The log that a stopped replica has.
fn log_of(disk: &SimDisk) -> (EntryId, HardState, Vec<SnapshotToken>) {
    let log = SegmentedLog::open(place(disk), LogConfig::default()).unwrap();
    let state = log.recovered();
    let last = state.skeleton.last;
    let id = EntryId { term: state.skeleton.term(last).unwrap(), index: last };
    (id, state.hard_state, state.snapshots.clone())
}

/// Puts a log in the place of the replica's, that begins behind `base` and has `entries`.
fn replace_log(disk: &SimDisk, base: SnapshotToken, entries: Vec<Entry>, hard_state: HardState) {
    disk.remove_dir_all(&Path::new(DIR).join("wal")).unwrap();
    let mut log = SegmentedLog::create(place(disk), LogConfig::default(), base).unwrap();
    log.append(&[LogBatch { install: None, entries, hard_state: Some(hard_state) }], true).unwrap();
    log.close().unwrap();
}

fn empty_entries(range: std::ops::RangeInclusive<u64>, term: Term) -> Vec<Entry> {
    range
        .map(|index| Entry { term, index: Index(index), kind: EntryKind::Normal, payload: Bytes::new() })
        .collect()
}

/// What a group may be refused for, made so.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    LogLost,
    AheadOfLog,
    Diverged,
    Gap,
}

impl Refusal {
    const ALL: [(Self, &'static str); 4] = [
        (Self::LogLost, "log_lost"),
        (Self::AheadOfLog, "ahead_of_log"),
        (Self::Diverged, "diverged"),
        (Self::Gap, "gap"),
    ];

    fn provoke(self, disk: &SimDisk) {
        let (last, hard_state, snapshots) = log_of(disk);
        let newest = snapshots.last().copied().unwrap();
        let (from, to) = (newest.id.index.get() + 1, last.index.get());
        let with_commit = |commit| HardState { commit: Index(commit), ..hard_state };
        match self {
            Self::LogLost => {
                replace_log(disk, newest, empty_entries(from..=to, last.term), with_commit(to + SHIFT));
            }
            Self::AheadOfLog => {
                let end = to - SHIFT;
                replace_log(disk, newest, empty_entries(from..=end, last.term), with_commit(end));
            }
            Self::Diverged => {
                let term = Term(last.term.get() + 1);
                let hard_state = HardState { term, ..with_commit(to) };
                replace_log(disk, newest, empty_entries(from..=to, term), hard_state);
            }
            Self::Gap => {
                let id = EntryId { term: last.term, index: Index(to + SHIFT) };
                let base = SnapshotToken { id, bytes: 1, crc: 0 };
                replace_log(disk, base, Vec::new(), with_commit(to + SHIFT));
            }
        }
    }
}

fn dir(disk: &SimDisk) -> StoppedDir {
    StoppedDir::lock(Arc::new(disk.clone()), Path::new("/data")).unwrap()
}

fn options() -> LookOptions {
    let clock = Arc::new(SimClock::new(Duration::ZERO, BootId([1; 16])));
    LookOptions { group: Some(GROUP), clock, scratch: std::env::temp_dir() }
}

fn repair_on(disk: &SimDisk, consent: Consent) -> std::result::Result<(), RepairRefusal> {
    let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(disk.calls()));
    repair(&dir(disk), GROUP, (consent, &options()), &rng, &mut |_| {}).map(drop)
}

fn plan_on(disk: &SimDisk) -> AdoptionPlan {
    match plan_repair(&dir(disk), GROUP, (Consent::default(), &options()), &mut |_| {}).unwrap() {
        RepairPlan::Adopt(plan) => *plan,
        complete @ RepairPlan::Complete(_) => panic!("{complete:?}"),
    }
}

fn evidence(disk: &SimDisk) -> Vec<PathBuf> {
    let names = disk.list(Path::new("/data/groups")).unwrap();
    let kept = names.into_iter().filter(|entry| entry.name.starts_with("7.quarantined-"));
    kept.map(|entry| Path::new("/data/groups").join(entry.name)).collect()
}

#[tokio::test(start_paused = true)]
async fn whatever_a_single_voter_is_refused_for_its_state_is_adopted_and_serves() {
    let whole = stopped().await;
    for (refusal, name) in Refusal::ALL {
        let (mut node, disk) = (whole.clone(), whole.disk.fork());
        refusal.provoke(&disk);
        let refused = start(&mut node, disk.clone()).await;
        assert!(
            matches!(refused, Err(StartError::Refused { reason, .. }) if reason == name),
            "{name}: {refused:?}"
        );
        let before = disk.files();
        let plan = plan_on(&disk);
        assert!(plan.why.ends_with(name) && plan.records == KEYS, "{plan:?}");
        assert!(
            disk.files()
                .iter()
                .filter(|file| !before.contains(file))
                .all(|(path, _)| path.ends_with("node.lock"))
        );

        repair_on(&disk, Consent::default()).unwrap();
        start(&mut node, disk.clone()).await.unwrap();
        has_every_key(&node).await;
        let descriptor = Arc::clone(&node.handle.status().descriptor);
        assert!(descriptor.uid != UID && descriptor.conf_epoch.get() == 1 + EPOCHS_SKIPPED);
        assert_eq!(descriptor.replicas.iter().map(|own| own.replica).collect::<Vec<_>>(), [ReplicaId(1)]);
        let kept = evidence(&disk);
        assert_eq!(kept, [plan.evidence]);
        let old = ReplicaIdentity::read(&disk, &kept[0].join("replica")).unwrap().unwrap();
        assert_eq!((old.uid, old.incarnation), (UID, incarnation(1)));

        put(&node, KEYS).await;
        node.handle.stop(CLEANLY).await;
        let again = repair_on(&disk, Consent::default());
        assert!(matches!(again, Err(RepairRefusal::NotNeeded { .. })), "{name}: {again:?}");
        start(&mut node, disk).await.unwrap();
        has_every_key(&node).await;
        node.handle.stop(CLEANLY).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_that_was_proven_wrong_is_adopted_only_by_who_gives_up_the_others() {
    let mut node = stopped().await;
    let disk = node.disk.fork();
    let mark = Path::new(DIR).join("diverged");
    let found = Divergence { index: Index(9), own: StateDigest(1), majority: StateDigest(2) };
    let owner = FileOwner { group: UID, replica: ReplicaId(1), incarnation: incarnation(1) };
    found.write(&disk, &mark, owner, &SeededRng::new(1)).unwrap();
    let refused = start(&mut node, disk.clone()).await;
    assert!(matches!(refused, Err(StartError::StateDiverged { .. })), "{refused:?}");
    let refused = repair_on(&disk, Consent::default());
    assert!(
        matches!(&refused, Err(RepairRefusal::Diverged { file, divergence }) if *file == mark && *divergence == found),
        "{refused:?}"
    );

    let consent = Consent { abandons_others: true, ..Consent::default() };
    let RepairPlan::Adopt(plan) =
        plan_repair(&dir(&disk), GROUP, (consent, &options()), &mut |_| {}).unwrap()
    else {
        panic!("nothing was begun")
    };
    assert_eq!((plan.why.as_str(), plan.records), (found.to_string().as_str(), KEYS));
    repair_on(&disk, consent).unwrap();
    assert!(
        disk.size(&mark).unwrap().is_none()
            && disk.size(&evidence(&disk)[0].join("diverged")).unwrap().is_some()
    );
    start(&mut node, disk).await.unwrap();
    has_every_key(&node).await;
}

#[tokio::test(start_paused = true)]
async fn entries_behind_the_state_are_kept_as_far_as_log_and_state_agree() {
    let mut node = stopped().await;
    let disk = node.disk.reopen();
    let state = Path::new(DIR).join("state");
    let aside = Path::new(DIR).join("later");
    disk.rename(&state, &aside).unwrap();
    let (last, hard_state, _) = log_of(&disk);
    // The state as it was at the snapshot: a start restores it and replays the log.
    start(&mut node, disk.clone()).await.unwrap();
    has_every_key(&node).await;
    node.handle.stop(CLEANLY).await;
    // A crash after the log lost its end, and knows it by its commit.
    let mut log = SegmentedLog::open(place(&disk), LogConfig::default()).unwrap();
    let ahead = HardState { commit: Index(last.index.get() + 50), ..hard_state };
    let entry =
        KvCommand { conditions: Vec::new(), ops: vec![Op::Put(key(KEYS), Bytes::from_static(b"tail"))] };
    let now = log.last();
    let payload = quorate_storage::payload::Payload {
        tag: quorate_storage::payload::Tag::Command,
        range_epoch: RangeEpoch(1),
        proposal: quorate_storage::payload::ProposalId { stream: 1, sequence: 1 },
        body: entry.encode().unwrap(),
    };
    let term = Term(hard_state.term.get() + 1);
    let behind = Entry { term, index: now.next(), kind: EntryKind::Normal, payload: payload.encode() };
    let ahead = HardState { term, ..ahead };
    log.append(&[LogBatch { install: None, entries: vec![behind], hard_state: Some(ahead) }], true).unwrap();
    drop(log);
    let plan = plan_on(&disk);
    assert_eq!((plan.applied.index, plan.last), (now, now.next()), "{plan:?}");
    assert_eq!(plan.log_last, Some(ahead.commit));
    repair_on(&disk, Consent::default()).unwrap();
    start(&mut node, disk).await.unwrap();
    has_every_key(&node).await;
    let tail = node.handle.read_with(ReadLevel::Linearizable, DEADLINE, |state| {
        state.as_kv().unwrap().get(&key(KEYS)).unwrap()
    });
    assert_eq!(tail.await.unwrap().as_deref(), Some(b"tail".as_slice()));
}

#[tokio::test(start_paused = true)]
async fn a_repair_that_the_power_goes_in_is_completed_by_the_next_or_by_the_nodes_start() {
    const SEED: u64 = 17;
    let whole = stopped().await;
    let disk = whole.disk.reopen();
    Refusal::AheadOfLog.provoke(&disk);
    make_node_directory(&disk);
    let measured = whole.disk.fork();
    let before = measured.calls();
    repair_on(&measured, Consent::default()).unwrap();
    let calls = measured.calls() - before;
    let mut tried = 0;
    let (mut undone, mut switching, mut done) = (0, 0, 0);
    for point in 1..=calls {
        let pieces = |piece_bytes| CrashMode::KeepPieces { seed: SEED + point, piece_bytes };
        for mode in [CrashMode::LoseUnsynced, CrashMode::KeepAll, pieces(512), pieces(4_096)] {
            let disk = whole.disk.fork();
            disk.cut_power_at_call(point);
            assert!(repair_on_dying(&disk).is_err() || !disk.is_powered(), "call {point}");
            let disk = disk.crash(mode);
            match plan_repair(&dir(&disk), GROUP, (Consent::default(), &options()), &mut |_| {}) {
                Ok(RepairPlan::Adopt(_)) => undone += 1,
                Ok(RepairPlan::Complete(_)) => switching += 1,
                Err(RepairRefusal::NotNeeded { .. }) => done += 1,
                Err(error) => panic!("seed {SEED}, call {point}, {mode:?}: {error}"),
            }
            // A node that is started in between finds the old replica, or the new one: never none, never a half.
            let by_node = disk.fork();
            let opened = open_as_node(&by_node).replica(GROUP).unwrap();
            assert!(opened.is_some(), "seed {SEED}, call {point}, {mode:?}");
            assert!(!by_node.files().iter().any(|(path, _)| path.starts_with("/data/groups/7.repaired")));
            for disk in [by_node, disk] {
                match repair_on(&disk, Consent::default()) {
                    Ok(()) | Err(RepairRefusal::NotNeeded { .. }) => {}
                    Err(error) => panic!("seed {SEED}, call {point}, {mode:?}: {error}"),
                }
                let mut node = whole.clone();
                start(&mut node, disk).await.unwrap();
                has_every_key(&node).await;
                node.kill().await;
            }
            tried += 1;
        }
    }
    assert_eq!(tried, calls * 4);
    assert!(undone > 0 && switching > 0 && done > 0, "{undone} undone, {switching} switching, {done} done");
    println!("{calls} calls, 4 models: {undone} undone, {switching} between the renames, {done} done");
}

/// What stands around a replica where a node runs it.
fn make_node_directory(disk: &SimDisk) {
    let (replica, aside) = (Path::new(DIR), Path::new("/aside"));
    disk.rename(replica, aside).unwrap();
    drop(open_as_node(disk));
    disk.rename(aside, replica).unwrap();
    for dir in ["/", "/data", "/data/groups"] {
        disk.sync_dir(Path::new(dir)).unwrap();
    }
}

/// The lock is a call too.
fn repair_on_dying(disk: &SimDisk) -> std::result::Result<(), RepairRefusal> {
    let dir = StoppedDir::lock(Arc::new(disk.clone()), Path::new("/data"))?;
    let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(3));
    repair(&dir, GROUP, (Consent::default(), &options()), &rng, &mut |_| {}).map(drop)
}

fn open_as_node(disk: &SimDisk) -> DataDir {
    let (cluster, rng) = (ClusterId([5; 16]), SeededRng::new(5));
    DataDir::open_or_create(Arc::new(disk.clone()), Path::new("/data"), cluster, NodeId(1), &rng).unwrap()
}

#[tokio::test(start_paused = true)]
async fn other_replicas_are_given_up_only_on_purpose() {
    let (_network, nodes) = cluster(3, &config()).await;
    let mut node = nodes[0].clone();
    for other in &nodes {
        other.kill().await;
    }
    // The key-value machine in the place of the other one, which keeps nothing on the disk.
    let disk = node.disk.reopen();
    node.machines = Arc::new(Machines(disk.clone()));
    node.disk = disk.clone();
    node.handle = node.try_restart().await.unwrap();
    node.handle.stop(CLEANLY).await;
    let (last, ..) = log_of(&disk);
    replace_log(
        &disk,
        SnapshotToken {
            id: EntryId { term: last.term, index: Index(last.index.get() + SHIFT) },
            bytes: 1,
            crc: 0,
        },
        Vec::new(),
        HardState { term: last.term, vote: None, commit: Index(last.index.get() + SHIFT) },
    );
    let refused = repair_on(&disk, Consent::default());
    assert!(matches!(&refused, Err(RepairRefusal::HasOthers(others)) if others.len() == 2), "{refused:?}");
    repair_on(&disk, Consent { abandons_others: true, trusts_store: false }).unwrap();
    start(&mut node, disk).await.unwrap();
    put(&node, 0).await;
    assert_eq!(node.handle.status().descriptor.replicas.len(), 1);
}
