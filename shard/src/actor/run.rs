//! The actor's loop: wait, gather everything that has arrived, feed the core, drain it once, hand its outputs on.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use quorate_storage::identity::{Divergence, ReplicaPaths};
use quorate_storage::log::LogReader;
use quorate_storage::{NodeId, ReplicaId};
use quorate_telemetry::Rng;
use quorate_telemetry::stats::QuarantineReason;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use crate::actor::compaction::Followers;
use crate::actor::ending::Ending;
use crate::actor::mailbox::{Event, Mailbox, Queued};
use crate::actor::pending::Pending;
use crate::actor::publish::Publisher;
use crate::actor::quarantine::{Failure, Quarantine, Remedy};
use crate::actor::reads::Reads;
use crate::actor::shared::Shared;
use crate::actor::snapshot_receive::SnapshotReceiver;
use crate::actor::snapshot_send::Transfers;
use crate::actor::spec::{GroupConfig, GroupDeps};
use crate::actor::time::GroupTime;
use crate::actor::upkeep::Upkeep;
use crate::actor::waiting::Waiting;
use crate::applier::Applier;
use crate::core::{Group, Input};
use crate::log_writer::LogWriter;

/// Most events, and most requests, of one batch. More wait for the next.
const BATCH_MAX: usize = 1_024;

/// A group while it runs. Everything it owns ends with it.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) deps: Arc<GroupDeps>,
    pub(crate) config: GroupConfig,
    pub(crate) shared: Arc<Shared>,
    pub(crate) replica: ReplicaId,
    pub(crate) paths: ReplicaPaths,
    pub(crate) core: Core,
    pub(crate) mailbox: Mailbox,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) log: LogWriter,
    pub(crate) log_reader: Arc<dyn LogReader>,
    pub(crate) applier: Applier,
    pub(crate) receiver: Arc<SnapshotReceiver>,
    pub(crate) publisher: Publisher,
    pub(crate) followers: Followers,
    pub(crate) transfers: Transfers,
    /// How it comes by the snapshot it waits for, if it does.
    pub(crate) waiting: Option<Waiting>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) pending: Pending,
    pub(crate) reads: Reads,
    pub(crate) time: GroupTime,
    /// Where replicas live that the descriptor does not (yet) name.
    pub(crate) addresses: BTreeMap<ReplicaId, NodeId>,
    pub(crate) upkeep: Upkeep,
    /// Set when this replica is quarantined for it; the last thing it does is to write it down.
    pub(crate) divergence: Option<Divergence>,
    /// Snapshot transfers, publishing, scans, rebuilds and checks under way.
    pub(crate) tasks: JoinSet<()>,
    pub(crate) timers: Timers,
    pub(crate) inputs: Vec<Input>,
    pub(crate) ending: Option<Ending>,
    pub(crate) stopping: Option<Stopping>,
}

/// Takes the group out of service if the actor itself panics: its task just ends then.
#[derive(Debug)]
struct PanicGuard(Arc<Shared>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let counted = (QuarantineReason::Panic, Remedy::Repair);
            self.0.quarantine(Quarantine::new(counted, "panic in the actor", None));
        }
    }
}

/// The group's core; its `Debug` says nothing, because raft-rs's has no end.
pub(crate) struct Core(pub(crate) Box<Group>);

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Core")
    }
}

/// A graceful stop under way.
#[derive(Debug)]
pub(crate) struct Stopping {
    pub(crate) deadline: Instant,
    /// Leadership is being handed over: the stop waits until somebody has it.
    pub(crate) waits_for_heir: bool,
    pub(crate) done: Vec<oneshot::Sender<()>>,
}

/// What the actor waits for besides its mailbox.
#[derive(Debug)]
pub(crate) struct Timers {
    ticks: Interval,
    /// When the idle tail of the log is to be proven.
    pub(crate) proof_at: Option<Instant>,
    /// The highest ready that was handed to the log writer, and the highest that is durable.
    pub(crate) handed_ready: u64,
    pub(crate) durable_ready: u64,
    /// Ticks for which a log write or an apply batch has hung.
    pub(crate) stalled_ticks: u32,
    /// How this replica seeks to lead before its first election timeout, if it does.
    pub(crate) office: Option<Office>,
}

/// Seeks to lead until any leader is known: the first voter of a new group, and whoever is its group's only voter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Office {
    /// Ticks until the next campaign.
    pub(crate) next_ticks: u32,
    /// Ticks between campaigns: the others may not be there yet.
    pub(crate) every_ticks: u32,
}

