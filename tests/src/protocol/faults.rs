//! Carries faults out, and ends them.

use std::time::Duration;

use quorate_storage::GroupId;
use quorate_storage::disk::DiskFault;

use super::damage::paths;
use super::event::{Event, NodeAt};
use super::node::{Slot, Trouble};
use super::operator::Way;
use super::schedule::{Fault, Files, Keeps};
use super::settings::{NODES, groups};
use super::world::World;

impl World {
    /// A planned fault's time has come.
    pub(crate) fn fault(&mut self, number: usize) {
        if self.is_healed {
            return;
        }
        let fault = self.schedule.faults[number].fault.clone();
        if !self.begin(number, &fault) {
            return;
        }
        match fault {
            // Counts when the power goes.
            Fault::PowerCut { .. } => {}
            // Count when the call comes that they are for.
            Fault::FailSync { node, .. } | Fault::FailWrite { node, .. } => {
                self.nodes[node].armed.push(fault.kind());
            }
            _ => *self.ctx.counts.faults.entry(fault.kind()).or_default() += 1,
        }
        if let Some(ms) = fault.lasts_ms() {
            self.active.push(number);
            self.ctx.after(Duration::from_millis(ms), Event::FaultEnds(number));
        }
    }

    /// Whether it could happen.
    fn begin(&mut self, number: usize, fault: &Fault) -> bool {
        match *fault {
            Fault::Crash { .. } | Fault::CrashAll { .. } | Fault::PowerCut { .. } => self.begin_crash(fault),
            Fault::Isolate { .. }
            | Fault::Deafen { .. }
            | Fault::CutOneWay { .. }
            | Fault::CutPair { .. }
            | Fault::Loss { .. }
            | Fault::Delay { .. }
            | Fault::Duplicate { .. } => self.begin_network(fault),
            Fault::SlowDisk { .. }
            | Fault::DiskFull { .. }
            | Fault::FailSync { .. }
            | Fault::FailWrite { .. }
            | Fault::AllDisksLie
            | Fault::LyingDisk { .. } => self.begin_disk(fault),
            Fault::ClockJump { .. } | Fault::Freeze { .. } | Fault::Skew { .. } => self.begin_clock(fault),
            Fault::StateBack { node, group, .. } => self.keep_state(number, node, GroupId(group)),
            Fault::ReadFails { .. }
            | Fault::StateLost { .. }
            | Fault::ForeignState { .. }
            | Fault::RottenStore { .. }
            | Fault::SnapshotsLost { .. }
            | Fault::CutLog { .. }
            | Fault::RotLog { .. }
            | Fault::RotSnapshot { .. } => self.damage(fault),
            Fault::Transfer { group } => self.transfer(GroupId(group)),
            Fault::Snapshot { node, group } => self.publish(node, GroupId(group)),
            Fault::WipeNode { node } => self.wipe_node(node),
            Fault::WipeReplica { node, group } => self.wipe_replica(node, GroupId(group)),
            Fault::Replace { node, group } => self.replace_sound(node, GroupId(group)),
        }
    }

    fn begin_crash(&mut self, fault: &Fault) -> bool {
        match *fault {
            Fault::Crash { node, keeps, down_ms } => {
                let is_up = self.nodes[node].is_up;
                if is_up {
                    self.crash(node, keeps, Duration::from_millis(down_ms));
                }
                is_up
            }
            Fault::CrashAll { keeps, down_ms } => {
                for node in 0..NODES {
                    let down = self.ctx.moment(Duration::from_millis(down_ms));
                    if self.nodes[node].is_up {
                        self.crash(node, keeps, down);
                    }
                }
                true
            }
            Fault::PowerCut { node, calls, keeps, down_ms } => {
                let can = self.nodes[node].is_up && self.power_cuts[node].is_none();
                if can {
                    self.nodes[node].disk.cut_power_at_call(calls);
                    self.power_cuts[node] = Some((keeps, Duration::from_millis(down_ms)));
                }
                can
            }
            _ => false,
        }
    }

    fn begin_network(&mut self, fault: &Fault) -> bool {
        for (from, to) in links(fault) {
            self.ctx.network.cut(from, to);
        }
        match *fault {
            Fault::Loss { permille, .. } => self.ctx.network.loss_permille = permille,
            Fault::Delay { max_ms, .. } => self.ctx.network.set_latency(Some(Duration::from_millis(max_ms))),
            Fault::Duplicate { permille, .. } => self.ctx.network.duplicate_permille = permille,
            _ => {}
        }
        true
    }

