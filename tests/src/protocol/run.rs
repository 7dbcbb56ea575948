//! A run: safety under faults, then everything heals, then liveness.

use std::time::Duration;

use quorate_storage::GroupId;

use super::invariants::{Checked, Law, broken};
use super::report::Report;
use super::schedule::Schedule;
use super::settings::groups;
use super::world::World;

/// After everything is well again, all must be done within this time.
const LIVENESS: Duration = Duration::from_secs(90);
/// Between two looks whether it is: in step with no timer. An idle leader raises its ceiling every 1.5 s,
/// so looks half a second apart can find an entry on its way at each of them, every time in another group.
const LOOK_EVERY: Duration = Duration::from_millis(377);

/// Runs a schedule.
pub fn run(schedule: &Schedule) -> Report {
    let mut world = World::new(schedule.clone());
    let faults_end = Duration::from_secs(schedule.seconds);
    world.run_until(faults_end);
    world.heal();
    let mut end = faults_end;
    loop {
        end += LOOK_EVERY;
        world.run_until(end);
        let unsettled = world.unsettled();
        if world.ctx.broken.is_some() || unsettled.is_none() {
            break;
        }
        if let Some(told) = unsettled
            && end >= faults_end + LIVENESS
        {
            world.ctx.uphold(broken(Law::Liveness, told));
            break;
        }
    }
    if world.ctx.broken.is_none() {
        let checked = world.check_end();
        world.ctx.uphold(checked);
    }
    world.report()
}

impl World {
    /// What is not done yet.
    fn unsettled(&self) -> Option<String> {
        if let Some(client) = self.clients.iter().position(|client| !client.is_done()) {
            return Some(format!("client {client} has {} operations left", self.clients[client].left()));
        }
        groups().find_map(|group| self.unsettled_group(group))
    }

    fn unsettled_group(&self, group: GroupId) -> Option<String> {
        if !self.operators.get(&group).is_none_or(super::operator::Operator::is_idle) {
            return Some(format!(
                "the membership of group {group} is still to change: {:?}",
                self.operators[&group]
            ));
        }
        let Some((leader, descriptor, _)) = self.leader_of(group) else {
            return Some(format!("group {group} has no leader"));
        };
        let last = self.nodes[leader].replica(group).map(|replica| replica.core().status().last);
        for member in &descriptor.replicas {
            let node = usize::try_from(member.node.get() - 1).unwrap_or_default();
            let Some(replica) =
                self.nodes[node].replica(group).filter(|replica| replica.id == member.replica)
            else {
                return Some(format!("replica {} of group {group} does not run", member.replica));
            };
            if replica.is_waiting() || Some(replica.record().applied.index) != last {
                return Some(format!(
                    "replica {} of group {group} is at {}, the log ends at {last:?}",
                    member.replica,
                    replica.record().applied.index
                ));
            }
        }
        None
    }

    /// Once everything is done.
    fn check_end(&self) -> Checked {
        for group in groups() {
            let replicas = self.nodes.iter().filter_map(|node| node.replica(group));
            let mut digests = Vec::new();
            for replica in replicas {
                let reader = replica.machine().as_applied_index_reader();
                let record = reader.and_then(|reader| reader.applied_record().ok()).flatten();
                digests.extend(record.map(|record| (record.applied, record.digest)));
            }
            if digests.windows(2).any(|pair| pair[0] != pair[1]) {
                return broken(Law::StateMachineSafety, format!("group {group} ends with {digests:?}"));
            }
        }
        self.ctx.laws.acknowledged.check(&self.ctx.laws.states)?;
        self.history.judge()
    }

    fn report(mut self) -> Report {
        let counts = &mut self.ctx.counts;
        counts.acknowledged_writes = self.ctx.laws.acknowledged.count() as u64;
        counts.open_ended = self.history.open_ended;
        counts.reads = self.history.reads;
        Report {
            schedule: self.schedule,
            trace: self.ctx.trace,
            counts: self.ctx.counts,
            simulated: self.ctx.now,
            broken: self.ctx.broken,
        }
    }
}
