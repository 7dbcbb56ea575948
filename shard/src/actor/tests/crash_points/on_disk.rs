//! What a replica's files say, read from outside: right after a crash, before anything was started again, and in the
//! end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_storage::disk::{Disk, SimDisk};
use quorate_storage::identity::{FileOwner, ReplicaIdentity};
use quorate_storage::kv::MemoryLoss;
use quorate_storage::log::LogState;
use quorate_storage::snapshot::{ReadFrom, SnapshotDir, SnapshotToken};
use quorate_storage::{EntryId, Index, ReplicaId};

use super::super::network::Promises;
use super::super::node::{DIR, TestNode, UID, incarnation, snapshot_path};
use super::super::store::{State, digest_of, found_in_store};
use super::super::trace::Trace;
use super::world::History;

/// Where every log starts.
const BIRTH: Index = Index(1);

/// A replica's files, as a start would find them.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) replica: ReplicaId,
    pub(super) log: LogState,
    pub(super) state: State,
    /// Recorded snapshots whose file is there, every byte of it, and the replica that wrote it.
    whole: BTreeMap<EntryId, ReplicaId>,
}

/// What is known about a crash.
pub(super) struct Crashed<'a> {
    /// Files when the run began.
    pub(super) before: Option<&'a Found>,
    /// Of the run that nothing disturbed.
    pub(super) history: &'a History,
    pub(super) trace: &'a Trace,
    pub(super) call: u64,
    pub(super) promises: Promises,
    pub(super) rotten: &'a BTreeSet<EntryId>,
    /// Whether making the directory had returned.
    pub(super) is_announced: bool,
}

impl Found {
    /// What is there of `node`; `None` if nobody has completed its directory. Changes nothing.
    pub(super) fn look(node: &TestNode, loss: MemoryLoss) -> Option<Self> {
        let copy = node.disk.fork();
        let identity = ReplicaIdentity::read(&copy, &Path::new(DIR).join("replica")).unwrap()?;
        assert_eq!(identity.replica, ReplicaId(node.id));
        if identity.tombstone {
            return None;
        }
        let log = log_on(&copy, node);
        let owner = FileOwner { group: UID, replica: identity.replica, incarnation: incarnation(node.id) };
        let dir = SnapshotDir::new(Arc::new(copy), Path::new(DIR).join("snapshots"), owner);
        let is_whole = |token: &&SnapshotToken| dir.verify(token, ReadFrom::Cache).is_ok();
        let author = |token: &SnapshotToken| dir.reader(*token).unwrap().header().owner.replica;
        let whole = log.snapshots.iter().filter(is_whole).map(|token| (token.id, author(token))).collect();
        Some(Self { replica: identity.replica, log, state: found_in_store(&node.disk, loss), whole })
    }

    /// What must hold after every crash.
    pub(super) fn check(&self, crashed: &Crashed<'_>) {
        self.check_promises(crashed.promises);
        let records = crashed.history.records_through(self.state.marker);
        assert!(self.state.records == records, "the state is not what its marker {} says", self.state.marker);
        assert_eq!(self.state.digest, digest_of(&records), "the digest at {}", self.state.marker);
        let before = crashed.before.map_or(Index(0), |before| before.state.marker);
        assert!(self.state.marker >= before, "the state went back from {before} to {}", self.state.marker);
        let sound: Vec<EntryId> = self.log.snapshots.iter().map(|token| token.id).collect();
        let sound: Vec<EntryId> = sound.into_iter().filter(|id| !crashed.rotten.contains(id)).collect();
        let Some(newest) = sound.last() else {
            let bounds = (self.log.skeleton.last, self.state.marker);
            return assert_eq!(bounds, (Index(0), Index(0)), "a log without a snapshot has nothing");
        };
        let author = self.whole.get(newest);
        let author = author
            .unwrap_or_else(|| panic!("the log names {newest:?}, whose file is not there, or not whole"));
        self.check_pointer((*newest, *author), crashed);
        self.check_reach(&sound, *author, crashed);
    }

    /// What it told others is on its disk.
    fn check_promises(&self, promises: Promises) {
        let hard_state = self.log.hard_state;
        assert!(hard_state.term >= promises.term, "{hard_state:?}, {promises:?}");
        if let Some((term, candidate)) = promises.vote {
            let keeps_it = hard_state.term > term || hard_state.vote == Some(candidate);
            assert!(keeps_it, "a vote is forgotten: {hard_state:?}, {promises:?}");
        }
        let last = self.log.skeleton.last;
        assert!(last >= promises.acknowledged, "the log ends at {last}, {promises:?}");
    }

    /// The snapshot pointer is at or below the marker. Above it is only what the next start restores from (its file was
    /// just found whole): the snapshot of a group's birth, which is there before there is a state; one that was
    /// received, while it is being installed; and what was above it before the run already.
    fn check_pointer(&self, (newest, author): (EntryId, ReplicaId), crashed: &Crashed<'_>) {
        let marker = self.state.marker;
        let is_received = author != self.replica;
        let was_so = crashed.before.is_some_and(|before| {
            before.state.marker == marker && before.log.snapshots.iter().any(|token| token.id == newest)
        });
        let is_birth = newest.index == BIRTH && marker == Index(0);
        assert!(
            newest.index <= marker || is_received || is_birth || was_so,
            "the log points to a snapshot at {}, the state is durable up to {marker}",
            newest.index
        );
    }