    fn begin_disk(&mut self, fault: &Fault) -> bool {
        match *fault {
            Fault::SlowDisk { node, .. } => {
                self.ctx.slow[node] += 1;
                true
            }
            Fault::DiskFull { node, room_kib, .. } => {
                let used: u64 = self.nodes[node].disk.files().iter().map(|(_, bytes)| bytes).sum();
                self.nodes[node].disk.set_capacity(Some(used + (room_kib << 10)));
                true
            }
            Fault::FailSync { node, group, files } => {
                self.fail_once(node, group, files, DiskFault::FailedSyncs)
            }
            Fault::FailWrite { node, group, files, is_short } => {
                let fault = if is_short { DiskFault::ShortWrites } else { DiskFault::FailedWrites };
                self.fail_once(node, group, files, fault)
            }
            Fault::LyingDisk { node, .. } => self.lie(node),
            Fault::AllDisksLie => {
                self.nodes.iter().for_each(|node| node.disk.ignore_syncs(true));
                true
            }
            _ => false,
        }
    }

    fn begin_clock(&mut self, fault: &Fault) -> bool {
        match *fault {
            Fault::ClockJump { node, by_ms } => {
                self.nodes[node].machine.clock.jump(by_ms);
                true
            }
            Fault::Freeze { node, ms } => {
                let is_up = self.nodes[node].is_up;
                if is_up {
                    self.nodes[node].frozen_until = self.ctx.now + Duration::from_millis(ms);
                }
                is_up
            }
            Fault::Skew { node, ppm, .. } => {
                self.nodes[node].skew_ppm = ppm;
                true
            }
            _ => false,
        }
    }

    fn publish(&mut self, node: NodeAt, group: GroupId) -> bool {
        let runs = self.nodes[node].replica(group).is_some();
        self.with_replica(node, group, |replica, ctx| {
            replica.publish(ctx);
            Ok(())
        });
        runs
    }

    /// A fault that lasts is over.
    pub(crate) fn fault_ends(&mut self, number: usize) {
        let Some(at) = self.active.iter().position(|active| *active == number) else { return };
        self.active.remove(at);
        let fault = self.schedule.faults[number].fault.clone();
        match fault {
            Fault::Isolate { .. }
            | Fault::Deafen { .. }
            | Fault::CutOneWay { .. }
            | Fault::CutPair { .. } => {
                for (from, to) in links(&fault) {
                    self.ctx.network.mend(from, to);
                }
            }
            Fault::Loss { .. } => self.ctx.network.loss_permille = 0,
            Fault::Delay { .. } => self.ctx.network.set_latency(None),
            Fault::Duplicate { .. } => self.ctx.network.duplicate_permille = 0,
            Fault::SlowDisk { node, .. } => self.ctx.slow[node] -= 1,
            Fault::DiskFull { node, .. } => {
                self.nodes[node].disk.set_capacity(None);
                self.room_returns(node);
            }
            Fault::LyingDisk { node, .. } => self.lie_is_found_out(node),
            Fault::Skew { node, .. } => self.nodes[node].skew_ppm = 0,
            Fault::StateBack { node, group, .. } => self.put_state_back(number, node, GroupId(group)),
            _ => {}
        }
    }

    /// Everything is well again, and stays so.
    pub(crate) fn heal(&mut self) {
        self.is_healed = true;
        for number in self.active.clone() {
            self.fault_ends(number);
        }
        for node in 0..NODES {
            self.nodes[node].disk.clear_faults();
            self.power_cuts[node] = None;
            self.nodes[node].disk.heal();
            self.nodes[node].machine.clock.mend();
            self.nodes[node].frozen_until = Duration::ZERO;
            self.room_returns(node);
        }
    }

    /// A disk has room again: what had stopped for want of it goes on.
    fn room_returns(&mut self, node: NodeAt) {
        for group in groups() {
            let stopped = self.nodes[node].slots.get(&group);
            if matches!(stopped, Some(Slot::Quarantined(Trouble::Room))) {
                self.start(node, group);
            }
        }
    }

    fn fail_once(&mut self, node: NodeAt, group: u64, files: Files, fault: DiskFault) -> bool {
        let paths = paths(GroupId(group));
        let dir = match files {
            Files::Log => paths.wal(),
            Files::State => paths.state(),
            Files::Snapshots => paths.snapshots(),
        };
        let is_up = self.nodes[node].is_up;
        if is_up {
            self.nodes[node].disk.fail_once(&dir.to_string_lossy(), fault);
        }
        is_up
    }

