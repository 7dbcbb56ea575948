//! State machines that keep the ceiling of the clock in memory and in snapshots only: what a start that skips the
//! restore does for them, and what becomes of entries that come twice.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_storage::disk::{Disk, DiskFault, SimDisk};
use quorate_storage::payload::{Lease, Payload, ProposalId, Tag, Unsealer};
use quorate_storage::snapshot::{SnapshotSource, StateHeader};
use quorate_storage::state::{
    AppliedIndexReader, AppliedRecord, Command, SnapshotHeaderApplier, StateMachine, StateReader, StateView,
    VolatileEntryClassifier,
};
use quorate_storage::{
    ConfChange, ConfChangeOp, Entry, EntryId, EntryKind, Error, Index, NodeId, RangeEpoch, ReplicaDescriptor,
    ReplicaId, Result, Term, Timestamp,
};
use quorate_telemetry::stats::ColdStartOutcome;
use quorate_telemetry::{BootId, GroupStats, Rng, SeededRng, SimClock, SimWorkers, SimWorkersConfig};
use tokio::sync::{mpsc, oneshot};

use super::machine::{MapMachine, MapMachines, MapStore};
use super::node::{DEADLINE, GROUP, TestNode, WALL, cluster, config, incarnation, snapshot_path};
use crate::actor::budget::Budget;
use crate::actor::shared::Shared;
use crate::actor::{GroupStatus, ReadLevel, StartError, StateContext, StateMachineFactory};
use crate::applier::{Applier, ApplierParts, ApplyEntry, ApplyWork, EntryReply};

const WINDOW: Duration = Duration::from_secs(3);

/// What a state machine can do of what is optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ability {
    /// It tells volatile entries, and keeps the ceiling in memory.
    Classifies,
    /// It tells them, but its record has the ceiling.
    Covers,
    /// Its record has the ceiling, and it tells nothing.
    None,
}

/// What survives a restart.
#[derive(Debug, Default)]
struct Kept {
    store: MapStore,
    record: Option<AppliedRecord>,
}

/// What the current state machine was called with.
#[derive(Clone, Debug, Default)]
struct Seen {
    headers: Vec<StateHeader>,
    volatile: Vec<Payload>,
    restores: u32,
    /// As it has it in memory.
    ceiling: Timestamp,
}

#[derive(Clone, Debug)]
struct Machines {
    ability: Ability,
    kept: Arc<Mutex<Kept>>,
    seen: Arc<Mutex<Seen>>,
    /// The next opening of a state machine makes one read of the log fail that comes behind it.
    unreadable: Arc<Mutex<Option<SimDisk>>>,
}

#[derive(Debug)]
struct Machine {
    inner: MapMachine,
    shared: Machines,
}

impl Machines {
    fn new(ability: Ability) -> Self {
        Self { ability, kept: Arc::default(), seen: Arc::default(), unreadable: Arc::default() }
    }

    fn machine(&self) -> Machine {
        let kept = self.kept.lock();
        *self.seen.lock() = Seen::default();
        let inner = MapMachine { store: kept.store.clone(), record: kept.record.clone() };
        Machine { inner, shared: self.clone() }
    }
}

impl StateMachineFactory for Machines {
    fn open(&self, _context: &StateContext) -> Result<Box<dyn StateMachine>> {
        if let Some(disk) = self.unreadable.lock().take() {
            disk.fail_once("/wal/", DiskFault::FailedReads);
        }
        Ok(Box::new(self.machine()))
    }

    fn check(&self, body: &Bytes) -> Result<()> {
        MapMachines.check(body)
    }
}

impl Machine {
    /// The record as the store keeps it: with the ceiling only if that is what it can do.
    fn keep(&self, record: &AppliedRecord) {
        let in_memory = self.shared.ability == Ability::Classifies;
        let hlc_ceiling = if in_memory { Timestamp(0) } else { record.hlc_ceiling };
        self.shared.kept.lock().record = Some(AppliedRecord { hlc_ceiling, ..record.clone() });
        self.shared.seen.lock().ceiling = record.hlc_ceiling;
    }

    fn raise(&mut self, ceiling: Timestamp) {
        let record = self.inner.record.as_mut().unwrap();
        record.hlc_ceiling = record.hlc_ceiling.max(ceiling);
        self.shared.seen.lock().ceiling = record.hlc_ceiling;
    }
}

