//! Asks the other replicas.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_storage::{NodeId, ReplicaId};
use tokio::task::JoinSet;

use super::wire::{EntriesAnswer, EntriesQuestion};
use crate::actor::{LOG_ENTRIES, Outbound};

/// Puts `question` to all of `others` at once; whatever they say until `deadline`, ordered by replica.
pub(super) async fn ask(
    outbound: &Arc<dyn Outbound>,
    others: &BTreeMap<ReplicaId, NodeId>,
    question: &EntriesQuestion,
    deadline: Duration,
) -> Vec<EntriesAnswer> {
    let body = question.encode();
    let mut asking = JoinSet::new();
    for (&replica, &node) in others {
        let reply = outbound.request(node, LOG_ENTRIES, body.clone(), deadline);
        asking.spawn(async move {
            let answer = EntriesAnswer::decode(reply.await.ok()?)?;
            // Whoever else lives on that node now does not answer for it.
            (answer.replica == replica).then_some(answer)
        });
    }
    let mut answers = Vec::with_capacity(others.len());
    while let Some(answer) = asking.join_next().await {
        let answer = answer.ok().flatten();
        answers.extend(answer.filter(|answer| answer.found.len() == question.asked.len()));
    }
    answers.sort_unstable_by_key(|answer| answer.replica);
    answers
}