    /// Counts the armed faults of a disk once all of them have struck.
    pub(crate) fn count_struck(&mut self, node: NodeAt) {
        if !self.nodes[node].armed.is_empty() && self.nodes[node].disk.has_failed() {
            for kind in std::mem::take(&mut self.nodes[node].armed) {
                *self.ctx.counts.faults.entry(kind).or_default() += 1;
            }
        }
    }

    fn lie(&mut self, node: NodeAt) -> bool {
        let can = self.nodes[node].is_up && groups().all(|group| self.may_lose(group, node));
        if can {
            self.nodes[node].is_doubtful = true;
            self.nodes[node].disk.ignore_syncs(true);
        }
        can
    }

    /// Nobody knows what such a disk holds: all its replicas are replaced.
    fn lie_is_found_out(&mut self, node: NodeAt) {
        self.take_disk(node);
        self.nodes[node].is_doubtful = false;
    }

    fn transfer(&mut self, group: GroupId) -> bool {
        let Some((leader, descriptor, conf_state)) = self.leader_of(group) else { return false };
        let own = self.nodes[leader].replica(group).map(|replica| replica.id);
        let others: Vec<_> =
            descriptor.replicas.iter().map(|other| other.replica).filter(|id| Some(*id) != own).collect();
        let others: Vec<_> = others.into_iter().filter(|id| conf_state.voters.contains(id)).collect();
        if others.is_empty() {
            return false;
        }
        let to = others[self.dice.pick(others.len())];
        self.with_replica(leader, group, |replica, ctx| replica.hand_over(ctx, to));
        true
    }

    fn wipe_node(&mut self, node: NodeAt) -> bool {
        if !groups().all(|group| self.may_lose(group, node)) {
            return false;
        }
        self.take_disk(node);
        true
    }

    fn take_disk(&mut self, node: NodeAt) {
        self.crash(node, Keeps::Synced, Duration::from_secs(1));
        let owners = self.nodes[node].owners.clone();
        self.nodes[node].wipe();
        for (group, owner) in owners {
            let way = self.way_without_old();
            self.replace(group, node, owner.replica, way);
        }
    }

    fn wipe_replica(&mut self, node: NodeAt, group: GroupId) -> bool {
        if !self.nodes[node].is_up || !self.may_lose(group, node) {
            return false;
        }
        let Some(owner) = self.nodes[node].owners.get(&group).copied() else { return false };
        self.nodes[node].remove(group);
        let way = self.way_without_old();
        self.replace(group, node, owner.replica, way);
        true
    }

    fn replace_sound(&mut self, node: NodeAt, group: GroupId) -> bool {
        if !self.may_lose(group, node) {
            return false;
        }
        let Some(owner) = self.nodes[node].owners.get(&group).copied() else { return false };
        self.replace(group, node, owner.replica, Way::ShrinkFirst);
        true
    }

    fn way_without_old(&mut self) -> Way {
        if self.dice.permille(500) { Way::GrowFirst } else { Way::StepByStep }
    }

    /// Whether the group can do without its replica on `node`: all others are sound, though perhaps not running now.
    pub(crate) fn may_lose(&self, group: GroupId, node: NodeAt) -> bool {
        let is_settled = self.operators.get(&group).is_some_and(super::operator::Operator::is_idle);
        let others = self.nodes.iter().filter(|other| other.at != node);
        is_settled
            && !self.nodes[node].is_doubtful
            && others.into_iter().all(|other| {
                let owner = other.owners.get(&group);
                let was_damaged = owner.is_some_and(|owner| other.excused.contains(&(group, owner.replica)));
                let is_bad = other.is_doubtful
                    || was_damaged
                    || match other.slots.get(&group) {
                        Some(Slot::Running(replica)) => replica.is_waiting(),
                        Some(Slot::Repairing(_)) => true,
                        Some(Slot::Quarantined(trouble)) => *trouble == Trouble::Lost,
                        None => other.is_up,
                    };
                !is_bad && other.owners.contains_key(&group)
            })
    }
}

/// The links that a partition cuts.
fn links(fault: &Fault) -> Vec<(NodeAt, NodeAt)> {
    let others = |node: NodeAt| (0..NODES).filter(move |other| *other != node);
    match *fault {
        Fault::Isolate { node, .. } => {
            others(node).flat_map(|other| [(node, other), (other, node)]).collect()
        }
        Fault::Deafen { node, .. } => others(node).map(|other| (other, node)).collect(),
        Fault::CutOneWay { from, to, .. } => vec![(from, to)],
        Fault::CutPair { one, other, .. } => vec![(one, other), (other, one)],
        _ => Vec::new(),
    }
}