impl StateMachine for Machine {
    fn check(&self, body: &Bytes) -> Result<()> {
        self.inner.check(body)
    }

    fn apply(&mut self, commands: &[Command], record: &AppliedRecord) -> Result<Vec<Bytes>> {
        let outputs = self.inner.apply(commands, record)?;
        self.keep(record);
        Ok(outputs)
    }

    fn reader(&self) -> Arc<dyn StateReader> {
        self.inner.reader()
    }

    fn view(&self) -> Result<Box<dyn StateView>> {
        self.inner.view()
    }

    fn restore(&mut self, source: &mut dyn SnapshotSource, record: &AppliedRecord) -> Result<()> {
        self.inner.restore(source, record)?;
        self.keep(record);
        self.shared.seen.lock().restores += 1;
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<Index> {
        self.inner.checkpoint()
    }

    fn durable_applied(&self) -> Index {
        self.inner.durable_applied()
    }

    fn close(&mut self) -> Result<()> {
        self.inner.close()
    }

    fn as_applied_index_reader(&self) -> Option<&dyn AppliedIndexReader> {
        Some(self)
    }

    fn as_snapshot_header_applier(&mut self) -> Option<&mut dyn SnapshotHeaderApplier> {
        Some(self)
    }

    fn as_volatile_entry_classifier(&mut self) -> Option<&mut dyn VolatileEntryClassifier> {
        (self.shared.ability != Ability::None).then_some(self as &mut dyn VolatileEntryClassifier)
    }
}

impl AppliedIndexReader for Machine {
    fn applied_record(&self) -> Result<Option<AppliedRecord>> {
        Ok(self.shared.kept.lock().record.clone())
    }

    fn is_trusted(&self) -> bool {
        true
    }
}

impl SnapshotHeaderApplier for Machine {
    fn covers_header(&self) -> bool {
        self.shared.ability != Ability::Classifies
    }

    fn apply_header(&mut self, header: StateHeader) {
        self.shared.seen.lock().headers.push(header);
        self.raise(header.hlc_ceiling);
    }
}

impl VolatileEntryClassifier for Machine {
    fn covers_volatile(&self) -> bool {
        self.shared.ability == Ability::Covers
    }

    fn is_volatile(&self, payload: &Payload) -> bool {
        payload.tag == Tag::Lease
    }

    fn apply_volatile(&mut self, payload: &Payload) -> Result<()> {
        self.shared.seen.lock().volatile.push(payload.clone());
        self.raise(Lease::decode(&payload.body)?.ceiling);
        Ok(())
    }
}

/// A stopped replica: a snapshot with a lease in it, and behind it leases and data.
struct Stopped {
    node: TestNode,
    machines: Machines,
    last: Index,
    in_snapshot: Timestamp,
    ceiling: Timestamp,
}

async fn stopped(ability: Ability) -> Stopped {
    let (_network, mut nodes) = cluster(1, &config()).await;
    let mut node = nodes.remove(0);
    node.serves().await;
    node.kill().await;
    let machines = Machines::new(ability);
    node.machines = Arc::new(machines.clone());
    node.restart().await;
    node.serves().await;
    node.put("a=1").await.unwrap();
    node.handle.timestamp(DEADLINE).await.unwrap();
    node.handle.publish_snapshot(DEADLINE).await.unwrap();
    let in_snapshot = node.handle.status().hlc_ceiling;
    for _ in 0..3 {
        tokio::time::sleep(WINDOW).await;
        node.handle.timestamp(DEADLINE).await.unwrap();
    }
    let last = node.put("b=2").await.unwrap().id.index;
    let ceiling = node.handle.status().hlc_ceiling;
    node.kill().await;
    node.stats = Arc::default();
    Stopped { node, machines, last, in_snapshot, ceiling }
}

impl Stopped {
    /// What is seen before the replica leads again: leases of its own would hide a ceiling that was lost.
    async fn restart(&mut self) -> (Timestamp, Seen) {
        self.node.restart().await;
        self.node.applies(self.last).await;
        let seen = self.machines.seen.lock().clone();
        (self.node.handle.status().hlc_ceiling, seen)
    }

