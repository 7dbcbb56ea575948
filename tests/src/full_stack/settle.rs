//! After the faults: does what an operator would do, until every replica of every group is whole again.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::{GroupId, GroupReadiness, Lifecycle, Node};
use turmoil::Sim;

use super::command::{Command, at_of};
use super::nemesis::Nemesis;
use super::world::{Shared, World};
use crate::sim::NODES;

/// How long a replica may be out of service before somebody does something about it.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Replicas come back into service.
    Mending,
    /// Clients finish.
    Working,
    /// Groups are compared, and all keys read.
    Judging,
    Done,
}

/// The operator.
pub(super) struct Settle {
    groups: u16,
    phase: Phase,
    next_look: Duration,
    /// Commands that were given and have not ended.
    given: Vec<(usize, Command)>,
    /// Comparisons and readings that are still to succeed.
    tasks: Vec<(usize, Command)>,
    /// Since when a replica is out of order.
    since: BTreeMap<(usize, GroupId), Duration>,
    /// Nodes that were restarted.
    is_restarted: [bool; NODES.len()],
    /// What it waits for.
    pub(super) waits_for: String,
}

impl Settle {
    pub(super) fn new(groups: u16) -> Self {
        Self {
            groups,
            phase: Phase::Mending,
            next_look: Duration::ZERO,
            given: Vec::new(),
            tasks: Vec::new(),
            since: BTreeMap::new(),
            is_restarted: Default::default(),
            waits_for: String::new(),
        }
    }

    /// Whether all is well.
    pub(super) fn step(&mut self, sim: &mut Sim<'_>, nemesis: &mut Nemesis, shared: &Shared) -> bool {
        let now = sim.elapsed();
        if now < self.next_look {
            return false;
        }
        self.next_look = now + LOOK;
        self.hear(shared);
        // To the end: what was asked for under faults may still take a replica away.
        let is_whole = self.mend(sim, nemesis, shared);
        match self.phase {
            Phase::Mending => {
                if is_whole {
                    shared.lock().clients.pause_max = Duration::from_millis(100);
                    self.phase = Phase::Working;
                }
            }
            Phase::Working if shared.lock().clients.are_done() => {
                self.tasks =
                    (0..=u64::from(self.groups)).map(|group| (0, Command::Compare(GroupId(group)))).collect();
                self.tasks.extend((0..NODES.len()).map(|at| (at, Command::Read)));
                self.phase = Phase::Judging;
            }
            Phase::Judging if self.tasks.is_empty() => self.phase = Phase::Done,
            Phase::Judging => {
                self.waits_for = format!("{:?}, {}", self.tasks, self.waits_for);
                for (at, command) in self.tasks.clone() {
                    self.give(shared, at, command);
                }
            }
            Phase::Working => {
                let clients = &shared.lock().clients;
                self.waits_for = format!("{} operations, {} under way", clients.left, clients.under_way);
            }
            Phase::Done => {}
        }
        self.phase == Phase::Done
    }

    /// Which commands have ended.
    fn hear(&mut self, shared: &Shared) {
        for told in shared.lock().told.drain(..) {
            let at = at_of(told.node);
            self.given.retain(|given| *given != (at, told.command));
            match told.outcome {
                Ok(()) => self.tasks.retain(|task| *task != (at, told.command)),
                Err(why) => self.waits_for = format!("{:?} on {}: {why}", told.command, told.node),
            }
        }
    }

    fn give(&mut self, shared: &Shared, at: usize, command: Command) {
        if !self.given.contains(&(at, command)) && shared.lock().command(at, command) {
            self.given.push((at, command));
        }
    }

    /// Whether every group has three voters that serve, and have applied the same.
    fn mend(&mut self, sim: &mut Sim<'_>, nemesis: &mut Nemesis, shared: &Shared) -> bool {
        let now = sim.elapsed();
        let troubles = self.find_troubles(&shared.lock());
        let Some(&(at, group, first)) = troubles.first() else { return true };
        self.waits_for = describe(&shared.lock(), at, group, first);
        self.since.retain(|key, _| troubles.iter().any(|(at, group, _)| (*at, *group) == *key));
        for (at, group, trouble) in troubles {
            let since = *self.since.entry((at, group)).or_insert(now);
            if now < since + PATIENCE {
                continue;
            }
            match trouble {
                Trouble::Waits => {}
                Trouble::Quarantined if !self.is_restarted[at] => {
                    // A disk that failed may be whole again: first a restart.
                    nemesis.restart(sim, at);
                    self.is_restarted[at] = true;
                    self.since.retain(|(node, _), _| *node != at);
                    self.given.retain(|(node, _)| *node != at);
                    return false;
                }
                Trouble::Quarantined | Trouble::Lost => self.give(shared, at, Command::Repair(group)),
                Trouble::Missing => self.give(shared, at, Command::Join(group)),
            }
        }
        false
    }

