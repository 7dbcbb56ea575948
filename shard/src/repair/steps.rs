//! A repair, step by step, for whoever asks the other replicas. Blocks.

use std::sync::Arc;

use quorate_storage::identity::{FileOwner, ReplicaPaths};
use quorate_storage::log::{LogPlace, LogReader, LogStore, SegmentedLog};
use quorate_storage::{HardState, ReplicaId, Result};

use super::check::Damage;
use super::judge::{Case, Verdict};
use super::wire::{ASKED_MAX, EntriesAnswer, EntriesQuestion};
use crate::actor::{GroupDeps, StartSpec};

/// A log that is being repaired.
#[derive(Debug)]
pub struct RepairSteps {
    log: SegmentedLog,
    damage: Damage,
    spec: StartSpec,
}

/// What a step has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Entries that were copied.
    pub repaired: u64,
    /// Entries that were dropped.
    pub dropped: u64,
}

impl RepairSteps {
    /// Opens the log of a start that ended with [`crate::actor::StartError::Unreadable`].
    ///
    /// # Errors
    /// As [`SegmentedLog::open`].
    pub fn open(deps: &GroupDeps, spec: &StartSpec, damage: Damage) -> Result<Self> {
        let owner = FileOwner {
            group: damage.descriptor.uid,
            replica: damage.replica,
            incarnation: damage.incarnation,
        };
        let dir = ReplicaPaths::new(spec.dir.clone()).wal();
        let rng = deps.rng.stream(deps.rng.next_u64());
        let place = LogPlace { disk: Arc::clone(&deps.disk), dir, owner, rng };
        let log = SegmentedLog::open(place, spec.config.log)?;
        Ok(Self { log, damage, spec: spec.clone() })
    }

    /// Serves other replicas meanwhile.
    pub fn reader(&self) -> Arc<dyn LogReader> {
        self.log.reader()
    }

    /// Which replica it is.
    pub fn replica(&self) -> ReplicaId {
        self.damage.replica
    }

    /// Whether nothing is missing any more: the group can be started.
    pub fn is_whole(&self) -> bool {
        self.damage.missing.is_empty()
    }

    /// What is still missing.
    pub(super) fn damage(&self) -> &Damage {
        &self.damage
    }

    /// What to ask all other replicas.
    pub fn question(&self) -> EntriesQuestion {
        EntriesQuestion {
            group: self.spec.group,
            uid: self.damage.descriptor.uid,
            replica: self.damage.replica,
            incarnation: self.damage.incarnation,
            asked: self.damage.missing.iter().take(ASKED_MAX).map(|missing| missing.id).collect(),
        }
    }

    /// What the answers, one of each replica at most, to [`RepairSteps::question`] come to.
    pub fn judge(&self, answers: &[EntriesAnswer]) -> Verdict {
        let Damage { replica, conf_state, floor, missing, .. } = &self.damage;
        let changes = &self.log.recovered().skeleton.conf_changes;
        let is_certain = !conf_state.is_joint() && changes.iter().all(|index| index <= floor);
        let others: Vec<ReplicaId> =
            conf_state.voters.iter().copied().filter(|voter| voter != replica).collect();
        let case = Case {
            other_voters: is_certain.then_some(others.as_slice()),
            hard_state: self.log.reader().hard_state(),
            missing: &missing[..missing.len().min(ASKED_MAX)],
        };
        case.judge(answers)
    }

    /// Writes what was found; durable on return.
    ///
    /// # Errors
    /// As [`SegmentedLog::repair`].
    pub fn carry_out(&mut self, verdict: Verdict, answers: &[EntriesAnswer]) -> Result<Written> {
        let Verdict { repaired, drop_from, .. } = verdict;
        let (floor, now) = (self.damage.floor, self.log.reader().hard_state());
        let term = answers.iter().map(|answer| answer.term).fold(now.term, Ord::max);
        let vote = now.vote.filter(|_| term == now.term);
        let mut written = Written { repaired: repaired.len() as u64, dropped: 0 };
        if !repaired.is_empty() {
            self.log.repair(repaired)?;
        }
        let mut end = self.log.last();
        if let Some(from) = drop_from {
            self.log.drop_from(from, HardState { term, vote, ..now })?;
            written.dropped = end.get() - from.prev().get();
            end = from.prev();
        }
        self.damage.missing = self.log.unreadable(floor.next(), end.next())?;
        Ok(written)
    }
}
