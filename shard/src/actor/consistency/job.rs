//! The leader's side of a check, on a task of its own.

use std::sync::Arc;
use std::time::Duration;

use quorate_storage::{Index, ReplicaDescriptor};
use tokio::task::JoinSet;

use super::judge::{judge, next_margin};
use super::wire::{DigestAnswer, DigestQuestion};
use super::{ConsistencyReport, DigestServer, ReplicaAnswer, ReplicaReport};
use crate::actor::outbound::STATE_DIGEST;
use crate::actor::shared::Shared;
use crate::actor::spec::GroupDeps;
use crate::actor::status::GroupStatus;

/// Attempts to find an index that no replica has passed.
const ATTEMPTS_MAX: u32 = 6;

/// What a check works with.
pub(super) struct ConsistencyJob {
    pub(super) shared: Arc<Shared>,
    pub(super) digests: Arc<DigestServer>,
    pub(super) deps: Arc<GroupDeps>,
    /// How long an index may take to come, and a request to travel.
    pub(super) wait: Duration,
}

impl ConsistencyJob {
    /// Ends after [`ATTEMPTS_MAX`] times twice the wait at the latest.
    pub(super) async fn run(self) -> ConsistencyReport {
        let mut margin = 0;
        for _ in 1..ATTEMPTS_MAX {
            let report = self.attempt(margin).await;
            match next_margin(&report.replicas, self.shared.status().replica, (report.index, margin)) {
                Some(next) => margin = next,
                None => return report,
            }
        }
        self.attempt(margin).await
    }

    /// Asks all of them for the index `margin` entries behind the end of the log.
    async fn attempt(&self, margin: u64) -> ConsistencyReport {
        let status = self.shared.status();
        let index = Index(status.last.max(status.applied).get().saturating_add(margin));
        let mut asking = JoinSet::new();
        for replica in &status.descriptor.replicas {
            asking.spawn(self.ask(&status, *replica, index));
        }
        let mut replicas = Vec::with_capacity(status.descriptor.replicas.len());
        while let Some(answered) = asking.join_next().await {
            // A task that panicked, or was ended with this one, has no answer.
            replicas.extend(answered.ok());
        }
        replicas.sort_unstable_by_key(|report| report.replica);
        let verdict = judge(&replicas);
        ConsistencyReport { group: status.group, index, at: self.deps.clock.wall(), replicas, verdict }
    }

    fn ask(
        &self,
        status: &GroupStatus,
        replica: ReplicaDescriptor,
        index: Index,
    ) -> impl Future<Output = ReplicaReport> + Send + 'static {
        let is_own = replica.replica == status.replica;
        let is_voter = status.peers.iter().any(|peer| peer.replica == replica.replica && peer.is_voter);
        let question = DigestQuestion {
            group: status.group,
            uid: status.descriptor.uid,
            replica: status.replica,
            incarnation: status.incarnation,
            index,
            wait: self.wait,
        };
        let (digests, outbound) = (Arc::clone(&self.digests), Arc::clone(&self.deps.outbound));
        async move {
            let answer = if is_own {
                digests.answer(index, question.wait).await
            } else {
                let deadline = question.wait * 2;
                let reply = outbound.request(replica.node, STATE_DIGEST, question.encode(), deadline);
                // Not every way out keeps the deadline by itself.
                match tokio::time::timeout(deadline, reply).await {
                    // Whoever else lives on that node now does not answer for it.
                    Ok(Ok(reply)) => match DigestAnswer::decode(&reply) {
                        Some(answer) if answer.replica == replica.replica => answer.answer,
                        _ => ReplicaAnswer::Refused,
                    },
                    Ok(Err(_)) | Err(_) => ReplicaAnswer::Away,
                }
            };
            ReplicaReport { replica: replica.replica, node: replica.node, is_voter, answer }
        }
    }
}
