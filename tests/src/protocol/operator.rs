//! Whoever changes the membership of groups: replaces replicas that are lost, one at a time in a group. It decides by what
//! the leader's membership is now, so that it can go on after any failure.

use std::collections::VecDeque;
use std::time::Duration;

use quorate_shard::actor::Birth;
use quorate_storage::{
    ConfChange, ConfChangeOp, ConfState, GroupDescriptor, GroupId, ReplicaDescriptor, ReplicaId,
};

use super::event::{Event, NodeAt};
use super::node::Owner;
use super::settings::NODES;
use super::world::{World, first_descriptor, incarnation};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// How a replica is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The new one is added first, and takes the vote of the old one in one joint change.
    GrowFirst,
    /// The new one is added and promoted, then the old one removed: each a change of its own.
    StepByStep,
    /// The old one, which is sound, is removed first.
    ShrinkFirst,
}

/// A replica to be replaced by a new one on the same node.
#[derive(Clone, Copy, Debug)]
struct Task {
    old: ReplicaId,
    new: ReplicaId,
    node: NodeAt,
    way: Way,
    /// The new one's directory was made.
    is_made: bool,
}

/// Of one group.
#[derive(Debug)]
pub(crate) struct Operator {
    tasks: VecDeque<Task>,
    newest: ReplicaId,
    is_looking: bool,
}

impl Operator {
    pub(crate) fn new(_group: GroupId) -> Self {
        Self { tasks: VecDeque::new(), newest: ReplicaId(NODES as u64), is_looking: false }
    }

    /// Whether it has nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }
}

impl World {
    /// Has the replica of `group` on `node` replaced.
    pub(crate) fn replace(&mut self, group: GroupId, node: NodeAt, old: ReplicaId, way: Way) {
        let Some(operator) = self.operators.get_mut(&group) else { return };
        if operator.tasks.iter().any(|task| task.old == old) {
            return;
        }
        operator.newest = ReplicaId(operator.newest.get() + 1);
        operator.tasks.push_back(Task { old, new: operator.newest, node, way, is_made: false });
        if !std::mem::replace(&mut operator.is_looking, true) {
            self.ctx.after(LOOK_EVERY, Event::Operate { group });
        }
    }

    /// One look at a group whose membership is to change.
    pub(crate) fn operate(&mut self, group: GroupId) {
        let Some(task) = self.operators.get(&group).and_then(|operator| operator.tasks.front().copied())
        else {
            if let Some(operator) = self.operators.get_mut(&group) {
                operator.is_looking = false;
            }
            return;
        };
        if self.go_on(group, task)
            && let Some(operator) = self.operators.get_mut(&group)
        {
            operator.tasks.pop_front();
        }
        self.ctx.after(LOOK_EVERY, Event::Operate { group });
    }

    /// Whether the task is done.
    fn go_on(&mut self, group: GroupId, task: Task) -> bool {
        let Some((leader, descriptor, conf_state)) = self.leader_of(group) else { return false };
        if conf_state.is_joint() {
            return false;
        }
        let Task { old, new, node, way, .. } = task;
        let (has_old, has_new) = (conf_state.contains(old), conf_state.contains(new));
        if way == Way::ShrinkFirst && has_old {
            self.change(leader, &descriptor, old, &[ConfChangeOp::Remove(old)]);
            return false;
        }
        if !self.is_made(group, node, new) {
            return false;
        }
        if !has_new {
            let added = ReplicaDescriptor {
                replica: new,
                node: self.nodes[node].id(),
                incarnation: incarnation(group, new),
            };
            self.change(leader, &descriptor, old, &[ConfChangeOp::AddLearner(added)]);
            return false;
        }
        let is_voter = conf_state.voters.contains(&new);
        match (is_voter, has_old) {
            (true, false) => return true,
            (true, true) => self.change(leader, &descriptor, old, &[ConfChangeOp::Remove(old)]),
            (false, true) if way == Way::GrowFirst => {
                let ops = [ConfChangeOp::Promote(new), ConfChangeOp::Remove(old)];
                self.change(leader, &descriptor, old, &ops);
            }
            (false, _) => self.change(leader, &descriptor, old, &[ConfChangeOp::Promote(new)]),
        }
        false
    }

    /// Whether the new replica is there; makes it, if its node is up.
    fn is_made(&mut self, group: GroupId, node: NodeAt, new: ReplicaId) -> bool {
        if !self.nodes[node].is_up {
            return false;
        }
        if self.nodes[node].owners.get(&group).is_some_and(|owner| owner.replica == new) {
            return true;
        }
        // One that is made anew under its id could vote twice.
        let was_made = self.task_mut(group).is_some_and(|task| task.is_made);
        assert!(!was_made, "the directory of {new} of group {group} was made, and is gone");
        self.nodes[node].remove(group);
        let owner = Owner { replica: new, incarnation: incarnation(group, new) };
        let config = std::sync::Arc::clone(&self.configs[&group]);
        let descriptor = first_descriptor(group);
        let created = self.nodes[node].create(descriptor, owner, Birth::Joining, &config);
        if created.is_ok() {
            if let Some(task) = self.task_mut(group) {
                task.is_made = true;
            }
            self.start(node, group);
        }
        created.is_ok()
    }

    fn task_mut(&mut self, group: GroupId) -> Option<&mut Task> {
        self.operators.get_mut(&group)?.tasks.front_mut()
    }

    /// Proposes at the leader. One that would be removed hands over instead.
    fn change(&mut self, leader: NodeAt, descriptor: &GroupDescriptor, old: ReplicaId, ops: &[ConfChangeOp]) {
        let group = descriptor.group;
        let change = ConfChange { expected_epoch: descriptor.conf_epoch, ops: ops.to_vec() };
        let removes = ops.contains(&ConfChangeOp::Remove(old));
        self.with_replica(leader, group, |replica, ctx| {
            if removes && replica.id == old {
                let heir = descriptor.replicas.iter().find(|other| other.replica != old);
                return heir.map_or(Ok(()), |heir| replica.hand_over(ctx, heir.replica));
            }
            replica.change(ctx, change)
        });
    }

    /// Where the group's leader is, and what it takes for the membership.
    pub(crate) fn leader_of(&self, group: GroupId) -> Option<(NodeAt, GroupDescriptor, ConfState)> {
        let leading = self.nodes.iter().filter(|node| node.is_up).filter_map(|node| {
            let replica = node.replica(group).filter(|replica| replica.is_serving())?;
            Some((replica.core().term(), node.at, replica))
        });
        let (_, at, replica) = leading.max_by_key(|(term, ..)| *term)?;
        Some((at, replica.core().descriptor().clone(), replica.core().conf_state().clone()))
    }
}
