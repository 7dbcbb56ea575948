//! One look at a store, and its rebuild if it is bloated, on a task of its own.

use std::sync::Arc;

use quorate_storage::Error;
use quorate_storage::state::{
    RebuildFailure, ScanStep, StateBuild, StateMachine, StateReader, StateSize, Switch,
};
use tokio::sync::oneshot;

use super::LookedAt;
use super::bloat::Limit;
use crate::actor::on_worker::{OnWorker, STEP_BYTES};
use crate::actor::shared::Shared;
use crate::actor::spec::GroupDeps;
use crate::applier::{Applier, ApplyWork};

/// What a byte that is built counts: it is read, and written by the store.
const COST: u64 = 2;

/// Most times that the switch finds too much applied meanwhile.
const SWITCHES_MAX: usize = 16;

/// What it works with.
pub(super) struct RebuildJob {
    pub(super) shared: Arc<Shared>,
    pub(super) applier: Applier,
    pub(super) deps: Arc<GroupDeps>,
    pub(super) limit: Limit,
    /// Bytes of the disk that the new store must leave free.
    pub(super) reserve_bytes: u64,
}

type Building = OnWorker<Box<dyn StateBuild>>;

impl RebuildJob {
    pub(super) async fn run(self) -> LookedAt {
        let Ok(Some(before)) = self.measure().await else { return LookedAt::Lean };
        if !self.limit.is_exceeded(before) {
            return LookedAt::Lean;
        }
        let _place = self.deps.snapshots.rebuild().await;
        match self.rebuild().await {
            Ok(()) => {
                let after = self.measure().await.ok().flatten().unwrap_or_default();
                LookedAt::Rebuilt { before, after }
            }
            Err(ended) => ended,
        }
    }

    /// `None` if the state machine cannot tell.
    async fn measure(&self) -> Result<Option<StateSize>, LookedAt> {
        let size = self.visit(|machine| machine.as_rebuild().map(|rebuild| rebuild.size())).await?;
        let size = size.and_then(|size| {
            size.inspect_err(|error| tracing::warn!(group = %self.shared.group, %error, "store not measured"))
                .ok()
        });
        if let Some(StateSize { disk_bytes, live_bytes }) = size {
            self.shared.stats.store.disk_bytes.set(disk_bytes);
            self.shared.stats.store.live_bytes.set(live_bytes);
        }
        Ok(size)
    }

    async fn rebuild(&self) -> Result<(), LookedAt> {
        // Taken before the view: a state that is replaced in between counts as replaced.
        let reader = self.shared.reader();
        let reserve_bytes = self.reserve_bytes;
        let begun = move |machine: &mut dyn StateMachine| {
            machine.as_rebuild().map(|rebuild| rebuild.begin_rebuild(reserve_bytes))
        };
        let Some(begun) = self.visit(begun).await? else { return Err(LookedAt::Interrupted) };
        let build = begun.map_err(|error| self.judge(RebuildFailure::Source(error), reader.as_ref()))?;
        let background = (Arc::clone(&self.deps.workers.background), self.shared.group.get());
        let mut building = OnWorker::new(build, background);
        for _ in 0..SWITCHES_MAX {
            self.build(&mut building, reader.as_ref()).await?;
            match self.switch(&mut building).await? {
                Switch::Switched => return Ok(()),
                Switch::Behind(build) => building.put(build),
                Switch::Abandoned(failure) => return Err(self.judge(failure, reader.as_ref())),
            }
        }
        Err(LookedAt::Overtaken)
    }

    /// In steps, each paid for out of the node's budget, until only the switch is left.
    async fn build(
        &self,
        building: &mut Building,
        reader: Option<&Arc<dyn StateReader>>,
    ) -> Result<(), LookedAt> {
        loop {
            let mut build = building.take();
            let step = move || {
                let step = build.step(STEP_BYTES);
                // One that is of no use goes here, where it may touch the disk.
                step.map(|step| (build, step))
            };
            let (build, ScanStep { bytes, is_done, .. }) =
                self.on_worker(step).await?.map_err(|failure| self.judge(failure, reader))?;
            building.put(build);
            if is_done {
                return Ok(());
            }
            self.deps.snapshots.take_bytes(COST * bytes).await;
        }
    }

    async fn switch(&self, building: &mut Building) -> Result<Switch, LookedAt> {
        let (reply, answer) = oneshot::channel();
        self.applier.push([ApplyWork::Lend { reply }]);
        let lent = answer.await.map_err(|_dropped| LookedAt::Interrupted)?;
        let build = building.take();
        let finish = move |machine: &mut dyn StateMachine| match machine.as_rebuild() {
            Some(rebuild) => rebuild.finish_rebuild(build),
            None => Ok(Switch::Abandoned(RebuildFailure::Superseded)),
        };
        // Without an answer the group is out of service.
        self.on_worker(move || lent.with(finish)).await?.ok_or(LookedAt::Interrupted)
    }

    /// What a failure says of the state there is.
    fn judge(&self, failure: RebuildFailure, reader: Option<&Arc<dyn StateReader>>) -> LookedAt {
        let is_current = match (reader, self.shared.reader()) {
            (Some(then), Some(now)) => Arc::ptr_eq(then, &now),
            _ => false,
        };
        match failure {
            RebuildFailure::Source(error) if error.is_store_failure() && is_current => {
                LookedAt::Rotten(error)
            }
            RebuildFailure::Source(_) | RebuildFailure::Superseded => LookedAt::Interrupted,
            RebuildFailure::Build(Error::Closed { .. }) if !is_current => LookedAt::Interrupted,
            RebuildFailure::Build(error) => LookedAt::Failed(error),
            RebuildFailure::Overtaken { .. } => LookedAt::Overtaken,
        }
    }

    /// Has a short look at the state machine, between two batches.
    async fn visit<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut dyn StateMachine) -> T + Send + 'static,
    ) -> Result<T, LookedAt> {
        let (reply, answer) = oneshot::channel();
        let look = Box::new(move |machine: &mut dyn StateMachine| drop(reply.send(look(machine))));
        self.applier.push([ApplyWork::Visit(look)]);
        answer.await.map_err(|_dropped| LookedAt::Interrupted)
    }

    async fn on_worker<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LookedAt> {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move || drop(reply.send(job())));
        let submitted = self.deps.workers.background.submit(self.shared.group.get(), job);
        submitted.map_err(|_stopped| LookedAt::Interrupted)?;
        answer.await.map_err(|_dropped| LookedAt::Interrupted)
    }
}
