//! The shell of one replica: what the actor is in production, in a loop that somebody else turns. It feeds the real core,
//! and carries out what that says, in its order, on the real log, state machine and snapshots.

mod applying;
mod dispatch;
mod failure;
mod installing;
mod logging;
mod publishing;
mod sending;
mod time;
mod waiting;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use quorate_shard::actor::GroupConfig;
use quorate_shard::core::{Group, Input, Role, Ticket};
use quorate_shard::shell::Opened;
use quorate_storage::log::{LogReader, LogSkeleton, LogStore};
use quorate_storage::snapshot::SnapshotDir;
use quorate_storage::state::{AppliedRecord, StateMachine, StateReader};
use quorate_storage::{ConfChange, Incarnation, Index, ReplicaId};
use quorate_telemetry::Rng;

use super::client::{Answer, Asked};
use super::ctx::Ctx;
use super::event::{Job, NodeAt, Place};
use super::invariants::Who;
use applying::ApplyWork;
use installing::Receiving;
use logging::LogWork;
use publishing::{Publisher, Publishing};
use sending::Transfers;
use time::GroupTime;
use waiting::Waiting;

pub(crate) use failure::Failure;

/// One replica while it runs.
pub(crate) struct Replica {
    pub(crate) place: Place,
    pub(crate) id: ReplicaId,
    pub(crate) incarnation: Incarnation,
    core: Group,
    config: Arc<GroupConfig>,
    rng: Arc<dyn Rng>,
    log: Box<dyn LogStore>,
    log_reader: Arc<dyn LogReader>,
    log_queue: Vec<LogWork>,
    is_logging: bool,
    log_jobs: u64,
    /// Bounds and terms of the log, as it was handed to the log writer.
    handed: LogSkeleton,
    /// Where the log ends that the log writer has written.
    durable_last: Index,
    machine: Box<dyn StateMachine>,
    reader: Arc<dyn StateReader>,
    /// What the state machine holds.
    record: AppliedRecord,
    apply_queue: VecDeque<ApplyWork>,
    is_applying: bool,
    snapshots: SnapshotDir,
    publisher: Publisher,
    publishing: Option<Publishing>,
    receiving: Receiving,
    transfers: Transfers,
    waiting: Option<Waiting>,
    inputs: VecDeque<Input>,
    tickets: u64,
    callers: HashMap<Ticket, Caller>,
    /// Reads whose round has held, and the index they wait for.
    reads: Vec<(Index, Asked)>,
    /// Where replicas live that the descriptor does not name.
    addresses: BTreeMap<ReplicaId, NodeAt>,
    role: Option<Role>,
    time: GroupTime,
    /// What became of the last change of membership that was asked for here.
    pub(crate) conf_outcome: Option<ConfOutcome>,
}

/// Who waits for the end of something.
#[derive(Debug)]
enum Caller {
    Write(Asked),
    Read(Asked),
    /// Whoever changes the membership.
    ConfChange,
    Transfer,
}

