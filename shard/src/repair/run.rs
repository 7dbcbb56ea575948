//! Repairs a log, outside of raft, until it is whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_storage::{NodeId, ReplicaDescriptor, ReplicaId};
use tokio::sync::{mpsc, oneshot};

use super::LogServer;
use super::check::Damage;
use super::fetch::ask;
use super::judge::Verdict;
use super::steps::RepairSteps;
use super::wire::{EntriesAnswer, EntriesQuestion};
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
        let mut steps = self.open().await?;
        self.server.open(steps.reader());
        let mut pause = PAUSE_MIN;
        while !steps.is_whole() {
            let answers = self.ask(steps.question()).await?;
            let verdict = steps.judge(&answers);
            if let Some(index) = verdict.diverged {
                tracing::error!(group = %self.spec.group, %index, "another entry is committed elsewhere");
                return Err(Halt::Failed(self.refused("diverged")));
            }
            if verdict == Verdict::default() {
                self.tell_waiting(&steps, &answers);
                self.pause(pause).await?;
                pause = (2 * pause).min(PAUSE_MAX);
                continue;
            }
            pause = PAUSE_MIN;
            steps = self.carry_out(steps, verdict, answers).await?;
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<RepairSteps, Halt> {
        let (deps, spec, damage) = (Arc::clone(&self.deps), self.spec.clone(), self.damage.clone());
        self.on_worker(move || RepairSteps::open(&deps, &spec, damage)).await
    }

    /// The others' answers to the first of what is missing.
    async fn ask(&mut self, question: EntriesQuestion) -> Result<Vec<EntriesAnswer>, Halt> {
        let asking = ask(&self.deps.outbound, &self.others, &question, ASK_TIMEOUT);
        tokio::select! {
            biased;
            done = stopped(&mut self.events) => Err(Halt::Stopped(done)),
            answers = asking => Ok(answers),
        }
    }

    async fn carry_out(
        &mut self,
        mut steps: RepairSteps,
        verdict: Verdict,
        answers: Vec<EntriesAnswer>,
    ) -> Result<RepairSteps, Halt> {
        let stats = Arc::clone(&self.spec.stats);
        let write = move || {
            let done = steps.carry_out(verdict, &answers)?;
            stats.log.repaired_entries.add(done.repaired);
            stats.log.dropped_entries.add(done.dropped);
            Ok(steps)
        };
        self.on_worker(write).await
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
    fn tell_waiting(&self, steps: &RepairSteps, answers: &[EntriesAnswer]) {
        let hint = if answers.is_empty() {
            "no other replica answers"
        } else if answers.iter().all(EntriesAnswer::has_compacted) {
            "the other replicas have compacted them: replace this replica"
        } else {
            "no other replica that answers can tell"
        };
        let reason =
            format!("{}; {hint} ({} of {} answered)", steps.damage(), answers.len(), self.others.len());
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