impl Timers {
    /// Ticks begin at a random phase: groups started together do not tick together.
    pub(crate) fn new(tick: Duration, office: Option<Office>, rng: &dyn Rng) -> Self {
        let phase_us = rng.below(u64::try_from(tick.as_micros()).unwrap_or(u64::MAX).max(1));
        let mut ticks = interval_at(Instant::now() + Duration::from_micros(phase_us), tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self { ticks, proof_at: None, handed_ready: 0, durable_ready: 0, stalled_ticks: 0, office }
    }
}

impl Actor {
    /// Runs until the group is stopped or quarantined.
    pub(crate) async fn run(mut self) {
        // Dropped before the actor is: the reason stands before anyone's way to an answer is gone.
        let _guard = PanicGuard(Arc::clone(&self.shared));
        let mut events = Vec::with_capacity(BATCH_MAX);
        let mut requests = Vec::with_capacity(BATCH_MAX);
        loop {
            self.wait(&mut events, &mut requests).await;
            self.gather(&mut events, &mut requests);
            self.turn(&mut events, &mut requests);
            if let Some(ending) = self.ending.take() {
                return self.end(ending).await;
            }
        }
    }

    /// Waits for whatever comes first. Ticks first: they are rare, and an actor under load must not forget time.
    async fn wait(&mut self, events: &mut Vec<Event>, requests: &mut Vec<Queued>) {
        let takes_requests = self.takes_requests();
        let far = Instant::now() + Duration::from_secs(3_600);
        let (proof_at, stop_at) = (self.timers.proof_at, self.stopping.as_ref().map(|stop| stop.deadline));
        tokio::select! {
            biased;
            _ = self.timers.ticks.tick() => self.on_tick(),
            _ = self.mailbox.events.recv_many(events, BATCH_MAX) => {}
            () = sleep_until(stop_at.unwrap_or(far)), if stop_at.is_some() => {
                self.ending = Some(Ending::Stopped { clean: false });
            }
            () = sleep_until(proof_at.unwrap_or(far)), if proof_at.is_some() => {
                self.timers.proof_at = None;
                self.log.prove();
            }
            taken = self.mailbox.requests.recv_many(requests, BATCH_MAX), if takes_requests => {
                if taken == 0 {
                    // No handle is left: nobody can ask for anything, or stop it, any more.
                    self.ending = Some(Ending::Stopped { clean: false });
                }
            }
        }
    }

    /// Takes what else has arrived, up to the batch bounds.
    fn gather(&mut self, events: &mut Vec<Event>, requests: &mut Vec<Queued>) {
        while events.len() < BATCH_MAX
            && let Ok(event) = self.mailbox.events.try_recv()
        {
            events.push(event);
        }
        while self.takes_requests()
            && requests.len() < BATCH_MAX
            && let Ok(queued) = self.mailbox.requests.try_recv()
        {
            requests.push(queued);
        }
    }

    /// Requests wait in the bounded mailbox while log writer and applier are behind.
    fn takes_requests(&self) -> bool {
        self.shared.backlog_bytes() <= self.config.backlog_bytes_max
    }

    /// One batch.
    fn turn(&mut self, events: &mut Vec<Event>, requests: &mut Vec<Queued>) {
        for event in events.drain(..) {
            self.on_event(event);
        }
        for Queued { request, permit } in requests.drain(..) {
            drop(permit);
            self.on_request(request);
        }
        if self.ending.is_some() {
            return;
        }
        self.begin_barrier();
        self.tend_time();
        self.run_core();
        if self.tend_time() {
            self.run_core();
        }
        self.serve_reads();
        self.publish_if_due();
        self.check_drained();
    }

    fn run_core(&mut self) {
        if self.inputs.is_empty() {
            return;
        }
        let (core, inputs) = (&mut self.core.0, &mut self.inputs);
        let step = AssertUnwindSafe(|| {
            for input in inputs.drain(..) {
                core.feed(input);
            }
            core.drain()
        });
        match catch_unwind(step) {
            Ok(output) => self.dispatch(output),
            Err(panic) => self.quarantine(&Failure::panic("core", panic.as_ref())),
        }
    }

    fn on_tick(&mut self) {
        self.note_clock();
        self.inputs.push(Input::Tick);
        self.seek_office();
        // Ended tasks would be kept until somebody looks.
        while self.tasks.try_join_next().is_some() {}
        self.check_stall();
        self.note_status();
        self.note_followers();
        self.look_at_log();
        self.seek_snapshot();
        self.receiver.expire();
        self.scrub_if_due();
        self.check_if_due();
        self.look_at_store_if_due();
    }
}