/// How a change of membership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfOutcome {
    Done,
    Refused,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("place", &self.place).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Replica {
    /// Takes over what a start has opened.
    ///
    /// # Errors
    /// The core refuses to start on it.
    pub(crate) fn launch(
        ctx: &mut Ctx,
        (place, config, rng): (Place, Arc<GroupConfig>, Arc<dyn Rng>),
        opened: Opened,
    ) -> Result<Self, Failure> {
        let core = Group::open(opened.start(config.core, rng.next_u64())).map_err(Failure::Start)?;
        let Opened {
            replica, incarnation, log, machine, record, snapshots, tokens, must_publish, waits, ..
        } = opened;
        let waiting = waits.is_some().then(Waiting::default);
        // Of one that waits, nothing is applied yet: a snapshot at the very base of its log is new to it.
        let record = if waiting.is_some() {
            AppliedRecord { applied: quorate_storage::EntryId::default(), ..record }
        } else {
            record
        };
        let replica = Self {
            place,
            id: replica,
            incarnation,
            core,
            rng,
            log_reader: log.reader(),
            handed: log.recovered().skeleton.clone(),
            durable_last: log.recovered().skeleton.last,
            log,
            log_queue: Vec::new(),
            is_logging: false,
            log_jobs: 0,
            reader: machine.reader(),
            machine,
            record,
            apply_queue: VecDeque::new(),
            is_applying: false,
            snapshots,
            publisher: Publisher::new(&config, tokens, must_publish),
            config,
            publishing: None,
            receiving: Receiving::default(),
            transfers: Transfers::default(),
            waiting,
            inputs: VecDeque::new(),
            tickets: 0,
            callers: HashMap::new(),
            reads: Vec::new(),
            addresses: BTreeMap::new(),
            role: None,
            time: GroupTime::default(),
            conf_outcome: None,
        };
        ctx.submit(place, Job::Label);
        Ok(replica)
    }

    /// For laws.
    pub(crate) fn who(&self) -> Who {
        (self.place.group, self.id)
    }

    pub(crate) fn core(&self) -> &Group {
        &self.core
    }

    /// The last entry its state machine holds.
    pub(crate) fn record(&self) -> &AppliedRecord {
        &self.record
    }

    pub(crate) fn machine(&self) -> &dyn StateMachine {
        self.machine.as_ref()
    }

    /// Whether it waits for a snapshot.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether it leads and takes proposals.
    pub(crate) fn is_serving(&self) -> bool {
        self.core.role().is_serving
    }

    /// Feeds the core and carries out what it says, until that leads to nothing more.
    pub(crate) fn feed(&mut self, ctx: &mut Ctx, input: Input) -> Result<(), Failure> {
        self.inputs.push_back(input);
        while !self.inputs.is_empty() {
            while let Some(input) = self.inputs.pop_front() {
                self.core.feed(input);
            }
            let output = self.core.drain();
            self.dispatch(ctx, output)?;
        }
        Ok(())
    }

    /// A tick of its node's clock.
    pub(crate) fn tick(&mut self, ctx: &mut Ctx) -> Result<(), Failure> {
        self.feed(ctx, Input::Tick)?;
        self.look_at_transfers(ctx)?;
        self.seek_snapshot(ctx);
        self.publish_if_due(ctx);
        Ok(())
    }

    /// A client's request.
    pub(crate) fn ask(&mut self, ctx: &mut Ctx, asked: Asked) -> Result<(), Failure> {
        let ticket = self.ticket();
        let input = if let Some(payload) = asked.payload(self.core.descriptor().range_epoch) {
            self.callers.insert(ticket, Caller::Write(asked));
            Input::Propose { ticket, payload }
        } else {
            self.callers.insert(ticket, Caller::Read(asked));
            Input::Read { ticket }
        };
        self.feed(ctx, input)
    }

    /// A change of membership; its end shows in [`Replica::conf_outcome`].
    pub(crate) fn change(&mut self, ctx: &mut Ctx, change: ConfChange) -> Result<(), Failure> {
        let ticket = self.ticket();
        self.conf_outcome = None;
        self.callers.insert(ticket, Caller::ConfChange);
        self.feed(ctx, Input::ProposeConfChange { ticket, change })
    }

    /// Hands leadership over.
    pub(crate) fn hand_over(&mut self, ctx: &mut Ctx, to: ReplicaId) -> Result<(), Failure> {
        let ticket = self.ticket();
        self.callers.insert(ticket, Caller::Transfer);
        self.feed(ctx, Input::Transfer { ticket, to })
    }

    /// A worker has come to a job of this replica.
    pub(crate) fn work(&mut self, ctx: &mut Ctx, job: Job) -> Result<(), Failure> {
        match job {
            Job::Log => self.write_log(ctx),
            Job::Prove { after } => self.prove_log(after),
            Job::Apply => self.apply_some(ctx),
            Job::Fetch(fetch) => self.fetch(ctx, fetch),
            Job::Publish => self.publish_step(ctx),
            Job::Label => self.read_label(ctx),
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn refuse(ctx: &mut Ctx, asked: &Asked, hint: Option<NodeAt>) {
        if asked.action.is_write() {
            let checked = ctx.laws.outcomes.refused((asked.group, asked.proposal()));
            ctx.uphold(checked);
        }
        ctx.answer(asked.client, asked.attempt, Answer::Refused { hint });
    }
}
