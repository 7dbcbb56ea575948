//! From an opened replica to a running actor.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use quorate_storage::cold_start::{ColdStartReport, start_commit};
use quorate_storage::identity::ReplicaPaths;
use quorate_storage::log::LogStore;
use quorate_storage::snapshot::{SnapshotDir, SnapshotToken, SpoolLimits};
use quorate_storage::state::{AppliedRecord, StateMachine};
use quorate_storage::{Entry, Incarnation, NodeId, ReplicaId};
use quorate_telemetry::stats::GroupState;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::actor::budget::Budget;
use crate::actor::compaction::Followers;
use crate::actor::consistency::DigestServer;
use crate::actor::handle::{GroupHandle, Inner};
use crate::actor::label::LabelReader;
use crate::actor::mailbox::{Event, Mailbox};
use crate::actor::pending::Pending;
use crate::actor::publish::Publisher;
use crate::actor::publish_trigger::Trigger;
use crate::actor::reads::Reads;
use crate::actor::run::{Actor, Core, Office, Timers};
use crate::actor::shared::Shared;
use crate::actor::snapshot_receive::{ReceiverIdentity, SnapshotReceiver};
use crate::actor::snapshot_send::Transfers;
use crate::actor::spec::{GroupConfig, GroupDeps, StartSpec};
use crate::actor::start::StartError;
use crate::actor::status::{GroupStatus, Lifecycle};
use crate::actor::time::GroupTime;
use crate::actor::upkeep::Upkeep;
use crate::actor::waiting::Waiting;
use crate::applier::{Applier, ApplierParts};
use crate::core::{CoreConfig, Group, Role, Start};
use crate::log_writer::LogWriter;
use crate::repair::LogServer;

/// Names the stream that upkeep is timed by: when it is due must not decide anything else that is drawn.
const UPKEEP: u64 = 0x75_70;

/// Everything that was found on disk, after the cold-start gate.
#[derive(Debug)]
pub struct Opened {
    /// This replica.
    pub replica: ReplicaId,
    /// Its directory.
    pub incarnation: Incarnation,
    /// Its log.
    pub log: Box<dyn LogStore>,
    /// Its state machine.
    pub machine: Box<dyn StateMachine>,
    /// What the state machine holds: the floor.
    pub record: AppliedRecord,
    /// Where its snapshots are.
    pub snapshots: SnapshotDir,
    /// Usable ones, oldest first.
    pub tokens: Vec<SnapshotToken>,
    /// The last entries of the log.
    pub tail: Vec<Entry>,
    /// Why the replica has to wait for a snapshot of another one, if it has to: then `record` names the log's base, and
    /// no membership.
    pub waits: Option<Arc<str>>,
    /// Where the group's replicas live, as far as the descriptor at the floor does not say.
    pub addresses: BTreeMap<ReplicaId, NodeId>,
    /// A snapshot was put aside as damaged: another one is needed.
    pub must_publish: bool,
    /// What the start tells of itself once it has succeeded; `None` if it has to wait.
    pub report: Option<ColdStartReport>,
}

impl Opened {
    /// What a core of this replica starts from. Its snapshot's label is read once the group runs: a start reads nothing
    /// of a snapshot that it does not need.
    pub fn start(&self, config: CoreConfig, seed: u64) -> Start {
        let recovered = self.log.recovered();
        Start {
            descriptor: self.record.descriptor.clone(),
            replica: self.replica,
            incarnation: self.incarnation,
            conf_state: self.record.conf_state.clone(),
            hard_state: recovered.hard_state,
            skeleton: recovered.skeleton.clone(),
            floor: self.record.applied,
            is_waiting: self.waits.is_some(),
            tail: self.tail.clone(),
            snapshot: None,
            seed,
            config,
        }
    }
}

