//! Repairs logs: a replica whose log has unreadable entries asks the others for them, outside of raft, and is started when
//! it has all.

use std::collections::BTreeMap;

use quorate_shard::shell::{EntriesAnswer, EntriesQuestion, RepairSteps, Verdict, look_up};
use quorate_storage::{GroupId, ReplicaId};

use super::event::NodeAt;
use super::node::{Slot, Trouble};
use super::packet::Packet;
use super::settings::NODES;
use super::world::World;

/// A replica that is being repaired: it takes no part in raft.
#[derive(Debug)]
pub(crate) struct Repairing {
    pub(crate) steps: RepairSteps,
    /// Answers to the present question.
    answers: BTreeMap<ReplicaId, EntriesAnswer>,
    /// Names the question: answers to an earlier one count for nothing.
    pub(crate) number: u64,
}

impl Repairing {
    pub(crate) fn new(steps: RepairSteps) -> Self {
        Self { steps, answers: BTreeMap::new(), number: 0 }
    }
}

impl World {
    /// Once in a while: asks all other nodes.
    pub(crate) fn ask_for_entries(&mut self, node: NodeAt, group: GroupId) {
        let Some(Slot::Repairing(repairing)) = self.nodes[node].slots.get_mut(&group) else { return };
        let (question, number) = (repairing.steps.question(), repairing.number);
        for other in (0..NODES).filter(|other| *other != node) {
            let question = Box::new(question.clone());
            self.ctx.send(node, other, Packet::EntriesWanted { question, number });
        }
    }

    /// Answers from whatever log there is here.
    pub(crate) fn answer_entries(
        &mut self,
        from: NodeAt,
        to: NodeAt,
        question: &EntriesQuestion,
        number: u64,
    ) {
        let group = question.group;
        let answer = match self.nodes[to].slots.get(&group) {
            Some(Slot::Running(replica)) => look_up(replica.log().reader().as_ref(), replica.id, question),
            Some(Slot::Repairing(repairing)) => {
                look_up(repairing.steps.reader().as_ref(), repairing.steps.replica(), question)
            }
            _ => return,
        };
        let asker = question.replica;
        self.ctx.send(
            to,
            from,
            Packet::EntriesAnswered { group, to: asker, number, answer: Box::new(answer) },
        );
    }

    /// An answer arrives: perhaps it decides something.
    pub(crate) fn take_entries(&mut self, node: NodeAt, group: GroupId, number: u64, answer: EntriesAnswer) {
        let Some(Slot::Repairing(repairing)) = self.nodes[node].slots.get_mut(&group) else { return };
        if repairing.number != number {
            return;
        }
        repairing.answers.insert(answer.replica, answer);
        let answers: Vec<_> = repairing.answers.values().cloned().collect();
        let verdict = repairing.steps.judge(&answers);
        if verdict == Verdict::default() {
            // What an operator is told then: "replace this replica".
            if answers.len() == NODES - 1 && answers.iter().all(EntriesAnswer::has_compacted) {
                self.lost(node, group);
            }
            return;
        }
        let is_diverged = verdict.diverged.is_some();
        let carried_out = if is_diverged { None } else { repairing.steps.carry_out(verdict, &answers).ok() };
        repairing.number += 1;
        repairing.answers.clear();
        let is_whole = repairing.steps.is_whole();
        match carried_out {
            None if is_diverged => self.lost(node, group),
            None => drop(self.nodes[node].slots.insert(group, Slot::Quarantined(Trouble::Start))),
            Some(written) => {
                self.ctx.counts.repaired_entries += written.repaired;
                self.ctx.counts.dropped_entries += written.dropped;
                if is_whole {
                    self.ctx.counts.repairs += 1;
                    self.start(node, group);
                }
            }
        }
    }
}
