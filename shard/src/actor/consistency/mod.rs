//! Compares the replicas' states: all are asked for the digest of their state at one index.
//!
//! # The check
//! The digest is in every applied record, but replicas end their apply batches at different entries. So the leader picks
//! an index, and every replica, itself too, ends an apply batch there and tells its digest. Who has passed it says so;
//! then the leader picks another, further on; in a group without writes that is what everyone has applied, and nothing
//! is written for the check. Who has not reached it in time says how far it is. Every wait and the number of attempts
//! are bounded.
//!
//! **What an answer means.** Of committed entries there is one at an index, whoever leads: two replicas that have applied
//! everything up to it must hold the same state, in whatever term they are asked, and by whomever. So a leader that is
//! deposed, a membership change and a snapshot that is installed meanwhile can make answers fail, and never make them
//! wrong. A state that was restored or installed counts like one that applied every entry.
//!
//! **Who is wrong.** From three digests on, that of the majority is right: of all that answered, and of the voters among
//! them. The others are quarantined, durably: their store and their snapshots agree with each other, so no start would
//! find anything wrong. They have to be replaced ([`crate::actor::Remedy::Repair`]). Without such a majority nobody is
//! quarantined: everything is reported.

mod answer;
mod job;
mod judge;
mod report_form;
mod serve;
pub(super) mod wire;

use std::sync::Arc;
use std::time::Duration;

use quorate_storage::identity::Divergence;
use quorate_storage::state::StateDigest;
use quorate_storage::{GroupId, Index, NodeId, ReplicaId};
use tokio::sync::oneshot;

pub(crate) use serve::DigestServer;

use self::job::ConsistencyJob;
pub(crate) use self::wire::DivergenceNotice;
use crate::actor::mailbox::Event;
use crate::actor::outbound::DIVERGENCE_NOTICE;
use crate::actor::quarantine::Failure;
use crate::actor::run::Actor;
use crate::core::Role;
use crate::error::{Error, LeaderHint, Result};

/// How often a replica is told that it is divergent, if that does not get through. The next check finds it again.
const NOTICES_MAX: u32 = 3;

/// What a comparison of the replicas' states came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyReport {
    /// The group.
    pub group: GroupId,
    /// The index whose state was asked for.
    pub index: Index,
    /// When it ended, since the Unix epoch.
    pub at: Duration,
    /// What each replica said, by id.
    pub replicas: Vec<ReplicaReport>,
    /// What follows from that.
    pub verdict: Verdict,
}

/// One replica's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaReport {
    /// Which.
    pub replica: ReplicaId,
    /// Where it lives.
    pub node: NodeId,
    /// Whether it has a vote.
    pub is_voter: bool,
    /// What it said.
    pub answer: ReplicaAnswer,
}

/// What a replica said of its state at an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaAnswer {
    /// Its digest there.
    Digest(StateDigest),
    /// It was beyond the index already, with every attempt.
    Passed {
        /// Where it is.
        applied: Index,
    },
    /// It did not come to the index in time.
    Behind {
        /// Where it is.
        applied: Index,
    },
    /// Its state machine keeps no digest.
    NoDigest,
    /// It is out of service, or is not (yet) the replica that was asked for.
    Refused,
    /// Its node did not answer.
    Away,
}

/// What follows from the answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All digests are equal, and there are two at least.
    Consistent,
    /// There are fewer than two digests: nothing was compared.
    Unverified,
    /// Some replicas do not hold what the majority holds: they are being quarantined.
    Diverged {
        /// The digest of the majority.
        majority: StateDigest,
        /// The others.
        divergent: Vec<ReplicaId>,
    },
    /// Digests differ, and no majority tells which is right. Nothing was done about it.
    Divided,
}

impl Verdict {
    /// Its name, for logs and pages.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Consistent => "consistent",
            Self::Unverified => "unverified",
            Self::Diverged { .. } => "diverged",
            Self::Divided => "divided",
        }
    }
}

/// Who waits for a check.
#[derive(Debug, Default)]
pub(crate) struct Askers {
    /// For the one under way.
    pub(crate) now: Vec<oneshot::Sender<Result<ConsistencyReport>>>,
    /// For the next: what is under way may have looked at an older state.
    pub(crate) next: Vec<oneshot::Sender<Result<ConsistencyReport>>>,
}

impl Actor {
    /// Compares the replicas for `reply`. One check at a time: who asks meanwhile shares the next.
    pub(crate) fn check_consistency(&mut self, reply: oneshot::Sender<Result<ConsistencyReport>>) {
        let role = self.core.0.role();
        if !role.is_leader {
            drop(reply.send(Err(self.not_leader(role))));
            return;
        }
        self.upkeep.askers.next.push(reply);
        if !self.upkeep.consistency.is_running() {
            self.begin_check();
        }
    }

