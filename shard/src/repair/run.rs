//! Repairs a log, outside of raft, until it is whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_storage::identity::ReplicaPaths;
use quorate_storage::log::{LogPlace, LogStore, SegmentedLog, UnreadableEntry};
use quorate_storage::{HardState, NodeId, ReplicaDescriptor, ReplicaId};
use tokio::sync::{mpsc, oneshot};

use super::LogServer;
use super::check::Damage;
use super::fetch::ask;
use super::judge::{Case, Verdict};
use super::wire::{ASKED_MAX, EntriesAnswer, EntriesQuestion, Found};
use crate::actor::mailbox::Event;
use crate::actor::quarantine::Quarantine;
use crate::actor::shared::Shared;
use crate::actor::start::run;
use crate::actor::{GroupDeps, GroupHandle, Lifecycle, StartError, StartSpec};

/// For one question.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// Pauses between questions that did not help, doubled from the first to the second.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A log that is to be repaired. It is served to other replicas meanwhile, and nothing else is.
#[derive(Debug)]
pub struct Repair {
    deps: Arc<GroupDeps>,
    spec: StartSpec,
    damage: Damage,
    others: BTreeMap<ReplicaId, NodeId>,
    shared: Arc<Shared>,
    server: Arc<LogServer>,
    events: mpsc::UnboundedReceiver<Event>,
}

/// How a repair ended.
#[derive(Clone, Debug)]
pub enum Repaired {
    /// Every entry is readable: the group can be started.
    Whole,
    /// It was stopped.
    Stopped,
    /// It cannot be repaired: the group is quarantined.
    Failed(StartError),
}

/// Why the repair is left before the log is whole.
enum Halt {
    Stopped(oneshot::Sender<()>),
    Failed(StartError),
}

impl Repair {
    /// Begins to repair what a start found ([`StartError::Unreadable`]). `known` are the group's replicas as far as
    /// anybody else knows them: they are asked, too. The handle stands in for the group until [`Repair::run`] has
    /// returned: whatever is asked of it ends as quarantined, but other replicas are helped.
    pub fn begin(
        deps: Arc<GroupDeps>,
        spec: StartSpec,
        damage: Damage,
        known: &[ReplicaDescriptor],
    ) -> (GroupHandle, Self) {
        let (handle, events) = GroupHandle::repairing(&deps, &spec, &damage);
        let (shared, server) = (Arc::clone(&handle.inner().shared), Arc::clone(&handle.inner().log));
        let others = damage.descriptor.replicas.iter().chain(known);
        let others = others.filter(|other| other.replica != damage.replica);
        let others = others.map(|other| (other.replica, other.node)).collect();
        (handle, Self { deps, spec, damage, others, shared, server, events })
    }

    /// Repairs. Asks as long as it takes, with growing pauses; ends early only when the handle is stopped, or when
    /// the log turns out not to be repairable.
    pub async fn run(mut self) -> Repaired {
        let group = self.spec.group;
        tracing::warn!(%group, damage = %self.damage, "log is being repaired");
        let outcome = self.repair().await;
        self.server.close();
        match outcome {
            Ok(()) => {
                tracing::info!(%group, "log is whole again");
                self.shared.set_lifecycle(Lifecycle::Stopped);
                Repaired::Whole
            }
            Err(Halt::Stopped(done)) => {
                self.shared.set_lifecycle(Lifecycle::Stopped);
                let _ = done.send(());
                Repaired::Stopped
            }
            Err(Halt::Failed(error)) => {
                tracing::error!(%group, %error, "log cannot be repaired");
                self.shared.quarantine(Quarantine::from(&error));
                Repaired::Failed(error)
            }
        }
    }