    /// The log still reaches a sound snapshot; and the second newest that was read back from the device, in case the
    /// newest is rotten. (A received one begins a log of its own.)
    fn check_reach(&self, sound: &[EntryId], author: ReplicaId, crashed: &Crashed<'_>) {
        let first = self.log.skeleton.first();
        let reaches = |id: &&EntryId| self.whole.contains_key(id) && first <= id.index.next();
        assert!(sound.iter().any(|id| reaches(&id)), "the log starts at {first}, behind {sound:?}");
        if author != self.replica || !crashed.rotten.is_empty() {
            return;
        }
        let read_back = crashed.trace.read_back_before(crashed.call);
        let is_proven = |id: &&EntryId| {
            let was_there = crashed.before.is_some_and(|before| before.whole.contains_key(id));
            let was_received = self.whole.get(id).is_some_and(|author| *author != self.replica);
            was_there || was_received || read_back.contains(&snapshot_path(**id))
        };
        let fallback = sound.iter().filter(is_proven).rev().nth(1).map_or(BIRTH, |id| id.index);
        assert!(first <= fallback.next(), "the log starts at {first}, but the fallback is {fallback}");
    }
}

fn log_on(copy: &SimDisk, node: &TestNode) -> LogState {
    let mut node = node.clone();
    node.disk = copy.clone();
    node.log()
}

/// The files of `node`, which was stopped cleanly, are those that its log names and none else, once the log was opened:
/// the segment in which an installed snapshot began the log anew stays until the next compaction, or start.
pub(super) fn check_files(node: &TestNode, rotten: &BTreeSet<EntryId>) {
    let disk = node.disk.fork();
    let log = log_on(&disk, node);
    let relative = |path: PathBuf| path.strip_prefix(DIR).ok().map(Path::to_path_buf);
    let found: BTreeSet<PathBuf> = disk.files().into_iter().filter_map(|(path, _)| relative(path)).collect();
    let mut expected = BTreeSet::from([PathBuf::from("replica")]);
    expected.extend(snapshots(&log, &found, rotten));
    expected.extend(segments(&log, &found));
    expected.insert(current_state(&disk));
    assert_eq!(found, expected, "files that nobody knows of, or that are missing");
    let names: Vec<_> = disk.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["replica", "snapshots", "state", "wal"]);
}

/// The two newest snapshots that the log records and that were not put aside; and those that were.
fn snapshots(log: &LogState, found: &BTreeSet<PathBuf>, rotten: &BTreeSet<EntryId>) -> BTreeSet<PathBuf> {
    let name = |id: EntryId| relative_snapshot(id);
    let aside = |id: EntryId| name(id).with_extension("snap.bad");
    let is_aside = |id: &EntryId| found.contains(&aside(*id));
    let mut ids: Vec<EntryId> =
        log.snapshots.iter().map(|token| token.id).filter(|id| !is_aside(id)).collect();
    ids.dedup();
    let kept = ids.iter().rev().take(2).map(|id| name(*id));
    kept.chain(rotten.iter().filter(|id| is_aside(id)).map(|id| aside(*id))).collect()
}

fn relative_snapshot(id: EntryId) -> PathBuf {
    snapshot_path(id).strip_prefix(DIR).unwrap().to_path_buf()
}

/// Segments with consecutive numbers, of which only the oldest begins at or below the log's first index.
fn segments(log: &LogState, found: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let numbers = |path: &PathBuf| -> Option<(u64, u64)> {
        let name = path.strip_prefix("wal").ok()?.to_str()?.strip_suffix(".wal")?;
        let (first, number) = name.split_once('-')?;
        Some((number.parse().ok()?, first.parse().ok()?))
    };
    let mut segments: Vec<(u64, u64, &PathBuf)> =
        found.iter().filter_map(|path| numbers(path).map(|(number, first)| (number, first, path))).collect();
    segments.sort_unstable();
    assert!(!segments.is_empty(), "no log");
    for pair in segments.windows(2) {
        let [(number, _, _), (next, first, path)] = pair else { unreachable!("windows of two") };
        assert_eq!(number + 1, *next, "a segment is missing before {}", path.display());
        let log_first = log.skeleton.first();
        assert!(*first > log_first.get(), "{} begins at {first}, the log at {log_first}", path.display());
    }
    segments.into_iter().map(|(_, _, path)| path.clone()).collect()
}

/// The only file of the only generation.
fn current_state(disk: &SimDisk) -> PathBuf {
    let generations = disk.list(&Path::new(DIR).join("state")).unwrap();
    assert_eq!(generations.len(), 1, "{generations:?}");
    Path::new("state").join(&generations[0].name).join("batches")
}