/// Starts the core and spawns the actor.
pub(crate) fn launch(
    deps: Arc<GroupDeps>,
    spec: StartSpec,
    opened: Opened,
) -> Result<GroupHandle, StartError> {
    // A stream for each start: proposal ids of two starts must never be equal.
    let rng = deps.rng.stream(deps.rng.next_u64());
    let core = open_core(&spec, &opened, rng.next_u64())?;
    let shared = shared(&deps, &spec, &opened, core.role());
    let (event_sender, events) = mpsc::unbounded_channel();
    let (request_sender, requests) = mpsc::unbounded_channel();
    let receiver = receiver(&deps, &spec, &opened, &shared);
    let log_server = Arc::new(LogServer::new(Arc::clone(&deps.workers.read)));
    log_server.open(opened.log.reader());
    let handle = GroupHandle::new(Inner {
        shared: Arc::clone(&shared),
        requests: request_sender,
        events: event_sender.clone(),
        machines: Arc::clone(&deps.machines),
        space: Arc::clone(&deps.space),
        receiver: Some(Arc::clone(&receiver)),
        log: log_server,
        digests: OnceLock::new(),
        command_bytes_max: spec.config.command_bytes_max,
        backlog_bytes_max: spec.config.backlog_bytes_max,
        stream: rng.next_u64(),
        sequence: AtomicU64::new(0),
    });

    let Opened { replica, log, machine, record, snapshots, tokens, addresses, waits, must_publish, .. } =
        opened;
    let log_reader = log.reader();
    let log = log_writer(&deps, log, &shared, event_sender.clone());
    let parts = applier_parts(&deps, &spec, &shared, &snapshots, event_sender.clone());
    let now = deps.clock.monotonic();
    let trigger = Trigger::new(spec.config.snapshots.clone(), now, rng.as_ref());
    let trigger = if must_publish { trigger.forced() } else { trigger };
    let reader = LabelReader { group: spec.group, dir: snapshots.clone(), record: record.clone() };
    reader.read(deps.workers.background.as_ref(), tokens.clone(), event_sender.clone());
    let publisher = Publisher::new(snapshots, tokens, trigger);
    let office = office(&spec, &record, replica);
    let start_applier = if waits.is_some() { Applier::waiting } else { Applier::new };
    let applier = start_applier(machine, record, parts);
    let digests = Arc::new(DigestServer::new(applier.clone(), Arc::clone(&shared)));
    handle.serve_digests(&digests);
    let actor = Actor {
        applier,
        waiting: waits.map(|_reason| Waiting::new()),
        replica,
        paths: ReplicaPaths::new(spec.dir.clone()),
        upkeep: Upkeep::new(spec.config.background, digests, now, rng.stream(UPKEEP).as_ref()),
        divergence: None,
        core: Core(Box::new(core)),
        mailbox: Mailbox { events, requests },
        events: event_sender,
        log,
        log_reader,
        receiver,
        publisher,
        followers: Followers::default(),
        transfers: Transfers::default(),
        pending: Pending::default(),
        reads: Reads::default(),
        time: GroupTime::default(),
        addresses,
        tasks: JoinSet::new(),
        timers: Timers::new(spec.config.tick, office, rng.as_ref()),
        inputs: Vec::new(),
        ending: None,
        stopping: None,
        config: spec.config,
        shared,
        rng,
        deps,
    };
    tokio::spawn(actor.run());
    Ok(handle)
}

fn log_writer(
    deps: &GroupDeps,
    log: Box<dyn LogStore>,
    shared: &Arc<Shared>,
    events: mpsc::UnboundedSender<Event>,
) -> LogWriter {
    LogWriter::new(log, Arc::clone(shared), deps, events)
}

/// Who campaigns without waiting for an election timeout. An only voter has nobody to ask, and tries again as soon as
/// it has applied what it had; the first voter of a new group may have to wait for the others to be there.
fn office(spec: &StartSpec, record: &AppliedRecord, replica: ReplicaId) -> Option<Office> {
    let voters = &record.conf_state.voters;
    if voters.as_slice() == [replica] && !record.conf_state.is_joint() {
        return Some(Office { next_ticks: 0, every_ticks: 0 });
    }
    let every_ticks = spec.config.core.election_ticks_min / 2;
    spec.campaigns_at_once.then_some(Office { next_ticks: 0, every_ticks })
}