    async fn repair(&mut self) -> Result<(), Halt> {
        let mut log = self.open().await?;
        self.server.open(log.reader());
        let mut pause = PAUSE_MIN;
        while !self.damage.missing.is_empty() {
            let answers = self.ask().await?;
            let verdict = self.judge(&log, &answers);
            if let Some(index) = verdict.diverged {
                tracing::error!(group = %self.spec.group, %index, "another entry is committed elsewhere");
                return Err(Halt::Failed(self.refused("diverged")));
            }
            if verdict == Verdict::default() {
                self.tell_waiting(&answers);
                self.pause(pause).await?;
                pause = (2 * pause).min(PAUSE_MAX);
                continue;
            }
            pause = PAUSE_MIN;
            log = self.carry_out(log, verdict, &answers).await?;
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<SegmentedLog, Halt> {
        let (deps, spec, damage) = (Arc::clone(&self.deps), self.spec.clone(), self.damage.clone());
        let open = move || {
            let owner = quorate_storage::identity::FileOwner {
                group: damage.descriptor.uid,
                replica: damage.replica,
                incarnation: damage.incarnation,
            };
            let dir = ReplicaPaths::new(spec.dir.clone()).wal();
            let rng = deps.rng.stream(deps.rng.next_u64());
            let place = LogPlace { disk: Arc::clone(&deps.disk), dir, owner, rng };
            SegmentedLog::open(place, spec.config.log)
        };
        self.on_worker(open).await
    }

    /// The others' answers to the first of what is missing.
    async fn ask(&mut self) -> Result<Vec<EntriesAnswer>, Halt> {
        let question = EntriesQuestion {
            group: self.spec.group,
            uid: self.damage.descriptor.uid,
            replica: self.damage.replica,
            incarnation: self.damage.incarnation,
            asked: self.damage.missing.iter().take(ASKED_MAX).map(|missing| missing.id).collect(),
        };
        let asking = ask(&self.deps.outbound, &self.others, &question, ASK_TIMEOUT);
        tokio::select! {
            biased;
            done = stopped(&mut self.events) => Err(Halt::Stopped(done)),
            answers = asking => Ok(answers),
        }
    }

    fn judge(&self, log: &SegmentedLog, answers: &[EntriesAnswer]) -> Verdict {
        let Damage { replica, conf_state, floor, missing, .. } = &self.damage;
        let changes = &log.recovered().skeleton.conf_changes;
        let is_certain = !conf_state.is_joint() && changes.iter().all(|index| index <= floor);
        let others: Vec<ReplicaId> =
            conf_state.voters.iter().copied().filter(|voter| voter != replica).collect();
        let case = Case {
            other_voters: is_certain.then_some(others.as_slice()),
            hard_state: log.reader().hard_state(),
            missing: &missing[..missing.len().min(ASKED_MAX)],
        };
        case.judge(answers)
    }

    async fn carry_out(
        &mut self,
        mut log: SegmentedLog,
        verdict: Verdict,
        answers: &[EntriesAnswer],
    ) -> Result<SegmentedLog, Halt> {
        let Verdict { repaired, drop_from, .. } = verdict;
        let (floor, now) = (self.damage.floor, log.reader().hard_state());
        let term = answers.iter().map(|answer| answer.term).fold(now.term, Ord::max);
        let vote = now.vote.filter(|_| term == now.term);
        let hard_state = HardState { term, vote, ..now };
        let stats = Arc::clone(&self.spec.stats);
        let write = move || {
            let count = repaired.len() as u64;
            if count > 0 {
                log.repair(repaired)?;
                stats.log.repaired_entries.add(count);
            }
            let mut end = log.last();
            if let Some(from) = drop_from {
                log.drop_from(from, hard_state)?;
                stats.log.dropped_entries.add(end.get() - from.prev().get());
                end = from.prev();
            }
            let missing = log.unreadable(floor.next(), end.next())?;
            Ok((log, missing))
        };
        let (log, missing): (SegmentedLog, Vec<UnreadableEntry>) = self.on_worker(write).await?;
        self.damage.missing = missing;
        Ok(log)
    }

    async fn on_worker<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> quorate_storage::Result<T> + Send + 'static,
    ) -> Result<T, Halt> {
        let group = self.spec.group;
        let job = move || job().map_err(|cause| StartError::Open { group, cause });
        run(self.deps.workers.background.as_ref(), group, job).await.map_err(Halt::Failed)
    }

    async fn pause(&mut self, pause: Duration) -> Result<(), Halt> {
        // The others may have been started together with this one, and wait as long.
        let jitter_us = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        let pause = pause + Duration::from_micros(self.deps.rng.below(jitter_us.max(1)));
        tokio::select! {
            biased;
            done = stopped(&mut self.events) => Err(Halt::Stopped(done)),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    /// Says what it waits for.
    fn tell_waiting(&self, answers: &[EntriesAnswer]) {
        let is_gone = |answer: &EntriesAnswer| answer.found.first() == Some(&Found::Compacted);
        let hint = if answers.is_empty() {
            "no other replica answers"
        } else if answers.iter().all(is_gone) {
            "the other replicas have compacted them: replace this replica"
        } else {
            "no other replica that answers can tell"
        };
        let reason = format!("{}; {hint} ({} of {} answered)", self.damage, answers.len(), self.others.len());
        tracing::debug!(group = %self.spec.group, reason, "repair goes on");
        self.shared.set_lifecycle(Lifecycle::Repairing(Arc::from(reason)));
    }

    fn refused(&self, reason: &'static str) -> StartError {
        StartError::Refused { group: self.spec.group, reason }
    }
}

/// Waits until the handle is stopped; messages are dropped, for this replica takes no part.
async fn stopped(events: &mut mpsc::UnboundedReceiver<Event>) -> oneshot::Sender<()> {
    while let Some(event) = events.recv().await {
        if let Event::Stop { done, .. } = event {
            return done;
        }
    }
    // No handle is left.
    oneshot::channel().0
}