    /// The replicas that are not as they must be.
    fn find_troubles(&self, world: &World) -> Vec<(usize, GroupId, Trouble)> {
        let mut troubles = Vec::new();
        for (at, slot) in world.hosts.iter().enumerate() {
            for group in (0..=u64::from(self.groups)).map(GroupId) {
                let trouble = match &slot.node {
                    None => Some(Trouble::Waits),
                    Some(node) => trouble_of(node, group, world),
                };
                troubles.extend(trouble.map(|trouble| (at, group, trouble)));
            }
        }
        troubles
    }
}

fn trouble_of(node: &Node, group: GroupId, world: &World) -> Option<Trouble> {
    let readiness = node.readiness();
    let found = readiness.groups.iter().find(|(id, _)| *id == group);
    match found.map(|(_, readiness)| readiness) {
        None => Some(Trouble::Missing),
        Some(GroupReadiness::Lost) => Some(Trouble::Lost),
        Some(GroupReadiness::Quarantined(_) | GroupReadiness::Repairing(_)) => Some(Trouble::Quarantined),
        Some(GroupReadiness::Ready) => trouble_of_ready(node, group, world),
        // Made for a membership change that was broken off: nobody writes to it until that is asked for again.
        Some(GroupReadiness::NoLeader) if is_left_out(node, group, world) => Some(Trouble::Missing),
        Some(
            GroupReadiness::NoLeader
            | GroupReadiness::Opening
            | GroupReadiness::Restoring
            | GroupReadiness::Replaying
            | GroupReadiness::Waiting(_),
        ) => Some(Trouble::Waits),
    }
}

/// Whether the group has no replica on `node` where it is served.
fn is_left_out(node: &Node, group: GroupId, world: &World) -> bool {
    world.running().any(|(_, other)| {
        let status = other.group(group).local_status();
        status
            .is_some_and(|status| status.role.is_serving && status.descriptor.replica_on(node.id()).is_none())
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Waits,
    Quarantined,
    Lost,
    Missing,
}

/// A replica that is ready must be a voter, one of three, and have applied what the others have.
fn trouble_of_ready(node: &Node, group: GroupId, world: &World) -> Option<Trouble> {
    let status = node.group(group).local_status().filter(|status| status.lifecycle == Lifecycle::Running);
    let Some(status) = status else { return Some(Trouble::Waits) };
    let descriptor = &status.descriptor;
    let own = descriptor.replica_on(node.id());
    if descriptor.replicas.len() < NODES.len() || own.is_none() {
        return Some(if own.is_none() { Trouble::Missing } else { Trouble::Waits });
    }
    let newest = world.running().filter_map(|(_, node)| Some(node.group(group).local_status()?.last)).max();
    (Some(status.applied) < newest && world.clients.are_done()).then_some(Trouble::Waits)
}

/// All that is known of it.
fn describe(world: &World, at: usize, group: GroupId, trouble: Trouble) -> String {
    let replicas = world.running().map(|(at, node)| {
        let readiness = node.readiness().groups.into_iter().find(|(id, _)| *id == group);
        let status = node.group(group).local_status();
        let status = status.map(|status| {
            let replicas: Vec<_> =
                status.descriptor.replicas.iter().map(|replica| replica.replica.0).collect();
            (
                status.replica.0,
                status.role,
                status.first,
                status.applied,
                status.commit,
                status.last,
                status.snapshot,
                replicas,
            )
        });
        format!("{}: {readiness:?} {status:?}", NODES[at])
    });
    let replicas: Vec<_> = replicas.collect();
    format!("{trouble:?}: group {group} on {}; {}", NODES[at], replicas.join("; "))
}