fn open_core(spec: &StartSpec, opened: &Opened, seed: u64) -> Result<Group, StartError> {
    let start = opened.start(spec.config.core, seed);
    Group::open(start).map_err(|refused| StartError::Core { group: spec.group, refused })
}

fn shared(deps: &GroupDeps, spec: &StartSpec, opened: &Opened, role: Role) -> Arc<Shared> {
    let recovered = opened.log.recovered();
    let replay_through = start_commit(recovered.hard_state.commit, opened.record.applied.index);
    spec.stats.set_state(match &opened.waits {
        Some(_) => GroupState::Waiting,
        None if opened.record.applied.index < replay_through => GroupState::Replaying,
        None => GroupState::NoLeader,
    });
    let status = GroupStatus {
        group: spec.group,
        replica: opened.replica,
        incarnation: opened.incarnation,
        node: deps.node,
        lifecycle: opened.waits.clone().map_or(Lifecycle::Running, Lifecycle::Waiting),
        role,
        first: recovered.skeleton.first(),
        applied: opened.record.applied.index,
        commit: replay_through,
        replay_through,
        last: recovered.skeleton.last,
        peers: Vec::new(),
        snapshot: opened.tokens.last().map(|token| token.id),
        hlc_ceiling: opened.record.hlc_ceiling,
        descriptor: Arc::new(opened.record.descriptor.clone()),
        is_log_stalled: false,
        is_apply_stalled: false,
        last_scrub: None,
        last_check: None,
    };
    spec.stats.snapshots.waits.add(u64::from(opened.waits.is_some()));
    let GroupConfig { mailbox_inputs_max, mailbox_bytes_max, core, .. } = &spec.config;
    // A follower must have room for everything a leader sends without an answer: dropped appends are sent again.
    let appends_bytes = core.append_bytes_max.saturating_mul(core.append_inflight_max as u64);
    let requests = Budget::new(*mailbox_inputs_max, *mailbox_bytes_max);
    let messages = Budget::new(*mailbox_inputs_max, appends_bytes.max(*mailbox_bytes_max));
    Shared::new(status, (requests, messages), Arc::clone(&spec.stats))
}

fn receiver(
    deps: &Arc<GroupDeps>,
    spec: &StartSpec,
    opened: &Opened,
    shared: &Arc<Shared>,
) -> Arc<SnapshotReceiver> {
    let uid = opened.record.descriptor.uid;
    let identity = ReceiverIdentity { group: spec.group, uid, incarnation: opened.incarnation };
    let limits = SpoolLimits {
        file_bytes_max: spec.config.snapshots.file_bytes_max,
        reserve_bytes: spec.config.snapshots.reserve_bytes,
    };
    let bounds = (limits, spec.config.snapshots.send_deadline);
    SnapshotReceiver::new(identity, opened.snapshots.clone(), bounds, Arc::clone(deps), Arc::clone(shared))
}

fn applier_parts(
    deps: &GroupDeps,
    spec: &StartSpec,
    shared: &Arc<Shared>,
    snapshots: &SnapshotDir,
    events: mpsc::UnboundedSender<Event>,
) -> ApplierParts {
    let snapshots = snapshots.clone();
    ApplierParts {
        shared: Arc::clone(shared),
        workers: Arc::clone(&deps.workers.apply),
        clock: Arc::clone(&deps.clock),
        node_stats: Arc::clone(&deps.stats),
        events,
        open_snapshot: Arc::new(move |token| Ok(Box::new(snapshots.reader(*token)?))),
        listener: spec.listener.clone(),
        unsealer: Arc::clone(&deps.unsealer),
        bytes_max: spec.config.apply_bytes_max,
        entries_max: spec.config.apply_entries_max,
    }
}