    /// Each replica has its time; whoever leads then does it.
    pub(crate) fn check_if_due(&mut self) {
        let now = self.deps.clock.monotonic();
        if self.stopping.is_some() || !self.upkeep.consistency.is_due(now) {
            return;
        }
        if self.core.0.role().is_serving && self.core.0.descriptor().replicas.len() > 1 {
            self.begin_check();
        } else {
            self.upkeep.consistency.done(now, self.rng.as_ref());
        }
    }

    fn begin_check(&mut self) {
        self.upkeep.consistency.begin();
        self.upkeep.askers.now = std::mem::take(&mut self.upkeep.askers.next);
        // What the job reads must not be older than who asked.
        self.note_status();
        let job = ConsistencyJob {
            shared: Arc::clone(&self.shared),
            digests: Arc::clone(&self.upkeep.digests),
            deps: Arc::clone(&self.deps),
            wait: self.config.tick * self.config.core.election_ticks_min,
        };
        let events = self.events.clone();
        self.tasks.spawn(async move { drop(events.send(Event::ConsistencyChecked(job.run().await))) });
    }

    pub(crate) fn on_checked(&mut self, report: &ConsistencyReport) {
        let (group, index, now) = (report.group, report.index, self.deps.clock.monotonic());
        let stats = &self.shared.stats.consistency;
        stats.checks.increment();
        let (verdict, replicas) = (report.verdict.label(), &report.replicas);
        match &report.verdict {
            Verdict::Consistent => tracing::debug!(%group, %index, verdict, "states compared"),
            Verdict::Unverified => {
                stats.unverified.increment();
                tracing::info!(%group, %index, verdict, ?replicas, "states not compared");
            }
            Verdict::Diverged { .. } => {
                stats.diverged.increment();
                tracing::error!(%group, %index, verdict, ?replicas, "replicas hold different states");
            }
            Verdict::Divided => {
                stats.divided.increment();
                tracing::error!(%group, %index, verdict, ?replicas, "replicas hold different states: compare them");
            }
        }
        self.upkeep.consistency.done(now, self.rng.as_ref());
        self.shared.update_status(|status| status.last_check = Some(Arc::new(report.clone())));
        for reply in std::mem::take(&mut self.upkeep.askers.now) {
            drop(reply.send(Ok(report.clone())));
        }
        if let Verdict::Diverged { majority, divergent } = &report.verdict {
            self.tell_divergent(report, *majority, divergent);
        }
        self.go_on_checking();
    }

    /// The check that others wait for, if there are any.
    fn go_on_checking(&mut self) {
        let role = self.core.0.role();
        if self.ending.is_some() || self.upkeep.askers.next.is_empty() {
            return;
        }
        if role.is_leader {
            return self.begin_check();
        }
        for reply in std::mem::take(&mut self.upkeep.askers.next) {
            drop(reply.send(Err(self.not_leader(role))));
        }
    }

    /// Takes divergent replicas out of service: others by a notice, this one last.
    fn tell_divergent(&mut self, report: &ConsistencyReport, majority: StateDigest, divergent: &[ReplicaId]) {
        let status = self.shared.status();
        let mut own_divergence = None;
        for replica in &report.replicas {
            let ReplicaAnswer::Digest(own) = replica.answer else { continue };
            if !divergent.contains(&replica.replica) {
                continue;
            }
            let divergence = Divergence { index: report.index, own, majority };
            if replica.replica == self.replica {
                own_divergence = Some(divergence);
                continue;
            }
            let notice = DivergenceNotice {
                group: report.group,
                uid: status.descriptor.uid,
                from: self.replica,
                incarnation: status.incarnation,
                to: replica.replica,
                divergence,
            };
            let (outbound, node) = (Arc::clone(&self.deps.outbound), replica.node);
            let deadline = self.config.tick * self.config.core.election_ticks_max;
            // Not one of the actor's tasks: it may be about to end.
            tokio::spawn(async move {
                for _ in 0..NOTICES_MAX {
                    if outbound.request(node, DIVERGENCE_NOTICE, notice.encode(), deadline).await.is_ok() {
                        return;
                    }
                    tokio::time::sleep(deadline).await;
                }
            });
        }
        if let Some(divergence) = own_divergence {
            self.quarantine(&Failure::StateDiverged(divergence));
        }
    }

    fn not_leader(&self, role: Role) -> Error {
        let descriptor = self.core.0.descriptor();
        let known = role.leader.and_then(|leader| descriptor.replica(leader));
        let hint = known.map(|known| LeaderHint { replica: known.replica, node: known.node });
        Error::NotLeader { group: self.shared.group, hint }
    }
}