    fn counts(&self) -> Vec<(ColdStartOutcome, &'static str, u64)> {
        self.node.handle.stats().cold_starts.counts()
    }

    fn replayed(&self) -> u64 {
        self.node.handle.stats().apply.volatile_replayed.get()
    }
}

#[tokio::test(start_paused = true)]
async fn a_skip_gives_memory_back_what_entries_behind_the_snapshot_did_to_it() {
    let mut stopped = stopped(Ability::Classifies).await;
    let kept = stopped.machines.kept.lock().record.clone().unwrap();
    assert_eq!((kept.hlc_ceiling, kept.applied.index), (Timestamp(0), stopped.last));
    let (ceiling, seen) = stopped.restart().await;
    assert_eq!(stopped.counts(), [(ColdStartOutcome::Skipped, "none", 1)]);
    assert_eq!(seen.headers, [StateHeader { hlc_ceiling: stopped.in_snapshot, cutover: None }]);
    let replayed: Vec<_> =
        seen.volatile.iter().map(|payload| Lease::decode(&payload.body).unwrap().ceiling).collect();
    assert!(replayed.len() >= 3 && replayed.is_sorted_by(|a, b| a < b), "{replayed:?}");
    assert!(stopped.in_snapshot < replayed[0] && replayed.last() == Some(&stopped.ceiling));
    assert_eq!((seen.restores, stopped.replayed()), (0, replayed.len() as u64));
    assert_eq!((ceiling, seen.ceiling), (stopped.ceiling, stopped.ceiling));

    stopped.node.kill().await;
    stopped.node.stats = Arc::default();
    stopped.node.store_is_rotten = true;
    let (restored, seen) = stopped.restart().await;
    assert_eq!(stopped.counts(), [(ColdStartOutcome::Fallback, "rotten", 1)]);
    assert_eq!((restored, seen.ceiling), (ceiling, ceiling), "as after a restore and a replay of all");
    assert_eq!((seen.restores, stopped.replayed(), seen.volatile.len()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_walked_makes_a_skip_a_restore() {
    let mut stopped = stopped(Ability::Classifies).await;
    *stopped.machines.unreadable.lock() = Some(stopped.node.disk.reopen());
    let (ceiling, seen) = stopped.restart().await;
    assert!(stopped.node.disk.has_failed(), "the walk read the log");
    assert_eq!(stopped.counts(), [(ColdStartOutcome::Fallback, "volatile_gap", 1)]);
    assert_eq!((ceiling, seen.ceiling), (stopped.ceiling, stopped.ceiling), "as after a skip");
    assert_eq!((seen.restores, stopped.replayed(), seen.volatile.len()), (1, 0, 0));
    for (key, value) in [("a", "1"), ("b", "2")] {
        assert_eq!(stopped.node.get(key, ReadLevel::Local).await.unwrap(), value);
    }
}

#[tokio::test(start_paused = true)]
async fn a_walk_and_a_restore_that_both_lack_entries_are_no_start() {
    let mut stopped = stopped(Ability::Classifies).await;
    for token in stopped.node.log().snapshots {
        stopped.node.disk.remove_file(&snapshot_path(token.id)).unwrap();
    }
    // The record alone would do for a skip, and the log reaches it; what happened to memory is in no entry that is left.
    let refused = stopped.node.try_restart().await.unwrap_err();
    assert!(matches!(refused, StartError::Refused { reason: "gap", .. }), "{refused}");
    assert_eq!(stopped.machines.seen.lock().restores, 0);
    let reasons: Vec<_> = stopped.node.stats.cold_starts.counts();
    assert_eq!(reasons, [(ColdStartOutcome::Refused, "gap", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_carries_it_makes_a_walk_needless() {
    for ability in [Ability::Covers, Ability::None] {
        let mut stopped = stopped(ability).await;
        let (ceiling, seen) = stopped.restart().await;
        assert_eq!(stopped.counts(), [(ColdStartOutcome::Skipped, "none", 1)]);
        assert_eq!(ceiling, stopped.ceiling);
        assert_eq!((seen.headers.len(), seen.volatile.len(), seen.restores), (0, 0, 0), "{ability:?}");
        assert_eq!(stopped.replayed(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_of_a_corrupt_snapshot_is_not_believed() {
    let mut stopped = stopped(Ability::Classifies).await;
    let newest = *stopped.node.log().snapshots.last().unwrap();
    stopped.node.disk.flip(&snapshot_path(newest.id), newest.bytes - 9, 0xff).unwrap();
    let (ceiling, seen) = stopped.restart().await;
    // The older one's is, and the log reaches back to it: more of the log is walked.
    assert_eq!(stopped.counts(), [(ColdStartOutcome::Skipped, "none", 1)]);
    assert_eq!(seen.headers, [StateHeader::default()], "of the birth");
    assert_eq!((ceiling, seen.restores), (stopped.ceiling, 0));
    assert!(seen.volatile.len() >= 4, "{}", seen.volatile.len());
}

#[tokio::test(start_paused = true)]
async fn a_conf_change_between_snapshot_and_floor_is_there_after_a_skip_and_not_made_twice() {
    let (network, mut nodes) = cluster(1, &config()).await;
    let mut node = nodes.remove(0);
    node.serves().await;
    node.kill().await;
    node.machines = Arc::new(Machines::new(Ability::Classifies));
    node.restart().await;
    node.serves().await;
    node.handle.publish_snapshot(DEADLINE).await.unwrap();
    let joining = TestNode::joining(4, 1, &config(), &network).await;
    let learner = ReplicaDescriptor { replica: ReplicaId(4), node: NodeId(4), incarnation: incarnation(4) };
    let change = |epoch, op| ConfChange { expected_epoch: epoch, ops: vec![op] };
    let epoch = node.handle.status().descriptor.conf_epoch;
    node.handle.change_conf(change(epoch, ConfChangeOp::AddLearner(learner)), DEADLINE).await.unwrap();
    let last = node.put("a=1").await.unwrap().id.index;
    joining.applies(last).await;
    let before = node.handle.status().descriptor;
    node.kill().await;
    node.stats = Arc::default();
    node.restart().await;
    node.serves().await;
    assert_eq!(node.handle.stats().cold_starts.counts(), [(ColdStartOutcome::Skipped, "none", 1)]);
    assert_eq!(node.handle.status().descriptor, before);
    let token = node.handle.publish_snapshot(DEADLINE).await.unwrap();
    assert!(token.id.index > last, "labelled with what it holds");
    let promote = change(before.conf_epoch, ConfChangeOp::Promote(ReplicaId(4)));
    let epoch = node.handle.change_conf(promote, DEADLINE).await.unwrap().conf_epoch;
    node.handle.change_conf(change(epoch, ConfChangeOp::Remove(ReplicaId(4))), DEADLINE).await.unwrap();
}

/// Turns every bit of what is sealed, and refuses what was not.
#[derive(Debug)]
struct Turned;

impl Unsealer for Turned {
    fn unseal(&self, _id: EntryId, sealed: &Bytes) -> Result<Bytes> {
        if sealed.first() == Some(&Tag::Lease.code()) || sealed.first() == Some(&Tag::Command.code()) {
            return Err(Error::Malformed { what: "clear payload above the cutover" });
        }
        Ok(sealed.iter().map(|byte| !byte).collect())
    }
}

/// An applier whose state machine has applied everything up to index 20, above a cutover of 10.
struct Bench {
    applier: Applier,
    shared: Arc<Shared>,
    events: mpsc::UnboundedReceiver<crate::actor::mailbox::Event>,
    machines: Machines,
    before: AppliedRecord,
}

async fn bench(ability: Ability) -> Bench {
    let (_network, nodes) = cluster(1, &config()).await;
    nodes[0].serves().await;
    let descriptor = (*nodes[0].handle.status().descriptor).clone();
    let record = AppliedRecord {
        applied: EntryId { term: Term(2), index: Index(20) },
        conf_state: quorate_storage::ConfState::of_voters(vec![ReplicaId(1)]),
        descriptor,
        incarnation: incarnation(1),
        hlc_ceiling: Timestamp(5 << 16),
        cutover: Some(Index(10)),
        wrapped_keys: Bytes::new(),
        digest: quorate_storage::state::StateDigest::default(),
    };
    let machines = Machines::new(ability);
    machines.kept.lock().record = Some(record.clone());
    let status = GroupStatus { applied: Index(20), ..GroupStatus::unknown(GROUP, NodeId(1)) };
    let stats: Arc<GroupStats> = Arc::default();
    let shared = Shared::new(status, (Budget::new(1, 0), Budget::new(1, 0)), stats);
    let (sender, events) = mpsc::unbounded_channel();
    let threads = NonZeroUsize::new(1).unwrap();
    let workers = SimWorkersConfig { threads, job_time_max: Duration::from_micros(10) };
    let parts = ApplierParts {
        shared: Arc::clone(&shared),
        workers: Arc::new(SimWorkers::new(SeededRng::new(1).stream(1), workers)),
        clock: Arc::new(SimClock::new(WALL, BootId([1; 16]))),
        node_stats: Arc::default(),
        events: sender,
        open_snapshot: Arc::new(|_| Err(Error::Malformed { what: "no snapshot here" })),
        listener: None,
        unsealer: Arc::new(Turned),
        bytes_max: 1 << 20,
        entries_max: 100,
    };
    let applier = Applier::new(Box::new(machines.machine()), record.clone(), parts);
    Bench { applier, shared, events, machines, before: record }
}

fn payload(tag: Tag, body: Bytes) -> Bytes {
    let proposal = ProposalId { stream: 1, sequence: 1 };
    Payload { tag, range_epoch: RangeEpoch(1), proposal, body }.encode()
}

impl Bench {
    /// Delivers these once more. Whether whoever waits for one of them hears anything.
    async fn deliver(&self, entries: Vec<(u64, EntryKind, Bytes)>) -> bool {
        let mut answers = Vec::new();
        let work = entries.into_iter().map(|(index, kind, payload)| {
            let (reply, answer) = oneshot::channel();
            answers.push(answer);
            let entry = Entry { term: Term(2), index: Index(index), kind, payload };
            let reply = Some(EntryReply::Proposal(reply));
            ApplyWork::Entry(ApplyEntry { entry, conf: None, reply, since: None })
        });
        let work: Vec<_> = work.collect();
        self.applier.push(work);
        let mut heard = false;
        for answer in answers {
            heard |= answer.await.is_ok();
        }
        heard
    }
}

fn turned(clear: &Bytes) -> Bytes {
    clear.iter().map(|byte| !byte).collect()
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_acts_on_memory_or_on_nothing() {
    let lease = |at: u64| payload(Tag::Lease, Lease { ceiling: Timestamp(at << 16) }.encode());
    let data = payload(Tag::Command, Bytes::from_static(b"a=twice"));
    for (ability, replayed) in [(Ability::Classifies, 2), (Ability::Covers, 0), (Ability::None, 0)] {
        let mut bench = bench(ability).await;
        let duplicates = vec![
            (9, EntryKind::Normal, lease(7)),
            (10, EntryKind::Normal, data.clone()),
            (11, EntryKind::Normal, turned(&data)),
            (12, EntryKind::Normal, turned(&lease(8))),
            (13, EntryKind::Normal, Bytes::new()),
            (14, EntryKind::ConfChange, Bytes::from_static(b"not decoded")),
        ];
        assert!(!bench.deliver(duplicates).await, "nobody is answered");
        let seen = bench.machines.seen.lock().clone();
        let bodies: Vec<_> = seen.volatile.iter().map(Payload::encode).collect();
        let expected = if replayed == 0 { vec![] } else { vec![lease(7), lease(8)] };
        assert_eq!(bodies, expected, "{ability:?}");
        let stats = &bench.shared.stats.apply;
        assert_eq!((stats.volatile_replayed.get(), stats.duplicates_dropped.get()), (replayed, 6 - replayed));
        assert_eq!(bench.machines.kept.lock().record.as_ref(), Some(&bench.before), "no marker moved");
        assert_eq!(*bench.shared.applied.borrow(), Index(20));
        assert!(bench.events.try_recv().is_err(), "nothing is reported applied");
        assert_eq!(seen.restores, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_that_cannot_be_opened_halts() {
    let mut bench = bench(Ability::Classifies).await;
    let clear = payload(Tag::Command, Bytes::from_static(b"a=1"));
    bench.deliver(vec![(11, EntryKind::Normal, clear)]).await;
    let event = bench.events.recv().await.unwrap();
    assert!(matches!(event, crate::actor::mailbox::Event::Failed(_)), "{event:?}");
    assert!(bench.shared.check_running().is_err());
}
